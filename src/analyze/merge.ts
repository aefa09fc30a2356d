// Several profiles of one image (other workloads, other machines) → one. Counts, ranges, extremes and misses add up
// exactly, in any order and grouping. Medians cannot be had from medians: they become the median of the parts', each
// weighted with its runs, which is order-free when all parts are merged at once.
import { HotlayerError } from '../errors.js';
import { comparePaths } from '../paths.js';
import { TOOL } from '../trace/tool.js';
import { sumMisses } from './profile.js';
import { sumRangeCounts } from './ranges.js';
import { PROFILE_SCHEMA, type Profile, type ProfileFile, type Spread } from './types.js';

/**
 * @param profiles at least one; one alone comes back as it is
 * @throws HL_ERR_DATA when they are of different images
 */
export function mergeProfiles(profiles: readonly Profile[]): Profile {
  const first = profiles[0];
  if (!first) throw new HotlayerError('HL_ERR_DATA', 'no profile to merge');
  if (profiles.length === 1) return first;
  for (const [i, { image }] of profiles.entries()) {
    const expected = first.image.digest ?? first.image.reference;
    const found = image.digest ?? image.reference;
    if (found !== expected) {
      throw new HotlayerError('HL_ERR_DATA', `profile ${i + 1} is of image ${found}, profile 1 is of ${expected}`, {
        hint: 'profile the same image again, or give one profile only',
      });
    }
  }
  const runs = profiles.flatMap((profile) => profile.runs);
  const readies = profiles.flatMap(({ ready, runs }): Weighted[] =>
    ready ? [{ spread: ready, weight: runs.length }] : [],
  );
  const byPath = new Map<string, ProfileFile[]>();
  for (const file of profiles.flatMap((profile) => profile.files)) {
    const list = byPath.get(file.path);
    if (list) list.push(file);
    else byPath.set(file.path, [file]);
  }
  return {
    schemaVersion: PROFILE_SCHEMA,
    tool: TOOL,
    image: first.image,
    ...(first.platform === undefined ? undefined : { platform: first.platform }),
    workload: first.workload,
    precision: profiles.every(({ precision }) => precision === 'exact') ? 'exact' : 'fast',
    until: [...new Set(profiles.flatMap(({ until }) => until))].sort(),
    complete: profiles.every(({ complete }) => complete),
    runs,
    ...(readies.length === 0 ? undefined : { ready: mergeSpreads(readies) }),
    stability: mergeStability(profiles),
    files: [...byPath.values()].map(mergeFile).sort((a, b) => comparePaths(a.path, b.path)),
    misses: sumMisses(
      profiles.map(({ misses }) => new Map(misses.directories.map(({ path, count }) => [path, count]))),
    ),
  };
}

function mergeFile(parts: readonly ProfileFile[]): ProfileFile {
  const { path, type, layer, size } = parts.reduce((a, b) => (b.size > a.size ? b : a));
  const spreads = (of: (part: ProfileFile) => Spread) =>
    mergeSpreads(parts.map((part) => ({ spread: of(part), weight: part.seenIn })));
  const sum = (of: (part: ProfileFile) => number) => parts.reduce((total, part) => total + of(part), 0);
  return {
    path,
    type: parts.every((part) => part.type === type) ? type : 'other',
    ...(layer === undefined ? undefined : { layer }),
    size,
    seenIn: sum((part) => part.seenIn),
    openedIn: sum((part) => part.openedIn),
    firstAccess: spreads((part) => part.firstAccess),
    bytesRead: spreads((part) => part.bytesRead),
    reads: weightedMedian(parts.map((part) => [part.reads, part.seenIn])),
    ranges: sumRangeCounts(parts.map((part) => part.ranges)),
    ...(parts.some((part) => part.executed) ? { executed: true as const } : undefined),
    comms: [...new Set(parts.flatMap((part) => part.comms))].sort(comparePaths),
  };
}

interface Weighted {
  readonly spread: Spread;
  readonly weight: number;
}

function mergeSpreads(parts: readonly Weighted[]): Spread {
  return {
    median: weightedMedian(parts.map(({ spread, weight }) => [spread.median, weight])),
    mad: weightedMedian(parts.map(({ spread, weight }) => [spread.mad, weight])),
    min: parts.reduce((least, { spread }) => Math.min(least, spread.min), Number.POSITIVE_INFINITY),
    max: parts.reduce((most, { spread }) => Math.max(most, spread.max), Number.NEGATIVE_INFINITY),
  };
}

/**
 * The value at which half of the weight is reached; between two values, their mean, rounded.
 * @param values [value, weight], weight > 0, at least one
 * @example weightedMedian([[10, 1], [20, 3]]) // 20
 */
export function weightedMedian(values: readonly (readonly [value: number, weight: number])[]): number {
  const sorted = [...values].sort((a, b) => a[0] - b[0]);
  const half = sorted.reduce((sum, [, weight]) => sum + weight, 0) / 2;
  let sum = 0;
  for (const [i, [value, weight]] of sorted.entries()) {
    sum += weight;
    if (sum > half) return value;
    if (sum === half) return Math.round((value + (sorted[i + 1]?.[0] ?? value)) / 2);
  }
  return sorted.at(-1)?.[0] ?? 0;
}

/** Mean over the pairs of runs within each profile; pairs across profiles are of different workloads and not known. */
function mergeStability(profiles: readonly Profile[]): number {
  const parts = profiles
    .map(({ stability, runs }) => ({ stability, pairs: (runs.length * (runs.length - 1)) / 2 }))
    .filter(({ pairs }) => pairs > 0)
    .sort((a, b) => a.stability - b.stability || a.pairs - b.pairs);
  const pairs = parts.reduce((sum, part) => sum + part.pairs, 0);
  if (pairs === 0) return 1;
  return Math.round((parts.reduce((sum, part) => sum + part.stability * part.pairs, 0) / pairs) * 1e6) / 1e6;
}
