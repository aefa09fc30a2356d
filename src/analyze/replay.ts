// The accesses of one run before it was ready, with their times: what a simulation plays again and what every figure
// of a profile is counted from. In memory columns, in a profile a few bytes an access (SavedReplay).
import { HotlayerError } from '../errors.js';
import { packBytes, unpackBytes } from '../stargz/pack.js';
import type { Bytes, Nanos } from '../units.js';
import { MAX_VARINT_BYTES, VarintReader, VarintWriter } from './varint.js';

/**
 * What was asked for. `look`: a file of which this run never asked for the content, when it was first looked up or
 * stat'ed (one row a file). All others are one row for each request that reached the file system and worked; `exec`
 * is an open to execute.
 */
export const REPLAY_OPS = ['look', 'open', 'exec', 'read', 'readlink', 'readdir'] as const;
export type ReplayOp = (typeof REPLAY_OPS)[number];

/** Most accesses of one run that are kept: about 70 MB in the profile. */
export const MAX_REPLAY_ACCESSES = 10_000_000;

/** One thread under one name. A thread that changes its name (exec) gets another row, whose parent is the one before. */
export interface ReplayProcess {
  /** Thread id as the host counts; 0: not known (asked for by the kernel or the runner). */
  readonly pid: number;
  /** Absent: it had gone before its name was read. */
  readonly comm?: string;
  /**
   * Row that it came from: the same thread under another name, the process of a thread, the parent of a process.
   * Absent: not known, or one without accesses. Always a smaller index.
   */
  readonly parent?: number;
}

export interface Access {
  /** Nanoseconds since the workload was started; negative for what the runner itself read before. */
  readonly t: Nanos;
  /** Index in `Replay.processes`. */
  readonly process: number;
  /** Index in `Profile.files`. */
  readonly file: number;
  readonly op: ReplayOp;
  /** Of a read; 0 for all others. */
  readonly offset: Bytes;
  /** Bytes that a read delivered (0 at the end of the file); 0 for all others. */
  readonly length: Bytes;
  /** Nanoseconds the recording file system took: local, no network in it. */
  readonly duration: Nanos;
}

/** Columns of equal length, in order of `t`. */
export interface Replay {
  readonly processes: readonly ReplayProcess[];
  /** Accesses. */
  readonly length: number;
  readonly t: Float64Array;
  readonly process: Uint32Array;
  readonly file: Uint32Array;
  /** Index in REPLAY_OPS. */
  readonly op: Uint8Array;
  readonly offset: Float64Array;
  /** `Access.length`. */
  readonly bytes: Float64Array;
  readonly duration: Float64Array;
}

/** A replay as a profile holds it. */
export interface SavedReplay {
  readonly accesses: number;
  readonly processes: readonly ReplayProcess[];
  /**
   * base64 of a gzip member of seven columns, one after the other, each of `accesses` LEB128 numbers: t (zigzag, less
   * the row before), process, file (zigzag, less the row before), op, offset (zigzag, less the end of the last read
   * of the same file; 0 at first), length, duration.
   */
  readonly columns: string;
}

/** What replayOf needs of a profile's run. */
export interface WithReplay {
  readonly id: string;
  readonly replay: SavedReplay;
}

export function accessAt(replay: Replay, i: number): Access {
  return {
    t: replay.t[i]!,
    process: replay.process[i]!,
    file: replay.file[i]!,
    op: REPLAY_OPS[replay.op[i]!]!,
    offset: replay.offset[i]!,
    length: replay.bytes[i]!,
    duration: replay.duration[i]!,
  };
}

/** In order of time. */
export function* accessesOf(replay: Replay): Generator<Access> {
  for (let i = 0; i < replay.length; i++) yield accessAt(replay, i);
}

/**
 * The replay of a profile's run, also of one that is not complete or was imported: whoever plays it asks `run` first.
 * @param run with its `replay`; `file` in the result is an index into the `files` of the same profile
 * @param files how many files the profile has; absent: indices are not checked
 * @throws HL_ERR_DATA when it is damaged
 */
export function replayOf({ id, replay }: WithReplay, files = Number.POSITIVE_INFINITY): Replay {
  const fail = (why: string, cause?: unknown): never => {
    throw new HotlayerError('HL_ERR_DATA', `run ${id}: its replay is damaged: ${why}`, {
      hint: 'profile again, or take an unchanged copy of the profile',
      ...(cause === undefined ? undefined : { cause }),
    });
  };
  const { accesses, processes } = replay;
  if (accesses > MAX_REPLAY_ACCESSES) {
    fail(`${accesses} accesses, more than ${MAX_REPLAY_ACCESSES} (MAX_REPLAY_ACCESSES)`);
  }
  let out: Replay;
  try {
    const bytes = unpackBytes(Buffer.from(replay.columns, 'base64'), COLUMNS * MAX_VARINT_BYTES * accesses);
    out = decodeColumns(new VarintReader(bytes), accesses, processes);
  } catch (cause) {
    return fail((cause as Error).message, cause);
  }
  for (let i = 0; i < accesses; i++) {
    if (out.op[i]! >= REPLAY_OPS.length) fail(`access ${i} is of an unknown kind, ${out.op[i]}`);
    if (out.process[i]! >= processes.length) fail(`access ${i} is of process ${out.process[i]} of ${processes.length}`);
    if (out.file[i]! >= files) fail(`access ${i} is of file ${out.file[i]} of ${files}`);
    if (i > 0 && out.t[i]! < out.t[i - 1]!) fail(`access ${i} is earlier than the one before`);
  }
  return out;
}

const COLUMNS = 7;

export function newColumns(length: number, processes: readonly ReplayProcess[]): Replay {
  return {
    processes,
    length,
    t: new Float64Array(length),
    process: new Uint32Array(length),
    file: new Uint32Array(length),
    op: new Uint8Array(length),
    offset: new Float64Array(length),
    bytes: new Float64Array(length),
    duration: new Float64Array(length),
  };
}

/** The columns as bytes, not packed: what an id is made from. */
export function columnBytes(replay: Replay): Uint8Array {
  const { length, t, process, file, op, offset, bytes, duration } = replay;
  const out = new VarintWriter(16 * length);
  for (let i = 0; i < length; i++) out.signed(t[i]! - (i === 0 ? 0 : t[i - 1]!));
  for (let i = 0; i < length; i++) out.natural(process[i]!);
  for (let i = 0; i < length; i++) out.signed(file[i]! - (i === 0 ? 0 : file[i - 1]!));
  for (let i = 0; i < length; i++) out.natural(op[i]!);
  const ends = new Float64Array(fileLimit(file));
  for (let i = 0; i < length; i++) {
    out.signed(offset[i]! - ends[file[i]!]!);
    if (op[i] === READ) ends[file[i]!] = offset[i]! + bytes[i]!;
  }
  for (let i = 0; i < length; i++) out.natural(bytes[i]!);
  for (let i = 0; i < length; i++) out.natural(duration[i]!);
  return out.bytes();
}

export function saveReplay(replay: Replay): SavedReplay {
  return {
    accesses: replay.length,
    processes: replay.processes,
    columns: packBytes(columnBytes(replay)).toString('base64'),
  };
}

/** The same accesses with other numbers for the files. @param numbers by old number */
export function renumberFiles(replay: Replay, numbers: ArrayLike<number>): Replay {
  return { ...replay, file: replay.file.map((file) => numbers[file]!) };
}

function decodeColumns(from: VarintReader, length: number, processes: readonly ReplayProcess[]): Replay {
  const out = newColumns(length, processes);
  const { t, process, file, op, offset, bytes, duration } = out;
  for (let i = 0, last = 0; i < length; i++) t[i] = last += from.signed();
  for (let i = 0; i < length; i++) process[i] = small(from.natural());
  for (let i = 0, last = 0; i < length; i++) file[i] = last = small(last + from.signed());
  for (let i = 0; i < length; i++) op[i] = Math.min(0xff, from.natural());
  // The differences first: an offset's base needs the lengths, which come after.
  for (let i = 0; i < length; i++) offset[i] = from.signed();
  for (let i = 0; i < length; i++) bytes[i] = from.natural();
  for (let i = 0; i < length; i++) duration[i] = from.natural();
  if (!from.done) throw new RangeError('there is more than the columns');
  const ends = new Map<number, number>();
  for (let i = 0; i < length; i++) {
    offset[i]! += ends.get(file[i]!) ?? 0;
    if (offset[i]! < 0) throw new RangeError(`access ${i} has a negative offset`);
    if (op[i] === READ) ends.set(file[i]!, offset[i]! + bytes[i]!);
  }
  return out;
}

function small(index: number): number {
  if (index < 0 || index > 0xffffffff) throw new RangeError(`an index of ${index}`);
  return index;
}

function fileLimit(file: Uint32Array): number {
  let most = -1;
  for (const index of file) if (index > most) most = index;
  return most + 1;
}

const READ = REPLAY_OPS.indexOf('read');
