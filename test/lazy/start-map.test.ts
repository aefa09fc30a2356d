// What an image says about its own start: written, read, fetched before the tables are there.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ChunkTable, chunkTable } from '../../src/lazy/chunk-table.js';
import { chunksWithin, type Wish } from '../../src/lazy/fetch-plan.js';
import { StartFetch } from '../../src/lazy/start-fetch.js';
import { formatStart, parseStart, type StartGroup, startGroups } from '../../src/lazy/start-map.js';
import type { TocEntry } from '../../src/stargz/toc-parse.js';
import { refused } from '../support/refused.js';

/** Members of 1000 compressed bytes each, from offset 100. */
function table(count: number): ChunkTable {
  const chunks = Array.from({ length: count }, (_, i) => ({
    ...{ at: i * 2000, size: 2000, innerOffset: 0 },
    ...{ offset: 100 + i * 1000, nextOffset: 100 + (i + 1) * 1000 },
  }));
  return chunkTable([{ index: 0, chunks } as unknown as TocEntry]);
}

const groupsOf = (tables: (ChunkTable | undefined)[], wishes: Wish[]) => formatStart(startGroups(tables, wishes));

test('neighbours become one piece, each layer a request; what is asked for twice, or lies in no table, is not', () => {
  const rows: [Wish[], string][] = [
    [[], ''],
    [[[0, 3]], '0:3100+1000'],
    // In a window of some 100 kB the order does not matter: the blob's is kept.
    [
      [
        [0, 4],
        [0, 3],
        [0, 9],
        [0, 3],
      ],
      '0:3100+2000,9100+1000',
    ],
    [
      [
        [0, 1],
        [1, 2],
        [0, 2],
      ],
      '0:1100+2000 1:2100+1000',
    ],
    [[[2, 0]], ''],
  ];
  for (const [wishes, want] of rows) assert.equal(groupsOf([table(10), table(5), undefined], wishes), want);
});

test('windows come in order of need; no request has more pieces than servers take', () => {
  const late: Wish[] = Array.from({ length: 200 }, (_, i) => [0, 399 - i]);
  const groups = startGroups([table(400)], late);
  assert.ok(groups.length >= 2);
  assert.ok(groups[0]!.pieces[0]![0] > groups[1]!.pieces[0]![0], 'what is needed first is asked for first');
  const odd: Wish[] = Array.from({ length: 200 }, (_, i) => [0, 2 * i]);
  const scattered = startGroups([table(400)], odd);
  assert.ok(scattered.every(({ pieces }) => pieces.length <= 96));
  assert.equal(scattered.flatMap(({ pieces }) => pieces).length, 200);
});

test('a text is read as it was written; what leads out of the blobs is refused', () => {
  const text = '0:0+4096,9000+512 1:70+80 0:5000+1';
  assert.equal(formatStart(parseStart(text, [10_000, 150])), text);
  assert.deepEqual(parseStart('', [1]), []);
  for (const bad of [
    'x',
    '0:',
    '0:1',
    '0:5+0',
    '0:0+10001',
    '2:0+1',
    '0:5+5,9+1',
    '0:9+1,5+1',
    '0:1+1,',
    ' 0:1+1',
    '-1:0+1',
  ])
    assert.throws(() => parseStart(bad, [10_000, 150]), refused('HL_ERR_IMAGE', 'LAYER:OFFSET'), bad);
});

test('pieces are found again in a table, whole members only', () => {
  const rows: [number, number, [number, number] | undefined][] = [
    [100, 1000, [0, 1]],
    [1100, 2000, [1, 3]],
    [9100, 1000, [9, 10]],
    [0, 1100, undefined],
    [1101, 999, undefined],
    [1100, 999, undefined],
    [9100, 2000, undefined],
    [20_000, 10, undefined],
  ];
  for (const [offset, length, want] of rows) {
    const found = chunksWithin(table(10), offset, length);
    assert.deepEqual(found && [found.first, found.end], want, `${length} at ${offset}`);
  }
});

const GROUPS: StartGroup[] = Array.from({ length: 7 }, (_, i) => ({ layer: i % 2, pieces: [[i, 1]] }));

test('bytes wait for whoever takes them; a failure waits, too; what was not asked for is left to others', async () => {
  const asked: number[] = [];
  const ask = async function* ({ pieces }: StartGroup) {
    const [at] = pieces[0]!;
    asked.push(at);
    yield Buffer.from([at]);
    if (at === 2) throw new Error('broken');
    yield Buffer.from([at]);
  };
  const fetch = new StartFetch(GROUPS, ask, ({ layer }) => layer === 0);
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(asked, [0, 2, 4, 6], 'only the layer that is not here');
  const taken = fetch.take();
  assert.deepEqual(
    taken.map(({ bytes }) => bytes !== undefined),
    [true, false, true, false, true, false, true],
  );
  const got: number[] = [];
  const read = async (i: number) => {
    for await (const bytes of taken[i]!.bytes!) got.push(...bytes);
  };
  await read(0);
  await assert.rejects(read(2), /broken/);
  assert.deepEqual(got, [0, 0, 2]);
});

test('no more requests at once than a few, and none after the end', async () => {
  let active = 0;
  let most = 0;
  const waiting: (() => void)[] = [];
  const ask = async function* () {
    active += 1;
    most = Math.max(most, active);
    await new Promise<void>((resolve) => waiting.push(resolve));
    active -= 1;
    yield Buffer.alloc(1);
  };
  const fetch = new StartFetch(GROUPS, ask);
  await new Promise((resolve) => setImmediate(resolve));
  waiting.shift()!();
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(most, 4);
  fetch.close();
  for (const go of waiting.splice(0)) go();
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(waiting.length, 0);
});

test('nothing is asked for before the tables come; whoever takes it before gets what was not asked for', async () => {
  for (const taken of [false, true]) {
    let asked = 0;
    const ask = async function* () {
      asked += 1;
      yield Buffer.alloc(1);
    };
    let begin!: () => void;
    const when = new Promise<void>((resolve) => {
      begin = resolve;
    });
    const fetch = new StartFetch(GROUPS, ask, () => true, when);
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual([asked, fetch.idle], [0, true]);
    if (taken) assert.ok(fetch.take().every(({ bytes }) => bytes === undefined));
    begin();
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(asked, taken ? 0 : GROUPS.length);
  }
});
