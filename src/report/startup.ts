// The run that stands for all: who asked for what when, and how the bytes that are needed grow.

import { Coverage } from '../analyze/ranges.js';
import { REPLAY_OPS, type Replay } from '../analyze/replay.js';
import type { Profile, ProfileRun } from '../analyze/types.js';
import type { Bytes, Nanos } from '../units.js';
import type { ProcessUse, Startup } from './types.js';

/** Of the cumulative curve: as many as there are dots across a wide screen. */
export const MAX_POINTS = 600;

const LOOK = REPLAY_OPS.indexOf('look');
const READ = REPLAY_OPS.indexOf('read');

/** Index of the run with the median time to ready (without one: to the end) among the complete ones that hotlayer recorded. */
export function medianRun(profile: Profile): number | undefined {
  const time = (run: ProfileRun): Nanos => run.ready?.t ?? run.endedAt;
  const timed = profile.runs.map((run, index) => ({ run, index })).filter(({ run }) => run.imported === undefined);
  const complete = timed.filter(({ run }) => run.complete);
  const usable = (complete.length > 0 ? complete : timed).sort(
    (a, b) => time(a.run) - time(b.run) || a.index - b.index,
  );
  return usable[Math.floor((usable.length - 1) / 2)]?.index;
}

/** Per file of the profile; what a run did not open has `first` NaN. */
export interface FileTimes {
  readonly first: Float64Array;
  readonly last: Float64Array;
  readonly process: Uint32Array;
}

/** When each file's content was first asked for, when last, and by whom first. */
export function timesOf(replay: Replay, files: number): FileTimes {
  const first = new Float64Array(files).fill(Number.NaN);
  const last = new Float64Array(files);
  const process = new Uint32Array(files);
  for (let i = 0; i < replay.length; i++) {
    if (replay.op[i] === LOOK) continue;
    const file = replay.file[i]!;
    const end = replay.t[i]! + replay.duration[i]!;
    if (Number.isNaN(first[file]!)) {
      first[file] = replay.t[i]!;
      process[file] = replay.process[i]!;
    }
    if (end > last[file]!) last[file] = end;
  }
  return { first, last, process };
}

/** @param run index in `profile.runs` @param replay of that run */
export function startupOf(profile: Profile, run: number, replay: Replay): Startup {
  const { id, ready, replay: saved } = profile.runs[run]!;
  const { first, last, process } = timesOf(replay, profile.files.length);
  const opened: number[] = [];
  for (const [i, file] of profile.files.entries()) if (file.type === 'reg' && !Number.isNaN(first[i]!)) opened.push(i);
  opened.sort((a, b) => first[a]! - first[b]! || a - b);
  const { steps, bytes } = neededOver(replay, profile);
  let end = ready?.t ?? 0;
  for (const file of opened) end = Math.max(end, last[file]!);
  return {
    run: id,
    number: run + 1,
    ...(ready ? { ready: ready.t } : {}),
    end,
    processes: processesOf(replay, opened, process),
    files: {
      file: opened,
      first: opened.map((i) => first[i]!),
      last: opened.map((i) => last[i]!),
      bytes: opened.map((i) => bytes.get(i) ?? 0),
      process: opened.map((i) => process[i]!),
    },
    cumulative: steps,
    replay: saved,
  };
}

function processesOf(replay: Replay, opened: readonly number[], starter: Uint32Array): ProcessUse[] {
  const rows = replay.processes.map((row) => ({ ...row, files: 0, bytes: 0, first: Number.NaN, last: Number.NaN }));
  for (let i = 0; i < replay.length; i++) {
    const row = rows[replay.process[i]!]!;
    if (Number.isNaN(row.first)) row.first = replay.t[i]!;
    row.last = replay.t[i]! + replay.duration[i]!;
    if (replay.op[i] === READ) row.bytes += replay.bytes[i]!;
  }
  for (const file of opened) rows[starter[file]!]!.files += 1;
  return rows.map(({ first, last, ...row }) => (Number.isNaN(first) ? row : { ...row, first, last }));
}

/** Distinct bytes over time. */
function neededOver(
  replay: Replay,
  profile: Profile,
): { steps: [Nanos, Bytes, number][]; bytes: ReadonlyMap<number, Bytes> } {
  const seen = new Map<number, Coverage>();
  const opened = new Uint8Array(profile.files.length);
  const times: Nanos[] = [];
  const sums: Bytes[] = [];
  const counts: number[] = [];
  let sum = 0;
  let files = 0;
  for (let i = 0; i < replay.length; i++) {
    const number = replay.file[i]!;
    if (replay.op[i] === LOOK || profile.files[number]!.type !== 'reg') continue;
    const before = sum + files;
    if (opened[number] === 0) {
      opened[number] = 1;
      files += 1;
    }
    if (replay.op[i] === READ && replay.bytes[i]! > 0) {
      let covered = seen.get(number);
      if (!covered) {
        covered = new Coverage();
        seen.set(number, covered);
      }
      sum += covered.add(replay.offset[i]!, replay.bytes[i]!);
    }
    if (sum + files === before) continue;
    times.push(replay.t[i]!);
    sums.push(sum);
    counts.push(files);
  }
  const stride = Math.max(1, Math.ceil(times.length / MAX_POINTS));
  const steps: [Nanos, Bytes, number][] = [];
  for (let i = stride - 1; i < times.length; i += stride) steps.push([times[i]!, sums[i]!, counts[i]!]);
  const last = times.length - 1;
  if (last >= 0 && steps.at(-1)?.[0] !== times[last]) steps.push([times[last]!, sums[last]!, counts[last]!]);
  return { steps, bytes: new Map([...seen].map(([number, { total }]) => [number, total])) };
}
