// Several profiles of one workload (other hosts, other days) → one. A profile is taken apart into its runs and made
// anew from all of them, so that merging is exact, associative and free of order, byte for byte; and idempotent, for a
// run that is in two of the profiles counts once.
import { HotlayerError } from '../errors.js';
import { assembleProfile, type ImageFacts } from './profile.js';
import { originOf, type RecordedRun } from './recorded-run.js';
import { replayOf } from './replay.js';
import type { Profile } from './types.js';

export interface MergeOptions {
  /** True: profiles of several workloads are pooled, each run counts once; the result names the first in byte order. */
  readonly anyWorkload?: boolean;
}

/**
 * @param profiles at least one; one alone comes back as it is. The runs of the result are in order of their ids.
 * @throws HL_ERR_DATA when they are of different images or workloads, or one is damaged
 */
export function mergeProfiles(profiles: readonly Profile[], { anyWorkload = false }: MergeOptions = {}): Profile {
  const first = profiles[0];
  if (!first) throw new HotlayerError('HL_ERR_DATA', 'no profile to merge');
  if (profiles.length === 1) return first;
  for (const [i, profile] of profiles.entries()) requireSame(first, profile, i, anyWorkload);
  const kept = new Map<string, RecordedRun[]>();
  for (const profile of profiles) {
    // Within a profile each run counts, also when two are alike to the nanosecond; between profiles they are the same.
    for (const [id, runs] of byId(runsOf(profile))) {
      if (runs.length > (kept.get(id)?.length ?? 0)) kept.set(id, runs);
    }
  }
  const ids = [...kept.keys()].sort();
  return assembleProfile(
    ids.flatMap((id) => kept.get(id)!),
    factsOf(profiles.map(({ image }) => image)),
  );
}

/** Of one image they agree; a directory may have changed between the hosts, and not everybody looked for packages. */
function factsOf(images: readonly Profile['image'][]): ImageFacts {
  const least = <T>(values: readonly (T | undefined)[]): T | undefined =>
    values
      .filter((value) => value !== undefined)
      .map((value) => JSON.stringify(value))
      .sort()
      .map((text) => JSON.parse(text) as T)[0];
  const layers = least(images.map((image) => image.layers));
  const databases = least(images.map((image) => image.databases));
  return {
    files: Math.max(...images.map(({ files }) => files)),
    bytes: Math.max(...images.map(({ bytes }) => bytes)),
    ...(layers === undefined ? undefined : { layers }),
    ...(databases === undefined ? undefined : { databases }),
  };
}

/** The runs that a profile was made from. @throws HL_ERR_DATA when it is damaged */
export function runsOf(profile: Profile): RecordedRun[] {
  const header = originOf(profile);
  const { files, misses } = profile;
  return profile.runs.map(({ replay: _, misses: searched, ...run }, i): RecordedRun => {
    const counts = searched.map(([directory, count]): [string, number] => [misses.directories[directory]!.path, count]);
    return { header, run, files, replay: replayOf(profile.runs[i]!, files.length), misses: new Map(counts) };
  });
}

function byId(runs: readonly RecordedRun[]): Map<string, RecordedRun[]> {
  const out = new Map<string, RecordedRun[]>();
  for (const run of runs) {
    const list = out.get(run.run.id);
    if (list) list.push(run);
    else out.set(run.run.id, [run]);
  }
  return out;
}

function requireSame(a: Profile, b: Profile, index: number, anyWorkload: boolean): void {
  const facts = ({ image, workload }: Profile) => ({
    image: image.digest ?? image.reference,
    workload: JSON.stringify(workload),
  });
  const [expected, found] = [facts(a), facts(b)];
  for (const name of anyWorkload ? (['image'] as const) : (['image', 'workload'] as const)) {
    if (found[name] !== expected[name]) {
      throw new HotlayerError(
        'HL_ERR_DATA',
        `profile ${index + 1} is of ${name} ${found[name]}, profile 1 is of ${expected[name]}`,
        { hint: name === 'image' ? 'profile the same image again, or give one profile only' : HINT },
      );
    }
  }
}

const HINT = 'give both to optimize, which makes one plan for both';
