// Decompression with the output bounded beforehand: a few bytes of gzip can stand for gigabytes.
import { createRequire } from 'node:module';
import { constants, gunzipSync } from 'node:zlib';
import type { Inflate as PakoInflate } from 'pako';
import { KIB, MIB } from '../../units.js';

/** How much more than asked for may come out before the careful way is taken: a member's padding and headers. */
const SLACK = 256 * KIB;

/**
 * The first `want` decompressed bytes of concatenated gzip members. `compressed` may end, or become invalid, anywhere
 * after them. Returns fewer only when there are no more.
 * @throws Error (not HotlayerError) from zlib when the data is broken before `want` bytes are out
 */
export function inflatePrefix(compressed: Buffer, want: number): Buffer {
  try {
    const out = gunzipSync(compressed, {
      maxOutputLength: want + SLACK,
      chunkSize: Math.max(KIB, Math.min(MIB, want + KIB)),
      finishFlush: constants.Z_SYNC_FLUSH,
    });
    return out.subarray(0, want);
  } catch {
    // Too much output, or an error that may lie behind the wanted part: go step by step, and stop in time.
    return inflateUntil(compressed, want);
  }
}

/** Loaded when it is first needed: hardly ever, and most that load this cannot wait. */
let pako: { readonly Inflate: typeof PakoInflate } | undefined;

/** Node's synchronous functions cannot stop in the middle; pako can: whatever its callback throws ends it. */
function inflateUntil(compressed: Buffer, want: number): Buffer {
  const parts: Uint8Array[] = [];
  const enough = Symbol('enough');
  let length = 0;
  pako ??= createRequire(import.meta.url)('pako') as { Inflate: typeof PakoInflate };
  const inflate = new pako.Inflate({ chunkSize: 64 * KIB });
  inflate.onData = (part) => {
    const bytes = part as Uint8Array;
    parts.push(bytes.slice(0, want - length));
    length += bytes.length;
    if (length >= want) throw enough;
  };
  try {
    // A window at a time, each flushed, so that what came out before an error has been seen.
    for (let at = 0; at < compressed.length && !inflate.err; at += 64 * KIB) {
      inflate.push(compressed.subarray(at, at + 64 * KIB), constants.Z_SYNC_FLUSH as 2);
    }
  } catch (error) {
    if (error !== enough) throw error;
  }
  if (length < want && inflate.err) throw new Error(inflate.msg || `inflate error ${inflate.err}`);
  return Buffer.concat(parts);
}
