// The policy that decides by cost: of the files that a start reads, those go before the landmark for which that makes
// the expected time to ready shorter, summed over the networks that the plan is for.
import { type Bytes, formatBytes, formatNanos, type Nanos } from '../../units.js';
import type { Candidate, Choice, Policy } from '../policy.js';
import type { PlanModel, Profile } from '../types.js';
import { alignedBoundaries, type Counted, type HotArea, hotAreas, MERGED_GAPS, probabilityOf } from './areas.js';
import { chooseItems, type Item, type Problem } from './choose.js';
import { type ClientModel, STARGZ_SNAPSHOTTER } from './client.js';
import { exactCuts, type Reader } from './exact-cuts.js';
import { bytesBefore, type CompressedFile, type Misses, missesBehind, nanosBefore, nanosBehind } from './file-cost.js';
import { type Network, ROBUST, transferNanos } from './network.js';

export interface CostOptions {
  /** Sizes in the layer that will be written. */
  readonly sizeOf: (candidate: Candidate) => CompressedFile;
  /** Bytes; files are divided so where the plan says nothing else. */
  readonly chunkSize: Bytes;
  /** What the candidates' use was counted from; absent: they are paths from elsewhere, each read whole in every start. */
  readonly profile?: Pick<Profile, 'runs' | 'files'> | undefined;
  /** Absent: lan, wan and edge alike. */
  readonly networks?: readonly Network[] | undefined;
  /** Uncompressed bytes over all layers; absent: no cap. */
  readonly maxPrefetch?: Bytes | undefined;
  readonly client?: ClientModel | undefined;
  /** Whose chunks the files get. Absent: the client's alone. */
  readonly reader?: Reader | undefined;
}

/** A candidate and what it costs: one number a network, in the order of the networks. */
export interface CostedFile {
  readonly candidate: Candidate;
  readonly file: CompressedFile;
  readonly before: readonly Nanos[];
  readonly behind: readonly Nanos[];
  readonly misses: Misses;
  /** Its own chunk boundaries when it stays behind; empty: the ordinary ones. */
  readonly cuts: readonly number[];
}

/** What starts cost besides the files: requests one after the other until the layers are resolved, and the runtime. */
const START = { roundTrips: 9, nanos: 400e6 };
/** The part of the client's patience with a prefetch that is planned for: the line may be slower than it is said to be. */
const WAIT_SHARE = 0.9;

/** How the reason of a file ends that was opened or followed, and not read. */
export const NOT_NEEDED = 'none of its content is needed';

export function costPolicy(options: CostOptions): Policy {
  const { networks = ROBUST, client = STARGZ_SNAPSHOTTER } = options;
  return {
    name: `least time to ready on ${networks.map(({ name }) => name).join(', ')}`,
    choose(candidates) {
      const files = costFiles(candidates, options);
      const weights = networkWeights(files, networks);
      const problem = problemOf(files, weights, networks, client, options.maxPrefetch);
      const { taken, saved, bound } = chooseItems(problem);
      const all = files.reduce((sum, { behind }) => sum + weighted(behind, weights), 0);
      const start = networks.reduce((sum, network, k) => sum + startNanos(network) * weights[k]!, 0);
      const gap = (bound - saved) / (start + all - saved);
      const { exact, ...described } = describe(files, taken, networks, options);
      const model = modelOf(files, taken, networks, client, gap);
      return { ...described, model: exact ? { ...model, exact } : model };
    },
  };
}

/** @param cutsOf chunk boundaries by candidate; absent: they are chosen here */
export function costFiles(
  candidates: readonly Candidate[],
  options: CostOptions,
  cutsOf?: readonly (readonly number[])[],
): CostedFile[] {
  const { networks = ROBUST, client = STARGZ_SNAPSHOTTER, chunkSize, profile, sizeOf } = options;
  // A record that has no ranges at all (other tools' ones) says which files, not what of them.
  const ranged = profile?.files.some(({ ranges }) => ranges.length > 0) ?? false;
  const runs = profile?.runs ?? [];
  const of = { runs: runs.length, incomplete: runs.filter(({ complete }) => !complete).length };
  return candidates.map((candidate, i) => {
    const file = sizeOf(candidate);
    const areas = ranged && candidate.use ? hotAreas(candidate.use, of, client) : wholeFile(candidate, of);
    const { cuts, misses } = cutsOf
      ? { cuts: cutsOf[i]!, misses: missesBehind(file, areas, client, chunkSize, cutsOf[i]) }
      : bestChunks(file, areas, client, chunkSize, networks);
    return {
      candidate,
      file,
      before: networks.map((network) => nanosBefore(file, client, network)),
      behind: networks.map((network) => nanosBehind(misses, client, network)),
      misses,
      cuts,
    };
  });
}

/** The ordinary chunks, or chunks of its own, whichever is cheaper behind the landmark. */
function bestChunks(
  file: CompressedFile,
  areas: readonly HotArea[],
  client: ClientModel,
  chunkSize: Bytes,
  networks: readonly Network[],
): { readonly cuts: readonly number[]; readonly misses: Misses } {
  const cost = (misses: Misses) =>
    networks.reduce((sum, network) => sum + nanosBehind(misses, client, network) / startNanos(network), 0);
  let best = { cuts: [] as readonly number[], misses: missesBehind(file, areas, client, chunkSize) };
  if (file.size <= client.window) return best;
  for (const gap of MERGED_GAPS) {
    const cuts = alignedBoundaries(areas, file.size, gap, chunkSize);
    const misses = missesBehind(file, areas, client, chunkSize, cuts);
    if (cost(misses) < cost(best.misses)) best = { cuts, misses };
  }
  return best;
}

function wholeFile({ use, size }: Candidate, of: Counted): HotArea[] {
  const probability = use ? probabilityOf(use.openedIn, of) : 1;
  return size === 0 ? [] : [{ offset: 0, length: size, probability }];
}

/** What a start costs besides its files. */
export function startNanos(network: Network): Nanos {
  return START.roundTrips * network.rtt + START.nanos;
}

/**
 * How much a nanosecond counts on each network: as a part of the best start there, so that a plan for several is as
 * good, in proportion, for each of them.
 */
export function networkWeights(files: readonly CostedFile[], networks: readonly Network[]): number[] {
  return networks.map((network, k) => {
    const least = files.reduce((sum, { before, behind }) => sum + Math.min(before[k]!, behind[k]!), 0);
    return 1 / (startNanos(network) + least) / networks.length;
  });
}

export const weighted = (nanos: readonly Nanos[], weights: readonly number[]): number =>
  nanos.reduce((sum, value, k) => sum + value * weights[k]!, 0);

/** Items are the files, groups the layers; capacities: uncompressed bytes, and nanoseconds until the client gives up. */
export function problemOf(
  files: readonly CostedFile[],
  weights: readonly number[],
  networks: readonly Network[],
  client: ClientModel,
  maxPrefetch = Number.POSITIVE_INFINITY,
): Problem {
  const layers = files.reduce((most, { candidate }) => Math.max(most, candidate.layer + 1), 0);
  // A layer's prefetch ends with half a piece that nobody asked for, on average.
  const charge = weighted(
    networks.map((network) => transferNanos(network, client.piece / 2)),
    weights,
  );
  return {
    items: files.map(
      ({ candidate, before, behind }): Item => ({
        saved: weighted(behind, weights) - weighted(before, weights),
        group: candidate.layer,
        weights: [candidate.size, Math.max(...before)],
      }),
    ),
    charges: new Array<number>(layers).fill(charge),
    capacities: [maxPrefetch, client.prefetchWait * WAIT_SHARE],
  };
}

export function describe(
  files: readonly CostedFile[],
  taken: readonly boolean[],
  networks: readonly Network[],
  options: CostOptions,
): Pick<Choice, 'chosen' | 'behind' | 'cut' | 'chunks'> & Pick<PlanModel, 'exact'> {
  const { maxPrefetch = Number.POSITIVE_INFINITY, client = STARGZ_SNAPSHOTTER, reader = 'stargz', chunkSize } = options;
  const exact = { boundaries: 0, bytes: 0 };
  const chosen: Candidate[] = [];
  const behind: { path: string; because: string }[] = [];
  const cut: { path: string; reason: string }[] = [];
  const chunks = new Map<string, readonly number[]>();
  const used = files.reduce((sum, { candidate }, i) => sum + (taken[i] ? candidate.size : 0), 0);
  for (const [i, costed] of files.entries()) {
    const { candidate } = costed;
    const { path, because } = candidate.rank;
    let { cuts } = taken[i] ? { cuts: [] } : costed;
    if (reader !== 'stargz') {
      const own = exactCuts(costed.file, candidate.use, reader, chunkSize, client, networks);
      if (reader === 'hotlayer' || cuts.length === 0) cuts = own.cuts;
      exact.boundaries += cuts.length;
      exact.bytes += candidate.use?.ranges.length === 0 ? 0 : own.bytes;
    }
    if (cuts.length > 0) chunks.set(path, cuts);
    if (taken[i]) {
      const rank = { ...candidate.rank, because: `${because}; ${costsInWords(costed, networks)}` };
      chosen.push({ ...candidate, rank });
      continue;
    }
    const saves = costed.before.some((nanos, k) => nanos < costed.behind[k]!);
    if (costed.misses.chunks === 0) {
      behind.push({ path, because: `${because}; ${NOT_NEEDED}` });
    } else if (saves && candidate.size > maxPrefetch - used) {
      const left = `it has ${formatBytes(candidate.size)}, ${formatBytes(maxPrefetch - used)} were left`;
      cut.push({ path, reason: `left out by --max-prefetch ${formatBytes(maxPrefetch)}: ${left}` });
    } else {
      behind.push({ path, because: `${because}; ${costsInWords(costed, networks)}` });
    }
  }
  if (reader === 'stargz') return { chosen, behind, cut, chunks };
  const nanos = networks.map((network) => Math.round(transferNanos(network, exact.bytes)));
  return { chosen, behind, cut, chunks, exact: { ...exact, nanos } };
}

/** `costs lan 1.2, wan 5.1, edge 21 ms prefetched (61 KiB), lan 3.2, wan 26, edge 121 ms fetched when read (1 request)` */
function costsInWords({ file, before, behind, misses }: CostedFile, networks: readonly Network[]): string {
  const list = (nanos: readonly Nanos[]) =>
    networks.map(({ name }, k) => `${name} ${formatNanos(Math.round(nanos[k]!))}`).join(', ');
  const requests = Math.round(misses.requests * 10) / 10;
  const fetches = `${requests} ${requests === 1 ? 'request' : 'requests'}, ${formatBytes(Math.round(misses.bytes))}`;
  return `prefetched (${formatBytes(bytesBefore(file))}) it costs ${list(before)}; fetched when read (${fetches}) ${list(behind)}`;
}

export function modelOf(
  files: readonly CostedFile[],
  taken: readonly boolean[],
  networks: readonly Network[],
  client: ClientModel,
  gap: number,
): PlanModel {
  const sum = (of: (file: CostedFile) => number, which: boolean) =>
    files.reduce((total, file, i) => (taken[i] === which ? total + of(file) : total), 0);
  return {
    client: client.name,
    networks: networks.map(({ name, bytesPerSecond, rtt }, k) => ({
      name,
      ...(Number.isFinite(bytesPerSecond) ? { bytesPerSecond } : undefined),
      rtt,
      prefetch: Math.round(sum(({ before }) => before[k]!, true)),
      misses: Math.round(sum(({ behind }) => behind[k]!, false)),
    })),
    prefetchBytes: sum(({ file }) => bytesBefore(file), true),
    requests: Math.round(sum(({ misses }) => misses.requests, false) * 100) / 100,
    gap: Math.max(0, Math.round(gap * 1e6) / 1e6),
  };
}
