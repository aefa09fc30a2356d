// Requests of a start against what is read, on a blob that is written for it.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { STARGZ_SNAPSHOTTER } from '../../../src/analyze/model/client.js';
import { type Fetch, type LedgerInput, ledgerOf } from '../../../src/analyze/simulate/ledger.js';
import { scheduleOf } from '../../../src/analyze/simulate/schedule.js';
import type { StargzBlob } from '../../../src/stargz/reader.js';
import { KIB } from '../../../src/units.js';
import { build } from '../../stargz/blob.js';
import { file, tarOf } from '../../support/tar.js';
import { replay } from './runs.js';

const CLIENT = { ...STARGZ_SNAPSHOTTER, piece: 1000, readahead: 8 * KIB };
const DIGEST = `sha256:${'1'.repeat(64)}`;
/** Does not compress: compressed bytes are content bytes, and some headers. */
const noise = (kib: number) => randomBytes(kib * KIB);

async function example(): Promise<StargzBlob> {
  const tar = tarOf(...['hot', 'half', 'cold', 'never'].map((name) => file(name, noise(64))));
  return (await build(tar, { hot: ['/hot', '/half'] })).opened;
}

function ledger(blob: StargzBlob, fetches: readonly Fetch[], more: Partial<LedgerInput> = {}) {
  // Reads all of `hot`, the first half of `half`, and `cold`.
  const run = scheduleOf(
    replay([0, 0, 'read', 0, 0, 64 * KIB], [1, 0, 'read', 1, 0, 28 * KIB], [2, 0, 'read', 2, 0, 64 * KIB]),
    3,
  );
  const paths = ['/hot', '/half', '/cold'];
  const locate = (path: string) => ({ layer: 0, entry: path.slice(1) });
  return ledgerOf({ fetches, layers: [{ digest: DIGEST, blob }], runs: [run], paths, locate, client: CLIENT, ...more });
}

const get = (offset: number, length: number): Fetch => ({
  blob: DIGEST,
  method: 'GET',
  ranges: [[offset, length]],
  bytes: length + 100,
});
const near = (value: number, expected: number) =>
  assert.ok(Math.abs(value - expected) < 2000, `${value}, expected about ${expected}`);

test('used, late and unused; the misses by name', async () => {
  const blob = await example();
  const [cold, never] = ['cold', 'never'].map((name) => blob.byPath.get(name)!.chunks[0]!);
  const prefetch = Math.ceil(blob.prefetchSize / 1000) * 1000;
  const window = Math.ceil((cold!.nextOffset - cold!.offset) / 1000) * 1000;
  // Its first piece came with the prefetch, which is whole pieces.
  const at = Math.max(prefetch, Math.floor(cold!.offset / 1000) * 1000);
  const tail = Math.floor(blob.tocOffset / 1000) * 1000;
  const { misses, files, ...sums } = ledger(blob, [
    { method: 'GET', ranges: [], bytes: 1300 },
    get(0, 2),
    { blob: DIGEST, method: 'HEAD', ranges: [], bytes: 400 },
    get(tail, blob.size - tail),
    get(0, prefetch),
    get(at, window),
  ]);
  assert.equal(sums.prefetched, prefetch);
  assert.equal(sums.onDemand, window);
  // The read of 28 KiB reaches 4 KiB further: half a readahead around its first page, and it is longer itself.
  near(sums.used, 64 * KIB + 28 * KIB);
  near(sums.late, 64 * KIB);
  assert.equal(sums.unused, sums.prefetched + sums.onDemand - sums.used - sums.late);
  near(1e4 * sums.precision, (1e4 * (64 + 28)) / 128);
  near(1e4 * sums.recall, (1e4 * (64 + 28)) / (128 + 28));
  assert.equal(sums.metadata, 1300 + 102 + 400 + (blob.size - tail) + 3 * 100);
  assert.deepEqual(misses, [{ layer: 0, offset: at, bytes: window, path: '/cold' }]);
  assert.equal(files[0]?.path, '/half');
  near(files[0]!.fetched - files[0]!.used, 36 * KIB);
  assert.ok(never!.offset > cold!.offset);
});

test('what is fetched below the landmark a second time was not prefetched', async () => {
  const blob = await example();
  const { prefetched, onDemand, misses } = ledger(blob, [get(0, 5000), get(1000, 2000)]);
  assert.deepEqual([prefetched, onDemand, misses.length], [5000, 2000, 1]);
});

test('nothing prefetched: all of it is late; nothing read: all of it is unused', async () => {
  const blob = await example();
  const all = get(Math.ceil(blob.prefetchSize / 1000) * 1000, 1000);
  const none = ledger(blob, [all], { runs: [] });
  assert.deepEqual([none.used, none.late, none.unused, none.precision, none.recall], [0, 0, 1000, 1, 1]);
  assert.equal(none.misses[0]?.path, undefined);
  assert.deepEqual(ledger(blob, []).recall, 1);
});
