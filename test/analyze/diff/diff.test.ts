// Two profiles, what changed between them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { differs, diffStartups } from '../../../src/analyze/diff/index.js';
import type { DiffSide } from '../../../src/analyze/diff/types.js';
import { proportion } from '../../../src/analyze/interval.js';
import { buildProfile } from '../../../src/analyze/profile.js';
import { spreadOf } from '../../../src/analyze/statistics.js';
import type { ProfileFile } from '../../../src/analyze/types.js';
import { dir, reg } from '../../rootfs/entries.js';
import { run } from '../support.js';

interface FileFacts {
  /** Runs that opened it; default all. */
  openedIn?: number;
  bytes?: readonly number[];
  size?: number;
  first?: readonly number[];
  package?: string;
  layer?: number;
}

const MS = 1e6;

function side(runs: number, files: Record<string, FileFacts>, steps?: readonly string[]): DiffSide {
  const list = Object.entries(files).map(([path, facts]): ProfileFile => {
    const openedIn = facts.openedIn ?? runs;
    const bytes = facts.bytes ?? [1000];
    return {
      path,
      type: 'reg',
      size: facts.size ?? 5000,
      seenIn: openedIn,
      openedIn,
      probability: proportion(openedIn, runs, 0),
      firstAccess: spreadOf(facts.first ?? [10 * MS]),
      bytesRead: spreadOf(bytes),
      reads: 1,
      ranges: [],
      comms: ['app'],
      ...(facts.package === undefined ? {} : { package: facts.package }),
      ...(facts.layer === undefined ? {} : { layer: facts.layer }),
    };
  });
  const total = list.reduce((sum, { bytesRead }) => sum + bytesRead.median, 0);
  return {
    image: {
      reference: 'oci:app',
      files: 100,
      bytes: 1e6,
      ...(steps ? { layers: steps.map((createdBy) => ({ createdBy })) } : {}),
    },
    files: list,
    runs: Array.from({ length: runs }, (_, i) => ({
      complete: true,
      ready: { t: 1e9 + i, by: 'exit' },
      filesRead: list.length,
      bytesRead: total,
    })),
    complete: true,
  };
}

const PANDAS = 'pkg:pypi/pandas@2.2.1';
const NUMPY = 'pkg:pypi/numpy@1.26.4';

test('"this change imports pandas at startup": directory, package, step, process', () => {
  const base = {
    '/usr/bin/python3': { layer: 0 },
    '/usr/lib/python3/site-packages/numpy/a.py': { package: NUMPY, layer: 1 },
  };
  const steps = ['FROM python', 'RUN pip install -r requirements.txt'];
  const modules = Object.fromEntries(
    Array.from({ length: 118 }, (_, i): [string, FileFacts] => [
      `/usr/lib/python3/site-packages/pandas/${i % 2 ? 'core/' : ''}m${i}.py`,
      { package: PANDAS, layer: 1, bytes: [i === 7 ? 2e6 : 100_000], first: [610 * MS + i] },
    ]),
  );
  const after = { ...base, ...modules, '/usr/lib/python3/site-packages/numpy/b.py': { package: NUMPY, layer: 1 } };
  const diff = diffStartups(side(5, base, steps), side(5, after, steps));
  assert.deepEqual(
    diff.places.map(({ kind, name, files, whole }) => [kind, name, files, whole]),
    [
      ['hot', '/usr/lib/python3/site-packages/pandas', 118, true],
      ['hot', '/usr/lib/python3/site-packages/numpy', 1, false],
    ],
  );
  assert.deepEqual(
    diff.packages.map(({ name, files, bytes, whole, largest }) => [name, files, bytes, whole, largest]),
    [
      [PANDAS, 118, 117 * 100_000 + 2e6, true, '/usr/lib/python3/site-packages/pandas/core/m7.py'],
      [NUMPY, 1, 1000, false, '/usr/lib/python3/site-packages/numpy/b.py'],
    ],
  );
  assert.deepEqual(
    diff.steps.map(({ name, files }) => [name, files]),
    [['RUN pip install -r requirements.txt', 119]],
  );
  assert.ok(
    diff.findings.includes('the start now reads pandas 2.2.1 (pypi): +118 files, +13.1 MiB, first at 610 ms'),
    diff.findings.join('\n'),
  );
  assert.ok(!diff.findings.some((line) => line.includes('/pandas')), 'said once');
  assert.ok(diff.findings[0]!.startsWith('Files read: 2 → 121 (+119; rank test, 5 against 5 runs: p = 0.0079)'));
  assert.equal(differs(diff), true);
});

test('the other way round is the same with the sides changed', () => {
  const [a, b] = [side(4, { '/a': {}, '/b': {} }), side(4, { '/a': {}, '/c/d': {}, '/c/e': {} })];
  const [there, back] = [diffStartups(a, b), diffStartups(b, a)];
  const kinds = (diff: typeof there) => diff.changes.map(({ kind, path, bytes }) => [kind, path, bytes]);
  assert.deepEqual(kinds(there), [
    ['hot', '/c/d', 1000],
    ['hot', '/c/e', 1000],
    ['cold', '/b', -1000],
  ]);
  assert.deepEqual(kinds(back), [
    ['hot', '/b', 1000],
    ['cold', '/c/d', -1000],
    ['cold', '/c/e', -1000],
  ]);
  assert.deepEqual(
    back.places.map(({ kind, name, whole }) => [kind, name, whole]),
    [
      ['hot', '/', false],
      ['cold', '/c', true],
    ],
  );
});

test('a profile and itself: nothing', () => {
  const layers = [[dir('bin/'), reg('bin/app', { size: 5000 })]];
  const profile = buildProfile(
    [run(layers, ['open /bin/app', 'read /bin/app 0+4096']), run(layers, ['lookup /bin', 'open /bin/app'])],
    { totals: () => ({ files: 1, bytes: 5000 }) },
  );
  const diff = diffStartups(profile, profile);
  assert.deepEqual([diff.changes, diff.places, diff.packages, diff.steps, diff.findings], [[], [], [], [], []]);
  assert.equal(differs(diff), false);
});

test('noise: files that come and go are not changes, unless they come and go otherwise', () => {
  const flaky = (counts: readonly number[]) =>
    Object.fromEntries(counts.map((openedIn, i): [string, FileFacts] => [`/f${i}`, { openedIn }]));
  const quiet = diffStartups(side(10, flaky([5, 6, 9, 1])), side(10, flaky([6, 4, 10, 2])));
  assert.deepEqual([quiet.changes, quiet.unsure, differs(quiet)], [[], 4, false]);
  const loud = diffStartups(side(10, flaky([1, 6, 9, 1])), side(10, flaky([10, 4, 10, 2])));
  assert.deepEqual(
    [loud.changes.map(({ kind, path }) => `${kind} ${path}`), loud.unsure],
    [['hot /f0'], 3],
    '1 of 10, then 10 of 10; the others stay noise',
  );
});

test('bigger, smaller, later, earlier: only where the runs do not overlap', () => {
  const diff = diffStartups(
    side(3, {
      '/bytes': { bytes: [100, 110, 120] },
      '/overlap': { bytes: [100, 110, 120] },
      '/size': { size: 10 },
      '/less': { bytes: [9000] },
      '/late': { first: [10 * MS, 12 * MS] },
      '/early': { first: [50 * MS, 52 * MS] },
      '/near': { first: [10 * MS] },
    }),
    side(3, {
      '/bytes': { bytes: [121, 130, 140] },
      '/overlap': { bytes: [120, 130, 140] },
      '/size': { size: 30 },
      '/less': { bytes: [4000] },
      '/late': { first: [30 * MS, 31 * MS] },
      '/early': { first: [20 * MS, 22 * MS] },
      '/near': { first: [15 * MS] },
    }),
  );
  assert.deepEqual(
    diff.changes.map(({ kind, path, bytes, size, shift }) => [kind, path, bytes, size, shift]),
    [
      ['bigger', '/bytes', 20, 0, undefined],
      ['bigger', '/size', 0, 20, undefined],
      ['smaller', '/less', -5000, 0, undefined],
      ['later', '/late', 0, 0, 19.5 * MS],
      ['earlier', '/early', 0, 0, -30 * MS],
    ],
  );
  // Another time of the same files is not another start.
  assert.equal(differs({ changes: diff.changes.filter(({ kind }) => kind === 'later') }), false);
});

test('one run: every difference counts, and that is said; imported: no times', () => {
  const one = diffStartups(side(1, { '/a': {} }), side(1, { '/a': { first: [900 * MS] }, '/b': {} }));
  assert.deepEqual(
    one.changes.map(({ kind, path }) => [kind, path]),
    [['hot', '/b']],
    'one run says nothing of times',
  );
  assert.equal(one.warnings.length, 2);
  assert.deepEqual(
    one.measures.map(({ noise }) => noise),
    ['unknown', 'unknown', 'unknown'],
  );
  const imported = side(3, { '/a': { first: [900 * MS] } });
  const foreign: DiffSide = { ...imported, runs: imported.runs.map((r) => ({ ...r, imported: 'strace' })) };
  const diff = diffStartups(side(3, { '/a': {} }), foreign);
  assert.deepEqual([diff.changes, diff.measures.map(({ id }) => id)], [[], ['startup-files', 'startup-bytes']]);
  assert.match(diff.warnings[0]!, /imported/);
});

test('names that would break a line or turn the direction of writing', () => {
  const name = '/x\n<script>\u202e\udcff/f';
  const diff = diffStartups(side(3, {}), side(3, { [name]: {}, [`${name}2`]: {} }));
  const text = diff.findings.join('|');
  assert.ok(text.includes('/x\\x0a<script>\\u{202e}\\xff/** became hot: +2 files'), text);
});

test('tens of thousands of files', () => {
  const many = (from: number) =>
    Object.fromEntries(
      Array.from({ length: 20_000 }, (_, i): [string, FileFacts] => [
        `/d${(from + i) % 300}/e${(from + i) % 7}/f${from + i}`,
        {},
      ]),
    );
  const [a, b] = [side(5, many(0)), side(5, many(10_000))];
  const diff = diffStartups(a, b);
  assert.deepEqual([diff.changes.length, differs(diff)], [20_000, true]);
});
