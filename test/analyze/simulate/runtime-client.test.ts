// Starts in hotlayer's own runtime, small enough to be counted by hand.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Network } from '../../../src/analyze/model/network.js';
import type { Layout } from '../../../src/analyze/simulate/layout.js';
import { HOTLAYER_RUN, type RuntimeModel } from '../../../src/analyze/simulate/runtime-client.js';
import { scheduleOf } from '../../../src/analyze/simulate/schedule.js';
import { runtimeStart } from '../../../src/analyze/simulate/simulate.js';
import { groupsFor, startTables, wishesOf } from '../../../src/analyze/simulate/start-requests.js';
import { KIB } from '../../../src/units.js';
import { layout, type Row, replay } from './runs.js';

const MS = 1e6;
const RTT = 100 * MS;
const delay: Network = { name: 'delay', bytesPerSecond: Number.POSITIVE_INFINITY, rtt: RTT };
const rate = (bytesPerSecond: number): Network => ({ name: 'rate', bytesPerSecond, rtt: 0 });

/** The runtime with every time at nothing but those given. */
function runtime(times: Partial<RuntimeModel> = {}): RuntimeModel {
  const { name, connections, ahead, warm, lookahead, firstPiece, lastPiece, gap, readahead } = HOTLAYER_RUN;
  const rules = { name, connections, ahead, warm, lookahead, firstPiece, lastPiece, gap, readahead };
  const free = {
    begin: 0,
    prepared: 0,
    run: 0,
    perRequest: 0,
    receivePerByte: 0,
    inflatePerByte: 0,
    perChunk: 0,
    perTocEntry: 0,
  };
  return { ...rules, ...free, perRead: 0, perAccess: 0, recorded: 0, slowdown: 1, ...times };
}

/** Reads the first bytes of files, each so many ms after the one before. */
const reading = (...files: number[]) =>
  scheduleOf(replay(...files.map((file, i): Row => [i * MS, 0, 'read', file, 0, 10, 0])), files.length * MS);

/** The layout with what an image made for these files would say. */
function saying(image: Layout, ...files: number[]): Layout {
  const tables = startTables(image);
  return { ...image, start: groupsFor(tables, wishesOf(reading(...files), image, tables)) };
}

const HEADS = 460;
const DOCUMENTS = 1200 + 400 + 100;

test('without a word from the image, what the profile says is asked for when the TOCs are there', () => {
  const image = layout([200_000, 300_000, 9_000_000]);
  const start = runtimeStart(reading(0, 1), image, delay, runtime());
  // Manifest, config, TOC; the two files that the run reads.
  assert.equal(start.requests, 3 + 2);
  assert.equal(start.bytes, DOCUMENTS + 200_000 + 300_000 + 5 * HEADS);
  // A connection and the manifest; config and TOC at once; the files at once, on connections that are there.
  assert.equal(start.started, 3 * RTT);
  assert.equal(start.ready, 4 * RTT + 2 * MS);
  assert.deepEqual([start.misses, start.onDemand], [1, 0]);
});

test('an image that says what its start needs is asked for it together with the TOCs', () => {
  const image = saying(layout([200_000, 300_000, 9_000_000]), 0, 1);
  const start = runtimeStart(reading(0, 1), image, delay, runtime());
  assert.equal(start.requests, 3 + 2);
  assert.equal(start.bytes, DOCUMENTS + 2 * 15 + 200_000 + 300_000 + 5 * HEADS);
  assert.equal(start.ready, 3 * RTT + 2 * MS);
  assert.deepEqual([start.misses, start.onDemand], [0, 0]);
});

test('the workload begins when the TOCs are there and the container is prepared, whichever is later', () => {
  const image = layout([200_000]);
  const started = (prepared: number) =>
    runtimeStart(reading(0), image, delay, runtime({ prepared, run: 7 * MS })).started;
  assert.deepEqual(
    [started(0), started(2 * RTT), started(5 * RTT)],
    [3 * RTT + 7 * MS, 3 * RTT + 7 * MS, 5 * RTT + 7 * MS],
  );
});

test('what comes before the TOCs waits for them, and is then decompressed by one thread', () => {
  const image = saying(layout([200_000, 300_000]), 0, 1);
  const slow = runtime({ perTocEntry: 500 * MS, inflatePerByte: 1000, perChunk: 7 * MS });
  const { started, ready, misses } = runtimeStart(reading(0, 1), image, delay, slow);
  assert.equal(started, 3 * RTT + 2 * 500 * MS);
  assert.equal(misses, 2);
  // Both share the thread: the smaller one has half of it until it is done.
  assert.ok(Math.abs(ready - started - 514 * MS) <= 2 * MS, `${ready - started}`);
});

test('what nobody foresaw is asked for when it is read, and goes before what is only foreseen', () => {
  const sizes = [400_000, 400_000, 400_000, 400_000, 400_000, 400_000, 50_000];
  const image = saying(layout(sizes), 0, 1, 2, 3, 4, 5);
  // Each is a request of its own, four at a time.
  assert.equal(image.start?.length, 6);
  const line = rate(1e6);
  const read = runtimeStart(reading(6), image, line, runtime());
  assert.deepEqual([read.misses, read.onDemand], [1, 1]);
  // Five requests share the line when it is sent: 250 ms, and not behind 2.4 MB.
  assert.ok(read.ready < 300 * MS, `${read.ready}`);
  const foreseen = runtimeStart(reading(5), image, line, runtime());
  // It is in no request yet, so it is asked for by itself, and not again when its turn comes.
  assert.deepEqual([foreseen.misses, foreseen.onDemand], [1, 1]);
  const all = runtimeStart(reading(5, 0, 1, 2, 3, 4), image, line, runtime());
  assert.equal(all.bytes, DOCUMENTS + 6 * 15 + 6 * 400_000 + 9 * HEADS);
});

test('small requests for what is foreseen are joined once the TOCs are there, more of them while the line waits', () => {
  const sizes = Array.from({ length: 64 }, () => 100_000);
  const files = sizes.map((_, i) => i);
  const image = saying(layout(sizes), ...files);
  assert.equal(image.start?.length, 64);
  const { requests } = runtimeStart(reading(...files), image, delay, runtime());
  // Four at first; then of 200 kB each, 500 kB, 1 MB …
  assert.ok(requests > 3 + 4 + 4 && requests < 3 + 4 + 16, `${requests}`);
  const alone = runtimeStart(reading(...files), image, delay, runtime({ lookahead: 0 }));
  assert.equal(alone.requests, 3 + 64);
});

test('chunks that are near each other and waited for at the same time are one request', () => {
  const near = layout([100_000, 10_000, 100_000]);
  const rows: Row[] = [0, 2].map((file, thread): Row => [0, thread, 'read', file, 0, 10, 5]);
  const schedule = scheduleOf(replay(...rows), MS);
  // With one connection busy the second waits; with the file between them both are one piece.
  const image = { ...near, start: [{ layer: 0, pieces: [[100_000, 10_000]] as const }] };
  const one = runtimeStart(schedule, image, rate(1e5), runtime({ connections: 1, ahead: 1, warm: 0 }));
  assert.deepEqual([one.misses, one.onDemand], [2, 1]);
  assert.equal(one.requests, 3 + 1 + 1);
});

test('the kernel reads around a page only where nothing is fetched for it that no start needs', () => {
  // One file of four chunks of a window each, as the recorded run read pages of it: 1 of the first, 1 of the third.
  const [chunk, page] = [128 * KIB, 4096];
  const file = { layer: 0, size: 4 * chunk, at: [0, 1, 2, 3].map((i) => i * chunk), end: 4000 };
  const image: Layout = {
    layers: [{ ...layout([1]).layers[0]!, size: 4100, tocOffset: 4000 }],
    files: [{ ...file, offset: [0, 1000, 2000, 3000] }],
    start: [{ layer: 0, pieces: [[2000, 1000]] }],
  };
  const at = (...offsets: number[]) =>
    scheduleOf(replay(...offsets.map((offset, i): Row => [i * MS, 0, 'read', 0, offset, page, 0])), 9 * MS);
  const start = (...offsets: number[]) => runtimeStart(at(...offsets), image, delay, runtime());
  // Around the middle of a foreseen chunk: all of it is there, and so is the window.
  assert.deepEqual([start(2 * chunk + chunk / 2).misses, start(2 * chunk + chunk / 2).onDemand], [0, 0]);
  // At its beginning, half of the window lies in a chunk that nobody needs: only the page is read.
  assert.deepEqual([start(2 * chunk).misses, start(2 * chunk).requests], [0, 3 + 1]);
  // A page that nobody foresaw brings its own chunk and not the one before.
  assert.deepEqual([start(page).misses, start(page).onDemand, start(chunk).onDemand], [1, 1, 1]);
  assert.equal(start(page).requests, 3 + 1 + 1);
});
