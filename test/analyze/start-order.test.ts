// What a start needs, for hotlayer's own reader: where chunks end, and in which order they are first needed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { STARGZ_SNAPSHOTTER } from '../../src/analyze/model/client.js';
import { exactCuts } from '../../src/analyze/model/exact-cuts.js';
import { parseNetwork } from '../../src/analyze/model/network.js';
import { newColumns, REPLAY_OPS, saveReplay } from '../../src/analyze/replay.js';
import { type ContentPlace, startOrder } from '../../src/analyze/start-order.js';
import type { Profile, RangeCount } from '../../src/analyze/types.js';
import { KIB, MIB } from '../../src/units.js';

const NETWORKS = [parseNetwork('100mbit/20ms')];
const cutsOf = (size: number, ranges: readonly RangeCount[], reader: 'hotlayer' | 'both') =>
  exactCuts({ size, compressed: size / 2 }, { ranges }, reader, 4 * MIB, STARGZ_SNAPSHOTTER, NETWORKS);

test('chunks end where reading does; a boundary that saves nothing is not made', () => {
  const K = (n: number) => n * KIB;
  const rows: [string, number, RangeCount[], number[], number[]][] = [
    ['read whole', K(64), [[0, K(64), 3]], [], []],
    ['the first pages of a big file', MIB, [[0, K(8), 3]], [K(8)], [K(8)]],
    [
      'two places far apart',
      MIB,
      [
        [0, K(8), 3],
        [K(512), K(8), 1],
      ],
      [K(8), K(512), K(520)],
      [K(8), K(512), K(520)],
    ],
    // The other reader would have a chunk more to inflate: near ones are one.
    [
      'two places with little between',
      MIB,
      [
        [0, K(8), 3],
        [K(16), K(8), 3],
      ],
      [K(8), K(16), K(24)],
      [K(24)],
    ],
    ['all but a page at the end', K(64), [[0, K(60), 3]], [K(60)], [K(60)]],
    [
      'a long stretch: whoever waits for its start does not wait for its end',
      2 * MIB,
      [[0, MIB, 3]],
      [K(256), K(512), K(768), MIB],
      [K(256), K(512), K(768), MIB],
    ],
  ];
  for (const [name, size, ranges, own, both] of rows) {
    assert.deepEqual(cutsOf(size, ranges, 'hotlayer').cuts, own, name);
    assert.deepEqual(cutsOf(size, ranges, 'both').cuts, both, `${name}, for both`);
  }
  assert.equal(cutsOf(MIB, [[0, K(8), 3]], 'hotlayer').bytes, K(4));
});

const FILES = ['/a', '/b', '/gone'];
/** [file, offset, length] of reads in order. */
function profileOf(runs: readonly (readonly (readonly [number, number, number])[])[]): Profile {
  const spread = (median: number) => ({ median, mad: 0, min: median, max: median });
  return {
    files: FILES.map((path, i) => ({
      ...{ path, type: 'reg', firstAccess: spread(FILES.length - i) },
      ranges: runs.flatMap((reads) => reads.filter(([file]) => file === i).map(([, at, n]) => [at, n, 1])),
    })),
    runs: runs.map((reads, id) => {
      const replay = newColumns(reads.length, [{ pid: 1 }]);
      for (const [i, [file, offset, length]] of reads.entries()) {
        replay.t[i] = i;
        replay.file[i] = file;
        replay.op[i] = REPLAY_OPS.indexOf('read');
        replay.offset[i] = offset;
        replay.bytes[i] = length;
      }
      return { id: String(id), complete: true, replay: saveReplay(replay) };
    }),
  } as unknown as Profile;
}

test('chunks in the order in which they were first read, those of other runs after them', () => {
  const places = new Map<string, ContentPlace>([
    ['/a', { layer: 0, path: 'a', size: 100, cuts: [10, 20, 50] }],
    ['/b', { layer: 1, path: 'usr/b', size: 30, cuts: [] }],
  ]);
  const profile = profileOf([
    [
      [0, 20, 5],
      [1, 0, 30],
      [0, 0, 12],
      [0, 20, 30],
      [2, 0, 5],
      [0, 100, 1],
    ],
    [
      [0, 60, 1],
      [1, 3, 1],
      [0, 0, 1],
      [0, 0, 1],
      [0, 0, 1],
      [0, 0, 1],
      [0, 0, 1],
    ],
  ]);
  assert.deepEqual(
    startOrder(profile, (path) => places.get(path), 4 * MIB),
    [
      { layer: 0, path: 'a', at: [20] },
      { layer: 1, path: 'usr/b', at: [0] },
      { layer: 0, path: 'a', at: [0, 10, 50] },
    ],
  );
});
