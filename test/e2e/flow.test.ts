// profile → optimize → verify → inspect on a small real image, each command as a user types it.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import type { Forecast } from '../../src/analyze/simulate/forecast.js';
import type { Plan, Profile } from '../../src/analyze/types.js';
import type { ImageInspection } from '../../src/rewrite/inspect/inspect.js';
import type { OptimizeResult } from '../../src/rewrite/optimize.js';
import { makeTempDir } from '../../src/temp.js';
import type { BuiltLayout } from '../support/layout.js';
import { command } from '../support/mount.js';
import { lacking } from '../support/tools.js';
import { documentOf, expectCli, noFuse } from './cli.js';
import { needs, SAYS, sampleImage } from './sample.js';

interface Optimized {
  readonly plan: Plan;
  readonly result?: OptimizeResult;
}

/** Regular files that the workload reads, and no others. */
const READ = [
  ...new Set([...needs('sh'), ...needs('cat')]),
  '/app/run.sh',
  '/app/data.txt',
  '/etc/app/settings',
  '/etc/group',
  '/etc/motd',
  '/etc/passwd',
].sort();

const temp = makeTempDir(undefined, 'hl-e2e-flow');
const at = (name: string) => join(temp.path, name);
after(() => temp.remove());
const cwd = temp.path;

let image: BuiltLayout;
before(() => {
  image = sampleImage(at('image'));
});

/** Names of a layer's entries in the order of the tar, without slashes at the end. */
function entriesOf(layout: string, tag: string): string[][] {
  const blob = (digest: string) => readFileSync(join(layout, 'blobs/sha256', digest.slice(7)));
  const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8'));
  const entry = index.manifests.find(
    (m: { annotations?: Record<string, string> }) => m.annotations?.['org.opencontainers.image.ref.name'] === tag,
  );
  const manifest = JSON.parse(blob(entry.digest).toString());
  return manifest.layers.map((layer: { digest: string }) => namesOf(gunzipSync(blob(layer.digest))));
}

/** The names in a ustar archive without long names: read here by hand, block by block. */
function namesOf(tar: Buffer): string[] {
  const names: string[] = [];
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0; ) {
    const text = (from: number, length: number) =>
      tar.toString('latin1', at + from, at + from + length).split('\0')[0]!;
    const size = Number.parseInt(text(124, 12).trim(), 8);
    if (!'xg'.includes(text(156, 1))) names.push(text(0, 100).replace(/\/$/, ''));
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return names;
}

describe('on a tracing mount', { skip: noFuse() }, () => {
  let profile: Profile;
  before(async () => {
    const { stdout, stderr } = await expectCli(0, ['profile', 'oci:image:latest', '-o', 'app.profile.json'], { cwd });
    assert.match(stdout, /^Startup profile +median ± MAD +min … max +3 runs$/m);
    assert.match(stdout, new RegExp(`^Files read +${READ.length} ± 0 .*${READ.length} in every run`, 'm'));
    assert.ok(!stdout.includes('starting'), "the workload's output is not ours");
    assert.equal(stderr.split(SAYS).length - 1, 3, 'the workload is heard once a run');
    assert.match(stderr, /^oci:image:latest {2}sha256:[0-9a-f]{12}… {2}linux\/\S+ {2}3 layers, /m);
    for (const run of [1, 2, 3]) assert.match(stderr, new RegExp(`^ {2}run ${run}/3 {2}ready .* files `, 'm'));
    assert.match(stderr, /^Wrote app\.profile\.json \(3 runs, \d+ paths\)\.$/m);
    assert.match(stderr, /^Next: hotlayer optimize oci:image:latest TARGET -p app\.profile\.json$/m);
    profile = JSON.parse(readFileSync(at('app.profile.json'), 'utf8'));
  });

  test('the profile: exactly what was read, by whom, of which layer', () => {
    assert.equal(profile.complete, true);
    assert.equal(profile.image.digest, image.manifest.digest);
    assert.deepEqual(profile.workload, { args: ['/bin/sh', '/app/run.sh'], user: 'app', cwd: '/app' });
    const read = profile.files.filter((f) => f.type === 'reg');
    assert.deepEqual(read.map((f) => f.path).sort(), READ);
    assert.ok(read.every((f) => f.openedIn === 3));
    const of = (path: string) => profile.files.find((f) => f.path === path)!;
    assert.deepEqual(
      ['/etc/passwd', '/etc/motd', '/app/data.txt', '/etc/app/settings'].map((path) => of(path).layer),
      [0, 1, 1, 2],
    );
    assert.deepEqual(of('/app/data.txt').ranges, [[0, 16, 3]]);
    assert.equal(of('/usr/bin/cat').executed, true);
    assert.ok(of('/etc/passwd').firstAccess.max < 0, 'read by the runner, before the workload started');
    assert.deepEqual(
      profile.files.filter((f) => f.type === 'symlink').map((f) => f.path),
      [
        ...new Set(['/app/conf', '/bin', ...needs('sh').map((path) => path.replace(/^\/usr(\/[^/]+)\/.*/, '$1'))]),
      ].sort(),
    );
  });

  test('look-ups of what is not there are counted', () => {
    assert.equal(profile.misses.directories.find(({ path }) => path === '/app')?.count, 2 * 3);
    assert.ok(profile.misses.total >= 6);
  });

  test('optimize by it, verify, inspect', async () => {
    const optimized = await expectCli(
      0,
      ['optimize', 'oci:image:latest', 'oci:hot:v1', '-p', 'app.profile.json', '--save-plan', 'plan.json'],
      { cwd },
    );
    assert.match(optimized.stdout, /^ +layer +entries +hot +size before → after +prefetch/m);
    assert.match(optimized.stdout, /^Wrote oci:hot:v1 {2}sha256:[0-9a-f]{64} {2}in /m);
    assert.match(
      optimized.stderr,
      /^warning: layer 2: "app\/elsewhere": a hardlink to "app\/run\.sh", which is in layer 1: stored as a copy/m,
    );

    const plan: Plan = JSON.parse(readFileSync(at('plan.json'), 'utf8'));
    assert.deepEqual(plan.missed, []);
    const layers = entriesOf(at('hot'), 'v1');
    for (const [i, names] of layers.entries()) {
      const landmark = names.indexOf('.prefetch.landmark');
      assert.deepEqual(
        names.slice(0, landmark),
        plan.layers[i]!.hot.map((entry) => entry.path),
        `layer ${i} before its landmark`,
      );
      assert.ok(!names.includes('.no.prefetch.landmark'));
    }
    const hot = layers.flatMap((names) => names.slice(0, names.indexOf('.prefetch.landmark')));
    for (const path of READ) assert.ok(hot.includes(path.slice(1)), `${path} is hot`);
    for (const cold of ['app/unread.bin', 'srv/gone', 'srv/.wh.gone', 'usr/bin/sleep'])
      assert.ok(!hot.includes(cold), `${cold} is not hot`);
    assert.equal(layers[0]![0], 'etc', 'a parent comes first');
    assert.equal(layers[0]![1], 'etc/passwd', 'what is read first comes first');

    const verified = await expectCli(0, ['verify', 'oci:image:latest', 'oci:hot:v1', '--plan', 'plan.json'], { cwd });
    assert.equal(verified.stdout.match(/^PASS /gm)?.length, 6);
    assert.match(verified.stdout, /^verified: only order and compression differ$/m);
    assert.equal(verified.stderr, '');

    const inspected = await expectCli(0, ['inspect', 'oci:hot:v1', '-p', 'app.profile.json'], { cwd });
    assert.equal(inspected.stdout.match(/^ {2}[012] +estargz .* at /gm)?.length, 3);
    assert.match(inspected.stdout, /^ {2}1 +3 .*3 \(100 %\)/m);
    assert.equal(inspected.stderr, '');
    const doc = documentOf<ImageInspection>(await expectCli(0, ['inspect', 'oci:hot:v1', '--json'], { cwd }));
    assert.deepEqual(
      doc.layers.map((layer) => layer.stargz?.landmark?.kind),
      ['prefetch', 'prefetch', 'prefetch'],
    );
    // A blob by itself: the same numbers.
    const blob = join('hot/blobs/sha256', doc.layers[1]!.digest.slice(7));
    const alone = documentOf<ImageInspection['layers'][number]>(
      await expectCli(0, ['inspect', blob, '--json'], { cwd }),
    );
    assert.deepEqual(
      [alone.digest, alone.entries, alone.members, alone.stargz?.landmark],
      [doc.layers[1]!.digest, doc.layers[1]!.entries, doc.layers[1]!.members, doc.layers[1]!.stargz?.landmark],
    );
  });

  test('config, history and annotations are kept; the diff_ids are those of the new layers', () => {
    const json = (layout: string, digest: string) =>
      JSON.parse(readFileSync(join(at(layout), 'blobs/sha256', digest.slice(7)), 'utf8'));
    const index = JSON.parse(readFileSync(join(at('hot'), 'index.json'), 'utf8'));
    const manifest = json('hot', index.manifests[0].digest);
    assert.equal(manifest.annotations['org.example.note'], 'kept');
    const { rootfs, ...config } = json('hot', manifest.config.digest);
    const { rootfs: old, ...before } = json('image', image.config.digest);
    assert.deepEqual(config, before);
    assert.equal(rootfs.diff_ids.length, old.diff_ids.length);
    for (const layer of manifest.layers) {
      assert.match(layer.annotations['containerd.io/snapshot/stargz/toc.digest'], /^sha256:[0-9a-f]{64}$/);
    }
  });

  test('what other tools extract is the same tree', { skip: lacking('umoci') }, () => {
    for (const [name, from] of [
      ['before', `image:latest`],
      ['after', `hot:v1`],
    ] as const) {
      const { status, stderr } = command('umoci', ['unpack', '--rootless', '--image', from, `bundle-${name}`], cwd);
      assert.equal(status, 0, stderr);
    }
    const list = (name: string) =>
      command('find', ['.', '-printf', '%p %y %m %n %s %l %T@\n'], join(at(`bundle-${name}`), 'rootfs'))
        .stdout.split('\n')
        // The top directory's time is that of the unpacking; a link across layers may become a copy.
        .filter((line) => !line.startsWith('. ') && !/^\.\/app\/(run\.sh|elsewhere) /.test(line))
        .sort();
    const [before, after] = [list('before'), list('after')];
    assert.ok(before.some((line) => line.startsWith('./srv/old/fresh ')));
    assert.ok(!before.some((line) => line.includes('gone') || line.includes('hidden')));
    assert.deepEqual(
      after.filter((line) => !/landmark|stargz\.index/.test(line)),
      before,
    );
  });

  test('optimize -- CMD profiles that command first', async () => {
    const args = [
      'optimize',
      'oci:image',
      'oci:cmd',
      '-r',
      '1',
      '--entrypoint',
      '',
      '--json',
      '--',
      '/bin/cat',
      '/etc/motd',
    ];
    const { plan } = documentOf<Optimized>(await expectCli(0, args, { cwd }));
    const hot = plan.layers.flatMap((layer) => layer.hot.map((entry) => entry.path));
    assert.ok(hot.includes('usr/bin/cat') && hot.includes('etc/motd'));
    assert.ok(!hot.includes('usr/bin/sh') && !hot.includes('app/run.sh'));
    await expectCli(0, ['verify', 'oci:image', 'oci:cmd'], { cwd });
  });

  test('optimize without anything runs what the image runs', async () => {
    const { plan } = documentOf<Optimized>(
      await expectCli(0, ['optimize', 'oci:image', 'oci:own', '-r', '1', '--json'], { cwd }),
    );
    assert.ok(plan.layers[1]!.hot.some((entry) => entry.path === 'app/run.sh'));
  });

  test('--dry-run --save-plan writes the plan only; --plan carries it out to the same image', async () => {
    const dry = await expectCli(
      0,
      [
        'optimize',
        'oci:image',
        'oci:dry:v1',
        '-p',
        'app.profile.json',
        '--dry-run',
        '--save-plan',
        'dry.json',
        '--json',
      ],
      { cwd },
    );
    assert.equal(existsSync(at('dry')), false);
    assert.equal(documentOf<Optimized>(dry).result, undefined);
    assert.deepEqual(documentOf<Optimized>(dry).plan, JSON.parse(readFileSync(at('dry.json'), 'utf8')));
    const args = (target: string, ...how: string[]) => ['optimize', 'oci:image', target, '--json', ...how];
    const byPlan = await expectCli(0, args('oci:by-plan', '--plan', 'dry.json'), { cwd });
    const byProfile = await expectCli(0, args('oci:by-profile', '-p', 'app.profile.json'), { cwd });
    assert.equal(
      documentOf<Optimized>(byPlan).result?.manifest.digest,
      documentOf<Optimized>(byProfile).result?.manifest.digest,
    );
  });

  test('the verdict is on the reader that the image is made for', async () => {
    const verdictFor = async (reader: string) => {
      const args = [
        'optimize',
        'oci:image',
        'oci:x',
        '-p',
        'app.profile.json',
        '--dry-run',
        '--reader',
        reader,
        '--json',
      ];
      const { forecast } = documentOf<{ forecast: Forecast }>(await expectCli(0, args, { cwd }));
      const { verdict, networks } = forecast;
      const sooner = networks.every(({ variants }) => variants[verdict.of].ready.median < variants.full.ready.median);
      assert.equal(verdict.lazy, sooner, reader);
      assert.equal(verdict.crossover.length, networks.length);
      return verdict.of;
    };
    assert.deepEqual(
      [await verdictFor('stargz'), await verdictFor('both'), await verdictFor('hotlayer')],
      ['plan', 'plan', 'run'],
    );
  });

  test('--max-prefetch caps the uncompressed bytes, and says what was left out', async () => {
    const args = ['optimize', 'oci:image', 'oci:capped', '-p', 'app.profile.json', '--max-prefetch', '1MiB'];
    const { stderr } = await expectCli(0, args, { cwd });
    assert.match(
      stderr,
      /1 profiled path is not placed:\n {2}\/usr\/lib.*libc\S* – left out by --max-prefetch 1\.00 MiB/,
    );
    const { plan } = documentOf<Optimized>(await expectCli(0, [...args, '--json', '--dry-run'], { cwd }));
    assert.ok(plan.layers.reduce((sum, layer) => sum + layer.hotBytes, 0) <= 1024 * 1024);
    assert.equal(plan.missed.length, 1);
  });

  test('several workloads: one plan, and what it costs each of them', async () => {
    await expectCli(
      0,
      ['profile', 'oci:image', '-r', '1', '-o', 'other.json', '--entrypoint', '', '--', '/bin/cat', '/srv/old/fresh'],
      { cwd },
    );
    const args = ['optimize', 'oci:image', 'oci:x', '-p', 'app.profile.json=3', '-p', 'other.json', '--dry-run'];
    const { plan } = documentOf<Optimized>(await expectCli(0, [...args, '--json'], { cwd }));
    const top = plan.layers[2]!.hot.map((entry) => entry.path);
    assert.ok(top.includes('srv/old/fresh') && top.includes('etc/app/settings'), String(top));
    assert.deepEqual(
      plan.model?.workloads?.map(({ name, weight }) => [name, weight]),
      [
        ['app', 3],
        ['other', 1],
      ],
    );
    const { stdout } = await expectCli(0, [...args, '--minimize-worst'], { cwd });
    assert.match(stdout, /^Workload +weight .* loses\napp +3 .* %\nother +1 .* %$/m);
    const wrong = await expectCli(2, [...args, '-p', 'other.json=much'], { cwd });
    assert.match(wrong.stderr, /--profile other\.json=much: "much" is not a weight/);
  });
});

test('--no-profile: plain eStargz, nothing prioritized, no mount needed', async () => {
  const { stdout } = await expectCli(0, ['optimize', 'oci:image', 'oci:plain:t', '--no-profile'], { cwd });
  assert.match(stdout, /^ {2}0 +24 +0 .* none$/m);
  for (const names of entriesOf(at('plain'), 't')) {
    assert.equal(names[0], '.no.prefetch.landmark');
    assert.ok(!names.includes('.prefetch.landmark'));
  }
  await expectCli(0, ['verify', 'oci:image', 'oci:plain:t'], { cwd });
});
