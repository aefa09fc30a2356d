// Ranges against a bitmap: one counter for each byte, nothing clever.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  countRanges,
  type Range,
  RangeSet,
  sumRangeCounts,
  totalLength,
  unionRanges,
} from '../../src/analyze/ranges.js';
import type { RangeCount } from '../../src/analyze/types.js';
import { newSeed, random } from './support.js';

const TABLE: [name: string, runs: Range[][], want: RangeCount[]][] = [
  ['nothing', [], []],
  ['empty ranges', [[[5, 0]], []], []],
  ['one range', [[[0, 4]]], [[0, 4, 1]]],
  [
    'twice in one run counts once',
    [
      [
        [0, 4],
        [2, 4],
        [0, 1],
      ],
    ],
    [[0, 6, 1]],
  ],
  [
    'adjacent in one run',
    [
      [
        [4, 4],
        [0, 4],
      ],
    ],
    [[0, 8, 1]],
  ],
  ['adjacent in two runs', [[[0, 4]], [[4, 4]]], [[0, 8, 1]]],
  [
    'overlap of two runs',
    [[[0, 6]], [[4, 6]]],
    [
      [0, 4, 1],
      [4, 2, 2],
      [6, 4, 1],
    ],
  ],
  [
    'one inside another',
    [[[0, 10]], [[3, 2]], [[3, 2]]],
    [
      [0, 3, 1],
      [3, 2, 3],
      [5, 5, 1],
    ],
  ],
  [
    'a hole',
    [
      [
        [0, 2],
        [8, 2],
      ],
      [
        [0, 2],
        [8, 2],
      ],
    ],
    [
      [0, 2, 2],
      [8, 2, 2],
    ],
  ],
  ['beyond 2^32', [[[2 ** 40, 4096]], [[2 ** 40 + 4096, 1]]], [[2 ** 40, 4097, 1]]],
];

for (const [name, runs, want] of TABLE) {
  test(`counted: ${name}`, () => {
    assert.deepEqual(countRanges(runs), want);
    assert.deepEqual(countRanges([...runs].reverse()), want);
  });
}

const SIZE = 200;

function bitmapOf(ranges: readonly Range[]): boolean[] {
  return Array.from({ length: SIZE }, (_, at) =>
    ranges.some(([offset, length]) => at >= offset && at < offset + length),
  );
}

/** Stretches of equal counts above 0. */
function stretches(counts: readonly number[]): RangeCount[] {
  const out: [number, number, number][] = [];
  for (let at = 0; at < counts.length; at++) {
    const count = counts[at]!;
    if (count === 0) continue;
    if (at > 0 && counts[at - 1] === count) out.at(-1)![1] += 1;
    else out.push([at, 1, count]);
  }
  return out;
}

test('random ranges agree with a bitmap, in any order and grouping', () => {
  const seed = newSeed('ranges');
  const draw = random(seed);
  for (let round = 0; round < 500; round++) {
    const runs = Array.from({ length: draw(6) }, () =>
      Array.from({ length: draw(12) }, (): Range => {
        const offset = draw(SIZE);
        return [offset, draw(SIZE - offset + 1)];
      }),
    );
    const bitmaps = runs.map(bitmapOf);
    const counts = Array.from({ length: SIZE }, (_, at) => bitmaps.filter((bits) => bits[at]).length);
    const want = stretches(counts);
    assert.deepEqual(countRanges(runs), want, `seed ${seed} round ${round}`);

    const shuffled = runs.map((ranges) => [...ranges].sort(() => draw(3) - 1)).sort(() => draw(3) - 1);
    assert.deepEqual(countRanges(shuffled), want, `seed ${seed} round ${round}, shuffled`);
    const cut = draw(runs.length + 1);
    const grouped = sumRangeCounts([countRanges(runs.slice(0, cut)), countRanges(runs.slice(cut))]);
    assert.deepEqual(grouped, want, `seed ${seed} round ${round}, grouped at ${cut}`);

    const all = runs.flat();
    const union = unionRanges(all);
    const bits = bitmapOf(all);
    assert.deepEqual(bitmapOf(union), bits);
    assert.equal(totalLength(union), bits.filter(Boolean).length);
    const set = new RangeSet();
    for (const [offset, length] of all) set.add(offset, length);
    assert.deepEqual(set.ranges(), union);
  }
});

test('a set of many separate ranges stays correct when it compacts itself', () => {
  const draw = random(7);
  const set = new RangeSet();
  const naive: Range[] = [];
  for (let i = 0; i < 20_000; i++) {
    const range: Range = [draw(1_000_000) * 4096, 4096];
    naive.push(range);
    set.add(...range);
  }
  assert.deepEqual(set.ranges(), unionRanges(naive));
});
