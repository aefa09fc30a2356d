// Several pieces of a blob with as few requests as the server allows: one with many ranges, of which it may serve all,
// some, one, or none; what is then still missing is asked for by itself.
import { KIB, MIB } from '../../units.js';
import type { Digest } from '../digest.js';
import { boundaryOf, parseByteranges, parseContentRange, type RangePart } from './byteranges.js';
import { type BlobPlace, blobCall, lengthOf, readBlobPiece } from './download.js';
import type { Answer } from './exchange.js';
import { makeLimit } from './limit.js';
import { malformed, one, RegistryError, readCapped } from './registry-error.js';
import { retrying } from './retry.js';
import { DEFAULT_PARALLEL } from './settings.js';

export interface ByteRange {
  readonly start: number;
  /** 1 or more. */
  readonly length: number;
}

/** Two pieces with no more than this between them are asked for as one: a part's own headers are about as long. */
const GAP_BYTES = 256;
/** More would make header lines that proxies refuse (8 KiB as a rule). */
const MAX_RANGES = 64;
/** What a server may write around each part. */
const PART_BYTES = 1 * KIB;
/** A server that ignores ranges is read to the end up to this size; larger blobs are asked for piece by piece. */
const WHOLE_BYTES = 4 * MIB;

interface Span {
  readonly start: number;
  readonly end: number;
  /** Fewer than `end - start` at the end of the blob; absent: not there yet. */
  bytes?: Buffer;
}

export type PieceReader = (digest: Digest, ranges: readonly ByteRange[]) => Promise<Buffer[]>;

/** One for each repository: it remembers whether several ranges at once are served there. */
export function makePieceReader(place: BlobPlace): PieceReader {
  const { options } = place.transport;
  const limit = makeLimit(options.parallel ?? DEFAULT_PARALLEL);
  let severalAtOnce = true;

  /** Fills in what the answer to one request for all of them holds. */
  async function readTogether(digest: Digest, spans: readonly Span[]): Promise<void> {
    const doing = `read ${spans.length} pieces of ${digest} from ${place.where}`;
    const ranges = `bytes=${spans.map(({ start, end }) => `${start}-${end - 1}`).join(',')}`;
    const wanted = spans.reduce((sum, { start, end }) => sum + end - start, 0);
    const call = blobCall(place, digest, doing, ranges);
    const answer = await place.transport.call({ ...call, expect: [...call.expect, 416], once: true });
    const parts = await partsOf(answer, doing, wanted + spans.length * PART_BYTES);
    if (!parts) {
      severalAtOnce = false;
      return;
    }
    for (const part of parts) for (const span of spans) take(span, part);
  }

  return async (digest, ranges) => {
    const spans = spansOf(ranges);
    for (let i = 0; severalAtOnce && i < spans.length; i += MAX_RANGES) {
      const group = spans.slice(i, i + MAX_RANGES);
      if (group.length > 1) await retrying(options, () => readTogether(digest, group));
    }
    await Promise.all(
      spans
        .filter((span) => !span.bytes)
        .map((span) =>
          limit.run(async () => {
            span.bytes = (await readBlobPiece(place, digest, span.start, span.end - span.start)).bytes;
          }),
        ),
    );
    return ranges.map(({ start, length }) => {
      const span = spans.find((s) => s.start <= start && s.end >= start + length)!;
      return span.bytes!.subarray(start - span.start, start - span.start + length);
    });
  };
}

/** Ascending, apart from each other by more than GAP_BYTES. */
function spansOf(ranges: readonly ByteRange[]): Span[] {
  const spans: { start: number; end: number }[] = [];
  for (const { start, length } of [...ranges].sort((a, b) => a.start - b.start)) {
    const last = spans.at(-1);
    if (last && start <= last.end + GAP_BYTES) last.end = Math.max(last.end, start + length);
    else spans.push({ start, end: start + length });
  }
  return spans;
}

function take(span: Span, { start, bytes, total }: RangePart): void {
  const end = Math.min(span.end, total ?? span.end);
  if (span.start >= end) span.bytes = Buffer.alloc(0);
  else if (start <= span.start && start + bytes.length >= end)
    span.bytes = bytes.subarray(span.start - start, end - start);
}

/**
 * What the server sent, whichever way it chose; undefined: everything from the start, and that is too much.
 * @throws RegistryError, transient when the answer ended early
 */
async function partsOf(answer: Answer, doing: string, most: number): Promise<RangePart[] | undefined> {
  const type = one(answer.headers['content-type']);
  const endedEarly = () =>
    new RegistryError('HL_ERR_NETWORK', `cannot ${doing}: the answer ended early`, { transient: true });
  if (answer.status === 200) {
    const length = lengthOf(answer);
    if (length === undefined || length > Math.max(WHOLE_BYTES, most)) {
      answer.body.destroy();
      return undefined;
    }
    const bytes = await readCapped(answer.body, length + 1);
    if (bytes.length < length) throw endedEarly();
    return [{ start: 0, bytes, total: length }];
  }
  const boundary = boundaryOf(type);
  if (answer.status === 416 || boundary === undefined) {
    const range = parseContentRange(one(answer.headers['content-range']));
    const bytes = answer.status === 416 ? Buffer.alloc(0) : await readCapped(answer.body, most);
    if (answer.status === 416) answer.body.destroy();
    // One of the ranges, or several joined. A part that was cut short fits no span and is asked for again.
    return [
      { start: range?.start ?? 0, bytes: range?.start === undefined ? Buffer.alloc(0) : bytes, total: range?.total },
    ];
  }
  const body = await readCapped(answer.body, most);
  try {
    const { parts, complete } = parseByteranges(body, boundary);
    // Longer than it needs to be: what is missing is asked for by itself.
    if (!complete && body.length < most) throw endedEarly();
    return parts;
  } catch (error) {
    if (error instanceof RegistryError) throw error;
    throw malformed(answer, doing, `answered with ${(error as Error).message}`);
  }
}
