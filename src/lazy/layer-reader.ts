// The content of a layer's chunks in the cache, as the thread that answers the kernel has it: what is here is read at
// once, for the rest it is said what is missing. Content of an earlier run is checked block by block when first read.
import { closeSync, constants, fstatSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { HotlayerError } from '../errors.js';
import { ERRNO, FsError, Later } from '../rootfs/types.js';
import { decodeRecords } from './check-index.js';
import { blocksOf, CHECK_BLOCK, chunkAt, countOf, type PlaceTable, sizeOf } from './chunk-table.js';
import { LAYER_FILES, openKept } from './layer-directory.js';
import { CHUNK, type LayerMemory, type ReadTicket } from './messages.js';

/** Of the smallest read there is. */
const PAGE = 4096;
const MOST_REFUSED = 4096;

export class LayerReader {
  readonly memory: LayerMemory;
  readonly #layer: number;
  readonly #table: PlaceTable;
  readonly #states: Uint8Array;
  /** By check block; only those of `kept` chunks mean something. */
  readonly #sums: Uint32Array;
  readonly #checked: Uint8Array;
  #scratch = Buffer.allocUnsafeSlow(4 * CHECK_BLOCK);
  /** 1 for chunks that a start needs; undefined: nobody knows which. */
  readonly #hot: Uint8Array | undefined;
  /** Begin and end of reads that were refused; the oldest are overwritten. */
  readonly #refused = new Float64Array(2 * MOST_REFUSED);
  #refusals = 0;
  /** Of the read at hand: up to here its bytes are where they belong. */
  #filled = 0;

  /**
   * @param inode of the content's file, as the side that fills it has it
   * @param hot chunks that a start needs; undefined: nobody knows
   * @throws HL_ERR_IO
   */
  constructor(layer: number, directory: string, table: PlaceTable, inode: bigint, hot?: ArrayLike<number>) {
    this.#layer = layer;
    this.#table = table;
    if (hot) {
      this.#hot = new Uint8Array(countOf(table));
      for (let i = 0; i < hot.length; i++) this.#hot[hot[i]!] = 1;
    }
    const count = countOf(table);
    const states = new SharedArrayBuffer(Math.max(1, count));
    this.#states = new Uint8Array(states);
    this.#sums = new Uint32Array(table.blockOf[count]!);
    this.#checked = new Uint8Array(this.#sums.length);
    const fd = openKept(directory, 'data', 'r');
    this.memory = { states, fd };
    if (fstatSync(fd, { bigint: true }).ino !== inode) {
      closeSync(fd);
      throw new HotlayerError('HL_ERR_IO', `${directory} was evicted from the cache while it was opened`, {
        hint: 'try again; a bigger --cache-size makes it less likely',
      });
    }
    const index = readFileSync(join(directory, LAYER_FILES.index));
    for (const { chunk, sums } of decodeRecords(index, (number) => blocksOf(table, number))) {
      this.#sums.set(sums, table.blockOf[chunk]!);
      // Others may already have said better.
      Atomics.compareExchange(this.#states, chunk, CHUNK.absent, CHUNK.kept);
    }
  }

  /**
   * Fills `into` with a file's content from `offset` on; all of it lies inside the file.
   * @param first of the file's chunks
   * @param flags of the open file, as open(2)
   */
  read(first: number, offset: number, into: Buffer, flags = 0): number | Later {
    const at = this.#table.at[first]! + offset;
    const end = at + into.length;
    const missing: [number, number, number][] = [];
    const damaged: number[] = [];
    this.#filled = at;
    for (let chunk = chunkAt(this.#table, at, first); this.#table.at[chunk]! < end; chunk++) {
      const state = Atomics.load(this.#states, chunk);
      if (state === CHUNK.verified) continue;
      if (state === CHUNK.kept && this.#check(chunk, into, at)) continue;
      if (state === CHUNK.kept) damaged.push(chunk);
      missing.push([chunk, this.#table.at[chunk]!, sizeOf(this.#table, chunk)]);
    }
    if (missing.length === 0) {
      this.#fillUpTo(end, into, at);
      return into.length;
    }
    // Past the page cache nothing is read but what is asked for, and nobody would ask again.
    const asked = (flags & constants.O_DIRECT) !== 0 || damaged.length > 0;
    if (!asked && this.#isGuess(missing, at, end)) throw new FsError(ERRNO.EIO, 'read around');
    return new Later({
      layer: this.#layer,
      at,
      length: into.length,
      missing,
      ...(damaged.length > 0 && { damaged }),
    } satisfies ReadTicket);
  }

  /** Ranges of a file's content that a start needs and that are here. @param size of the file */
  *likely(first: number, size: number): Generator<readonly [offset: number, length: number]> {
    const start = this.#table.at[first]!;
    if (!this.#hot || size === 0) return;
    let from = -1;
    let to = -1;
    for (let chunk = first; chunk < countOf(this.#table) && this.#table.at[chunk]! < start + size; chunk++) {
      if (this.#hot[chunk] === 0 || Atomics.load(this.#states, chunk) === CHUNK.absent) continue;
      const offset = this.#table.at[chunk]! - start;
      if (offset !== to) {
        if (to > from) yield [from, to - from];
        from = offset;
      }
      to = offset + sizeOf(this.#table, chunk);
    }
    if (to > from) yield [from, to - from];
  }

  close(): void {
    closeSync(this.memory.fd);
  }

  /**
   * The kernel reads around what a process asks for. When that would fetch what no start needs, or make it wait for
   * several things of which it needs one, it gets an error: it then asks for the page itself, and for nothing else. A page
   * may be larger than PAGE (other machines, large folios): what lies in a read that was refused is answered.
   */
  #isGuess(missing: readonly (readonly number[])[], at: number, end: number): boolean {
    if (!this.#hot || end - at <= PAGE) return false;
    if (missing.length === 1 && this.#hot[missing[0]![0]!] === 1) return false;
    for (let i = 0; i < this.#refused.length; i += 2)
      if (this.#refused[i]! <= at && end <= this.#refused[i + 1]!) return false;
    this.#refused.set([at, end], 2 * (this.#refusals++ % MOST_REFUSED));
    return true;
  }

  /**
   * Whether the blocks of a kept chunk that a read from `at` on touches are what they were when they were kept. What is
   * checked now is put into `into` at once, and all that lies before it.
   */
  #check(chunk: number, into: Buffer, at: number): boolean {
    const start = this.#table.at[chunk]!;
    const size = sizeOf(this.#table, chunk);
    const end = at + into.length;
    const base = this.#table.blockOf[chunk]!;
    const first = Math.floor((Math.max(at, start) - start) / CHECK_BLOCK);
    const last = Math.floor((Math.min(end, start + size) - 1 - start) / CHECK_BLOCK);
    let from = first;
    let to = last;
    while (from <= to && this.#checked[base + from] === 1) from += 1;
    while (to > from && this.#checked[base + to] === 1) to -= 1;
    if (from > to) return true;
    // All of them in one read, where they belong if they fit.
    const begin = start + from * CHECK_BLOCK;
    const length = Math.min((to + 1) * CHECK_BLOCK, size) - from * CHECK_BLOCK;
    const inPlace = begin >= at && begin + length <= end;
    const content = inPlace ? into.subarray(begin - at, begin - at + length) : this.#room(length);
    const got = readSync(this.memory.fd, content, 0, length, begin);
    for (let block = from; block <= to; block++) {
      if (this.#checked[base + block] === 1) continue;
      const offset = (block - from) * CHECK_BLOCK;
      const piece = content.subarray(offset, Math.min(offset + CHECK_BLOCK, length));
      if (got !== length || crc32(piece) !== this.#sums[base + block]) {
        Atomics.compareExchange(this.#states, chunk, CHUNK.kept, CHUNK.absent);
        return false;
      }
      this.#checked[base + block] = 1;
    }
    const wanted = Math.max(begin, at);
    this.#fillUpTo(wanted, into, at);
    this.#filled = Math.min(begin + length, end);
    if (!inPlace) content.copy(into, wanted - at, wanted - begin, this.#filled - begin);
    return true;
  }

  #room(length: number): Buffer {
    if (length > this.#scratch.length) this.#scratch = Buffer.allocUnsafeSlow(length);
    return this.#scratch.subarray(0, length);
  }

  /** What was checked before, and is not in `into` yet. */
  #fillUpTo(to: number, into: Buffer, at: number): void {
    if (to > this.#filled) readInto(this.memory.fd, into.subarray(this.#filled - at, to - at), this.#filled);
    this.#filled = to;
  }
}

/** @throws FsError EIO when they are not all there */
export function readInto(fd: number, into: Uint8Array, at: number): void {
  for (let done = 0; done < into.length; ) {
    const got = readSync(fd, into, done, into.length - done, at + done);
    if (got === 0) throw new FsError(ERRNO.EIO, `content of the cache ends at ${at + done}`);
    done += got;
  }
}
