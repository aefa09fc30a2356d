// The byte-exact pair: Node's zlib, and pako, which is the same algorithm in JavaScript. Node bundles Chromium's zlib,
// whose matcher hashes four bytes; pako 3 does the same unless told otherwise. Some builds of Node link another zlib:
// the self-test of codec.ts finds those out.
import { gzipSync } from 'node:zlib';
import type { RawCodec } from './codec.js';

export function openZlib(): RawCodec {
  return { id: 'zlib', gzip: (bytes, level) => gzipSync(bytes, { level }) };
}

export async function openPako(): Promise<RawCodec> {
  const pako = await import('pako');
  return {
    id: 'pako-3.0.3',
    gzip(bytes, level) {
      const member = pako.gzip(bytes, { level: level as 6 });
      return Buffer.from(member.buffer, member.byteOffset, member.byteLength);
    },
  };
}
