// Blobs out of a registry: whole, resumed where a connection broke, or a piece of one.
import type { Readable } from 'node:stream';
import { HotlayerError } from '../../errors.js';
import { KIB } from '../../units.js';
import type { Digest } from '../digest.js';
import { streamOf } from '../files.js';
import type { Descriptor } from '../types.js';
import { type ContentRange, parseContentRange } from './byteranges.js';
import type { Answer } from './exchange.js';
import { connectionError, malformed, one, RegistryError, readCapped } from './registry-error.js';
import { patience, retrying } from './retry.js';
import type { Call, Transport } from './transport.js';

/** Fewer bytes than this between two breaks are no progress: a server that gives one at a time is given up. */
const PROGRESS_BYTES = 64 * KIB;

export interface BlobPlace {
  readonly transport: Transport;
  /** `/v2/NAME/blobs/` */
  readonly path: string;
  readonly scopes: readonly string[];
  /** `host/name`, for messages. */
  readonly where: string;
}

/**
 * The bytes of a blob, not verified. The request is sent when the stream is first read. Each break is followed by a
 * request for the rest; a server that answers with the whole again is read past what is there already.
 */
export function downloadBlob(place: BlobPlace, descriptor: Pick<Descriptor, 'digest' | 'size'>): Readable {
  return streamOf(chunksOf(place, descriptor));
}

async function* chunksOf(
  place: BlobPlace,
  { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
): AsyncGenerator<Buffer> {
  const { transport } = place;
  const patient = patience(transport.options);
  const report = transport.options.onProgress;
  let at = 0;
  let lastBreak = 0;
  while (at < size) {
    let body: Answer['body'] | undefined;
    try {
      const { answer, start } = await requestFrom(place, digest, size, at);
      body = answer.body;
      let skip = at - start;
      for await (const chunk of pieces(body, answer.url, transport)) {
        const fresh = skip >= chunk.length ? undefined : skip > 0 ? chunk.subarray(skip) : chunk;
        skip = Math.max(0, skip - chunk.length);
        if (!fresh) continue;
        at += fresh.length;
        report?.({ digest, direction: 'download', bytes: Math.min(at, size), total: size });
        // More than the descriptor says: handed on, so that whoever verifies says what is wrong.
        yield fresh;
        if (at > size) return;
      }
      if (at < size)
        throw new RegistryError(
          'HL_ERR_NETWORK',
          `cannot pull ${digest} from ${place.where}: the answer ended after ${at} of ${size} bytes`,
          { transient: true },
        );
    } catch (failure) {
      if (at - lastBreak >= PROGRESS_BYTES) patient.reset();
      lastBreak = at;
      await patient.afterFailure(failure);
    } finally {
      body?.destroy();
    }
  }
}

/** The answer to a request for the blob from `at` on, and the offset at which its body starts. */
async function requestFrom(
  place: BlobPlace,
  digest: Digest,
  size: number,
  at: number,
): Promise<{ answer: Answer; start: number }> {
  const doing = `pull ${digest} from ${place.where}`;
  const answer = await place.transport.call({
    ...blobCall(place, digest, doing, at === 0 ? undefined : `bytes=${at}-`),
    once: true,
  });
  if (answer.status === 200) return { answer, start: 0 };
  const range = contentRange(answer);
  if (range?.start === at && (range.total === undefined || range.total === size)) return { answer, start: at };
  answer.body.destroy();
  throw malformed(
    answer,
    doing,
    `answered with range ${range?.text ?? 'none'}, expected bytes ${at}-${size - 1}/${size}`,
  );
}

/** @param range the value of the Range header; undefined: all of it */
export function blobCall(place: BlobPlace, digest: Digest, doing: string, range: string | undefined): Call {
  return {
    method: 'GET',
    url: `${place.path}${digest}`,
    headers: range === undefined ? {} : { range },
    scopes: place.scopes,
    expect: range === undefined ? [200] : [200, 206],
    doing,
  };
}

/** The same as `streamBlobPiece`, of one repository. */
export type PieceStreamer = (
  digest: Digest,
  start: number,
  length: number,
  signal?: AbortSignal,
) => AsyncIterable<Buffer>;

/** A broken body fails as a RegistryError, like a broken request. */
export function bodyOf(answer: Answer, transport: Transport): AsyncGenerator<Buffer> {
  return pieces(answer.body, answer.url, transport);
}

async function* pieces(body: Answer['body'], url: URL, { exchange, options }: Transport): AsyncGenerator<Buffer> {
  try {
    yield* body as AsyncIterable<Buffer>;
  } catch (cause) {
    if (options.signal?.aborted)
      throw new HotlayerError('HL_ERR_INTERRUPTED', 'the transfer was interrupted', { cause });
    throw connectionError(cause, url, true, exchange.secrets);
  }
}

export interface BlobPiece {
  readonly bytes: Buffer;
  /** Bytes of the whole blob, as the registry says; undefined when it does not say. */
  readonly total: number | undefined;
}

/** Bytes [start, start + length), fewer at the end of the blob; not verified. @param length 1 or more */
export async function readBlobPiece(
  place: BlobPlace,
  digest: Digest,
  start: number,
  length: number,
): Promise<BlobPiece> {
  const doing = `read ${length} bytes at ${start} of ${digest} from ${place.where}`;
  return retrying(place.transport.options, async () => {
    const call = blobCall(place, digest, doing, `bytes=${start}-${start + length - 1}`);
    const answer = await place.transport.call({ ...call, expect: [...call.expect, 416], once: true });
    if (answer.status === 416) {
      // Nothing there at all: the blob ends before `start`.
      const total = contentRange(answer)?.total;
      answer.body.destroy();
      return { bytes: Buffer.alloc(0), total };
    }
    const range = answer.status === 206 ? contentRange(answer) : undefined;
    if (answer.status === 206 && range?.start !== start) {
      answer.body.destroy();
      throw malformed(answer, doing, `answered with range ${range?.text ?? 'none'}`);
    }
    const whole = answer.status === 200 ? lengthOf(answer) : range?.total;
    const skip = answer.status === 200 ? start : 0;
    // One byte more than wanted: an answer that is read to its end leaves the connection to the next request.
    const bytes = (await readCapped(answer.body, length + 1, skip)).subarray(0, length);
    const expected = whole === undefined ? undefined : Math.max(0, Math.min(length, whole - start));
    if (expected !== undefined && bytes.length < expected) {
      throw new RegistryError(
        'HL_ERR_NETWORK',
        `cannot ${doing}: the answer ended after ${bytes.length} of ${expected} bytes`,
        { transient: true },
      );
    }
    return { bytes, total: whole };
  });
}

export interface PieceRequest {
  readonly digest: Digest;
  readonly start: number;
  /** 1 or more. */
  readonly length: number;
  readonly signal?: AbortSignal;
}

/**
 * Where blobs are that the registry redirects for: asked there directly the next time, which saves a round trip each;
 * forgotten when it answers with an error (such addresses expire).
 */
export type Elsewhere = Map<Digest, URL>;

export async function askForBlob(
  transport: Transport,
  elsewhere: Elsewhere,
  digest: Digest,
  call: Call,
): Promise<Answer> {
  const known = elsewhere.get(digest);
  const answer = known
    ? await transport.call({ ...call, url: known }).catch((failure) => {
        elsewhere.delete(digest);
        if (!(failure instanceof RegistryError) || failure.transient) throw failure;
        return transport.call(call);
      })
    : await transport.call(call);
  if (answer.url.origin !== transport.base.origin) elsewhere.set(digest, answer.url);
  return answer;
}

/** The piece as it comes, tried once. @throws RegistryError */
export async function* streamBlobPiece(
  place: BlobPlace,
  elsewhere: Elsewhere,
  { digest, start, length, signal }: PieceRequest,
): AsyncGenerator<Buffer> {
  const { transport } = place;
  const doing = `read ${length} bytes at ${start} of ${digest} from ${place.where}`;
  const call = {
    ...blobCall(place, digest, doing, `bytes=${start}-${start + length - 1}`),
    once: true,
    ...(signal && { signal }),
  };
  const answer = await askForBlob(transport, elsewhere, digest, call);
  try {
    const range = answer.status === 206 ? contentRange(answer) : undefined;
    if (answer.status === 206 && range?.start !== start)
      throw malformed(answer, doing, `answered with range ${range?.text ?? 'none'}`);
    // A server that does not know ranges sends it all.
    let skip = answer.status === 200 ? start : 0;
    let left = length;
    for await (const chunk of pieces(answer.body, answer.url, transport)) {
      const fresh = chunk.subarray(Math.min(skip, chunk.length)).subarray(0, left);
      skip -= Math.min(skip, chunk.length);
      left -= fresh.length;
      if (fresh.length > 0) yield fresh;
      // A piece is read to the end of its answer, so that the connection can be used again.
      if (left === 0 && answer.status === 200) break;
    }
    const total = answer.status === 200 ? lengthOf(answer) : range?.total;
    if (left > 0 && (total === undefined || start + length <= total)) {
      const message = `cannot ${doing}: the answer ended ${left} bytes early`;
      throw new RegistryError('HL_ERR_NETWORK', message, { transient: true });
    }
  } finally {
    if (!answer.body.readableEnded) answer.body.destroy();
  }
}

function contentRange(answer: Answer): ContentRange | undefined {
  return parseContentRange(one(answer.headers['content-range']));
}

/** What Content-Length says. */
export function lengthOf(answer: Answer): number | undefined {
  const text = one(answer.headers['content-length']);
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}
