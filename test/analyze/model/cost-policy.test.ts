// The policy on small images: equal to trying everything under its own model; and what it decides where that is plain.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { STARGZ_SNAPSHOTTER } from '../../../src/analyze/model/client.js';
import { costFiles, costPolicy, networkWeights, problemOf } from '../../../src/analyze/model/cost-policy.js';
import { parseNetwork, ROBUST } from '../../../src/analyze/model/network.js';
import type { Candidate } from '../../../src/analyze/policy.js';
import type { ProfileFile, RangeCount } from '../../../src/analyze/types.js';
import { KIB, MIB } from '../../../src/units.js';
import { newSeed, random } from '../support.js';

const RUNS = 3;

function candidate(path: string, size: number, ranges: RangeCount[], more: Partial<Candidate> = {}): Candidate {
  const spread = { median: 0, mad: 0, min: 0, max: 0 };
  const openedIn = ranges.reduce((most, range) => Math.max(most, range[2]), 1);
  const use: ProfileFile = {
    ...{ path, type: 'reg', layer: 0, size, seenIn: openedIn, openedIn, firstAccess: spread, bytesRead: spread },
    ...{ reads: 1, ranges, comms: [], probability: { estimate: openedIn / RUNS, low: 0, high: 1 } },
  };
  return { rank: { path, score: 1, because: 'read' }, use, layer: 0, entry: path.slice(1), size, ...more };
}

const options = (candidates: readonly Candidate[], more: object = {}) => ({
  sizeOf: ({ size }: Candidate) => ({ size, compressed: Math.ceil(size / 3) }),
  chunkSize: 4 * MIB,
  profile: { runs: new Array(RUNS).fill({ complete: true }), files: candidates.map(({ use }) => use!) },
  ...more,
});

const decide = (candidates: readonly Candidate[], more: object = {}) =>
  costPolicy(options(candidates, more)).choose(candidates);
const paths = (list: readonly { path: string }[]) => list.map(({ path }) => path);

test('equal to trying all sets of files, on random images of up to 16', () => {
  const below = random(newSeed('cost policy'));
  for (let round = 0; round < 60; round++) {
    const files = Array.from({ length: round % 20 === 0 ? 16 : 1 + below(10) }, (_, i) => {
      const size = 1 + below(below(4) === 0 ? 300 * MIB : 200 * KIB);
      const ranges = Array.from({ length: below(4) }, (_, k): RangeCount => {
        const offset = Math.floor((size * k) / 4);
        return [offset, 1 + below(Math.ceil(size / 4)), 1 + below(RUNS)];
      });
      return candidate(`/f${i}`, size, ranges, { layer: below(3) });
    });
    const networks = below(2) === 0 ? ROBUST : [parseNetwork(`${1 + below(500)}mbit/${below(200)}ms`)];
    const maxPrefetch = below(2) === 0 ? undefined : below(300 * MIB);
    const choice = decide(files, { networks, maxPrefetch });

    // The cost of a set, written down anew: files, and half a piece for each layer that has any.
    const costed = costFiles(files, options(files, { networks }));
    const weights = networkWeights(costed, networks);
    const { charges } = problemOf(costed, weights, networks, STARGZ_SNAPSHOTTER);
    const cost = (has: (i: number) => boolean): number => {
      const layers = new Set<number>();
      let [sum, bytes] = [0, 0];
      const waits = networks.map(() => 0);
      for (const [i, { before, behind, candidate }] of costed.entries()) {
        if (has(i)) {
          layers.add(candidate.layer);
          bytes += candidate.size;
          for (const k of waits.keys()) waits[k] = Math.max(...before) + waits[k]!;
        }
        for (const [k, weight] of weights.entries()) sum += weight * (has(i) ? before[k]! : behind[k]!);
      }
      if (bytes > (maxPrefetch ?? Number.POSITIVE_INFINITY) || waits.some((wait) => wait > 9e9))
        return Number.POSITIVE_INFINITY;
      for (const layer of layers) sum += charges[layer]!;
      return sum;
    };
    let least = Number.POSITIVE_INFINITY;
    for (let set = 0; set < 2 ** files.length; set++)
      least = Math.min(
        least,
        cost((i) => (set & (1 << i)) !== 0),
      );
    const chosen = new Set(choice.chosen.map(({ rank }) => rank.path));
    const got = cost((i) => chosen.has(files[i]!.rank.path));
    assert.ok(Math.abs(got - least) <= 1e-9 * least, `round ${round}: ${got}, not ${least}`);
    assert.equal(choice.model!.gap, 0);
    const named = [...paths(choice.chosen.map(({ rank }) => rank)), ...paths(choice.behind!), ...paths(choice.cut)];
    assert.deepEqual(named.sort(), files.map(({ rank }) => rank.path).sort());
  }
});

test('small files that are always read go first; what is opened and not read, a symlink, an empty file do not', () => {
  const files = [
    candidate('/read', 20 * KIB, [[0, 20 * KIB, 3]]),
    candidate('/opened', 20 * KIB, []),
    candidate('/link', 0, []),
  ];
  const { chosen, behind, cut } = decide(files);
  assert.deepEqual(paths(chosen.map(({ rank }) => rank)), ['/read']);
  assert.deepEqual(paths(behind!), ['/opened', '/link']);
  assert.match(behind![0]!.because, /none of its content is needed/);
  assert.deepEqual(cut, []);
});

test('a big file of which little is read stays behind, divided where it is read', () => {
  const big = candidate('/big', 200 * MIB, [[100 * MIB, 64 * KIB, 3]]);
  const { chosen, behind, chunks, model } = decide([big]);
  assert.deepEqual(chosen, []);
  assert.match(
    behind![0]!.because,
    /prefetched .* it costs lan .*, wan .*, edge .*; fetched when read \(0\.9 requests, .*\) lan /,
  );
  assert.deepEqual(chunks!.get('/big'), [100 * MIB - 64 * KIB, 100 * MIB + (64 + 64 + 128) * KIB]);
  assert.ok(model!.networks.every(({ prefetch, misses }) => prefetch === 0 && misses > 0));
  // The same file, read to the end.
  const whole = candidate('/big', 200 * MIB, [[0, 200 * MIB, 3]]);
  assert.equal(decide([whole], { networks: [parseNetwork('0mbit/50ms')] }).chosen.length, 1);
});

test('a file that one run of three reads: where a round trip costs more than its bytes', () => {
  const file = candidate('/sometimes', 900 * KIB, [[0, 900 * KIB, 1]]);
  assert.equal(decide([file], { networks: [parseNetwork('1gbit/300ms')] }).chosen.length, 1);
  assert.equal(decide([file], { networks: [parseNetwork('5mbit/5ms')] }).chosen.length, 0);
});

test('no more before the landmark than the client waits for', () => {
  const files = Array.from({ length: 40 }, (_, i) => candidate(`/f${i}`, 6 * MIB, [[0, 6 * MIB, 3]]));
  const slow = parseNetwork('10mbit/400ms');
  const { chosen, behind, model } = decide(files, { networks: [slow] });
  assert.ok(chosen.length > 0 && behind!.length > 0);
  assert.ok(model!.networks[0]!.prefetch <= 9e9);
  assert.ok(model!.gap < 0.05);
});

test('--max-prefetch: what does not fit is cut and says so', () => {
  const files = [candidate('/a', 30 * KIB, [[0, 30 * KIB, 3]]), candidate('/b', 40 * KIB, [[0, 40 * KIB, 3]])];
  const { chosen, cut } = decide(files, { maxPrefetch: 50 * KIB });
  assert.equal(chosen.length, 1);
  assert.match(cut[0]!.reason, /left out by --max-prefetch 50.0 KiB: it has .* KiB, .* were left/);
});

test('paths that come from elsewhere are taken to be read whole', () => {
  const { use: _, ...bare } = candidate('/a', 30 * KIB, []);
  const choice = costPolicy({ ...options([]), profile: undefined }).choose([bare]);
  assert.equal(choice.chosen.length, 1);
});
