// What `profile` says about its runs, in words.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Advice, Modes, Outlier, Profile } from '../../src/analyze/types.js';
import { remarksOn } from '../../src/report/remarks.js';

function remarks(runs: number, more: { outliers?: Outlier[]; modes?: Modes[]; advice?: Advice }): string[] {
  return remarksOn({
    runs: Array.from({ length: runs }, (_, i) => ({ id: `id-${i}` })),
    outliers: [],
    modes: [],
    advice: { undecided: 0, moreRuns: 0, settles: 0 },
    ...more,
  } as unknown as Profile);
}

test('nothing odd: nothing is said', () => {
  assert.deepEqual(remarks(3, {}), []);
});

test('odd runs, by their numbers', () => {
  const outliers: Outlier[] = [
    { run: 'id-3', measure: 'ready', value: 3.2e9, median: 1.1e9 },
    { run: 'id-1', measure: 'bytesRead', value: 4096, median: 1024 },
    { run: 'id-0', measure: 'filesRead', value: 1, median: 2000 },
    { run: 'id-4', measure: 'files', value: 12, median: 0 },
  ];
  assert.deepEqual(remarks(5, { outliers }), [
    'Run 4 is unlike the others: was ready after 3.20 s, the median is 1.10 s',
    'Run 2 is unlike the others: read 4.00 KiB, the median is 1.00 KiB',
    'Run 1 is unlike the others: read 1 file, the median is 2 000 files',
    'Run 5 is unlike the others: 12 files opened or left out by it alone',
  ]);
});

test('two kinds of runs', () => {
  const groups = [
    ['id-0', 'id-2', 'id-3'],
    ['id-1', 'id-4'],
  ] as const;
  const modes: Modes[] = [
    { measure: 'ready', groups, medians: [1e9, 2e9] },
    { measure: 'files', groups, medians: [1, 7] },
  ];
  assert.deepEqual(remarks(5, { modes }), [
    'Two kinds of runs: runs 1, 3 and 4 ready after 1.00 s, runs 2 and 5 ready after 2.00 s (medians)',
    'Two kinds of runs: runs 1, 3 and 4 open 1 file that runs 2 and 5 do not, and those 7 files that these do not',
  ]);
});

test('advice', () => {
  const said = (runs: number, undecided: number, moreRuns: number, settles: number) =>
    remarks(runs, { advice: { undecided, moreRuns, settles } });
  assert.deepEqual(said(5, 20, 2, 14), [
    '2 more runs would settle about 14 files of 20 that come and go and may or may not be worth prefetching (--runs 7)',
  ]);
  assert.deepEqual(said(3, 1, 1, 1), [
    '1 more run would settle 1 file of 1 that come and go and may or may not be worth prefetching (--runs 4)',
  ]);
  assert.deepEqual(said(1, 0, 2, 0), ['One run says little about what varies: make 2 more runs (--runs 3)']);
  assert.deepEqual(said(9, 3, 0, 0), ['3 files come and go from run to run; more runs would not make that clearer']);
});
