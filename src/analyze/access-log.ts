// Accesses as they come, in columns that grow; a million of them are 41 MB and not a million objects.
import { HotlayerError } from '../errors.js';
import { MAX_REPLAY_ACCESSES, newColumns, type Replay, type ReplayProcess } from './replay.js';

export class AccessLog {
  #columns = newColumns(1024, []);
  #length = 0;
  #sorted = true;

  /** @param op index in REPLAY_OPS @throws HL_ERR_LIMIT */
  add(t: number, process: number, file: number, op: number, offset: number, bytes: number, duration: number): void {
    const i = this.#length;
    if (i === this.#columns.length) this.#grow();
    const to = this.#columns;
    if (i > 0 && t < to.t[i - 1]!) this.#sorted = false;
    to.t[i] = t;
    to.process[i] = process;
    to.file[i] = file;
    to.op[i] = op;
    to.offset[i] = offset;
    to.bytes[i] = bytes;
    to.duration[i] = duration;
    this.#length += 1;
  }

  /** All of them by time; of the same time, in the order in which they came. */
  finish(processes: readonly ReplayProcess[]): Replay {
    const from = this.#columns;
    const length = this.#length;
    const order = new Uint32Array(length).map((_, i) => i);
    if (!this.#sorted) order.sort((a, b) => from.t[a]! - from.t[b]! || a - b);
    return gather(from, order, processes);
  }

  #grow(): void {
    if (this.#length >= MAX_REPLAY_ACCESSES) {
      const message = `more than ${MAX_REPLAY_ACCESSES} accesses before ready (MAX_REPLAY_ACCESSES)`;
      throw new HotlayerError('HL_ERR_LIMIT', message, {
        hint: 'let --until fire earlier, or trace with --precision fast: it has fewer and longer reads',
      });
    }
    const larger = newColumns(Math.min(2 * this.#length, MAX_REPLAY_ACCESSES), []);
    for (const name of COLUMNS) larger[name].set(this.#columns[name]);
    this.#columns = larger;
  }
}

const COLUMNS = ['t', 'process', 'file', 'op', 'offset', 'bytes', 'duration'] as const;

/** The rows of the given numbers, in that order. */
function gather(from: Replay, rows: Uint32Array, processes: readonly ReplayProcess[]): Replay {
  const out = newColumns(rows.length, processes);
  for (const name of COLUMNS) {
    const [source, target] = [from[name], out[name]];
    for (let i = 0; i < rows.length; i++) target[i] = source[rows[i]!]!;
  }
  return out;
}
