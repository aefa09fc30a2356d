// Whole indexes on the command line, beyond the usual: in a registry, with platforms that cannot be rewritten or have
// nothing of what was read, and killed while they are written.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Index, type Manifest, MEDIA } from '../../src/image/types.js';
import type { ImageInspection } from '../../src/rewrite/inspect/inspect.js';
import type { IndexInspection } from '../../src/rewrite/inspect/inspect-index.js';
import type { OptimizeIndexResult } from '../../src/rewrite/optimize-index.js';
import type { IndexReport } from '../../src/rewrite/verify/verify-index.js';
import { makeTempDir } from '../../src/temp.js';
import { startRegistry, storedTag } from '../image/registry-server.js';
import { optimizeAll, putIndex, readJson, tableOf, tagged, unnamed, verifyAll } from '../rewrite/index-bench.js';
import { type BuiltIndex, buildIndex, putReferrer } from '../support/index-layout.js';
import { buildLayout, HOST_ARCHITECTURE, putBlob, putJson } from '../support/layout.js';
import { file, tarOf } from '../support/tar.js';
import { lacking } from '../support/tools.js';
import { documentOf, expectCli, startCli } from './cli.js';
import { handProfile } from './hand-profile.js';
import { noise } from './sample.js';

const temp = makeTempDir(undefined, 'hl-e2e-places');
const cwd = temp.path;
const at = (name: string) => join(cwd, name);
after(() => temp.remove());

const HOST = { os: 'linux', architecture: HOST_ARCHITECTURE };
const OTHER = { os: 'linux', architecture: HOST_ARCHITECTURE === 's390x' ? 'riscv64' : 's390x' };
const V7 = { os: 'linux', architecture: 'arm', variant: 'v7' };
let built: BuiltIndex;

before(() => {
  built = buildIndex(at('src'), [
    { platform: HOST, layers: [tarOf(file('hot', 'h'.repeat(5_000)), file('warm', 'w'), file('cool', 'c'))] },
    { platform: OTHER, layers: [tarOf(file('cool', 'c'), file('unlike', 'u'))] },
    { platform: V7, layers: [tarOf(file('unlike', 'v7'))] },
  ]);
  const image = { reference: built.reference, digest: built.images[0]!.manifest.digest };
  const profile = handProfile(image, HOST, [
    ['/cool', 0, 1],
    ['/hot', 0, 5_000],
    ['/warm', 0, 1],
  ]);
  writeFileSync(at('p.json'), JSON.stringify(profile));
});

test('coverage of each platform, and a warning for those that have little or nothing of it', async () => {
  const run = await expectCli(0, ['optimize', built.reference, 'oci:hot:v1', '-p', 'p.json'], { cwd });
  assert.match(run.stdout, /How much of the profile each platform has:/);
  assert.match(run.stdout, new RegExp(`linux/${HOST.architecture} +3 of 3 +100`));
  assert.match(run.stdout, new RegExp(`linux/${OTHER.architecture} +1 of 3 +33`));
  assert.match(run.stdout, /linux\/arm\/v7 +0 of 3 +0/);
  assert.match(run.stderr, new RegExp(`warning: linux/${OTHER.architecture} has only 1 of the 3 hot files`));
  assert.match(run.stderr, /warning: linux\/arm\/v7 has none of the 3 hot files: nothing is prefetched there/);
  assert.match(run.stderr, new RegExp(`linux/${OTHER.architecture} lacks:\\n +/hot\\n +/warm\\n`));
  const dry = documentOf<OptimizeIndexResult>(
    await expectCli(0, ['optimize', built.reference, 'oci:x', '-p', 'p.json', '--dry-run', '--json'], { cwd }),
  );
  assert.equal(dry.warnings.length, 2);
  assert.equal(dry.manifest, undefined);
  assert.ok(!existsSync(at('x')));
  assert.deepEqual(
    dry.platforms.map(({ plan }) => plan.layers.map((layer) => layer.landmark)),
    [['prefetch'], ['prefetch'], ['no-prefetch']],
  );
});

test('inspect shows what an index lists, and in full what would run here', async () => {
  const sbom = putReferrer(at('hot'), tagged(at('hot'), 'v1').manifests[0]!, 'application/spdx+json', 'x');
  const run = await expectCli(0, ['inspect', 'oci:hot:v1', '--json'], { cwd });
  const { platforms, attestations, referrers, image } = documentOf<IndexInspection & { image: ImageInspection }>(run);
  assert.deepEqual(
    platforms.map((p) => [p.platform, p.layers, p.lazyLayers]),
    [HOST, OTHER, V7].map((p) => [[p.os, p.architecture, ...('variant' in p ? [p.variant] : [])].join('/'), 1, 1]),
  );
  const { layers } = readJson<Manifest>(at('hot'), platforms[0]!.digest);
  assert.equal(platforms[0]!.size, layers[0]!.size);
  assert.deepEqual(
    attestations.map((a) => a.subject),
    platforms.map((p) => p.digest),
  );
  assert.deepEqual(
    referrers.map((r) => [r.digest, r.fate]),
    [[sbom.digest, 'still-true']],
  );
  assert.deepEqual([image.digest, image.layers.length], [platforms[0]!.digest, 1]);
  const text = await expectCli(0, ['inspect', 'oci:hot:v1'], { cwd });
  for (const { platform, digest } of platforms) assert.match(text.stdout, new RegExp(`${platform} +${digest}`));
  assert.match(text.stdout, /layer +format/);
});

test('windows is kept and said, an encrypted platform ends it with the way out', async () => {
  const dir = at('mixed');
  const image = unnamed(buildLayout(dir, { platform: HOST, layers: [tarOf(file('a', 'a'))], tag: 'part' }).manifest);
  const other = (platform: object, mediaType: string) => {
    const layers = [putBlob(dir, tarOf(file('Files/b', 'b')), mediaType)];
    const rootfs = { type: 'layers', diff_ids: layers.map((layer) => layer.digest) };
    const config = putJson(dir, { ...platform, rootfs }, MEDIA.config);
    const body = { schemaVersion: 2, mediaType: MEDIA.manifest, config, layers };
    return { ...putJson(dir, body, MEDIA.manifest), platform };
  };
  const windows = other({ os: 'windows', architecture: 'amd64' }, MEDIA.layerTar);
  const both = putIndex(dir, [image, windows], 'both');
  const run = await expectCli(0, ['optimize', both, 'oci:kept:v1', '--no-profile'], { cwd });
  assert.match(run.stderr, /warning: windows\/amd64 sha256:\S+ is kept as it is/);
  assert.equal(tagged(at('kept'), 'v1').manifests[1]!.digest, windows.digest);
  const report = documentOf<IndexReport>(await expectCli(0, ['verify', both, 'oci:kept:v1', '--json'], { cwd }));
  assert.deepEqual([report.ok, report.unchanged], [true, 1]);
  // Alone there is nothing to do, which is said; to run it is refused.
  const alone = await expectCli(0, ['optimize', both, 'oci:kept:w', '--platform', 'windows/amd64'], { cwd });
  assert.match(alone.stderr, /windows\/amd64 sha256:\S+ is kept as it is: it is for windows/);
  const archive = ['optimize', both, 'docker-archive:w.tar:a:b', '--platform', 'windows/amd64'];
  assert.match((await expectCli(2, archive, { cwd })).stderr, /cannot hold an image that is not rewritten/);

  const locked = other(OTHER, `${MEDIA.layerGzip}+encrypted`);
  const secret = putIndex(dir, [image, locked], 'secret');
  const refused = await expectCli(3, ['optimize', secret, 'oci:never:v1', '--no-profile'], { cwd });
  assert.match(refused.stderr, /layer 0 \(sha256:\S+\): is encrypted/);
  assert.match(refused.stderr, /skopeo copy --decryption-key/);
  assert.ok(!existsSync(at('never')));
});

test('from one repository to another, and to a layout', { skip: lacking('docker-registry', 'skopeo') }, async (t) => {
  const registry = await startRegistry(t);
  const [app, hot] = [`${registry.host}/team/app:1`, `${registry.host}/team/app:1-hot`];
  const copy = ['--insecure-policy', 'copy', '-q', '--all', '--dest-tls-verify=false'];
  execFileSync('skopeo', [...copy, built.reference, `docker://${app}`], { stdio: 'pipe' });
  const run = await expectCli(0, ['optimize', app, hot, '-p', 'p.json', '--json'], { cwd });
  const whole = documentOf<OptimizeIndexResult>(run);
  assert.equal(whole.platforms.length, 3);
  assert.equal(storedTag(registry, 'team/app', '1-hot'), whole.manifest!.digest);
  const verified = await expectCli(0, ['verify', app, hot], { cwd });
  assert.match(verified.stdout, /verified: 3 platforms, 3 other manifests the same, and the index around them/);
  const raw = execFileSync('skopeo', ['inspect', '--raw', '--tls-verify=false', `docker://${hot}`], { stdio: 'pipe' });
  assert.equal((JSON.parse(String(raw)) as Index).manifests.length, 6);
});

test('killed at any moment: the tag leads to the old index or the new one, whole', async () => {
  const big = (n: number) => ({
    platform: [HOST, OTHER, V7][n]!,
    layers: [tarOf(file('noise', noise(1 << 19, n + 1))), tarOf(file('small', `${n}`))],
  });
  const source = buildIndex(at('big'), [0, 1, 2].map(big)).reference;
  await optimizeAll(built.reference, `oci:${at('killed')}:v1`);
  const old = tableOf(at('killed')).manifests[0]!.digest;
  let whole = 0;
  for (const part of [undefined, 0.55, 0.75, 0.95, undefined]) {
    const started = performance.now();
    const run = startCli(['optimize', source, 'oci:killed:v1', '--no-profile'], { cwd });
    if (part !== undefined) {
      await sleep(whole * part);
      run.child.kill('SIGKILL');
    }
    const { status } = await run.done;
    whole ||= performance.now() - started;
    const now = tableOf(at('killed')).manifests;
    assert.equal(now.length, 1);
    const isOld = now[0]!.digest === old;
    if (part === undefined) assert.deepEqual([status, isOld], [0, false]);
    assert.equal((await verifyAll(isOld ? built.reference : source, `oci:${at('killed')}:v1`)).ok, true);
    // So that the next has something to replace.
    if (!isOld) await optimizeAll(built.reference, `oci:${at('killed')}:v1`);
  }
  const staged = () => [...readdirSync(cwd), ...readdirSync(at('killed'))].filter((name) => name.startsWith('.'));
  for (let tries = 0; staged().length > 0 && tries < 60; tries++) await sleep(50);
  assert.deepEqual(staged(), []);
});
