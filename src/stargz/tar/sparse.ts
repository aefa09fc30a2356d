// Sparse files: the four ways tar writes down where a file has data, and reading any tar entry's content with the
// holes back in it. Formats: GNU tar manual, "Storing Sparse Files".
import { readSync } from 'node:fs';
import { HotlayerError } from '../../errors.js';
import { showPath } from '../../paths.js';
import type { SparseExtent, TarEntry } from './entry.js';
import { MAX_EXTENSION_HEADER } from './entry.js';
import { BLOCK, parseNumber, TarProblem } from './header.js';
import { parseDecimal } from './pax.js';

/** Offset and length alternating, as the map has them: not checked yet. */
export type SparsePairs = number[];

/** Places of the map in an old GNU header (type 'S') and in the extension blocks that may follow it. */
const IN_HEADER = { at: 386, count: 4, more: 482, realSize: 483 };
const IN_EXTENSION = { at: 0, count: 21, more: 504 };

/** Adds one block's part of an old GNU map. Returns whether an extension block follows. @throws TarProblem */
export function parseGnuSparse(block: Buffer, at: number, isHeader: boolean, into: SparsePairs): boolean {
  const place = isHeader ? IN_HEADER : IN_EXTENSION;
  for (let i = 0; i < place.count; i++) {
    const pair = at + place.at + i * 24;
    if (block[pair] === 0 && block[pair + 12] === 0) break;
    into.push(parseNumber(block, pair, 12, 'sparse offset'), parseNumber(block, pair + 12, 12, 'sparse length'));
  }
  if (into.length > MAX_EXTENSION_HEADER / 8) {
    throw new TarProblem('the sparse map has more than a million extents', 'HL_ERR_LIMIT');
  }
  return block[at + place.more] !== 0;
}

/** Logical size of an old GNU sparse file. */
export function gnuRealSize(block: Buffer, at: number): number {
  return parseNumber(block, at + IN_HEADER.realSize, 12, 'real size');
}

/** `GNU.sparse.map` of format 0.1: `offset,length,offset,length…`. @throws TarProblem */
export function parseMapRecord(value: Buffer): SparsePairs {
  const text = value.toString('latin1');
  if (text === '') return [];
  return text.split(',').map((number) => parseDecimal(Buffer.from(number, 'latin1'), 'GNU.sparse.map'));
}

/** The map of format 1.0, which lies at the start of the payload: decimal lines, count first, padded to a block. */
export class PayloadMap {
  readonly pairs: SparsePairs = [];
  /** Bytes of the map so far. */
  length = 0;
  #number = 0;
  #digits = 0;
  #count = -1;

  /** Takes the next block; true when the map is complete with it. @throws TarProblem */
  add(block: Buffer, at: number): boolean {
    this.length += BLOCK;
    if (this.length > MAX_EXTENSION_HEADER) {
      throw new TarProblem(`the sparse map is longer than ${MAX_EXTENSION_HEADER} bytes`, 'HL_ERR_LIMIT');
    }
    for (let i = at; i < at + BLOCK; i++) {
      const byte = block[i]!;
      if (byte === 0x0a && this.#digits > 0) {
        if (this.#count < 0) this.#count = this.#number;
        else this.pairs.push(this.#number);
        this.#number = 0;
        this.#digits = 0;
        if (this.pairs.length === 2 * this.#count) return true;
      } else if (byte >= 0x30 && byte <= 0x39 && this.#digits < 20) {
        this.#number = this.#number * 10 + byte - 0x30;
        this.#digits += 1;
      } else {
        throw new TarProblem('the sparse map at the start of the payload is malformed');
      }
    }
    return false;
  }
}

/**
 * The extents that the pairs describe, empty ones left out. Their data lie one after the other from `dataAt` on.
 * @param stored bytes of data that the payload has
 * @throws TarProblem unless the extents are in order, apart from each other, inside the file and inside the payload
 */
export function extentsOf(pairs: SparsePairs, dataAt: number, stored: number, realSize: number): SparseExtent[] {
  if (pairs.length % 2 !== 0) throw new TarProblem('the sparse map has an offset without a length');
  const extents: SparseExtent[] = [];
  let end = 0;
  let used = 0;
  for (let i = 0; i < pairs.length; i += 2) {
    const offset = pairs[i]!;
    const length = pairs[i + 1]!;
    if (!(offset >= end) || !(length >= 0) || !(offset + length <= realSize)) {
      throw new TarProblem(
        `the sparse map has an extent of ${length} bytes at ${offset}, but the one before ends at ${end} and the file at ${realSize}`,
      );
    }
    if (length > 0) extents.push({ offset, length, at: dataAt + used });
    end = offset + length;
    used += length;
  }
  if (used > stored) throw new TarProblem(`the sparse map describes ${used} bytes of data, the payload has ${stored}`);
  return extents;
}

/**
 * Reads a regular file's content as a program would see it: sparse files expanded, holes as zeros.
 * @param fd the uncompressed tar, readable at any offset
 * @param offset in the logical file; at or beyond its end gives 0
 * @returns bytes put at the start of `into`: all of it, less only at the end of the file; 0 for other types
 * @throws HL_ERR_IO when the tar is shorter than its entry says
 */
export function readPayload(fd: number, entry: TarEntry, offset: number, into: Uint8Array): number {
  const length = Math.min(into.length, entry.size - offset);
  if (!(length > 0) || entry.type !== 'reg') return 0;
  if (!entry.sparse) {
    readFully(fd, entry, into, 0, length, entry.payloadOffset + offset);
    return length;
  }
  let done = 0;
  for (const [at, size] of payloadPieces(entry, offset, length)) {
    if (at === undefined) into.fill(0, done, done + size);
    else readFully(fd, entry, into, done, size, at);
    done += size;
  }
  return length;
}

/**
 * Where a stretch of a regular file's content lies in the tar, in order, as [offset in the tar, bytes]; undefined for
 * a hole, whose bytes are zeros.
 * @param offset and `length`: inside the logical file
 */
export function* payloadPieces(
  entry: Pick<TarEntry, 'payloadOffset' | 'sparse'>,
  offset: number,
  length: number,
): Generator<[at: number | undefined, size: number]> {
  const extents = entry.sparse;
  if (!extents) {
    if (length > 0) yield [entry.payloadOffset + offset, length];
    return;
  }
  const end = offset + length;
  let here = offset;
  for (let i = firstExtentAfter(extents, offset); here < end; i++) {
    const extent = extents[i];
    const dataFrom = Math.min(extent ? Math.max(extent.offset, here) : end, end);
    if (dataFrom > here) yield [undefined, dataFrom - here];
    if (!extent || dataFrom === end) return;
    here = Math.min(extent.offset + extent.length, end);
    yield [extent.at + dataFrom - extent.offset, here - dataFrom];
  }
}

/** Index of the first extent that ends after `offset`. */
function firstExtentAfter(extents: readonly SparseExtent[], offset: number): number {
  let low = 0;
  let high = extents.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const extent = extents[middle]!;
    if (extent.offset + extent.length > offset) high = middle;
    else low = middle + 1;
  }
  return low;
}

function readFully(fd: number, entry: TarEntry, into: Uint8Array, at: number, length: number, position: number): void {
  for (let done = 0; done < length; ) {
    const got = readSync(fd, into, at + done, length - done, position + done);
    if (got === 0) {
      throw new HotlayerError(
        'HL_ERR_IO',
        `the tar ends at byte ${position + done}, inside the content of "${showPath(entry.name)}"`,
        { context: { entry: showPath(entry.name), offset: position + done } },
      );
    }
    done += got;
  }
}
