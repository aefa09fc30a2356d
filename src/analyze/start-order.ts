// In which order a start first needs the chunks of an image: what hotlayer's own reader fetches while the container
// starts.
import { chunksOf } from '../stargz/chunking.js';
import type { Bytes } from '../units.js';
import { type Replay, replayOf } from './replay.js';
import type { Profile, ProfileRun, StartStep } from './types.js';

/** Where the content of a profile's file lies, and how it will be divided. */
export interface ContentPlace {
  readonly layer: number;
  /** Name of its entry there, cleaned. */
  readonly path: string;
  readonly size: Bytes;
  readonly cuts: readonly number[];
}

/**
 * The chunks that were read in any run: first those of the run that took as long as most, in the order in which that
 * needed them, then what only others did.
 * @param placeOf by path in the container; undefined: it is not in the image
 */
export function startOrder(
  profile: Pick<Profile, 'files' | 'runs'>,
  placeOf: (path: string) => ContentPlace | undefined,
  chunkSize: Bytes,
): StartStep[] {
  const places = profile.files.map(({ path }) => placeOf(path));
  const chunks = new Map<number, number[]>();
  const seen = new Set<string>();
  const steps: { layer: number; path: string; at: number[] }[] = [];
  const need = (file: number, offset: Bytes, length: Bytes): void => {
    const place = places[file];
    if (!place || length <= 0 || offset >= place.size) return;
    let starts = chunks.get(file);
    if (!starts) {
      starts = [...chunksOf(place.size, chunkSize, place.cuts)].map(([at]) => at);
      chunks.set(file, starts);
    }
    for (let i = lastUpTo(starts, offset); i < starts.length && starts[i]! < offset + length; i++) {
      const key = `${place.layer} ${place.path} ${starts[i]}`;
      if (seen.has(key)) continue;
      seen.add(key);
      const last = steps.at(-1);
      if (last?.layer === place.layer && last.path === place.path) last.at.push(starts[i]!);
      else steps.push({ layer: place.layer, path: place.path, at: [starts[i]!] });
    }
  };
  const run = typicalRun(profile.runs);
  if (run) {
    const replay: Replay = replayOf(run, profile.files.length);
    for (let i = 0; i < replay.length; i++) need(replay.file[i]!, replay.offset[i]!, replay.bytes[i]!);
  }
  const byTime = [...profile.files.keys()].sort(
    (a, b) => profile.files[a]!.firstAccess.median - profile.files[b]!.firstAccess.median,
  );
  for (const file of byTime) for (const [offset, length] of profile.files[file]!.ranges) need(file, offset, length);
  return steps;
}

/** Of the complete ones (all, when none is) the one in the middle by the accesses that it made. */
function typicalRun(runs: readonly ProfileRun[]): ProfileRun | undefined {
  const complete = runs.filter((run) => run.complete);
  const sorted = [...(complete.length > 0 ? complete : runs)].sort((a, b) => a.replay.accesses - b.replay.accesses);
  return sorted[Math.floor((sorted.length - 1) / 2)];
}

/** Index of the last of ascending numbers that is not above `value`; the first is 0. */
function lastUpTo(numbers: readonly number[], value: number): number {
  let low = 0;
  let high = numbers.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (numbers[middle]! <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}
