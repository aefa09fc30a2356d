// Traces in, profile out.
import assert from 'node:assert/strict';
import { linkSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { countDirectory } from '../../src/analyze/count-directory.js';
import { mergeProfiles, runsOf } from '../../src/analyze/merge.js';
import { assembleProfile, buildProfile } from '../../src/analyze/profile.js';
import { rankFiles } from '../../src/analyze/rank.js';
import { formatSaved } from '../../src/analyze/saved.js';
import { spreadOf } from '../../src/analyze/statistics.js';
import { summarizeEvents } from '../../src/analyze/summarize.js';
import { viewOfFs, viewOfTree } from '../../src/analyze/tree-view.js';
import type { Profile, ProfileFile } from '../../src/analyze/types.js';
import { HotlayerError } from '../../src/errors.js';
import { makeTempDir } from '../../src/temp.js';
import { dir, hard, reg, type Spec, sym } from '../rootfs/entries.js';
import { MemoryFs } from '../support/memory-fs.js';
import { DIGEST, end, events, HEADER, newSeed, random, run, treeOf } from './support.js';

const LAYERS: Spec[][] = [
  [
    dir('bin'),
    reg('bin/app', { size: 10_000 }),
    reg('bin/tool', { size: 300 }),
    hard('bin/tool-too', 'bin/tool'),
    sym('lib', 'usr/lib'),
    reg('usr/lib/a.so', { size: 8192 }),
    reg('etc/conf', { size: 100 }),
  ],
  [reg('etc/conf', { size: 50 }), reg('etc/empty', { size: 0 })],
];
const view = viewOfTree(treeOf(...LAYERS));

function profileOf(...runs: string[][]): Profile {
  return buildProfile(
    runs.map((lines) => run(LAYERS, lines)),
    view,
  );
}

function fileOf(profile: Profile, path: string): ProfileFile {
  const file = profile.files.find((f) => f.path === path);
  assert.ok(file, `${path} is not in the profile: ${profile.files.map((f) => f.path).join(' ')}`);
  return file;
}

test('one run: every member', () => {
  const profile = profileOf([
    'lookup /bin',
    'lookup /bin/app',
    'open! /bin/app',
    'read /bin/app 0+4096',
    'read /bin/app 8192+1808',
    'read /bin/app 0+100',
    'lookup? /etc/ld.so.preload',
    'lookup? /etc/x',
    'lookup? /nowhere',
    'getattr /etc/conf',
  ]);
  assert.deepEqual(profile, {
    schemaVersion: 2,
    tool: profile.tool,
    image: { reference: 'oci:app', digest: DIGEST, files: 5, bytes: 10_000 + 300 + 8192 + 50 },
    platform: { os: 'linux', architecture: 'amd64' },
    workload: { args: ['/bin/app'], user: '', cwd: '/' },
    precision: 'exact',
    until: ['exit'],
    complete: true,
    runs: [
      {
        id: profile.runs[0]?.id,
        complete: true,
        events: 10,
        endedAt: 1000,
        exitCode: 0,
        filesRead: 1,
        bytesRead: 4096 + 1808,
        misses: [
          [0, 2],
          [1, 1],
        ],
        replay: profile.runs[0]?.replay,
      },
    ],
    agreement: { runs: 1, files: 1, bytes: 1 },
    outliers: [],
    modes: [],
    advice: { undecided: 0, moreRuns: 2, settles: 0 },
    files: [
      {
        path: '/bin',
        type: 'dir',
        layer: 0,
        size: 0,
        seenIn: 1,
        openedIn: 0,
        probability: { estimate: 0, low: 0, high: 0.793451 },
        firstAccess: { median: 0, mad: 0, min: 0, max: 0 },
        bytesRead: { median: 0, mad: 0, min: 0, max: 0 },
        reads: 0,
        ranges: [],
        comms: ['app'],
      },
      {
        path: '/bin/app',
        type: 'reg',
        layer: 0,
        size: 10_000,
        seenIn: 1,
        openedIn: 1,
        probability: { estimate: 1, low: 0.206549, high: 1 },
        firstAccess: { median: 20, mad: 0, min: 20, max: 20 },
        bytesRead: { median: 5904, mad: 0, min: 5904, max: 5904 },
        reads: 3,
        ranges: [
          [0, 4096, 1],
          [8192, 1808, 1],
        ],
        executed: true,
        comms: ['app'],
      },
      {
        path: '/etc/conf',
        type: 'reg',
        layer: 1,
        size: 50,
        seenIn: 1,
        openedIn: 0,
        probability: { estimate: 0, low: 0, high: 0.793451 },
        firstAccess: { median: 90, mad: 0, min: 90, max: 90 },
        bytesRead: { median: 0, mad: 0, min: 0, max: 0 },
        reads: 0,
        ranges: [],
        comms: ['app'],
      },
    ],
    misses: {
      total: 3,
      directories: [
        { path: '/etc', count: 2 },
        { path: '/', count: 1 },
      ],
    },
  });
  assert.match(profile.tool, /^hotlayer \d/);
});

test('several runs: counts, spreads, ranges', () => {
  const profile = profileOf(
    ['open /bin/app', 'read /bin/app 0+4096'],
    ['lookup /bin', 'open /bin/app', 'read /bin/app 0+8192', 'open /bin/tool', 'read /bin/tool 0+300'],
    ['lookup /bin', 'lookup /bin', 'lookup /bin', 'open /bin/app', 'read /bin/app 4096+4096', 'getattr /bin/tool'],
  );
  const app = fileOf(profile, '/bin/app');
  assert.deepEqual([app.seenIn, app.openedIn], [3, 3]);
  assert.deepEqual(app.firstAccess, { median: 10, mad: 10, min: 0, max: 30 });
  assert.deepEqual(app.bytesRead, { median: 4096, mad: 0, min: 4096, max: 8192 });
  assert.deepEqual(app.ranges, [[0, 8192, 2]]);
  const tool = fileOf(profile, '/bin/tool');
  assert.deepEqual([tool.seenIn, tool.openedIn], [2, 1]);
  assert.deepEqual(tool.ranges, [[0, 300, 1]]);
  // Sets of files read: {app}, {app, tool}, {app}: pairs 1/2, 1, 1/2.
  assert.equal(profile.agreement.files, 0.666667);
});

test('only what comes before ready counts; an event at that very moment does', () => {
  const lines = ['read /bin/app 0+1', 'read /bin/app 1+1', 'read /bin/app 2+1', 'lookup? /no'];
  const summary = run(LAYERS, lines, { ready: { t: 10, by: 'line:x' } });
  const profile = buildProfile([summary], view);
  assert.deepEqual(fileOf(profile, '/bin/app').ranges, [[0, 2, 1]]);
  assert.equal(profile.misses.total, 0);
  assert.deepEqual(profile.ready, { median: 10, mad: 0, min: 10, max: 10 });
  assert.equal(profile.runs[0]?.events, 4);
});

test('what the runner read before the start counts, too', () => {
  const [event] = events('read /etc/conf 0+50');
  const summary = summarizeEvents(HEADER, [{ ...event!, t: -500 }], end(1), view);
  const profile = buildProfile([summary], view);
  assert.deepEqual(fileOf(profile, '/etc/conf').firstAccess, { median: -500, mad: 0, min: -500, max: -500 });
  assert.match(rankFiles(profile)[0]!.because, /before the workload started/);
});

test('all names of a hardlinked file are one file, under its canonical path', () => {
  const profile = profileOf(['lookup /bin/tool-too', 'open /bin/tool', 'read /bin/tool 0+100', 'lookup /bin/tool']);
  assert.deepEqual(
    profile.files.map((f) => f.path),
    ['/bin/tool'],
  );
});

test('a symlink that was followed is its own file; misses are summed by directory', () => {
  const profile = profileOf(['lookup /lib', 'readlink /lib', 'lookup? /usr/lib/b.so', 'lookup? /usr/lib/c.so']);
  const lib = fileOf(profile, '/lib');
  assert.deepEqual([lib.type, lib.openedIn], ['symlink', 1]);
  assert.deepEqual(profile.misses, { total: 2, directories: [{ path: '/usr/lib', count: 2 }] });
});

test('a failed operation that is no look-up of a missing name says nothing about a file', () => {
  const [event] = events('open /bin/app');
  const summary = summarizeEvents(HEADER, [{ ...event!, errno: 13 }], end(1), view);
  assert.deepEqual(buildProfile([summary], view).files, []);
});

test('an incomplete run makes the profile incomplete, with the reason kept', () => {
  const bad = run(LAYERS, ['open /bin/app'], { complete: false, incompleteBecause: 'disk full' });
  const profile = buildProfile([run(LAYERS, ['open /bin/app']), bad], view);
  assert.equal(profile.complete, false);
  assert.equal(profile.runs[1]?.incompleteBecause, 'disk full');
});

test('traces that do not belong together are refused', () => {
  const a = run(LAYERS, []);
  const other = run(LAYERS, [], {}, { ...HEADER, workload: { ...HEADER.workload, args: ['/bin/tool'] } });
  const check = (fn: () => unknown, message: RegExp) =>
    assert.throws(fn, (e) => e instanceof HotlayerError && e.code === 'HL_ERR_DATA' && message.test(e.message));
  check(() => buildProfile([a, other], view), /run 2: its workload is .*tool.*that of run 1/);
  check(() => buildProfile([], view), /at least one trace/);
});

test('a file that the tree does not know keeps what its operations tell', () => {
  const summary = run([[dir('bin')]], ['lookup /new', 'read /new 4096+10', 'readdir /made', 'readlink /to']);
  assert.deepEqual(
    summary.files.map(({ path, type, size }) => [path, type, size]),
    [
      ['/new', 'reg', 4106],
      ['/made', 'dir', 0],
      ['/to', 'symlink', 0],
    ],
  );
});

test('a plain directory has no layers', () => {
  const fs = new MemoryFs({
    nodes: [
      { path: 'a/b', type: 'reg', content: { text: 'hello' } },
      { path: 'a/c', type: 'reg', hardlinkTo: 'a/b' },
      { path: 'd', type: 'symlink', target: 'a' },
    ],
  });
  const plain = viewOfFs(fs);
  assert.deepEqual(plain.at('/a/c'), { path: '/a/c', type: 'reg', size: 5 });
  assert.deepEqual(plain.at('/a/b'), plain.at('/a/c'), 'the first name asked for stands for all');
  assert.deepEqual(plain.at('/d'), { path: '/d', type: 'symlink', size: 0 });
  assert.deepEqual(plain.at('/'), { path: '/', type: 'dir', size: 0 });
  for (const path of ['/d/b', '/a/b/c', '/x', 'a']) assert.equal(plain.at(path), undefined, path);
});

test('a directory is counted: hardlinks once, excluded places not, any names', async () => {
  using temp = makeTempDir();
  const at = (name: string) => Buffer.concat([Buffer.from(`${temp.path}/`), Buffer.from(name, 'latin1')]);
  for (const name of ['a', 'a/d\xe9', 'hidden']) mkdirSync(at(name));
  writeFileSync(at('a/one'), '12345');
  writeFileSync(at('a/d\xe9/f\xff'), '123');
  writeFileSync(at('hidden/x'), '1');
  writeFileSync(at('empty'), '');
  linkSync(at('a/one'), at('two'));
  symlinkSync('a', at('link'));
  assert.deepEqual(await countDirectory(temp.path, [`${temp.path}/hidden`]), { files: 3, bytes: 8 });
  assert.deepEqual(await countDirectory(`${temp.path}/nowhere`, []), { files: 0, bytes: 0 });
});

test('statistics', () => {
  assert.deepEqual(spreadOf([40, 10, 12]), { median: 12, mad: 2, min: 10, max: 40 });
  assert.deepEqual(spreadOf([1, 2]), { median: 2, mad: 1, min: 1, max: 2 });
  assert.deepEqual(spreadOf([7]), { median: 7, mad: 0, min: 7, max: 7 });
});

test('ranking: runs first, then time; only what was opened; the reason in words', () => {
  const ranking = rankFiles(
    profileOf(
      [
        'open /usr/lib/a.so',
        'read /usr/lib/a.so 0+4096',
        'open! /bin/app',
        'read /bin/app 0+10000',
        'open /etc/empty',
        'readlink /lib',
      ],
      ['lookup /bin', 'open! /bin/app', 'read /bin/app 0+10000', 'getattr /etc/conf', 'readdir /bin'],
    ),
  );
  assert.deepEqual(
    ranking.map(({ path, because }) => [path, because]),
    [
      ['/bin/app', 'executed in 2 of 2 runs, first at 15 ns, 9.77 KiB of 9.77 KiB in 1 read'],
      ['/usr/lib/a.so', 'read in 1 of 2 runs, first at 0 ns, 4.00 KiB of 8.00 KiB in 1 read'],
      ['/etc/empty', 'opened in 1 of 2 runs, first at 40 ns, nothing of 0 B'],
      ['/lib', 'followed in 1 of 2 runs, first at 50 ns'],
    ],
  );
  const scores = ranking.map(({ score }) => score);
  assert.deepEqual(
    scores,
    [...scores].sort((a, b) => b - a),
  );
  assert.ok(scores[0]! <= 1 && scores.at(-1)! >= 0);
});

/** Runs drawn over the files of LAYERS. */
function randomRuns(draw: (below: number) => number, count: number): string[][] {
  const names = ['/bin/app', '/bin/tool', '/bin/tool-too', '/usr/lib/a.so', '/etc/conf', '/etc/empty'];
  return Array.from({ length: count }, () =>
    Array.from({ length: draw(20) }, () => {
      const name = names[draw(names.length)]!;
      return draw(4) === 0
        ? `lookup? ${name}.bak`
        : draw(2) === 0
          ? `getattr ${name}`
          : `read ${name} ${draw(40)}+${draw(10)}`;
    }),
  );
}

test('a profile does not depend on the order of its runs, except for their list', () => {
  const draw = random(newSeed('profile order'));
  for (let round = 0; round < 50; round++) {
    const runs = randomRuns(draw, 1 + draw(5));
    const { runs: list, ...rest } = profileOf(...runs);
    const { runs: turned, ...restTurned } = profileOf(...[...runs].reverse());
    assert.deepEqual(restTurned, rest);
    assert.deepEqual([...turned].reverse(), list);
  }
});

test('merging is exact, associative, free of order and idempotent, byte for byte', () => {
  const draw = random(newSeed('profile merge'));
  for (let round = 0; round < 50; round++) {
    const complete = draw(3);
    const runs = randomRuns(draw, 4).map((lines, i) =>
      run(LAYERS, lines, { endedAt: i, ...(i === complete && { complete: false, incompleteBecause: 'cut' }) }),
    );
    const shared = runs[3]!;
    const [a, b, c] = runs.slice(0, 3).map((one) => buildProfile([one, shared], view)) as [Profile, Profile, Profile];
    const whole = formatSaved(mergeProfiles([a, b, c]));
    for (const other of [
      mergeProfiles([c, a, b]),
      mergeProfiles([mergeProfiles([a, b]), c]),
      mergeProfiles([a, mergeProfiles([b, c])]),
      mergeProfiles([mergeProfiles([c, b]), mergeProfiles([b, a]), c]),
      mergeProfiles([mergeProfiles([a, b, c]), b]),
    ]) {
      assert.equal(formatSaved(other), whole);
    }
    // The same runs, summed up at once, say the same of every file.
    const { runs: list, ...rest } = buildProfile(runs, view);
    const { runs: merged, ...restMerged } = mergeProfiles([a, b, c]);
    assert.deepEqual(restMerged, rest);
    assert.deepEqual(
      merged,
      [...list].sort((x, y) => (x.id < y.id ? -1 : 1)),
    );
  }
});

test('a profile can be taken apart into its runs', () => {
  const runs = [run(LAYERS, ['open! /bin/app', 'read /bin/app 0+4096', 'lookup? /no', 'getattr /etc/conf'])];
  const profile = buildProfile(runs, view);
  const again = runsOf(profile);
  assert.deepEqual(again[0]?.run, runs[0]?.run);
  assert.deepEqual(again[0]?.misses, runs[0]?.misses);
  assert.equal(formatSaved(assembleProfile(again, view.totals())), formatSaved(profile));
});

test('an incomplete run stays incomplete in whatever it is merged into', () => {
  const good = profileOf(['open /bin/app']);
  const bad = buildProfile(
    [run(LAYERS, ['open /bin/tool'], { complete: false, incompleteBecause: 'disk full' })],
    view,
  );
  const more = profileOf(['open /etc/conf']);
  for (const order of [
    [good, bad, more],
    [bad, more, good],
  ]) {
    const merged = mergeProfiles([mergeProfiles(order.slice(0, 2)), order[2]!]);
    assert.equal(merged.complete, false);
    assert.deepEqual(
      merged.runs.flatMap(({ incompleteBecause }) => incompleteBecause ?? []),
      ['disk full'],
    );
  }
});

test('profiles of different workloads do not merge', () => {
  const a = profileOf([]);
  const b = { ...a, workload: { ...a.workload, args: ['/bin/tool'] } };
  assert.throws(() => mergeProfiles([a, b]), /profile 2 is of workload .*tool.*profile 1 is of .*app/);
});

test('profiles of different images do not merge', () => {
  const a = profileOf([]);
  const b = { ...a, image: { ...a.image, digest: `sha256:${'34'.repeat(32)}` } };
  assert.throws(() => mergeProfiles([a, b]), /profile 2 is of image sha256:3434/);
  assert.equal(mergeProfiles([a]), a);
});

test('pooled on request: runs of several workloads in one profile, in any order', () => {
  const a = profileOf(['open /bin/app']);
  const header = { ...HEADER, workload: { ...HEADER.workload, args: ['/bin/tool'] } };
  const b = buildProfile([run(LAYERS, ['open /bin/tool'], {}, header)], view);
  const pooled = mergeProfiles([a, b], { anyWorkload: true });
  assert.deepEqual(
    pooled.files.map(({ path, openedIn }) => [path, openedIn]),
    [
      ['/bin/app', 1],
      ['/bin/tool', 1],
    ],
  );
  assert.equal(formatSaved(mergeProfiles([b, a], { anyWorkload: true })), formatSaved(pooled));
});
