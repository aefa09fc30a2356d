// Text files as lines: bounded memory, gzip accepted, an end that came too early told from a broken file.
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream';
import { TextDecoder } from 'node:util';
import { createGunzip } from 'node:zlib';
import { errnoOf, HotlayerError } from '../errors.js';
import { KIB, MIB } from '../units.js';

/** Longest line accepted. A trace's header holds the command line, which Linux limits to 2 MiB for an exec. */
export const MAX_LINE = 16 * MIB;

export interface Line {
  readonly text: string;
  /** False: the file ended before a newline. */
  readonly whole: boolean;
  /** Set in a last, empty line: why there is no more. */
  readonly cutBecause?: string;
}

/** Lines as bytes, some at a time. */
export interface Block {
  /** One line or more with newlines between them; the newline after the last one is left out. */
  readonly bytes: Buffer;
  /** False: the file ended before a newline. */
  readonly whole: boolean;
  /** Set in a last block without bytes: why there is no more. */
  readonly cutBecause?: string;
}

export const NEWLINE = 0x0a;

/**
 * Lines of a file of UTF-8 text, unpacked when it starts as a gzip file does. Only a line feed ends a line (readline
 * would also split at U+2028, which may stand in a file name).
 * @throws HL_ERR_NOT_FOUND, HL_ERR_IO; HL_ERR_DATA broken gzip data or not UTF-8; HL_ERR_LIMIT
 */
export async function* linesOf(path: string): AsyncGenerator<Line> {
  let number = 0;
  for await (const { bytes, whole, cutBecause } of blocksOf(path, () => number)) {
    if (cutBecause !== undefined) {
      yield { text: '', whole: false, cutBecause };
      return;
    }
    for (const text of textOf(bytes, path, number + 1).split('\n')) {
      number += 1;
      yield { text, whole };
    }
  }
}

/** @param line number of the first line in the bytes @throws HL_ERR_DATA not UTF-8 */
export function textOf(bytes: Uint8Array, path: string, line: number): string {
  try {
    return (line === 1 ? FIRST_UTF8 : UTF8).decode(bytes);
  } catch (cause) {
    const where = bytes.includes(NEWLINE) ? `${line} or a line after it` : line;
    throw new HotlayerError('HL_ERR_DATA', `${path}:${where}: not UTF-8 text`, { cause, context: { file: path } });
  }
}

/** A byte order mark may stand at the beginning of a file, and nowhere else. */
const FIRST_UTF8 = new TextDecoder('utf-8', { fatal: true });
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * The lines of linesOf as bytes, about 256 KiB at a time; the bytes are not checked to be UTF-8.
 * @param taken how many lines were found in the blocks so far, for messages
 * @throws HL_ERR_NOT_FOUND, HL_ERR_IO; HL_ERR_DATA broken gzip data; HL_ERR_LIMIT
 */
export async function* blocksOf(path: string, taken: () => number): AsyncGenerator<Block> {
  let carry: Buffer[] = [];
  let carried = 0;
  let cutBecause: string | undefined;
  try {
    for await (const chunk of await bytesOf(path)) {
      const last = chunk.lastIndexOf(NEWLINE);
      if (last < 0) {
        carry.push(chunk);
        carried += chunk.length;
        if (carried > MAX_LINE) {
          const message = `${path}:${taken() + 1}: the line is longer than ${MAX_LINE} bytes (MAX_LINE)`;
          throw new HotlayerError('HL_ERR_LIMIT', message);
        }
        continue;
      }
      const bytes = carried === 0 ? chunk.subarray(0, last) : Buffer.concat([...carry, chunk.subarray(0, last)]);
      carry = [chunk.subarray(last + 1)];
      carried = chunk.length - last - 1;
      yield { bytes, whole: true };
    }
  } catch (error) {
    // zlib's code for a stream that ends too early.
    if ((error as { code?: unknown }).code !== 'Z_BUF_ERROR') throw readError(error, path);
    cutBecause = 'the gzip stream was cut off';
  }
  if (carried > 0 && cutBecause === undefined) yield { bytes: Buffer.concat(carry), whole: false };
  if (cutBecause !== undefined) yield { bytes: Buffer.alloc(0), whole: false, cutBecause };
}

const GIVEN_AT_ONCE = 256 * KIB;

async function bytesOf(path: string): Promise<AsyncIterable<Buffer>> {
  const packed = await isGzip(path);
  const stream = createReadStream(path, { highWaterMark: GIVEN_AT_ONCE });
  return packed ? pipeline(stream, createGunzip({ chunkSize: GIVEN_AT_ONCE }), () => {}) : stream;
}

async function isGzip(path: string): Promise<boolean> {
  const magic = Buffer.alloc(2);
  await using file = await open(path, 'r');
  await file.read(magic, 0, 2, 0);
  // RFC 1952 section 2.3.1: ID1, ID2.
  return magic[0] === 0x1f && magic[1] === 0x8b;
}

/**
 * The end of what linesOf reads: 256 KiB or more of it, or all. Of a packed file the whole is unpacked for it.
 * @throws HL_ERR_NOT_FOUND, HL_ERR_IO; HL_ERR_DATA broken gzip data; HL_ERR_LIMIT
 */
export async function lastBytes(path: string): Promise<Buffer> {
  try {
    if (!(await isGzip(path))) {
      await using file = await open(path, 'r');
      const { size } = await file.stat();
      const bytes = Buffer.alloc(Math.min(size, GIVEN_AT_ONCE));
      const { bytesRead } = await file.read(bytes, 0, bytes.length, size - bytes.length);
      return bytes.subarray(0, bytesRead);
    }
  } catch (error) {
    throw readError(error, path);
  }
  let last: Buffer = Buffer.alloc(0);
  for await (const { bytes } of blocksOf(path, () => 0)) last = bytes;
  return last;
}

function readError(error: unknown, path: string): unknown {
  if (error instanceof HotlayerError) return error;
  const message = (error as Error).message;
  const context = { file: path };
  if (errnoOf(error) === 'ENOENT')
    return new HotlayerError('HL_ERR_NOT_FOUND', `${path}: no such trace file`, { context });
  if (/^Z_/.test(String((error as { code?: unknown }).code))) {
    return new HotlayerError('HL_ERR_DATA', `${path}: broken gzip data: ${message}`, { cause: error, context });
  }
  if (errnoOf(error) !== undefined)
    return new HotlayerError('HL_ERR_IO', `${path}: ${message}`, { cause: error, context });
  return error;
}
