// Text files as lines: bounded memory, gzip accepted, an end that came too early told from a broken file.
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream';
import { TextDecoder } from 'node:util';
import { createGunzip } from 'node:zlib';
import { errnoOf, HotlayerError } from '../errors.js';
import { MIB } from '../units.js';

/** Longest line accepted. A trace's header holds the command line, which Linux limits to 2 MiB for an exec. */
export const MAX_LINE = 16 * MIB;

export interface Line {
  readonly text: string;
  /** False: the file ended before a newline. */
  readonly whole: boolean;
  /** Set in a last, empty line: why there is no more. */
  readonly cutBecause?: string;
}

/**
 * Lines of a file of UTF-8 text, unpacked when it starts as a gzip file does. Only a line feed ends a line (readline
 * would also split at U+2028, which may stand in a file name).
 * @throws HL_ERR_NOT_FOUND, HL_ERR_IO; HL_ERR_DATA broken gzip data or not UTF-8; HL_ERR_LIMIT
 */
export async function* linesOf(path: string): AsyncGenerator<Line> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let carry: Buffer[] = [];
  let carried = 0;
  let number = 0;
  const take = (bytes: Buffer[]): string => {
    try {
      return decoder.decode(bytes.length === 1 ? bytes[0] : Buffer.concat(bytes));
    } catch (cause) {
      throw new HotlayerError('HL_ERR_DATA', `${path}:${number + 1} or a line after it: not UTF-8 text`, {
        cause,
        context: { file: path },
      });
    }
  };
  let cutBecause: string | undefined;
  try {
    for await (const chunk of await bytesOf(path)) {
      const last = chunk.lastIndexOf(0x0a);
      if (last < 0) {
        carry.push(chunk);
        carried += chunk.length;
        if (carried > MAX_LINE) {
          throw new HotlayerError(
            'HL_ERR_LIMIT',
            `${path}:${number + 1}: the line is longer than ${MAX_LINE} bytes (MAX_LINE)`,
          );
        }
        continue;
      }
      const text = take([...carry, chunk.subarray(0, last)]);
      carry = [chunk.subarray(last + 1)];
      carried = chunk.length - last - 1;
      for (const line of text.split('\n')) {
        number += 1;
        yield { text: line, whole: true };
      }
    }
  } catch (error) {
    // zlib's code for a stream that ends too early.
    if ((error as { code?: unknown }).code !== 'Z_BUF_ERROR') throw readError(error, path);
    cutBecause = 'the gzip stream was cut off';
  }
  if (carried > 0 && cutBecause === undefined) yield { text: take(carry), whole: false };
  if (cutBecause !== undefined) yield { text: '', whole: false, cutBecause };
}

async function bytesOf(path: string): Promise<AsyncIterable<Buffer>> {
  const magic = Buffer.alloc(2);
  const file = await open(path, 'r');
  try {
    await file.read(magic, 0, 2, 0);
  } finally {
    await file.close();
  }
  const stream = createReadStream(path, { highWaterMark: 256 * 1024 });
  // RFC 1952 section 2.3.1: ID1, ID2.
  if (magic[0] !== 0x1f || magic[1] !== 0x8b) return stream;
  return pipeline(stream, createGunzip({ chunkSize: 256 * 1024 }), () => {});
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
