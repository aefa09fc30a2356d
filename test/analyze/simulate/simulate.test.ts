// Starts small enough to be counted by hand.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Network, parseNetwork } from '../../../src/analyze/model/network.js';
import { crossoverOf } from '../../../src/analyze/simulate/forecast.js';
import { PageCache } from '../../../src/analyze/simulate/page-cache.js';
import { scheduleOf } from '../../../src/analyze/simulate/schedule.js';
import { fetchesOf, startOf } from '../../../src/analyze/simulate/simulate.js';
import { KIB, MIB } from '../../../src/units.js';
import { client, layout, replay } from './runs.js';

const MS = 1e6;
const delay = (ms: number): Network => ({ name: 'delay', bytesPerSecond: Number.POSITIVE_INFINITY, rtt: ms * MS });
const rate = (bytesPerSecond: number): Network => ({ name: 'rate', bytesPerSecond, rtt: 0 });
/** Manifest and config: HEAD and GET with a connection each, GET; the layer: connection, GET, HEAD, footer. */
const RESOLVE = 2 + 2 + 1 + (2 + 1 + 1);

test('what an access waits for: its thread, and all that had ended', () => {
  const { own, last, think, lastOfAll, thinkAtEnd } = scheduleOf(
    replay(
      [0, 0, 'read', 0, 0, 1, 10],
      [20, 1, 'read', 0, 0, 1, 100], // a child, still reading while …
      [50, 0, 'read', 0, 0, 1, 10], // … its parent goes on,
      [130, 0, 'open', 0, 0, 0, 10], // which then waits for it.
    ),
    150,
  );
  assert.deepEqual([...own], [-1, -1, 0, 2]);
  assert.deepEqual([...last], [-1, 0, 0, 1]);
  assert.deepEqual([...think], [0, 10, 40, 10]);
  assert.deepEqual([lastOfAll, thinkAtEnd], [3, 10]);
});

test('what was read before the workload was there comes first, without the time that starting took', () => {
  const { think } = scheduleOf(
    replay([-200 * MS, 0, 'read', 0, 0, 1, 10], [-100 * MS, 0, 'read', 1, 0, 1, 10], [5 * MS, 1, 'open', 2]),
    6 * MS,
  );
  assert.deepEqual([...think], [0, 0, 5 * MS]);
});

test('round trips of a start: resolve, prefetch, and one for each file that is not there', () => {
  const reads = replay([0, 0, 'read', 0, 0, 10, 0], [5 * MS, 0, 'read', 1, 0, 10, 0], [6 * MS, 0, 'read', 2, 0, 10, 0]);
  const schedule = scheduleOf(reads, 9 * MS);
  const sizes = [200_000, 200_000, 200_000];
  const start = (hot: number) => startOf(schedule, layout(sizes, hot), 'lazy', delay(100), client());
  const none = start(0);
  // The last file shares its last piece with the TOC, its first with the file before.
  assert.deepEqual([none.misses, none.onDemand], [3, 3]);
  assert.equal(none.ready, (RESOLVE + 3) * 100 * MS + 9 * MS);
  const two = start(2);
  assert.deepEqual([two.misses, two.onDemand], [1, 1]);
  assert.equal(two.ready, (RESOLVE + 1 + 1) * 100 * MS + 9 * MS);
  assert.equal(two.pulled, RESOLVE * 100 * MS);
  const all = start(3);
  assert.deepEqual([all.misses, all.ready], [0, (RESOLVE + 1) * 100 * MS + 9 * MS]);
});

test('bytes: whole pieces, once each', () => {
  const schedule = scheduleOf(replay([0, 0, 'read', 1, 0, 10, 0]), 0);
  const { bytes, requests } = startOf(schedule, layout([120_000, 120_000, 120_000]), 'lazy', delay(1), client());
  // Pieces of [120 000, 240 000): 2, 3, 4; the footer's 7 (10 100 bytes); five small answers and four heads more.
  const heads = 460;
  assert.equal(requests, 3 + 2 + 1 + 1);
  assert.equal(bytes, 3 * 50_000 + 10_100 + (360 + 1200 + 400 + 2 + 0) + 7 * heads);
});

test('the line: a prefetch takes its bytes, what follows waits', () => {
  const schedule = scheduleOf(replay([0, 0, 'read', 0, 0, 10, 0]), 0);
  const { ready } = startOf(schedule, layout([9_000_000, 1], 1), 'lazy', rate(1e6), client());
  assert.ok(Math.abs(ready / 1e9 - 9) < 0.1, `${ready}`);
});

test('the curve of what has come ends with all that came before ready, and never falls', () => {
  const schedule = scheduleOf(
    replay([0, 0, 'read', 0, 0, 10, 0], [5 * MS, 0, 'read', 1, 0, 10, 0], [2000 * MS, 0, 'open', 2]),
    2001 * MS,
  );
  for (const way of ['lazy', 'full', 'ideal'] as const) {
    const image = layout([900_000, 300_000, 1], 1);
    const { ready, bytes } = startOf(schedule, image, way, rate(1e6), client());
    const fetched = fetchesOf(schedule, image, way, rate(1e6), client());
    assert.equal(fetched.ready, Math.round(ready), way);
    assert.deepEqual(fetched.curve.at(-1), [Math.round(ready), Math.round(bytes)], way);
    assert.deepEqual(fetched.curve[0], [0, 0], way);
    for (const [i, [t, come]] of fetched.curve.entries())
      if (i > 0) assert.ok(t >= fetched.curve[i - 1]![0] && come >= fetched.curve[i - 1]![1], way);
    // A megabyte a second is what the line carries, less what it stood still.
    const steepest = Math.max(
      ...fetched.curve.slice(1).map(([t, come], i) => (come - fetched.curve[i]![1]) / (t - fetched.curve[i]![0])),
    );
    assert.ok(steepest < 1.02e6 / 1e9, `${way}: ${steepest}`);
  }
});

test('the client waits ten seconds, then what is needed is fetched a second time', () => {
  const schedule = scheduleOf(replay([0, 0, 'read', 0, 0, 10, 0]), 0);
  const start = startOf(schedule, layout([20 * MIB, 1], 1), 'lazy', rate(1e6), client());
  assert.ok(start.started < 10.2e9, `${start.started}`);
  assert.ok(start.onDemand >= 1);
  assert.ok(start.ready > 14e9, `${start.ready}`);
});

test('decompression runs on all cores, a miss on one', () => {
  const schedule = scheduleOf(replay([0, 0, 'read', 0, 0, 10, 0]), 0);
  const cost = client({ inflatePerByte: 100 });
  const ready = (hot: number) => startOf(schedule, layout([1_000_000], hot), 'lazy', rate(1e15), cost).ready;
  assert.ok(Math.abs(ready(1) - 50 * MS) < 1000);
  assert.ok(Math.abs(ready(0) - 100 * MS) < 1000);
});

test('a full pull: all bytes, then the work of unpacking, then nothing more from the network', () => {
  const schedule = scheduleOf(replay([0, 0, 'read', 0, 0, 10, 0], [3 * MS, 0, 'read', 1, 0, 10, 0]), 3 * MS);
  const cost = client({ unpackPerByte: 10, unpackPerEntry: 1000 });
  const start = startOf(schedule, layout([1_000_000, 2_000_000]), 'full', delay(10), cost);
  // HEAD and GET with a connection each, GET of the config, GET of the layer on the same connection.
  assert.equal(start.ready, (2 + 2 + 1 + 1) * 10 * MS + 30 * MS + 2000 + 3 * MS);
  assert.equal(start.misses, 0);
});

test('the ideal is faster than all others', () => {
  const schedule = scheduleOf(
    replay([0, 0, 'read', 0, 0, 50_000, 0], [1 * MS, 0, 'read', 1, 0, 100_000, 0], [2 * MS, 0, 'read', 2, 4096, 10, 0]),
    4 * MS,
  );
  for (const name of ['lan', 'wan', 'edge']) {
    const network = parseNetwork(name);
    const of = (way: 'lazy' | 'run' | 'full' | 'ideal', hot = 0) =>
      startOf(schedule, layout([300_000, 200_000, 100_000], hot), way, network, client());
    const { ready, bytes } = of('ideal');
    assert.equal(
      bytes,
      50_000 +
        100_000 +
        4096 +
        (Math.ceil(50_000 / 4096) * 4096 - 50_000) +
        (Math.ceil(100_000 / 4096) * 4096 - 100_000),
    );
    for (const other of [of('lazy'), of('lazy', 2), of('full'), of('run')]) assert.ok(ready < other.ready);
  }
});

test('two readers of one chunk fetch it once', () => {
  const schedule = scheduleOf(
    replay([0, 0, 'read', 0, 0, 10, 5], [1, 1, 'read', 0, 500 * KIB, 10, 5], [2, 2, 'read', 1, 0, 10, 5]),
    10,
  );
  const { misses, onDemand } = startOf(schedule, layout([MIB, MIB]), 'lazy', delay(10), client());
  assert.deepEqual([misses, onDemand], [2, 2]);
});

/** `[first, last)` page → bytes. */
const pages = (from: number, to: number) => [from * 4096, to * 4096];

test('the kernel reads around what is asked for, and never twice', () => {
  const cache = new PageCache(128 * KIB);
  const read = (page: number, count = 1) => cache.read(0, MIB, page * 4096, count * 4096);
  assert.deepEqual(read(128), { waited: [pages(112, 144)], ahead: [] });
  assert.deepEqual(read(125, 2), { waited: [], ahead: [] });
  // The window around page 100 ends where the other begins.
  assert.deepEqual(read(100), { waited: [pages(84, 112)], ahead: [] });
  assert.deepEqual(read(2), { waited: [pages(0, 32)], ahead: [] });
  assert.deepEqual(cache.read(1, 5000, 0, 10), { waited: [[0, 5000]], ahead: [] });
  assert.deepEqual(new PageCache(0).read(0, MIB, 4096, 8192), { waited: [pages(1, 3)], ahead: [] });
});

test('who touches the last quarter of a window makes the kernel read ahead; nobody waits for that', () => {
  const cache = new PageCache(128 * KIB);
  const read = (page: number) => cache.read(0, 4 * MIB, page * 4096, 4096);
  read(128); // pages 112 to 143, 136 is marked
  assert.deepEqual(read(135), { waited: [], ahead: [] });
  assert.deepEqual(read(136), { waited: [], ahead: [pages(144, 176)] });
  // The first page of what was read ahead is marked in its turn; a mark works once.
  assert.deepEqual(read(144), { waited: [], ahead: [pages(176, 208)] });
  assert.deepEqual(read(144), { waited: [], ahead: [] });
  // After another window somewhere else, the mark of an older one begins small again: twice what was left of it.
  read(400); // 384 to 415, 408 is marked
  read(600);
  assert.deepEqual(read(408), { waited: [], ahead: [pages(416, 434)] });
});

test('what is only read ahead is fetched too, while the workload goes on', () => {
  const touches = replay([0, 0, 'read', 0, 0, 10, 0], [0, 0, 'read', 0, 24 * 4096, 10, 0]);
  const file = { layer: 0, size: 10 * MIB, at: [0, 128 * KIB], offset: [0, 100_000], end: 5_000_000 };
  const base = layout([5_000_000]);
  const start = (one: Parameters<typeof scheduleOf>[0]) =>
    startOf(scheduleOf(one, 0), { ...base, files: [file] }, 'lazy', delay(100), client());
  // The second page is in the first chunk, the window that it brings in the second one, which has its own window.
  assert.equal(start(touches).misses, 2);
  assert.equal(start(replay([0, 0, 'read', 0, 0, 10, 0])).misses, 1);
  assert.equal(start(touches).ready, start(replay([0, 0, 'read', 0, 0, 10, 0])).ready);
});

test('the same simulation gives the same numbers', () => {
  const schedule = scheduleOf(
    replay(
      ...Array.from(
        { length: 50 },
        (_, i) => [i * 1000, i % 3, 'read', i % 4, (i * 7919) % 90_000, 4096, 2500] as const,
      ),
    ),
    60_000,
  );
  const run = () => startOf(schedule, layout([100_000, 200_000, 300_000, 100_000], 1), 'lazy', parseNetwork('wan'));
  assert.deepEqual(run(), run());
});

test('the rate at which both take equally long', () => {
  // 8 MB against 80 MB, but 2 s of work for the smaller one.
  const difference = (rate: number) => 2e9 + (8e6 / rate) * 1e9 - (80e6 / rate) * 1e9;
  const found = crossoverOf(difference) as { bytesPerSecond: number };
  assert.ok(Math.abs(found.bytesPerSecond / 36e6 - 1) < 0.02, `${found.bytesPerSecond}`);
  assert.deepEqual(
    crossoverOf(() => -1),
    { always: 'lazy' },
  );
  assert.deepEqual(
    crossoverOf(() => 1),
    { always: 'full' },
  );
});
