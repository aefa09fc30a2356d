// Several pieces of a blob as they come, with one request where the server serves several ranges at once, and otherwise
// with one for each group of near ones.
import { KIB, MIB } from '../../units.js';
import type { Digest } from '../digest.js';
import type { Pieces } from '../files.js';
import { boundaryOf, parseContentRange } from './byteranges.js';
import {
  askForBlob,
  type BlobPlace,
  blobCall,
  bodyOf,
  type Elsewhere,
  lengthOf,
  type PieceStreamer,
} from './download.js';
import { malformed, one, RegistryError } from './registry-error.js';

/** Where only one range at a time is served, pieces with no more than this between them are asked for as one. */
const GAP = 64 * KIB;
/** A server that ignores ranges is read through a blob up to this size. */
const WHOLE = 4 * MIB;
/** No server needs so much around a part. */
const MAX_HEAD = 8 * KIB;

/** The bytes of the pieces, which are ascending and disjoint, one after the other; tried once. @throws RegistryError */
export type PiecesStreamer = (digest: Digest, pieces: Pieces, signal?: AbortSignal) => AsyncGenerator<Buffer>;

/** One for each repository: it remembers whether several ranges at once are served there. */
export function makePiecesStreamer(place: BlobPlace, elsewhere: Elsewhere, streamOne: PieceStreamer): PiecesStreamer {
  let severalAtOnce = true;

  async function* together(digest: Digest, pieces: Pieces, signal?: AbortSignal): AsyncGenerator<Buffer, number> {
    const doing = `read ${pieces.length} pieces of ${digest} from ${place.where}`;
    const ranges = `bytes=${pieces.map(([at, length]) => `${at}-${at + length - 1}`).join(',')}`;
    const call = { ...blobCall(place, digest, doing, ranges), once: true, ...(signal && { signal }) };
    const answer = await askForBlob(place.transport, elsewhere, digest, call);
    const sieve = new Sieve(pieces);
    try {
      const body = bodyOf(answer, place.transport);
      const boundary = answer.status === 206 ? boundaryOf(one(answer.headers['content-type'])) : undefined;
      if (boundary !== undefined) {
        for await (const [at, bytes] of partsOf(body, boundary)) yield* sieve.take(at, bytes);
      } else {
        const range = answer.status === 206 ? parseContentRange(one(answer.headers['content-range'])) : undefined;
        let at = answer.status === 200 ? 0 : range?.start;
        severalAtOnce = false;
        if (at === undefined) return 0;
        if (answer.status === 200 && (lengthOf(answer) ?? Number.POSITIVE_INFINITY) > WHOLE) return 0;
        for await (const bytes of body) {
          yield* sieve.take(at, bytes);
          at += bytes.length;
        }
      }
    } catch (error) {
      if (error instanceof BadPart) throw malformed(answer, doing, `answered with ${error.message}`);
      throw error;
    } finally {
      if (!answer.body.readableEnded) answer.body.destroy();
    }
    if (severalAtOnce && !sieve.done)
      throw new RegistryError('HL_ERR_NETWORK', `cannot ${doing}: the answer ended early`, { transient: true });
    return sieve.given;
  }

  async function* oneByOne(digest: Digest, pieces: Pieces, skip: number, signal?: AbortSignal): AsyncGenerator<Buffer> {
    let left = skip;
    for (const span of spansOf(pieces)) {
      const sieve = new Sieve(span.pieces);
      let at = span.start;
      for await (const bytes of streamOne(digest, span.start, span.end - span.start, signal)) {
        for (const piece of sieve.take(at, bytes)) {
          const fresh = piece.subarray(Math.min(left, piece.length));
          left -= piece.length - fresh.length;
          if (fresh.length > 0) yield fresh;
        }
        at += bytes.length;
      }
    }
  }

  return async function* (digest, pieces, signal) {
    let given = 0;
    if (pieces.length > 1 && severalAtOnce) {
      given = yield* together(digest, pieces, signal);
      if (given === pieces.reduce((sum, [, length]) => sum + length, 0)) return;
    }
    yield* oneByOne(digest, pieces, given, signal);
  };
}

/** Of bytes at known places, those that belong to the pieces, in order. */
class Sieve {
  /** Bytes let through. */
  given = 0;
  readonly #pieces: Pieces;
  #next = 0;
  /** Of the next piece, let through already. */
  #within = 0;

  constructor(pieces: Pieces) {
    this.#pieces = pieces;
  }

  get done(): boolean {
    return this.#next === this.#pieces.length;
  }

  *take(at: number, bytes: Buffer): Generator<Buffer> {
    for (let piece = this.#pieces[this.#next]; piece; piece = this.#pieces[this.#next]) {
      const from = piece[0] + this.#within;
      const to = Math.min(piece[0] + piece[1], at + bytes.length);
      if (from < at || from >= to) return;
      this.given += to - from;
      this.#within += to - from;
      yield bytes.subarray(from - at, to - at);
      if (this.#within < piece[1]) return;
      this.#next += 1;
      this.#within = 0;
    }
  }
}

function spansOf(pieces: Pieces): { start: number; end: number; pieces: Pieces }[] {
  const spans: { start: number; end: number; pieces: (readonly [number, number])[] }[] = [];
  for (const piece of pieces) {
    const [start, length] = piece;
    const last = spans.at(-1);
    if (last && start - last.end <= GAP) {
      last.end = start + length;
      last.pieces.push(piece);
    } else spans.push({ start, end: start + length, pieces: [piece] });
  }
  return spans;
}

class BadPart extends Error {}

/** The bytes of `multipart/byteranges`, each with its place; what a part's head is cut by is waited for. */
async function* partsOf(body: AsyncIterable<Buffer>, boundary: string): AsyncGenerator<[at: number, bytes: Buffer]> {
  const delimiter = Buffer.from(`--${boundary}`, 'latin1');
  let held: Buffer = Buffer.alloc(0);
  /** Of the part that is open: where the next byte belongs, and how many are to come. */
  let at = 0;
  let left = 0;
  for await (const bytes of body) {
    let rest: Buffer = held.length > 0 ? Buffer.concat([held, bytes]) : bytes;
    while (rest.length > 0) {
      if (left > 0) {
        const piece = rest.subarray(0, left);
        yield [at, piece];
        at += piece.length;
        left -= piece.length;
        rest = rest.subarray(piece.length);
        continue;
      }
      const start = rest.indexOf(delimiter);
      const head = start < 0 ? -1 : rest.indexOf('\r\n\r\n', start, 'latin1');
      if (start >= 0 && rest.toString('latin1', start + delimiter.length, start + delimiter.length + 2) === '--')
        return;
      if (head < 0) {
        if (rest.length > MAX_HEAD) throw new BadPart('a part whose headers do not end');
        break;
      }
      const header = /^content-range:[ \t]*(.*?)[ \t]*$/im.exec(rest.toString('latin1', start, head))?.[1];
      const range = parseContentRange(header);
      if (range?.start === undefined || range.end === undefined || range.end <= range.start)
        throw new BadPart('a part without a Content-Range');
      at = range.start;
      left = range.end - range.start;
      rest = rest.subarray(head + 4);
    }
    held = rest;
  }
}
