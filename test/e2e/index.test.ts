// A multi-platform image with attestations, an SBOM and a signature, through the command: one profile for all platforms.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Profile } from '../../src/analyze/types.js';
import { openIndex } from '../../src/image/open-index.js';
import type { Descriptor, Index, Manifest } from '../../src/image/types.js';
import type { OptimizeIndexResult } from '../../src/rewrite/optimize-index.js';
import type { IndexReport } from '../../src/rewrite/verify/verify-index.js';
import { makeTempDir } from '../../src/temp.js';
import { type BuiltIndex, buildIndex, IN_TOTO, putReferrer } from '../support/index-layout.js';
import { buildLayout } from '../support/layout.js';
import { dir, file, symlink, tarOf } from '../support/tar.js';
import { lacking } from '../support/tools.js';
import { documentOf, expectCli } from './cli.js';
import { handProfile } from './hand-profile.js';

const temp = makeTempDir(undefined, 'hl-e2e-index');
const cwd = temp.path;
const at = (name: string) => join(cwd, name);
after(() => temp.remove());

/** A small Debian-like root file system of one architecture. */
function rootFs(tuple: string, loader: string, libc: number): Buffer[] {
  return [
    tarOf(
      dir('usr/'),
      dir('usr/lib/'),
      dir(`usr/lib/${tuple}/`),
      file(`usr/lib/${tuple}/libcold.so.1`, 'c'.repeat(50_000)),
      file(`usr/lib/${tuple}/libc.so.6`, tuple.repeat(libc)),
      symlink('lib', 'usr/lib'),
      file(loader, `loader of ${tuple}`),
    ),
    tarOf(
      dir('app/'),
      file('app/data', 'd'.repeat(9_000)),
      file('app/main.py', 'print(1)'),
      file(`app/_speed.cpython-311-${tuple}.so`, `speed ${tuple}`),
    ),
  ];
}

const AMD = { os: 'linux', architecture: 'amd64' };
const ARM = { os: 'linux', architecture: 'arm64' };
let built: BuiltIndex;
let sbom: Descriptor;
let signature: Descriptor;
let plain: string;

before(() => {
  built = buildIndex(at('src'), [
    { platform: AMD, layers: rootFs('x86_64-linux-gnu', 'usr/lib64/ld-linux-x86-64.so.2', 900) },
    { platform: ARM, layers: rootFs('aarch64-linux-gnu', 'usr/lib/ld-linux-aarch64.so.1', 500) },
  ]);
  sbom = putReferrer(at('src'), built.images[0]!.manifest, 'application/spdx+json', '{"packages":[]}');
  signature = putReferrer(at('src'), built.index, 'application/vnd.dev.cosign.artifact.sig.v1+json', 'sig');
  putReferrer(at('src'), built.attestations[0]!, 'application/vnd.dev.cosign.artifact.sig.v1+json', 'of attestation');
  writeFileSync(at('amd64.profile.json'), JSON.stringify(profile()));
  plain = buildLayout(at('plain'), { platform: ARM, layers: rootFs('aarch64-linux-gnu', 'usr/lib/x', 5) }).reference;
});

function profile(): Profile {
  return handProfile({ reference: built.reference, digest: built.images[0]!.manifest.digest }, AMD, [
    ['/usr/lib64/ld-linux-x86-64.so.2', 0, 26],
    ['/usr/lib/x86_64-linux-gnu/libc.so.6', 0, 14_400],
    ['/app/main.py', 1, 8],
    ['/app/_speed.cpython-311-x86_64-linux-gnu.so', 1, 22],
  ]);
}

describe('an index stays an index', () => {
  test('optimize carries the profile to every platform, verify checks each', async () => {
    const args = ['optimize', built.reference, 'oci:hot:v1', '-p', 'amd64.profile.json', '--save-plan', 'plan.json'];
    const run = await expectCli(0, [...args, '--json'], { cwd });
    const whole = documentOf<OptimizeIndexResult>(run);
    assert.deepEqual(
      whole.platforms.map(({ platform, coverage }) => [platform, coverage!.found, coverage!.wanted, coverage!.renamed]),
      [
        ['linux/amd64', 4, 4, 0],
        ['linux/arm64', 4, 4, 3],
      ],
    );
    const hot = whole.platforms[1]!.plan.layers.map((layer) => layer.hot.map((entry) => entry.path));
    assert.ok(hot[0]!.includes('usr/lib/aarch64-linux-gnu/libc.so.6'), String(hot));
    assert.ok(hot[0]!.includes('usr/lib/ld-linux-aarch64.so.1'), String(hot));
    assert.ok(hot[1]!.includes('app/_speed.cpython-311-aarch64-linux-gnu.so'), String(hot));
    assert.ok(!hot.flat().includes('usr/lib/aarch64-linux-gnu/libcold.so.1'));
    for (const name of ['plan.linux-amd64.json', 'plan.linux-arm64.json']) assert.ok(existsSync(at(name)), name);

    const report = documentOf<IndexReport>(
      await expectCli(0, ['verify', built.reference, 'oci:hot:v1', '--json'], { cwd }),
    );
    assert.deepEqual([report.ok, report.platforms.map((p) => p.platform)], [true, ['linux/amd64', 'linux/arm64']]);
    await expectCli(0, ['verify', built.reference, 'oci:hot:v1', '--plan', 'plan.linux-arm64.json'], { cwd });
  });

  test('attestations are pointed to the new manifests, and named', async () => {
    await using index = await openIndex(`oci:${at('hot')}:v1`);
    const news = index.images.map((image) => image.descriptor.digest);
    const attestations = index.entries.flatMap((entry) => (entry.kind === 'attestation' ? [entry] : []));
    assert.deepEqual(
      attestations.map((entry) => entry.subject),
      news,
    );
    assert.deepEqual(
      attestations.map((entry) => entry.descriptor.digest),
      built.attestations.map((descriptor) => descriptor.digest),
    );
    for (const { descriptor } of attestations) {
      const manifest = JSON.parse(String(await index.readManifest(descriptor))) as Manifest;
      assert.equal(manifest.layers[0]!.mediaType, IN_TOTO);
      const parts: Buffer[] = [];
      for await (const part of index.openBlob(manifest.layers[0]!)) parts.push(part as Buffer);
      assert.equal(Buffer.concat(parts).length, manifest.layers[0]!.size);
    }
    assert.deepEqual(index.document!.annotations, { 'org.opencontainers.image.vendor': 'v' });
  });

  test('an SBOM follows the image, a signature over the old digest does not, one over what is unchanged does', async () => {
    await using index = await openIndex(`oci:${at('hot')}:v1`);
    const found = (await index.referrers()).map((r) => [r.artifactType, r.subject]);
    assert.deepEqual(
      found.sort(),
      [
        ['application/spdx+json', index.images[0]!.descriptor.digest],
        ['application/vnd.dev.cosign.artifact.sig.v1+json', built.attestations[0]!.digest],
      ].sort(),
    );
    assert.ok(!(await index.referrers()).some((r) => r.descriptor.digest === sbom.digest));
    const run = await expectCli(0, ['optimize', built.reference, 'oci:again:v1', '--no-profile'], { cwd });
    assert.match(run.stderr, new RegExp(`cosign\\S* ${signature.digest}.*was not copied.*no longer verify`));
    assert.match(
      run.stderr,
      new RegExp(`attestation ${built.attestations[1]!.digest}.*still names ${built.images[1]!.manifest.digest}`),
    );
    assert.match(run.stderr, new RegExp(`application/spdx\\+json ${sbom.digest} was taken along as sha256:`));
  });

  test('the same input gives the same bytes, into an archive, too; referrers are kept when a tag is replaced', async () => {
    const digestOf = async (target: string) =>
      documentOf<OptimizeIndexResult>(
        await expectCli(0, ['optimize', built.reference, target, '-p', 'amd64.profile.json', '--json'], { cwd }),
      ).manifest!.digest;
    const first = await digestOf('oci-archive:hot.tar:v1');
    assert.equal(await digestOf('oci:hot:v1'), first);
    const table = JSON.parse(readFileSync(at('hot/index.json'), 'utf8')) as Index;
    assert.equal(table.manifests.length, 3);
    assert.equal(table.manifests.filter((d) => d.digest === first).length, 1);
    await expectCli(0, ['verify', built.reference, 'oci-archive:hot.tar:v1'], { cwd });
  });

  test('--platform writes that image alone, and verify finds it in the index', async () => {
    const args = ['optimize', built.reference, 'oci:one:v1', '--platform', 'linux/arm64', '-p', 'amd64.profile.json'];
    const { result, plan } = documentOf<{ result: { manifest: Descriptor }; plan: { missed: unknown[] } }>(
      await expectCli(0, [...args, '--json'], { cwd }),
    );
    assert.deepEqual(plan.missed, []);
    const table = JSON.parse(readFileSync(at('one/index.json'), 'utf8')) as Index;
    assert.deepEqual(
      table.manifests.map((d) => d.digest),
      [result.manifest.digest],
    );
    const report = await expectCli(0, ['verify', built.reference, 'oci:one:v1'], { cwd });
    assert.match(report.stdout, /verified: only order and compression differ/);
  });

  test('docker-archive holds one image: that of this machine, with a warning', async () => {
    const run = await expectCli(0, ['optimize', built.reference, 'docker-archive:d.tar:a/b:c', '--no-profile'], {
      cwd,
    });
    assert.match(run.stderr, /can hold one image only: that for linux\//);
    await expectCli(0, ['verify', built.reference, 'docker-archive:d.tar'], { cwd });
  });

  test('an index that differs is not verified', async () => {
    const run = await expectCli(1, ['verify', 'oci:hot:v1', plain], { cwd });
    assert.match(run.stdout, /NOT the same image/);
    const dropped = buildIndex(at('dropped'), [
      { platform: AMD, layers: rootFs('x86_64-linux-gnu', 'usr/lib64/ld-linux-x86-64.so.2', 900) },
    ]);
    const missing = await expectCli(1, ['verify', built.reference, dropped.reference], { cwd });
    assert.match(missing.stdout, /FAIL {2}index {2}the image for linux\/arm64 is missing/);
    assert.match(missing.stdout, /NOT the same index/);
  });

  test('--plan is of one image', async () => {
    const args = ['optimize', built.reference, 'oci:x:y', '--plan', 'plan.linux-amd64.json'];
    const run = await expectCli(2, args, { cwd });
    assert.match(run.stderr, /--plan is of one image, .* has 2/);
    assert.ok(!existsSync(at('x')));
    await expectCli(0, [...args, '--platform', 'linux/amd64'], { cwd });
  });

  test('skopeo copies the whole index and what it says is what we wrote', { skip: lacking('skopeo') }, () => {
    const skopeo = ['--insecure-policy', 'copy', '-q', '--all'];
    execFileSync('skopeo', [...skopeo, 'oci:hot:v1', 'oci:copied:v1'], { cwd, stdio: 'pipe' });
    const [entry] = (JSON.parse(readFileSync(at('copied/index.json'), 'utf8')) as Index).manifests;
    const ours = JSON.parse(readFileSync(at('hot/index.json'), 'utf8')) as Index;
    assert.ok(ours.manifests.some((d) => d.digest === entry!.digest));
  });
});
