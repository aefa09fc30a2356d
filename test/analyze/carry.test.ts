// Profiles carried from one platform to another: every spelling of the architecture, and what has no counterpart.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { carryProfile, counterparts } from '../../src/analyze/carry.js';
import type { ViewNode } from '../../src/analyze/tree-view.js';
import type { Profile, ProfileFile } from '../../src/analyze/types.js';

const platform = (architecture: string, variant?: string) => ({
  os: 'linux',
  architecture,
  ...(variant === undefined ? {} : { variant }),
});
const AMD = platform('amd64');

test('the names of architectures in paths', () => {
  const rows: [string, string, string, string?][] = [
    ['/usr/lib/x86_64-linux-gnu/libc.so.6', '/usr/lib/aarch64-linux-gnu/libc.so.6', 'arm64'],
    ['/usr/lib/x86_64-linux-gnu/libc.so.6', '/usr/lib/arm-linux-gnueabihf/libc.so.6', 'arm', 'v7'],
    ['/usr/lib/x86_64-linux-gnu/libc.so.6', '/usr/lib/arm-linux-gnueabi/libc.so.6', 'arm', 'v5'],
    ['/usr/lib/x86_64-linux-gnu/perl/5.36/auto', '/usr/lib/i386-linux-gnu/perl/5.36/auto', '386'],
    ['/usr/lib/x86_64-linux-gnu/a', '/usr/lib/riscv64-linux-gnu/a', 'riscv64'],
    ['/usr/lib/x86_64-linux-gnu/a', '/usr/lib/s390x-linux-gnu/a', 's390x'],
    ['/usr/lib/x86_64-linux-gnu/a', '/usr/lib/powerpc64le-linux-gnu/a', 'ppc64le'],
    [
      '/usr/lib/python3/dist-packages/_m.cpython-311-x86_64-linux-gnu.so',
      '/usr/lib/python3/dist-packages/_m.cpython-311-aarch64-linux-gnu.so',
      'arm64',
    ],
    [
      '/usr/lib/python3.12/x.cpython-312-x86_64-linux-musl.so',
      '/usr/lib/python3.12/x.cpython-312-s390x-linux-musl.so',
      's390x',
    ],
    ['/lib/ld-musl-x86_64.so.1', '/lib/ld-musl-aarch64.so.1', 'arm64'],
    ['/lib/ld-musl-x86_64.so.1', '/lib/ld-musl-armhf.so.1', 'arm', 'v6'],
    [
      '/usr/lib/jvm/java-17-openjdk-amd64/lib/server/libjvm.so',
      '/usr/lib/jvm/java-17-openjdk-ppc64el/lib/server/libjvm.so',
      'ppc64le',
    ],
    ['/app/node_modules/@esbuild/linux-x64/bin/esbuild', '/app/node_modules/@esbuild/linux-arm64/bin/esbuild', 'arm64'],
    ['/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2', '/usr/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1', 'arm64'],
    ['/var/lib/gems/x86_64-linux/a', '/var/lib/gems/aarch64-linux/a', 'arm64'],
    // Not the name of an architecture.
    ['/opt/myamd64tool/x86_641', '/opt/myamd64tool/x86_641', 'arm64'],
    ['/etc/passwd', '/etc/passwd', 'arm64'],
  ];
  for (const [path, want, ...to] of rows) {
    const there = platform(to[0], to[1]);
    assert.equal(counterparts(path, AMD, there)[0], want);
    assert.ok(counterparts(path, AMD, there).includes(path));
    // And back: among the candidates at least, when the way there lost nothing.
    assert.ok(counterparts(want, there, AMD).includes(path), `${want} back to ${path}`);
  }
  assert.deepEqual(counterparts('/lib64/x86_64', AMD, platform('amd64', 'v3')), ['/lib64/x86_64']);
  assert.deepEqual(counterparts('/usr/lib/x86_64-linux-gnu/a', AMD, platform('vax')), ['/usr/lib/x86_64-linux-gnu/a']);
});

test('loaders are looked for where the other architecture has them', () => {
  const arm = platform('arm64');
  const amd = counterparts('/lib/ld-linux-aarch64.so.1', arm, AMD);
  assert.ok(amd.includes('/lib64/ld-linux-x86-64.so.2'), String(amd));
  assert.ok(counterparts('/lib64/ld-linux-x86-64.so.2', AMD, arm).includes('/lib/ld-linux-aarch64.so.1'));
  const s390 = counterparts('/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2', AMD, platform('s390x'));
  assert.ok(s390.includes('/usr/lib/s390x-linux-gnu/ld64.so.1') && s390.includes('/lib/ld64.so.1'), String(s390));
  const hwcaps = counterparts('/usr/lib/x86_64-linux-gnu/glibc-hwcaps/x86-64-v3/libz.so.1', AMD, arm);
  assert.ok(hwcaps.includes('/usr/lib/aarch64-linux-gnu/libz.so.1'));
});

const flat = (value: number) => ({ median: value, mad: 0, min: value, max: value });

function fileOf(path: string, size: number, over: Partial<ProfileFile> = {}): ProfileFile {
  return {
    path,
    type: 'reg',
    layer: 0,
    size,
    seenIn: 2,
    openedIn: 2,
    probability: { estimate: 1, low: 0.34238, high: 1 },
    firstAccess: flat(1000),
    bytesRead: flat(Math.min(size, 10)),
    reads: 1,
    ranges: size > 0 ? [[0, Math.min(size, 10), 2]] : [],
    comms: ['sh'],
    ...over,
  };
}

function profileOf(files: ProfileFile[]): Profile {
  return {
    schemaVersion: 2,
    tool: 'test',
    image: { reference: 'r', files: 1, bytes: 1 },
    platform: AMD,
    workload: { args: ['a'], user: '0', cwd: '/' },
    precision: 'exact',
    until: ['exit'],
    complete: true,
    runs: [],
    agreement: { runs: 0, files: 1, bytes: 1 },
    outliers: [],
    modes: [],
    advice: { undecided: 0, moreRuns: 0, settles: 0 },
    files,
    misses: { total: 0, directories: [] },
  };
}

test('a profile on another platform: sizes, ranges, coverage, what is missed', () => {
  const tree = new Map<string, ViewNode>([
    ['/app/main.py', { path: '/app/main.py', type: 'reg', size: 100, layer: 3 }],
    ['/usr/lib/aarch64-linux-gnu/libc.so.6', { path: '', type: 'reg', size: 900, layer: 1 }],
    ['/lib/ld-linux-aarch64.so.1', { path: '', type: 'symlink', size: 0, layer: 1 }],
    ['/etc', { path: '/etc', type: 'dir', size: 0, layer: 0 }],
    ['/now/dir', { path: '/now/dir', type: 'dir', size: 0, layer: 0 }],
  ]);
  const { profile, coverage } = carryProfile(
    profileOf([
      fileOf('/usr/lib/x86_64-linux-gnu/libonly.so', 50),
      fileOf('/app/main.py', 100),
      fileOf('/usr/lib/x86_64-linux-gnu/libc.so.6', 1000),
      fileOf('/lib64/ld-linux-x86-64.so.2', 0, { type: 'symlink', ranges: [], bytesRead: flat(0) }),
      fileOf('/etc', 0, { type: 'dir' }),
      fileOf('/now/dir', 7),
      fileOf('/only/stated', 5, { openedIn: 0, ranges: [], bytesRead: flat(0) }),
    ]),
    AMD,
    platform('arm64'),
    (path) => tree.get(path),
  );
  assert.deepEqual(coverage, {
    wanted: 5,
    found: 3,
    renamed: 2,
    bytes: 1000,
    wantedBytes: 1157,
    missed: ['/now/dir', '/usr/lib/x86_64-linux-gnu/libonly.so'],
  });
  assert.deepEqual(profile.platform, platform('arm64'));
  const by = new Map(profile.files.map((file) => [file.path, file]));
  assert.deepEqual([...by.keys()], [...by.keys()].sort());
  const main = by.get('/app/main.py')!;
  assert.deepEqual([main.layer, main.size, main.ranges], [3, 100, [[0, 10, 2]]]);
  const libc = by.get('/usr/lib/aarch64-linux-gnu/libc.so.6')!;
  assert.deepEqual([libc.layer, libc.size, libc.ranges, libc.bytesRead.median], [1, 900, [[0, 900, 2]], 900]);
  assert.equal(by.get('/lib/ld-linux-aarch64.so.1')!.type, 'symlink');
  const lost = by.get('/usr/lib/aarch64-linux-gnu/libonly.so')!;
  assert.equal(lost.layer, undefined);
  assert.ok(!by.has('/usr/lib/x86_64-linux-gnu/libc.so.6'));
});

test('two files with one counterpart are one; the same platform changes nothing', () => {
  const node: ViewNode = { path: '', type: 'reg', size: 10, layer: 0 };
  const both = profileOf([
    fileOf('/lib64/ld-linux-x86-64.so.2', 10, { openedIn: 1 }),
    fileOf('/lib/ld-linux-x86-64.so.2', 10),
  ]);
  const there = carryProfile(both, AMD, platform('arm64'), (path) =>
    path === '/lib/ld-linux-aarch64.so.1' ? node : undefined,
  );
  assert.deepEqual(
    there.profile.files.map((file) => [file.path, file.openedIn]),
    [['/lib/ld-linux-aarch64.so.1', 2]],
  );
  assert.equal(there.coverage.bytes, 10);
  const same = carryProfile(both, AMD, AMD, () => node);
  assert.deepEqual(
    same.profile.files.map((file) => file.path),
    ['/lib/ld-linux-x86-64.so.2', '/lib64/ld-linux-x86-64.so.2'],
  );
  assert.equal(same.coverage.renamed, 0);
});
