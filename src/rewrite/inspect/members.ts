// A gzip file taken apart into its members (RFC 1952) without asking anybody where they are: every member is
// inflated from its first byte, its CRC and length are checked, and the next one must start where it ends.
// Verification rests on this, so it shares no code with the writer or the reader of stargz blobs.
import { readSync } from 'node:fs';
import * as zlib from 'node:zlib';
import { HotlayerError } from '../../errors.js';
import { KIB, MIB } from '../../units.js';
import { checkInterrupted } from '../interrupt.js';

export interface Member {
  /** First byte in the blob. */
  readonly start: number;
  /** First byte after it. */
  readonly end: number;
  /** Where its output begins in the decompressed whole. */
  readonly outStart: number;
  readonly outLength: number;
}

export interface WalkOptions {
  /** Output above this is refused (a gzip bomb). */
  readonly maxOutput: number;
  readonly signal?: AbortSignal | undefined;
  /** Called after each member with the bytes of the blob consumed so far. */
  readonly onProgress?: ((consumed: number) => void) | undefined;
}

/** A header with longer extra, name and comment fields together than this is not from any tool we know. */
const MAX_HEADER = 192 * KIB;
/** Members up to this size, on both sides, take the quick path (one synchronous call). */
const QUICK_INPUT = 5 * MIB;
const QUICK_OUTPUT = 16 * MIB;
const WINDOW = 4 * QUICK_INPUT;
/** CRC32 and ISIZE, four bytes each (RFC 1952 §2.3.1). */
const TRAILER = 8;

const FHCRC = 0x02;
const FEXTRA = 0x04;
const FNAME = 0x08;
const FCOMMENT = 0x10;
const RESERVED_FLAGS = 0xe0;

/**
 * Inflates the whole file, in order.
 * @param fd file opened for reading
 * @param size its length in bytes
 * @param onData pieces of the output in order; a piece is only valid during the call
 * @returns the members, which cover [0, size) without gaps
 * @throws HL_ERR_LAYER naming the offset of the member that is broken; HL_ERR_LIMIT beyond `maxOutput`
 */
export async function walkMembers(
  fd: number,
  size: number,
  onData: (piece: Buffer) => void,
  options: WalkOptions,
): Promise<Member[]> {
  const members: Member[] = [];
  const window = new Window(fd, size);
  let start = 0;
  let out = 0;
  const emit = (piece: Buffer) => {
    out += piece.length;
    if (out > options.maxOutput) {
      throw new HotlayerError(
        'HL_ERR_LIMIT',
        `gzip member at offset ${start}: the blob inflates to more than ${options.maxOutput} bytes`,
        { context: { offset: start } },
      );
    }
    onData(piece);
  };
  while (start < size) {
    checkInterrupted(options.signal, 'a blob was taken apart');
    const outStart = out;
    const body = start + headerLength(window.at(start, Math.min(MAX_HEADER, size - start)), start);
    let end = quick(window, body, start, emit);
    if (end === undefined) end = await slow(fd, size, body, start, emit, options.signal);
    members.push({ start, end, outStart, outLength: out - outStart });
    start = end;
    options.onProgress?.(start);
  }
  return members;
}

function broken(start: number, what: string, cause?: unknown): HotlayerError {
  return new HotlayerError('HL_ERR_LAYER', `gzip member at offset ${start}: ${what}`, {
    cause,
    context: { offset: start },
  });
}

/** Length of the member header at the start of `bytes` (RFC 1952 §2.3). */
function headerLength(bytes: Buffer, start: number): number {
  if (bytes.length < 10 || bytes[0] !== 0x1f || bytes[1] !== 0x8b) {
    throw broken(start, `expected a gzip header (1f8b), found ${bytes.subarray(0, 2).toString('hex') || 'nothing'}`);
  }
  if (bytes[2] !== 8) throw broken(start, `compression method ${bytes[2]}; expected 8 (deflate)`);
  const flags = bytes[3]!;
  if (flags & RESERVED_FLAGS) throw broken(start, `reserved flags are set (0x${flags.toString(16)})`);
  let at = 10;
  if (flags & FEXTRA) {
    if (bytes.length < at + 2) throw broken(start, 'the header is cut off');
    at += 2 + bytes.readUInt16LE(at);
  }
  for (const text of [FNAME, FCOMMENT]) {
    if (!(flags & text)) continue;
    const zero = bytes.indexOf(0, at);
    if (zero < 0) throw broken(start, 'a name or comment in the header does not end');
    at = zero + 1;
  }
  if (flags & FHCRC) at += 2;
  if (at > bytes.length) throw broken(start, 'the header is cut off');
  return at;
}

/** The member's end, or undefined when it is too big for this way. */
function quick(window: Window, body: number, start: number, emit: (piece: Buffer) => void): number | undefined {
  const input = window.at(body, QUICK_INPUT);
  let result: { buffer: Buffer; engine: { bytesWritten: number } };
  try {
    result = zlib.inflateRawSync(input, { info: true, maxOutputLength: QUICK_OUTPUT }) as unknown as typeof result;
  } catch (error) {
    const code = (error as { code?: string }).code;
    if (code === 'ERR_BUFFER_TOO_LARGE' || code === 'Z_BUF_ERROR') return undefined;
    throw broken(start, (error as Error).message, error);
  }
  const bodyEnd = body + result.engine.bytesWritten;
  if (result.buffer.length > 0) emit(result.buffer);
  checkTrailer(window.at(bodyEnd, TRAILER), start, crc32(result.buffer, 0), result.buffer.length);
  return bodyEnd + TRAILER;
}

async function slow(
  fd: number,
  size: number,
  body: number,
  start: number,
  emit: (piece: Buffer) => void,
  signal: AbortSignal | undefined,
): Promise<number> {
  const inflate = zlib.createInflateRaw({ chunkSize: MIB });
  let crc = 0;
  let length = 0;
  await new Promise<void>((resolve, reject) => {
    let at = body;
    const stop = (error: unknown) => {
      inflate.destroy();
      reject(error);
    };
    inflate.on('data', (piece: Buffer) => {
      try {
        checkInterrupted(signal, 'a blob was taken apart');
        crc = crc32(piece, crc);
        length += piece.length;
        emit(piece);
      } catch (error) {
        stop(error);
      }
    });
    inflate.on('end', resolve);
    inflate.on('error', (error) => reject(broken(start, error.message, error)));
    const feed = () => {
      if (inflate.destroyed || inflate.readableEnded) return;
      const piece = Buffer.allocUnsafe(256 * KIB);
      const got = at < size ? readSync(fd, piece, 0, Math.min(piece.length, size - at), at) : 0;
      at += got;
      if (got === 0) inflate.end();
      else inflate.write(piece.subarray(0, got), (error) => (error ? undefined : feed()));
    };
    feed();
  });
  const bodyEnd = body + inflate.bytesWritten;
  inflate.destroy();
  const trailer = Buffer.alloc(TRAILER);
  const got = readSync(fd, trailer, 0, TRAILER, bodyEnd);
  checkTrailer(trailer.subarray(0, got), start, crc, length);
  return bodyEnd + TRAILER;
}

function checkTrailer(trailer: Buffer, start: number, crc: number, length: number): void {
  if (trailer.length < TRAILER) throw broken(start, 'the blob ends before the CRC and length');
  const wantCrc = trailer.readUInt32LE(0);
  const wantLength = trailer.readUInt32LE(4);
  if (wantCrc !== crc) throw broken(start, `CRC of the data is ${hex(crc)}, the trailer says ${hex(wantCrc)}`);
  // ISIZE counts modulo 2^32.
  if (wantLength !== length % 2 ** 32) throw broken(start, `${length} bytes came out, the trailer says ${wantLength}`);
}

function hex(crc: number): string {
  return crc.toString(16).padStart(8, '0');
}

/** A stretch of the file in memory that moves forward; small members do not cost a read each. */
class Window {
  private buffer = Buffer.alloc(0);
  private from = 0;

  constructor(
    private readonly fd: number,
    private readonly size: number,
  ) {}

  /** Up to `length` bytes from `offset`, fewer only at the end of the file. Valid until the next call. */
  at(offset: number, length: number): Buffer {
    const want = Math.max(0, Math.min(length, this.size - offset));
    if (offset < this.from || offset + want > this.from + this.buffer.length) this.load(offset);
    const begin = offset - this.from;
    return this.buffer.subarray(begin, begin + want);
  }

  private load(offset: number): void {
    const next = Buffer.allocUnsafe(Math.max(0, Math.min(WINDOW, this.size - offset)));
    let filled = 0;
    while (filled < next.length) {
      const got = readSync(this.fd, next, filled, next.length - filled, offset + filled);
      if (got === 0) break;
      filled += got;
    }
    this.buffer = next.subarray(0, filled);
    this.from = offset;
  }
}

/** Node has zlib.crc32 since 20.15; the table serves the versions before. */
const nativeCrc = (zlib as { crc32?: (data: Buffer, value?: number) => number }).crc32;
const crc32: (data: Buffer, value: number) => number = nativeCrc ?? tableCrc;

let table: Uint32Array | undefined;

/** CRC-32 of RFC 1952 §8, one byte at a time. Exported for the test that holds it against zlib's. */
export function tableCrc(data: Buffer, value: number): number {
  table ??= Uint32Array.from({ length: 256 }, (_, n) => {
    let c = n;
    for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
    return c >>> 0;
  });
  let crc = value ^ 0xffffffff;
  for (const byte of data) crc = table[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
