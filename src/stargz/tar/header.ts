// One 512-byte tar header block, in all the dialects that layers are written in: v7, ustar (the base of PAX),
// GNU, and star. What the fields mean together with extension headers is decided in machine.ts.
// Layout: POSIX.1-2017 pax "ustar Interchange Format"; GNU tar manual "Basic Tar Format".
import { bytesToPath } from '../../paths.js';

export const BLOCK = 512;
const ZEROS = Buffer.alloc(BLOCK);

/** A fault in the bytes themselves; whoever knows the offset and the layer turns it into a HotlayerError. */
export class TarProblem extends Error {
  constructor(
    message: string,
    readonly code: 'HL_ERR_LAYER' | 'HL_ERR_LIMIT' = 'HL_ERR_LAYER',
    readonly hint?: string,
  ) {
    super(message);
    this.name = 'TarProblem';
  }
}

/** Bytes that a payload occupies in the tar: up to the next block. */
export function padded(size: number): number {
  const over = size % BLOCK;
  return over === 0 ? size : size + BLOCK - over;
}

export function isZeroBlock(buffer: Buffer, at: number): boolean {
  return buffer[at] === 0 && buffer.compare(ZEROS, 0, BLOCK, at, at + BLOCK) === 0;
}

/** Whether a block carries a checksum that fits, as a header does and file content practically never does. */
export function isHeaderBlock(buffer: Buffer, at: number): boolean {
  if (isZeroBlock(buffer, at)) return false;
  try {
    return checksumFits(buffer, at);
  } catch {
    return false;
  }
}

/**
 * A numeric field: octal text with spaces or NULs around it, or base-256 two's complement when the first bit is set
 * (GNU and star, for what octal cannot hold: negative, or too large). Empty fields are 0.
 * @throws TarProblem naming the field
 */
export function parseNumber(buffer: Buffer, at: number, length: number, field: string): number {
  const first = buffer[at]!;
  const stop = at + length;
  if ((first & 0x80) !== 0) {
    // Bit 6 is the sign; seven bits of the first byte belong to the number.
    let value = (first & 0x40) !== 0 ? (first & 0x7f) - 0x80 : first & 0x7f;
    for (let i = at + 1; i < stop; i++) value = value * 256 + buffer[i]!;
    if (!Number.isSafeInteger(value)) throw new TarProblem(`the ${field} field holds a number beyond 2^53`);
    return value;
  }
  let i = at;
  while (i < stop && (buffer[i] === 0x20 || buffer[i] === 0)) i += 1;
  let value = 0;
  for (; i < stop; i++) {
    const digit = buffer[i]! - 0x30;
    if (digit >= 0 && digit <= 7) value = value * 8 + digit;
    else if (buffer[i] === 0x20 || buffer[i] === 0) break;
    else {
      const text = JSON.stringify(buffer.toString('latin1', at, stop));
      throw new TarProblem(`the ${field} field is ${text}, which is not an octal number`);
    }
  }
  return value;
}

/** A text field: up to the first NUL or the field's end. Lossless string. */
export function parseText(buffer: Buffer, at: number, length: number): string {
  const stop = at + length;
  let end = at;
  let bits = 0;
  while (end < stop && buffer[end] !== 0) {
    bits |= buffer[end]!;
    end += 1;
  }
  if (end === at) return '';
  return bits < 0x80 ? buffer.toString('latin1', at, end) : bytesToPath(buffer.subarray(at, end));
}

/** Sum of the bytes with the checksum field read as spaces. Historic tars summed signed chars: both are right. */
function checksumFits(buffer: Buffer, at: number): boolean {
  const stored = parseNumber(buffer, at + 148, 8, 'checksum');
  let sum = sumOf(buffer, at) + 8 * 0x20;
  for (let i = at + 148; i < at + 156; i++) sum -= buffer[i]!;
  if (sum === stored) return true;
  for (let i = at; i < at + BLOCK; i++) if (buffer[i]! > 0x7f && (i < at + 148 || i >= at + 156)) sum -= 256;
  return sum === stored;
}

const views = new WeakMap<ArrayBufferLike, Int32Array>();

/** Sum of a block's bytes. Four at a time where they are aligned, since this is most of a scan's work. */
function sumOf(buffer: Buffer, at: number): number {
  const start = buffer.byteOffset + at;
  if ((start & 3) !== 0) {
    let sum = 0;
    for (let i = at; i < at + BLOCK; i++) sum += buffer[i]!;
    return sum;
  }
  let words = views.get(buffer.buffer);
  if (!words) {
    words = new Int32Array(buffer.buffer, 0, buffer.buffer.byteLength >>> 2);
    views.set(buffer.buffer, words);
  }
  // Two sums of 16 bits side by side: 128 words add at most 128 * 2 * 255 = 65 280 to each.
  let lanes = 0;
  const first = start >>> 2;
  for (let i = first; i < first + BLOCK / 4; i++) {
    const word = words[i]!;
    lanes = (lanes + (word & 0x00ff00ff) + ((word >>> 8) & 0x00ff00ff)) | 0;
  }
  return (lanes & 0xffff) + (lanes >>> 16);
}

export type TarFormat = 'v7' | 'ustar' | 'gnu' | 'star';

/** The block's own fields, before any extension header is applied. */
export interface HeaderBlock {
  readonly format: TarFormat;
  /** The type flag's character; `\0` in v7 tars. */
  readonly flag: string;
  readonly name: string;
  readonly linkName: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  /** Whole seconds. */
  readonly mtime: number;
  readonly uname: string;
  readonly gname: string;
  readonly devMajor: number;
  readonly devMinor: number;
}

const USTAR = 'ustar\0';
const GNU = 'ustar  \0';

function formatOf(buffer: Buffer, at: number): TarFormat {
  if (buffer[at + 257] !== 0x75) return 'v7';
  const magic = buffer.toString('latin1', at + 257, at + 265);
  if (magic === GNU) return 'gnu';
  if (!magic.startsWith(USTAR)) return 'v7';
  return buffer.toString('latin1', at + 508, at + 512) === 'tar\0' ? 'star' : 'ustar';
}

/**
 * The type flag of the header at `at`, where `BLOCK` bytes must be.
 * @throws TarProblem when it is no header: the checksum does not fit
 */
export function headerFlag(buffer: Buffer, at: number): string {
  if (!isHeaderBlock(buffer, at)) throw new TarProblem('this is not a tar header (its checksum does not fit)');
  return FLAGS[buffer[at + 156]!]!;
}

const FLAGS = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte));

/** The size field. @throws TarProblem when it is no number or a negative one */
export function headerSize(buffer: Buffer, at: number): number {
  const size = parseNumber(buffer, at + 124, 12, 'size');
  if (size < 0) throw new TarProblem(`the size field is negative (${size})`);
  return size;
}

/**
 * @param flag what `headerFlag` gave for the block at `at`
 * @throws TarProblem when a field that should be a number is none
 */
export function parseHeader(buffer: Buffer, at: number, flag: string): HeaderBlock {
  const format = formatOf(buffer, at);
  let name = parseText(buffer, at, 100);
  if (format === 'ustar' || format === 'star') {
    // GNU tar keeps times and the sparse map where ustar has the prefix; star gives the prefix 131 bytes.
    const prefix = parseText(buffer, at + 345, format === 'star' ? 131 : 155);
    if (prefix !== '') name = `${prefix}/${name}`;
  }
  // Only devices have device numbers: some writers leave rubbish there for all others.
  const device = format !== 'v7' && (flag === '3' || flag === '4');
  return {
    format,
    flag,
    name,
    linkName: buffer[at + 157] === 0 ? '' : parseText(buffer, at + 157, 100),
    mode: parseNumber(buffer, at + 100, 8, 'mode'),
    uid: parseNumber(buffer, at + 108, 8, 'uid'),
    gid: parseNumber(buffer, at + 116, 8, 'gid'),
    size: headerSize(buffer, at),
    mtime: parseNumber(buffer, at + 136, 12, 'mtime'),
    uname: format === 'v7' ? '' : parseText(buffer, at + 265, 32),
    gname: format === 'v7' ? '' : parseText(buffer, at + 297, 32),
    devMajor: device ? parseNumber(buffer, at + 329, 8, 'device major') : 0,
    devMinor: device ? parseNumber(buffer, at + 337, 8, 'device minor') : 0,
  };
}
