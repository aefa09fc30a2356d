// Several workloads, one layout: who is whom, what the common choice costs each, and the choice itself against trying
// all of them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { STARGZ_SNAPSHOTTER } from '../../src/analyze/model/client.js';
import { costFiles, costPolicy, networkWeights, problemOf } from '../../src/analyze/model/cost-policy.js';
import { ROBUST } from '../../src/analyze/model/network.js';
import { type WorkloadOptions, workloadPolicy } from '../../src/analyze/model/workload-policy.js';
import type { Candidate } from '../../src/analyze/policy.js';
import { buildProfile } from '../../src/analyze/profile.js';
import { viewOfTree } from '../../src/analyze/tree-view.js';
import { poolWorkloads, rankWorkloads, type WeighedWorkload, workloadsOf } from '../../src/analyze/workloads.js';
import { dir, reg, type Spec } from '../rootfs/entries.js';
import { HEADER, newSeed, random, run, treeOf } from './support.js';

/** A profile of one workload; each run is a list of [file, offset, length]. */
function profileOf(layers: Spec[][], name: string, runs: readonly (readonly (readonly [string, number, number])[])[]) {
  const header = { ...HEADER, workload: { ...HEADER.workload, args: [name] } };
  const traced = runs.map((reads, i) =>
    run(
      layers,
      reads.map(([path, offset, length]) => `read ${path} ${offset}+${length}`),
      { endedAt: i },
      header,
    ),
  );
  return buildProfile(traced, viewOfTree(treeOf(...layers)));
}

const LAYERS: Spec[][] = [
  [dir('d'), reg('d/web', { size: 8000 }), reg('d/both', { size: 8000 }), reg('d/job', { size: 900 })],
];

test('profiles of one workload become one, with one weight', () => {
  const web = (i: number) => profileOf(LAYERS, 'web', [[['/d/web', i, 1000]]]);
  const job = profileOf(LAYERS, 'job', [[['/d/job', 0, 900]]]);
  const workloads = workloadsOf([
    { name: 'web-a', profile: web(0) },
    { name: 'job', profile: job },
    { name: 'web-b', profile: web(4096), weight: 3 },
  ]);
  assert.deepEqual(
    workloads.map(({ name, weight, profile }) => [name, weight, profile.runs.length]),
    [
      ['web-a', 3, 2],
      ['job', 1, 1],
    ],
  );
  assert.equal(poolWorkloads(workloads).runs.length, 3);
  assert.throws(
    () =>
      workloadsOf([
        { name: 'a', profile: web(0), weight: 1 },
        { name: 'b', profile: web(1), weight: 2 },
      ]),
    /a, b: one workload, but weights 1 and 2/,
  );
  const other = { ...job, image: { ...job.image, digest: `sha256:${'0'.repeat(64)}` } };
  assert.throws(
    () =>
      workloadsOf([
        { name: 'a', profile: web(0) },
        { name: 'b', profile: other },
      ]),
    /is of image/,
  );
});

test('the ranking says which workload reads what', () => {
  const workloads: WeighedWorkload[] = [
    {
      name: 'web',
      weight: 1,
      profile: profileOf(LAYERS, 'web', [
        [['/d/both', 0, 10]],
        [
          ['/d/both', 0, 10],
          ['/d/web', 0, 10],
        ],
      ]),
    },
    { name: 'job', weight: 1, profile: profileOf(LAYERS, 'job', [[['/d/both', 0, 10]]]) },
  ];
  const ranking = rankWorkloads(poolWorkloads(workloads), workloads);
  assert.deepEqual(
    ranking.map(({ path, because }) => [path, because.slice(because.indexOf(' ('))]),
    [
      ['/d/both', ' (web 2 of 2, job 1 of 1)'],
      ['/d/web', ' (web 1 of 2, job 0 of 1)'],
    ],
  );
});

interface Instance {
  readonly candidates: readonly Candidate[];
  readonly options: WorkloadOptions;
}

/** Files of many sizes, read by some workloads in some of their runs. */
function instance(draw: (below: number) => number, count: number, players: number, minimizeWorst: boolean): Instance {
  const sizes = Array.from({ length: count }, () => (draw(3) === 0 ? 1 + draw(60_000_000) : 1 + draw(400_000)));
  const layers: Spec[][] = [0, 1].map((layer) =>
    sizes.flatMap((size, i) => (i % 2 === layer ? [reg(`f${i}`, { size })] : [])),
  );
  const workloads = Array.from({ length: players }, (_, w): WeighedWorkload => {
    const runs = Array.from({ length: 3 }, () =>
      sizes.flatMap((size, i) => (draw(2) === 0 ? [] : [[`/f${i}`, 0, 1 + draw(size)] as const])),
    );
    return { name: `w${w}`, weight: 1 + draw(3), profile: profileOf(layers, `w${w}`, runs) };
  });
  const profile = poolWorkloads(workloads);
  const candidates = rankWorkloads(profile, workloads).map((rank): Candidate => {
    const use = profile.files.find(({ path }) => path === rank.path)!;
    return { rank, use, layer: use.layer!, entry: rank.path.slice(1), size: use.size };
  });
  const options = {
    sizeOf: ({ size }: Candidate) => ({ size, compressed: Math.ceil(size / 3) }),
    chunkSize: 4 << 20,
    profile,
    workloads,
    minimizeWorst,
  };
  return { candidates, options };
}

/** For each workload: how much longer its start takes with a set than with the set that is best for it, set by set. */
function losses({ candidates, options }: Instance): { of: (set: number) => number[]; sets: number } {
  const cuts = costFiles(candidates, options).map((file) => file.cuts);
  const sets = 2 ** candidates.length;
  const costs = options.workloads.map(({ profile }) => {
    const own = candidates.map(({ use: _, ...rest }) => {
      const use = profile.files.find(({ path, openedIn }) => path === rest.rank.path && openedIn > 0);
      return use ? { ...rest, use } : rest;
    });
    const files = costFiles(own, { ...options, profile }, cuts).map((file) =>
      file.candidate.use ? file : { ...file, behind: ROBUST.map(() => 0) },
    );
    const weights = networkWeights(files, ROBUST);
    const { charges, capacities } = problemOf(files, weights, ROBUST, STARGZ_SNAPSHOTTER);
    // The start's own cost, by the one thing known of the weights: with the least cost of all files they make 1.
    const least = ROBUST.map((_, k) =>
      files.reduce((sum, { before, behind }) => sum + Math.min(before[k]!, behind[k]!), 0),
    );
    const start = 1 - weights.reduce((sum, weight, k) => sum + weight * least[k]!, 0);
    const values = Array.from({ length: sets }, (_, set) => {
      let cost = start;
      let wait = 0;
      const layers = new Set<number>();
      for (const [i, { before, behind, candidate }] of files.entries()) {
        const taken = (set & (1 << i)) !== 0;
        for (const [k, weight] of weights.entries()) cost += weight * (taken ? before[k]! : behind[k]!);
        if (!taken) continue;
        wait += Math.max(...before);
        layers.add(candidate.layer);
      }
      for (const layer of layers) cost += charges[layer]!;
      return wait > capacities[1]! ? Number.POSITIVE_INFINITY : cost;
    });
    const best = values.reduce((a, b) => Math.min(a, b));
    return values.map((value) => value / best - 1);
  });
  return { of: (set) => costs.map((values) => values[set]!), sets };
}

function chosenSet({ candidates }: Instance, chosen: readonly Candidate[]): number {
  const paths = new Set(chosen.map(({ rank }) => rank.path));
  return candidates.reduce((set, { rank }, i) => (paths.has(rank.path) ? set | (1 << i) : set), 0);
}

for (const minimizeWorst of [false, true]) {
  test(`${minimizeWorst ? 'the worst' : 'the weighted mean'}: as good as the best of all sets, or within the gap it states`, () => {
    const draw = random(newSeed(`workloads ${minimizeWorst}`));
    let exact = 0;
    for (let round = 0; round < 15; round++) {
      const one = instance(draw, 2 + draw(8), 2 + draw(2), minimizeWorst);
      const choice = workloadPolicy(one.options).choose(one.candidates);
      const { of, sets } = losses(one);
      const total = one.options.workloads.reduce((sum, { weight }) => sum + weight, 0);
      const aim = (loss: readonly number[]): number =>
        minimizeWorst
          ? Math.max(...loss)
          : loss.reduce((sum, value, w) => sum + (value * one.options.workloads[w]!.weight) / total, 0);
      const got = aim(of(chosenSet(one, choice.chosen)));
      let best = Number.POSITIVE_INFINITY;
      for (let set = 0; set < sets; set++) best = Math.min(best, aim(of(set)));
      assert.ok(got >= best - 1e-9);
      assert.ok((got - best) / (1 + got) <= choice.model!.gap + 1e-6, `${got}, best ${best}, gap ${choice.model!.gap}`);
      if (got - best < 1e-9) exact += 1;
      // What it says each loses is so.
      const stated = choice.model!.workloads!.map(({ regret }) => regret);
      for (const [w, loss] of of(chosenSet(one, choice.chosen)).entries()) {
        assert.ok(Math.abs(stated[w]! - loss) < 1e-5, `${stated} ${loss}`);
      }
    }
    assert.ok(exact >= (minimizeWorst ? 9 : 15), `${exact} of 15`);
  });
}

test('the worst workload loses no more when its loss is what is minimised', () => {
  const draw = random(newSeed('worst'));
  let helped = 0;
  for (let round = 0; round < 8; round++) {
    const mean = instance(draw, 10, 3, false);
    const worst = { ...mean, options: { ...mean.options, minimizeWorst: true } };
    const most = ({ candidates, options }: Instance): number =>
      Math.max(
        ...workloadPolicy(options)
          .choose(candidates)
          .model!.workloads!.map(({ regret }) => regret),
      );
    const [a, b] = [most(mean), most(worst)];
    assert.ok(b <= a + 1e-6, `${b} against ${a}`);
    if (b < a - 1e-6) helped += 1;
  }
  assert.ok(helped > 0);
});

test('two workloads that are the same lose nothing, and get the plan of one', () => {
  const draw = random(newSeed('same'));
  const { candidates, options } = instance(draw, 10, 1, false);
  const twice = [options.workloads[0]!, { ...options.workloads[0]!, name: 'again', weight: 5 }];
  const common = workloadPolicy({ ...options, workloads: twice }).choose(candidates);
  const alone = costPolicy(options).choose(candidates);
  assert.deepEqual(
    common.chosen.map(({ rank }) => rank.path),
    alone.chosen.map(({ rank }) => rank.path),
  );
  assert.deepEqual(
    common.model!.workloads!.map(({ name, weight, regret }) => [name, weight, regret]),
    [
      ['w0', options.workloads[0]!.weight, 0],
      ['again', 5, 0],
    ],
  );
});

test('weights decide where workloads disagree', () => {
  const layers: Spec[][] = [[reg('a', { size: 3_000_000 })]];
  const web = profileOf(layers, 'web', [[['/a', 0, 3_000_000]], [['/a', 0, 3_000_000]]]);
  const job = profileOf(layers, 'job', [[], []]);
  const plan = (weights: readonly [number, number]) => {
    const workloads = [
      { name: 'web', profile: web, weight: weights[0] },
      { name: 'job', profile: job, weight: weights[1] },
    ];
    const profile = poolWorkloads(workloads);
    const use = profile.files[0]!;
    const candidate: Candidate = {
      rank: { path: '/a', score: 1, because: 'read' },
      use,
      layer: 0,
      entry: 'a',
      size: use.size,
    };
    const sizeOf = () => ({ size: use.size, compressed: 1_000_000 });
    return workloadPolicy({ sizeOf, chunkSize: 4 << 20, profile, workloads }).choose([candidate]);
  };
  assert.equal(plan([9, 1]).chosen.length, 1);
  assert.equal(plan([1, 9]).chosen.length, 0);
  const { workloads } = plan([9, 1]).model!;
  assert.equal(workloads![0]!.regret, 0);
  assert.ok(workloads![1]!.regret > 0.01);
  for (const { nanos, best } of workloads![1]!.networks) assert.ok(nanos > best);
});
