// Runs → profile: what the workload touched until it was ready, over all runs. Everything except the list of runs
// itself is independent of the order in which the runs come.
import { HotlayerError } from '../errors.js';
import { comparePaths } from '../paths.js';
import { TOOL } from '../trace/tool.js';
import { countRanges, totalLength } from './ranges.js';
import { meanPairwiseJaccard, medianCount, spreadOf } from './statistics.js';
import type { FileInRun, RunSummary } from './summarize.js';
import type { TreeView } from './tree-view.js';
import { PROFILE_SCHEMA, type Profile, type ProfileFile } from './types.js';

/**
 * @param runs at least one; all of the same image, workload and precision
 * @throws HL_ERR_DATA when there is none or they do not belong together
 */
export function buildProfile(runs: readonly RunSummary[], tree: Pick<TreeView, 'totals'>): Profile {
  const first = runs[0];
  if (!first) throw new HotlayerError('HL_ERR_DATA', 'a profile needs at least one trace, found none');
  for (const [i, run] of runs.entries()) requireSame(first, run, i);
  const { header } = first;
  const { files, bytes } = tree.totals();
  const readies = runs.flatMap(({ run }) => (run.ready ? [run.ready.t] : []));
  return {
    schemaVersion: PROFILE_SCHEMA,
    tool: TOOL,
    image: {
      reference: header.image.reference,
      ...(header.image.digest === undefined ? undefined : { digest: header.image.digest }),
      files,
      bytes,
    },
    ...(header.platform === undefined ? undefined : { platform: header.platform }),
    workload: header.workload,
    precision: header.precision,
    until: header.until,
    complete: runs.every(({ run }) => run.complete),
    runs: runs.map(({ run }) => run),
    ...(readies.length === 0 ? undefined : { ready: spreadOf(readies) }),
    stability: meanPairwiseJaccard(runs.map(filesRead)),
    files: mergeFiles(runs),
    misses: sumMisses(runs.map(({ misses }) => misses)),
  };
}

function filesRead({ files }: RunSummary): Set<string> {
  return new Set([...files.values()].filter(({ ranges }) => ranges.length > 0).map(({ path }) => path));
}

function mergeFiles(runs: readonly RunSummary[]): ProfileFile[] {
  const byPath = new Map<string, FileInRun[]>();
  for (const { files } of runs) {
    for (const file of files.values()) {
      const list = byPath.get(file.path);
      if (list) list.push(file);
      else byPath.set(file.path, [file]);
    }
  }
  return [...byPath.values()].map(mergeFile).sort((a, b) => comparePaths(a.path, b.path));
}

/** @param seen the same file in each run that touched it */
function mergeFile(seen: readonly FileInRun[]): ProfileFile {
  // They agree but for a directory that changed between the runs: then the largest stands for all.
  const { path, type, layer, size } = seen.reduce((a, b) => (b.size > a.size ? b : a));
  const comms = new Set(seen.flatMap((file) => [...file.comms]));
  return {
    path,
    type: seen.every((file) => file.type === type) ? type : 'other',
    ...(layer === undefined ? undefined : { layer }),
    size,
    seenIn: seen.length,
    openedIn: seen.filter((file) => file.opened).length,
    firstAccess: spreadOf(seen.map((file) => file.first)),
    bytesRead: spreadOf(seen.map((file) => totalLength(file.ranges))),
    reads: medianCount(seen.map((file) => file.reads)),
    ranges: countRanges(seen.map((file) => file.ranges)),
    ...(seen.some((file) => file.executed) ? { executed: true as const } : undefined),
    comms: [...comms].sort(comparePaths),
  };
}

/** Most searched first, then by path. */
export function sumMisses(counts: readonly ReadonlyMap<string, number>[]): Profile['misses'] {
  const sums = new Map<string, number>();
  for (const map of counts) for (const [path, count] of map) sums.set(path, (sums.get(path) ?? 0) + count);
  const directories = [...sums]
    .map(([path, count]) => ({ path, count }))
    .sort((a, b) => b.count - a.count || comparePaths(a.path, b.path));
  return { total: directories.reduce((sum, { count }) => sum + count, 0), directories };
}

function requireSame(a: RunSummary, b: RunSummary, index: number): void {
  const facts = ({ header }: RunSummary) => ({
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
