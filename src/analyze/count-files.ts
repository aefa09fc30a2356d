// What the profile says of each file, counted from the accesses of all runs. The runs' order does not matter.
import { comparePaths } from '../paths.js';
import type { Bytes } from '../units.js';
import { proportion } from './interval.js';
import { countRanges, type Range, RangeSet } from './ranges.js';
import type { RecordedFile } from './recorded-run.js';
import { REPLAY_OPS, type Replay } from './replay.js';
import { medianCount, spreadOf } from './statistics.js';
import type { ProfileFile, RangeCount } from './types.js';

/** What one run asked of each file, by number of the file. */
export interface FileColumns {
  /** When its content was first asked for; NaN when it was not. */
  readonly first: Float64Array;
  /** Distinct bytes read. */
  readonly bytes: Float64Array;
}

export interface Counted {
  readonly files: ProfileFile[];
  /** For each run. */
  readonly columns: readonly FileColumns[];
}

const LOOK = REPLAY_OPS.indexOf('look');
const EXEC = REPLAY_OPS.indexOf('exec');
const READ = REPLAY_OPS.indexOf('read');

/**
 * @param files each touched in at least one run
 * @param replays with numbers of these files
 * @param complete for each run
 */
export function countFiles(
  files: readonly RecordedFile[],
  replays: readonly Replay[],
  complete: readonly boolean[],
): Counted {
  const incomplete = complete.filter((is) => !is).length;
  const rows = replays.map((replay) => rowsByFile(replay, files.length));
  const columns = replays.map(
    (): FileColumns => ({
      first: new Float64Array(files.length).fill(Number.NaN),
      bytes: new Float64Array(files.length),
    }),
  );
  const read = new RangeSet();
  const counted = files.map((file, number): ProfileFile => {
    const first: number[] = [];
    const bytes: number[] = [];
    const reads: number[] = [];
    const ranges: (readonly Range[])[] = [];
    const comms = new Set<string>();
    let openedIn = 0;
    let openedIncomplete = 0;
    let executed = false;
    for (let run = 0; run < replays.length; run++) {
      const replay = replays[run]!;
      const { starts, order } = rows[run]!;
      const [from, to] = [starts[number]!, starts[number + 1]!];
      if (from === to) continue;
      // Rows are in order of time.
      first.push(replay.t[order[from]!]!);
      if (replay.op[order[from]!] !== LOOK) {
        openedIn += 1;
        if (!complete[run]) openedIncomplete += 1;
        columns[run]!.first[number] = replay.t[order[from]!]!;
      }
      read.clear();
      let calls = 0;
      let process = -1;
      for (let i = from; i < to; i++) {
        const row = order[i]!;
        if (replay.process[row] !== process) {
          process = replay.process[row]!;
          const { comm } = replay.processes[process]!;
          if (comm !== undefined) comms.add(comm);
        }
        if (replay.op[row] === EXEC) executed = true;
        if (replay.op[row] !== READ) continue;
        calls += 1;
        read.add(replay.offset[row]!, replay.bytes[row]!);
      }
      const total = read.total();
      bytes.push(total);
      reads.push(calls);
      if (total === 0) continue;
      ranges.push(read.ranges());
      columns[run]!.bytes[number] = total;
    }
    return {
      path: file.path,
      type: file.type,
      ...(file.layer === undefined ? undefined : { layer: file.layer }),
      size: file.size,
      ...(file.package === undefined ? undefined : { package: file.package }),
      seenIn: first.length,
      openedIn,
      probability: proportion(openedIn, replays.length, incomplete - openedIncomplete),
      firstAccess: spreadOf(first),
      bytesRead: spreadOf(bytes),
      reads: medianCount(reads),
      ranges: rangesOf(ranges),
      ...(executed ? { executed: true as const } : undefined),
      comms: [...comms].sort(comparePaths),
    };
  });
  return { files: counted, columns };
}

/** How many files had bytes read, and how many distinct bytes those were. */
export function readTotals(replay: Replay): { filesRead: number; bytesRead: Bytes } {
  const files = new Map<number, RangeSet>();
  for (let i = 0; i < replay.length; i++) {
    if (replay.op[i] !== READ || replay.bytes[i] === 0) continue;
    let ranges = files.get(replay.file[i]!);
    if (!ranges) {
      ranges = new RangeSet();
      files.set(replay.file[i]!, ranges);
    }
    ranges.add(replay.offset[i]!, replay.bytes[i]!);
  }
  let bytesRead = 0;
  for (const ranges of files.values()) bytesRead += ranges.total();
  return { filesRead: files.size, bytesRead };
}

/** Nearly always all runs read the same: then there is nothing to sweep. */
function rangesOf(runs: readonly (readonly Range[])[]): RangeCount[] {
  const first = runs[0];
  if (!first) return [];
  const same = runs.every(
    (ranges) => ranges.length === first.length && ranges.every(([o, n], i) => o === first[i]![0] && n === first[i]![1]),
  );
  return same ? first.map(([offset, length]) => [offset, length, runs.length]) : countRanges(runs);
}

/** Rows of file f: order[starts[f]] … order[starts[f + 1] - 1], in order of time (a counting sort). */
function rowsByFile(replay: Replay, files: number): { starts: Uint32Array; order: Uint32Array } {
  const starts = new Uint32Array(files + 1);
  for (const file of replay.file) starts[file + 1]! += 1;
  for (let file = 0; file < files; file++) starts[file + 1]! += starts[file]!;
  const next = starts.slice();
  const order = new Uint32Array(replay.length);
  for (let row = 0; row < replay.length; row++) order[next[replay.file[row]!]!++] = row;
  return { starts, order };
}
