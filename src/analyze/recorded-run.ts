// One run as the analyzer holds it: the files it touched, its accesses in columns, the look-ups that failed. Profiles
// are made from a list of these, and a profile can be taken apart into them again without loss.
import { createHash } from 'node:crypto';
import { comparePaths } from '../paths.js';
import type { TraceHeader } from '../trace/events.js';
import { columnBytes, type Replay, renumberFiles } from './replay.js';
import type { Profile, ProfileFile, ProfileRun } from './types.js';

export type RecordedFile = Pick<ProfileFile, 'path' | 'type' | 'layer' | 'size' | 'package'>;

/** What runs of one profile have in common. */
export type RunOrigin = Pick<TraceHeader, 'image' | 'platform' | 'workload' | 'precision' | 'until'>;

export interface RecordedRun {
  readonly header: RunOrigin;
  readonly run: Omit<ProfileRun, 'replay' | 'misses'>;
  /** By the numbers in `replay.file`; files that no access names are allowed. */
  readonly files: readonly RecordedFile[];
  readonly replay: Replay;
  /** Look-ups of names that do not exist, by canonical path of the directory. */
  readonly misses: ReadonlyMap<string, number>;
}

/**
 * Identifies a run by what it did: the same trace has the same id wherever it is read, two runs of a workload never
 * have (their times differ by nanoseconds). 16 hexadecimal digits of a sha256.
 */
export function idOfRun({ header, run, files, replay, misses }: Omit<RecordedRun, 'run'> & { run: object }): string {
  // Files numbered in the order of their first access: the table they came from does not matter.
  const numbers = new Uint32Array(files.length);
  const paths: string[] = [];
  for (const file of replay.file) {
    if (numbers[file] !== 0) continue;
    paths.push(files[file]!.path);
    numbers[file] = paths.length;
  }
  const { image, platform, workload, precision } = header;
  const hash = createHash('sha256');
  const searched = [...misses].sort(([a], [b]) => comparePaths(a, b));
  const facts = [image.digest ?? image.reference, platform, workload, precision, run, replay.processes, searched];
  hash.update(JSON.stringify(facts));
  hash.update(JSON.stringify(paths));
  hash.update(columnBytes(renumberFiles(replay, numbers)));
  return hash.digest('hex').slice(0, 16);
}

/** The common part of a profile's runs. */
export function originOf({ image, platform, workload, precision, until }: Profile): RunOrigin {
  const { reference, digest } = image;
  return {
    image: { reference, ...(digest === undefined ? undefined : { digest }) },
    ...(platform === undefined ? undefined : { platform }),
    workload,
    precision,
    until,
  };
}
