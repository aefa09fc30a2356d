// gzip in, bytes out. node:zlib does the work. It cannot say where a stream is broken, and it loses output when
// something that is not gzip follows the last member (nodejs: incorrect header check), so whatever it does not
// like is decompressed once more by pako, a member at a time, which tells exactly.
import { createGunzip } from 'node:zlib';
import { type ErrorContext, HotlayerError } from '../../errors.js';
import type { Bytes } from '../../units.js';

/** Takes bytes in order; they may be reused after it returns. What it throws ends everything. */
export type Sink = (bytes: Buffer) => void;

const OUTPUT = 256 * 1024;

export function isGzip(head: Uint8Array): boolean {
  return head[0] === 0x1f && head[1] === 0x8b;
}

/**
 * @returns true when all of `source` was gzip members that are whole; false when that is not sure, and the sink has
 *   got some of the bytes: use `gunzipExactly` on the same source
 * @throws what the source or the sink throw. A source that fails at its end (digest) is always read to its end.
 */
export async function gunzipFast(source: AsyncIterable<Uint8Array>, sink: Sink): Promise<boolean> {
  const gunzip = createGunzip({ chunkSize: OUTPUT });
  let stopped = false;
  let abort = false;
  let fed = 0;
  let wake = () => {};
  let failed = false;
  let complete = false;
  gunzip.on('drain', () => wake());
  // Errors may come after the last byte, when nobody iterates any more.
  gunzip.on('error', () => {
    failed = true;
  });
  const feed = async () => {
    for await (const chunk of source) {
      if (abort) break;
      fed += chunk.length;
      if (stopped || gunzip.write(chunk)) continue;
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (stopped) resolve();
      });
    }
    if (stopped) return;
    complete = true;
    gunzip.end();
  };
  let sinkError: unknown;
  const consume = async () => {
    try {
      for await (const bytes of gunzip) {
        try {
          sink(bytes as Buffer);
        } catch (error) {
          sinkError = error;
          abort = true;
          throw error;
        }
      }
    } finally {
      stopped = true;
      wake();
    }
  };
  const feeding = feed().catch((error) => {
    gunzip.destroy();
    throw error;
  });
  const [feedResult, consumeResult] = await Promise.allSettled([feeding, consume()]);
  if (abort) throw sinkError;
  if (feedResult.status === 'rejected') throw feedResult.reason;
  return complete && !failed && consumeResult.status === 'fulfilled' && gunzip.bytesWritten === fed;
}

/**
 * Slower by three times, but exact.
 * @returns bytes after the last member that are not gzip (gzip(1) ignores them, too); zeros count
 * @throws HL_ERR_LAYER naming the byte of the blob where the stream is cut off or corrupt; what source or sink throw
 */
export async function gunzipExactly(
  source: AsyncIterable<Uint8Array>,
  sink: Sink,
  where: ErrorContext,
): Promise<{ trailing: Bytes }> {
  const { ZStream, zlibInflate, zlibInflateInit2, zlibInflateReset } = await import('pako');
  const stream = new ZStream();
  // 15 bits of window, +16: a gzip wrapper, its CRC and length checked.
  zlibInflateInit2(stream, 15 + 16);
  const output = new Uint8Array(OUTPUT);
  let members = 0;
  let memberAt = 0;
  let inMember = false;
  let produced = 0;
  let position = 0;
  let trailing = 0;
  /** Bytes not yet consumed: at a member's start two are needed to know it for one. */
  let pending: Uint8Array = new Uint8Array(0);

  const fail = (message: string, offset: number) => {
    throw new HotlayerError(
      'HL_ERR_LAYER',
      `layer ${where.layer}: ${message} at byte ${offset} of the blob, in gzip member ${members + 1} (from byte ${memberAt}), ${produced} bytes decompressed`,
      { context: { ...where, offset } },
    );
  };

  for await (const chunk of source) {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    while (pending.length > 0) {
      if (trailing > 0) {
        trailing += pending.length;
        pending = pending.subarray(pending.length);
        break;
      }
      if (!inMember) {
        if (pending.length < 2) break;
        if (!isGzip(pending)) {
          if (members === 0) fail('no gzip stream', position);
          trailing = pending.length;
          pending = pending.subarray(pending.length);
          break;
        }
        inMember = true;
        memberAt = position;
        zlibInflateReset(stream);
      }
      stream.input = pending;
      stream.next_in = 0;
      stream.avail_in = pending.length;
      let status: number;
      do {
        stream.output = output;
        stream.next_out = 0;
        stream.avail_out = output.length;
        status = zlibInflate(stream, 0);
        if (stream.next_out > 0) {
          produced += stream.next_out;
          sink(Buffer.from(output.buffer, 0, stream.next_out));
        }
      } while (status === 0 && stream.avail_out === 0);
      position += stream.next_in;
      pending = pending.subarray(stream.next_in);
      if (status === 1) {
        members += 1;
        inMember = false;
      } else if (status !== 0 && status !== -5) {
        fail(`the gzip stream is corrupt (${stream.msg || `zlib status ${status}`})`, position);
      } else break;
    }
  }
  if (inMember) fail('the gzip stream is cut off', position);
  if (members === 0) fail('the gzip stream is cut off', position + pending.length);
  return { trailing: trailing + pending.length };
}
