// One choice for several workloads. Each file costs the same before the landmark whoever starts, and behind it what
// each workload's own reads cost; both count as parts of the best start that the workload could have alone, so that a
// second lost by a fast one counts more than one lost by a slow one.
import type { Candidate, Choice, Policy } from '../policy.js';
import type { WorkloadRegret } from '../types.js';
import type { WeighedWorkload } from '../workloads.js';
import { chooseItems, type Problem } from './choose.js';
import { type ClientModel, STARGZ_SNAPSHOTTER } from './client.js';
import {
  type CostedFile,
  type CostOptions,
  costFiles,
  describe,
  modelOf,
  networkWeights,
  problemOf,
  startNanos,
  weighted,
} from './cost-policy.js';
import type { Misses } from './file-cost.js';
import { type Network, ROBUST, transferNanos } from './network.js';

/** Rounds of the search for the weights under which the worst loses least. */
const ROUNDS = 200;

/** One workload with its costs. */
interface Player {
  readonly workload: WeighedWorkload;
  readonly files: readonly CostedFile[];
  /** What a nanosecond on each network counts for it. */
  readonly weights: readonly number[];
  readonly problem: Problem;
  /** Cost of the best choice for it alone, and that choice. */
  readonly best: number;
  readonly bestTaken: readonly boolean[];
}

type Taken = readonly boolean[];

export interface WorkloadOptions extends CostOptions {
  /** At least one. `profile` is all their runs together: chunk boundaries are chosen by it. */
  readonly workloads: readonly WeighedWorkload[];
  /** The workload that loses most shall lose as little as can be; absent: the weighted mean of the losses shall. */
  readonly minimizeWorst?: boolean | undefined;
}

export function workloadPolicy(options: WorkloadOptions): Policy {
  const { networks = ROBUST, workloads, minimizeWorst } = options;
  const aim = minimizeWorst ? 'least loss of the workload that loses most' : 'least time to ready, weighted';
  const names = workloads.map(({ name }) => name).join(', ');
  return {
    name: `${aim}, of ${names} on ${networks.map(({ name }) => name).join(', ')}`,
    choose: (candidates) => chooseForWorkloads(candidates, options),
  };
}

function chooseForWorkloads(candidates: readonly Candidate[], options: WorkloadOptions): Choice {
  const { networks = ROBUST, client = STARGZ_SNAPSHOTTER, workloads } = options;
  const cuts = costFiles(candidates, options).map((file) => file.cuts);
  const players = workloads.map((workload) => playerOf(workload, candidates, cuts, options, networks, client));
  const total = workloads.reduce((sum, { weight }) => sum + weight, 0);
  const shares = workloads.map(({ weight }) => weight / total);
  const common = options.minimizeWorst ? leastWorst(players, shares) : leastMean(players, shares);
  const blended = blend(players, shares);
  const { exact, ...described } = describe(blended, common.taken, networks, options);
  return {
    ...described,
    model: {
      ...modelOf(blended, common.taken, networks, client, common.gap),
      ...(exact && { exact }),
      workloads: players.map((player) => regretOf(player, common.taken, networks, client)),
    },
  };
}

function playerOf(
  workload: WeighedWorkload,
  candidates: readonly Candidate[],
  cuts: readonly (readonly number[])[],
  options: CostOptions,
  networks: readonly Network[],
  client: ClientModel,
): Player {
  const { profile } = workload;
  const uses = new Map(profile.files.map((file) => [file.path, file]));
  // What none of its runs touched it does not read: the prior of files that were seen is not that of all files.
  const own = candidates.map((candidate): Candidate => {
    const { use: _, ...rest } = candidate;
    const use = uses.get(candidate.rank.path);
    return use ? { ...rest, use } : rest;
  });
  const files = costFiles(own, { ...options, profile }, cuts).map((file) =>
    file.candidate.use && file.candidate.use.openedIn > 0
      ? file
      : { ...file, misses: NONE, behind: networks.map(() => 0) },
  );
  const weights = networkWeights(files, networks);
  const problem = problemOf(files, weights, networks, client, options.maxPrefetch);
  const { taken } = chooseItems(problem);
  return {
    workload,
    files,
    weights,
    problem,
    best: costOf(files, weights, networks, problem, taken),
    bestTaken: taken,
  };
}

const NONE: Misses = { chunks: 0, requests: 0, bytes: 0, inflated: 0 };

/** In parts of the best start that the workload could have. */
function costOf(
  files: readonly CostedFile[],
  weights: readonly number[],
  networks: readonly Network[],
  { items, charges }: Problem,
  taken: Taken,
): number {
  let cost = networks.reduce((sum, network, k) => sum + startNanos(network) * weights[k]!, 0);
  const opened = new Set<number>();
  for (const [i, { before, behind }] of files.entries()) {
    cost += weighted(taken[i] ? before : behind, weights);
    if (taken[i]) opened.add(items[i]!.group);
  }
  for (const group of opened) cost += charges[group]!;
  return cost;
}

/** The choice with the least weighted mean of costs, each as a part of the workload's own best. */
function leastMean(players: readonly Player[], shares: readonly number[]): { taken: Taken; gap: number } {
  const { taken, saved, bound } = chooseItems(mixed(players, shares));
  const cost = players.reduce((sum, player, w) => sum + shares[w]! * relativeCost(player, taken), 0);
  return { taken, gap: (bound - saved) / cost };
}

/**
 * The choice whose worst workload loses least. Its dual is a game: whoever sets the weights wants the best answer to
 * them to be bad; the weights grow where the answer loses more (multiplicative weights). The best answer to any weights
 * bounds what can be had, the best choice met on the way is taken.
 */
function leastWorst(players: readonly Player[], weights: readonly number[]): { taken: Taken; gap: number } {
  const worst = (taken: Taken) => players.reduce((most, player) => Math.max(most, relativeCost(player, taken)), 0);
  const known = [leastMean(players, weights).taken, ...players.map(({ bestTaken }) => bestTaken)];
  let taken = known.reduce((a, b) => (worst(b) < worst(a) ? b : a));
  let bound = 1;
  let shares = players.map(() => 1 / players.length);
  for (let round = 1; round <= ROUNDS && worst(taken) - bound > 1e-9; round++) {
    const problem = mixed(players, shares);
    const answer = chooseItems(problem);
    if (worst(answer.taken) < worst(taken)) taken = answer.taken;
    const costs = players.map((player) => relativeCost(player, answer.taken));
    const mean = costs.reduce((sum, cost, w) => sum + shares[w]! * cost, 0);
    bound = Math.max(bound, mean - (answer.bound - answer.saved));
    const spread = Math.max(...costs) - Math.min(...costs);
    if (spread <= 1e-12) break;
    const grown = shares.map((share, w) => share * Math.exp(((costs[w]! - mean) / spread) * (2 / Math.sqrt(round))));
    const sum = grown.reduce((a, b) => a + b, 0);
    shares = grown.map((share) => share / sum);
  }
  return { taken, gap: Math.max(0, worst(taken) - bound) / worst(taken) };
}

/** The workloads' problems as one: what each item saves and each group costs, weighted. */
function mixed(players: readonly Player[], shares: readonly number[]): Problem {
  const scale = players.map(({ best }, w) => shares[w]! / best);
  const sum = (of: (problem: Problem) => number): number =>
    players.reduce((total, { problem }, w) => total + scale[w]! * of(problem), 0);
  const { items, charges, capacities } = players[0]!.problem;
  return {
    items: items.map((item, i) => ({ ...item, saved: sum((problem) => problem.items[i]!.saved) })),
    charges: charges.map((_, group) => sum((problem) => problem.charges[group]!)),
    capacities,
  };
}

/** 1: as good as the workload's own best choice. */
function relativeCost({ problem, best, bestTaken }: Player, taken: Taken): number {
  return 1 + (net(problem, bestTaken) - net(problem, taken)) / best;
}

/** What a choice saves against taking nothing. */
function net({ items, charges }: Problem, taken: Taken): number {
  let saved = 0;
  const opened = new Set<number>();
  for (const [i, item] of items.entries()) {
    if (!taken[i]) continue;
    saved += item.saved;
    opened.add(item.group);
  }
  for (const group of opened) saved -= charges[group]!;
  return saved;
}

/** The files as the mean start sees them. */
function blend(players: readonly Player[], shares: readonly number[]): CostedFile[] {
  return players[0]!.files.map((file, i): CostedFile => {
    const mean = (of: (file: CostedFile) => number): number =>
      players.reduce((sum, { files }, w) => sum + shares[w]! * of(files[i]!), 0);
    return {
      ...file,
      behind: file.behind.map((_, k) => mean(({ behind }) => behind[k]!)),
      misses: {
        chunks: mean(({ misses }) => misses.chunks),
        requests: mean(({ misses }) => misses.requests),
        bytes: mean(({ misses }) => misses.bytes),
        inflated: mean(({ misses }) => misses.inflated),
      },
    };
  });
}

function regretOf(player: Player, taken: Taken, networks: readonly Network[], client: ClientModel): WorkloadRegret {
  const { workload, files, bestTaken } = player;
  const nanosOn = (k: number, choice: Taken): number => {
    const opened = new Set<number>();
    let nanos = startNanos(networks[k]!);
    for (const [i, { candidate, before, behind }] of files.entries()) {
      nanos += choice[i] ? before[k]! : behind[k]!;
      if (choice[i]) opened.add(candidate.layer);
    }
    return Math.round(nanos + opened.size * transferNanos(networks[k]!, client.piece / 2));
  };
  return {
    name: workload.name,
    weight: workload.weight,
    regret: Math.max(0, Math.round((relativeCost(player, taken) - 1) * 1e6) / 1e6),
    networks: networks.map((_, k) => ({ nanos: nanosOn(k, taken), best: nanosOn(k, bestTaken) })),
  };
}
