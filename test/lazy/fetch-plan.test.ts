// Which requests a list of chunks becomes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ChunkTable, chunkTable } from '../../src/lazy/chunk-table.js';
import { planRuns, rangeOf, type Wish } from '../../src/lazy/fetch-plan.js';
import type { TocEntry } from '../../src/stargz/toc-parse.js';

/** Members of 1000 compressed bytes each, one after another, from offset 100; `shared`: pairs of chunks in one. */
function table(count: number, shared = false): ChunkTable {
  const chunks = Array.from({ length: count }, (_, i) => {
    const member = shared ? i >> 1 : i;
    const innerOffset = shared && i % 2 === 1 ? 2000 : 0;
    return {
      at: i * 2000,
      size: 2000,
      offset: 100 + member * 1000,
      innerOffset,
      nextOffset: 100 + (member + 1) * 1000,
    };
  });
  return chunkTable([{ index: 0, chunks } as unknown as TocEntry]);
}

const LIMITS = { gap: 1000, piece: 4000 };
const plan = (
  tables: ChunkTable[],
  wishes: Wish[],
  limits = LIMITS,
  has: (l: number, c: number) => boolean = () => false,
) => planRuns(tables, wishes, has, limits).map(({ layer, first, end }) => [layer, first, end]);

test('neighbours are one request, up to its size; what is needed first is asked for first', () => {
  const wishes: Wish[] = [9, 8, 0, 1, 2, 3, 4, 5].map((chunk) => [0, chunk]);
  assert.deepEqual(plan([table(10)], wishes), [
    [0, 8, 10],
    [0, 0, 4],
    [0, 4, 6],
  ]);
});

test('a gap is bridged when it is small, and only between what is wanted', () => {
  const wishes: Wish[] = [0, 2, 5].map((chunk) => [0, chunk]);
  assert.deepEqual(plan([table(10)], wishes), [
    [0, 0, 3],
    [0, 5, 6],
  ]);
  assert.deepEqual(plan([table(10)], wishes, { gap: 0, piece: 4000 }), [
    [0, 0, 1],
    [0, 2, 3],
    [0, 5, 6],
  ]);
});

test('layers are asked for in the order of need; what is here is not asked for', () => {
  const wishes: Wish[] = [
    [1, 3],
    [0, 0],
    [1, 4],
  ];
  assert.deepEqual(plan([table(5), table(5)], wishes), [
    [1, 3, 5],
    [0, 0, 1],
  ]);
  assert.deepEqual(
    plan([table(5), table(5)], wishes, LIMITS, (layer) => layer === 1),
    [[0, 0, 1]],
  );
});

test('chunks of one member come together, once', () => {
  const wishes: Wish[] = [3, 2, 3].map((chunk) => [0, chunk]);
  assert.deepEqual(plan([table(8, true)], wishes), [[0, 2, 4]]);
});

test('the range of a run; a TOC that claims a member far longer than its content can be is not believed', () => {
  assert.deepEqual(rangeOf(table(10), 2, 5), { offset: 2100, length: 3000 });
  const far = chunkTable([
    { index: 0, chunks: [{ at: 0, size: 10, offset: 50, innerOffset: 0, nextOffset: 1e12 }] } as unknown as TocEntry,
  ]);
  assert.deepEqual(rangeOf(far, 0, 1), { offset: 50, length: 20 + 64 * 1024 });
});
