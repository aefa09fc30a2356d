// Data of our own, packed small: always by pako, so that the same data gives the same bytes on every machine and with
// every build of Node (codec/codec.ts says why node:zlib is not enough for that).
import { gunzipSync } from 'node:zlib';
import { gzip } from 'pako';

/** One gzip member without name and time. The same input gives the same bytes everywhere. */
export function packBytes(bytes: Uint8Array): Buffer {
  const member = gzip(bytes, { level: 6 });
  return Buffer.from(member.buffer, member.byteOffset, member.byteLength);
}

/**
 * @param maxLength more than that is refused, against a few bytes that stand for gigabytes
 * @throws Error (not HotlayerError) when it is not gzip, is damaged or is longer
 */
export function unpackBytes(packed: Uint8Array, maxLength: number): Buffer {
  return gunzipSync(packed, { maxOutputLength: Math.max(1, maxLength) });
}
