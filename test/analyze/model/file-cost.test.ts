// What a file costs behind the landmark: windows, chunks, probabilities.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { alignedBoundaries, type HotArea, hotAreas } from '../../../src/analyze/model/areas.js';
import { STARGZ_SNAPSHOTTER } from '../../../src/analyze/model/client.js';
import { missesBehind, nanosBefore, nanosBehind } from '../../../src/analyze/model/file-cost.js';
import { parseNetwork } from '../../../src/analyze/model/network.js';
import { KIB, MIB } from '../../../src/units.js';

const CLIENT = { ...STARGZ_SNAPSHOTTER, piece: 0, readahead: 0 };
const area = (offset: number, length: number, probability = 1): HotArea => ({ offset, length, probability });
const misses = (mib: number, areas: HotArea[], cuts: number[] = []) =>
  missesBehind({ size: mib * MIB, compressed: mib * MIB }, areas, CLIENT, 4 * MIB, cuts);

test('a chunk that is read brings a window from its start, or the rest of the file', () => {
  assert.deepEqual(misses(1, [area(0, 10)]), { chunks: 1, requests: 1, bytes: MIB, inflated: MIB });
  // A chunk of 4 MiB that does not compress is two windows, whatever is read of it.
  assert.deepEqual(misses(100, [area(0, 10)]), { chunks: 1, requests: 2, bytes: 4 * MIB, inflated: 4 * MIB });
  assert.deepEqual(misses(100, [area(99 * MIB, 10)]), { chunks: 1, requests: 2, bytes: 4 * MIB, inflated: 4 * MIB });
  assert.deepEqual(misses(99, [area(98 * MIB, 10)]), { chunks: 1, requests: 2, bytes: 3 * MIB, inflated: 3 * MIB });
  assert.deepEqual(misses(1, []), { chunks: 0, requests: 0, bytes: 0, inflated: 0 });
});

test('its own chunks: the window begins where the reading begins', () => {
  const cuts = [50 * MIB, 50 * MIB + 64 * KIB];
  assert.deepEqual(misses(100, [area(50 * MIB, 64 * KIB)], cuts), {
    chunks: 1,
    requests: 1,
    bytes: 2 * MIB,
    inflated: 64 * KIB,
  });
});

test('what a window has brought is not fetched again; the window goes on from each chunk', () => {
  const cuts = [50, 50.25, 51, 51.25, 60, 60.25].map((at) => at * MIB);
  const areas = [area(50 * MIB, 100), area(51 * MIB, 100), area(60 * MIB, 100)];
  assert.deepEqual(misses(100, areas, cuts), { chunks: 3, requests: 3, bytes: 5 * MIB, inflated: 0.75 * MIB });
  // To the end of the file, and then no more requests.
  const end = [area(98 * MIB, 100), area(99 * MIB, 100)];
  assert.deepEqual(misses(100, end, [98 * MIB, 99 * MIB]), {
    chunks: 2,
    requests: 1,
    bytes: 2 * MIB,
    inflated: 2 * MIB,
  });
});

test('everything in proportion to its probability', () => {
  assert.deepEqual(misses(1, [area(0, 10, 0.25)]), { chunks: 0.25, requests: 0.25, bytes: MIB / 4, inflated: MIB / 4 });
  // A certain chunk after one that is fetched in half of the starts: in the other half it needs its own window.
  const cuts = [0.5 * MIB];
  assert.deepEqual(misses(1, [area(0, 10, 0.5), area(0.5 * MIB, 10)], cuts), {
    chunks: 1.5,
    requests: 1,
    bytes: 0.5 * MIB + 0.25 * MIB,
    inflated: 0.75 * MIB,
  });
});

test('time: round trips, transfer, the work of the client', () => {
  const client = { ...CLIENT, inflatePerByte: 10, perFile: 1000, receivePerByte: 1, perMiss: 500, cores: 2 };
  const wan = parseNetwork('8mbit/20ms');
  const file = { size: 3_000_000, compressed: 1_000_000 };
  assert.equal(nanosBefore(file, client, wan), 1e9 + (30e6 + 1000 + 1e6) / 2);
  const behind = { chunks: 2, requests: 1, bytes: 1_000_000, inflated: 100 };
  assert.equal(nanosBehind(behind, client, wan), 20e6 + 1e9 + 1000 + 1000 + 1e6);
});

test('areas: widened by the readahead, merged, with their probability', () => {
  const file = {
    size: 10 * MIB,
    ranges: [
      [0, 4096, 2],
      [100 * KIB, 4096, 1],
      [5 * MIB, 1, 1],
    ] as const,
  };
  assert.deepEqual(hotAreas(file, { runs: 3, incomplete: 0 }, STARGZ_SNAPSHOTTER), [
    area(0, (168 + 128) * KIB, 2.5 / 4),
    area(5 * MIB - 64 * KIB, (132 + 128) * KIB, 1.5 / 4),
  ]);
  // Where a run that lost events does not show a range, only the others count.
  const [first, second] = hotAreas(file, { runs: 3, incomplete: 1 }, STARGZ_SNAPSHOTTER);
  assert.deepEqual([first!.probability, second!.probability], [2.5 / 3, 1.5 / 3]);
});

test('boundaries: around each area, neighbours together, none larger than a window', () => {
  const cases: [HotArea[], number[]][] = [
    [[], []],
    [[area(0, MIB)], [MIB]],
    [[area(9 * MIB, MIB)], [9 * MIB]],
    [
      [area(MIB, 4096), area(MIB + 200 * KIB, 4096)],
      [MIB, MIB + 204 * KIB],
    ],
    [
      [area(MIB, 4096), area(2 * MIB, 4096)],
      [MIB, MIB + 4096, 2 * MIB, 2 * MIB + 4096],
    ],
    [[area(MIB, 5 * MIB)], [1, 1 + 5 / 3, 1 + 10 / 3, 6].map((at) => Math.ceil((at * MIB) / 4096) * 4096)],
  ];
  for (const [areas, want] of cases) {
    const got = alignedBoundaries(areas, 10 * MIB, 256 * KIB, 2 * MIB);
    assert.equal(got.length, want.length);
    for (const [i, at] of got.entries()) assert.ok(Math.abs(at - want[i]!) <= 8192, `${got} instead of ${want}`);
  }
});
