// The raw-preserving tar scanner: which bytes of a layer's tar belong to which entry, and what they mean. Nothing is
// decoded and encoded again: whoever writes the tar anew copies [headerOffset, end). Every byte before `end` of the
// scan belongs to exactly one entry or global header.
import { readSync } from 'node:fs';
import { type ErrorContext, HotlayerError } from '../../errors.js';
import type { TarLimits, TarScan } from './entry.js';
import { TarMachine } from './machine.js';

export { type GlobalHeader, MAX_ENTRIES, MAX_METADATA_BYTES, type TarLimits, type TarScan } from './entry.js';
export { payloadPieces, readPayload } from './sparse.js';

/** Bytes read at once: from few, where a payload was skipped, to many, while entries follow close upon each other. */
const WINDOW = { least: 16 * 1024, most: 256 * 1024 };

/**
 * Scans a tar that can be read at any offset; payloads are skipped, not read.
 * @param fd not closed
 * @param size bytes of the tar, from offset 0
 * @param where named in errors
 * @throws HL_ERR_LAYER when the tar is broken or cut off, HL_ERR_LIMIT, HL_ERR_IO when the file is shorter than `size`
 */
export function scanTarFd(fd: number, size: number, where: ErrorContext = {}, limits: TarLimits = {}): TarScan {
  const machine = new TarMachine(where, limits);
  let window = Buffer.allocUnsafeSlow(Math.max(512, Math.min(WINDOW.most, size)));
  let from = 0;
  let held = 0;
  let width = WINDOW.least;
  const fill = (want: number) => {
    if (want > window.length) window = Buffer.allocUnsafeSlow(want);
    width = machine.at > from + held ? WINDOW.least : Math.min(2 * width, WINDOW.most);
    from = machine.at;
    held = 0;
    const room = Math.min(Math.max(want, width), size - from);
    while (held < room) {
      const got = readSync(fd, window, held, room - held, from + held);
      if (got === 0) {
        const message = `${where.file ?? 'the tar'} ends at byte ${from + held}, expected ${size} bytes`;
        throw new HotlayerError('HL_ERR_IO', message, { context: { ...where, offset: from + held } });
      }
      held += got;
    }
  };
  while (!machine.done && machine.at + machine.want <= size) {
    if (machine.at + machine.want > from + held) fill(machine.want);
    machine.feed(window, machine.at - from);
  }
  while (machine.done && machine.at < size) {
    fill(Math.min(window.length, size - machine.at));
    machine.trailer(window.subarray(0, held));
  }
  if (machine.at < size) fill(size - machine.at);
  else held = 0;
  return machine.finish(size, window.subarray(0, held));
}

/** The same scan for a tar that comes by in pieces: `push` every chunk in order, then `end`. */
export class TarScanner {
  readonly #machine: TarMachine;
  /** Bytes pushed so far. */
  #position = 0;
  /** Bytes wanted by the machine that came in pieces. */
  #gathered = Buffer.alloc(0);
  #held = 0;

  constructor(where: ErrorContext = {}, limits: TarLimits = {}) {
    this.#machine = new TarMachine(where, limits);
  }

  /** The chunk may be reused by the caller afterwards. @throws as scanTarFd, as soon as the fault is seen */
  push(chunk: Uint8Array): void {
    const machine = this.#machine;
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    for (let i = 0; i < bytes.length; ) {
      const left = bytes.length - i;
      const want = machine.want;
      const skip = machine.at - this.#position;
      let taken = left;
      if (machine.done) machine.trailer(i === 0 ? bytes : bytes.subarray(i));
      else if (skip > 0) taken = Math.min(skip, left);
      else if (this.#held === 0 && left >= want) {
        taken = want;
        machine.feed(bytes, i);
      } else {
        taken = Math.min(want - this.#held, left);
        this.#gather(bytes.subarray(i, i + taken), want);
        if (this.#held === want) {
          this.#held = 0;
          machine.feed(this.#gathered, 0);
        }
      }
      i += taken;
      this.#position += taken;
    }
  }

  /** @throws HL_ERR_LAYER when the tar is cut off */
  end(): TarScan {
    return this.#machine.finish(this.#position, this.#gathered.subarray(0, this.#held));
  }

  #gather(piece: Buffer, want: number): void {
    if (this.#gathered.length < want) {
      // Grows with what has come, not with what a header claims.
      const needed = this.#held + piece.length;
      if (this.#gathered.length < needed) {
        const larger = Buffer.alloc(Math.min(want, Math.max(512, 2 * needed)));
        this.#gathered.copy(larger, 0, 0, this.#held);
        this.#gathered = larger;
      }
    }
    piece.copy(this.#gathered, this.#held);
    this.#held += piece.length;
  }
}
