// Runs → profile: what the workload touched until it was ready, over all runs. Everything except the list of runs
// itself is independent of the order in which the runs come.
import { HotlayerError } from '../errors.js';
import { comparePaths } from '../paths.js';
import { TOOL } from '../trace/tool.js';
import { assessRuns } from './assess.js';
import { countFiles } from './count-files.js';
import { FileTable } from './file-table.js';
import { packageUses } from './packages/uses.js';
import type { RecordedRun } from './recorded-run.js';
import { renumberFiles, saveReplay } from './replay.js';
import { spreadOf } from './statistics.js';
import { PROFILE_SCHEMA, type Profile, type ProfileRun } from './types.js';

/** What a profile says of the image itself. */
export type ImageFacts = Omit<Profile['image'], 'reference' | 'digest'>;

/**
 * @param runs at least one; all of the same image, workload and precision
 * @throws HL_ERR_DATA when there is none or they do not belong together
 */
export function buildProfile(runs: readonly RecordedRun[], tree: { totals(): ImageFacts }): Profile {
  const first = runs[0];
  if (!first) throw new HotlayerError('HL_ERR_DATA', 'a profile needs at least one trace, found none');
  for (const [i, run] of runs.entries()) requireSame(first, run, i);
  return assembleProfile(runs, tree.totals());
}

/**
 * @param runs at least one, known to belong together; the profile lists them in this order
 */
export function assembleProfile(runs: readonly RecordedRun[], totals: ImageFacts): Profile {
  const table = new FileTable(runs.map(({ files, replay }) => ({ files, used: replay.file })));
  const replays = runs.map(({ replay }, i) => renumberFiles(replay, table.numbers[i]!));
  const complete = runs.map(({ run }) => run.complete);
  const { files, columns } = countFiles(table.files, replays, complete);
  const misses = sumMisses(runs.map((run) => run.misses));
  const directory = new Map(misses.directories.map(({ path }, i) => [path, i]));
  const readies = runs.flatMap(({ run }) => (run.ready ? [run.ready.t] : []));
  const least = <T>(values: readonly T[]): T =>
    values.reduce((a, b) => (JSON.stringify(b) < JSON.stringify(a) ? b : a));
  const { image, platform } = runs[0]!.header;
  return {
    schemaVersion: PROFILE_SCHEMA,
    tool: TOOL,
    image: {
      // Of several hosts, each may have its own name for the image.
      reference: least(runs.map(({ header }) => header.image.reference)),
      ...(image.digest === undefined ? undefined : { digest: image.digest }),
      ...totals,
    },
    ...(platform === undefined ? undefined : { platform }),
    workload: least(runs.map(({ header }) => header.workload)),
    precision: runs.every(({ header }) => header.precision === 'exact') ? 'exact' : 'fast',
    until: untilOf(runs),
    complete: complete.every(Boolean),
    runs: runs.map(({ run, misses: counts }, i): ProfileRun => {
      const searched = [...counts].map(([path, count]): [number, number] => [directory.get(path)!, count]);
      return {
        ...run,
        misses: searched.sort(([a], [b]) => a - b),
        replay: saveReplay(replays[i]!),
      };
    }),
    ...(readies.length === 0 ? undefined : { ready: spreadOf(readies) }),
    ...assessRuns(
      runs.map(({ run }, i) => ({ run, columns: columns[i]! })),
      files,
    ),
    files,
    ...(totals.databases === undefined ? undefined : { packages: packageUses(files) }),
    misses,
  };
}

/** The rules in their order where all runs have the same; else all of them, in byte order. */
function untilOf(runs: readonly RecordedRun[]): readonly string[] {
  const first = runs[0]!.header.until;
  if (runs.every(({ header }) => JSON.stringify(header.until) === JSON.stringify(first))) return first;
  return [...new Set(runs.flatMap(({ header }) => header.until))].sort(comparePaths);
}

/** Most searched first, then by path. */
function sumMisses(counts: readonly ReadonlyMap<string, number>[]): Profile['misses'] {
  const sums = new Map<string, number>();
  for (const map of counts) for (const [path, count] of map) sums.set(path, (sums.get(path) ?? 0) + count);
  const directories = [...sums]
    .map(([path, count]) => ({ path, count }))
    .sort((a, b) => b.count - a.count || comparePaths(a.path, b.path));
  return { total: directories.reduce((sum, { count }) => sum + count, 0), directories };
}

function requireSame(a: RecordedRun, b: RecordedRun, index: number): void {
  const facts = ({ header }: RecordedRun) => ({
    image: header.image.digest ?? header.image.reference,
    workload: JSON.stringify(header.workload),
    precision: header.precision,
  });
  const expected = facts(a);
  const found = facts(b);
  for (const name of ['image', 'workload', 'precision'] as const) {
    if (expected[name] !== found[name]) {
      throw new HotlayerError(
        'HL_ERR_DATA',
        `run ${index + 1}: its ${name} is ${found[name]}, that of run 1 is ${expected[name]}`,
        { hint: 'make one profile of each, and give both to optimize' },
      );
    }
  }
}
