// Each codec compresses one fixed vector when it is opened and must return known bytes. Silently different bytes
// would break "same input, same digest"; a clear refusal does not.
import { createHash } from 'node:crypto';
import { HotlayerError } from '../../errors.js';
import type { Codec, CodecName } from './codec.js';

/** First 16 hex digits of the sha256 of the vector's gzip member, by level. Made on x64; `pako` and `zlib` are one row. */
const ZLIB_PAIR: Record<number, string> = {
  1: '1f3eac98e8bbe7e8',
  2: 'a8d009bcd3245dbb',
  3: '67582223d63449a6',
  4: 'c1536db649067cca',
  5: '1b64dbbd49d03c83',
  6: '2c30dfaf39949a47',
  7: '2c30dfaf39949a47',
  8: '2c30dfaf39949a47',
  9: '94240264cd6564d8',
};

const LIBDEFLATE: Record<number, string> = {
  1: '05c68b618359e0e7',
  2: 'a7c23fcfeea02973',
  3: 'ab1489fdb9cd6f42',
  4: 'cf009441bea5d5b6',
  4.5: '50cad68da833719c',
  5: '5960c646b7b04291',
  6: '2b381837fcfbf609',
  7: '90fefaa44425d056',
  8: '88660d71ab811229',
  9: '56f9ca1c6a1ac5d1',
  9.5: '3291c530721ed174',
  10: '301476130ab80042',
  11: '5b0e2a1bac4fd0f9',
  12: '3bad58862746ae0f',
};

const EXPECTED: Record<CodecName, Record<number, string>> = {
  zlib: ZLIB_PAIR,
  pako: ZLIB_PAIR,
  libdeflate: LIBDEFLATE,
};

export function fingerprint(codec: Pick<Codec, 'gzip'>, level: number): string {
  return createHash('sha256').update(codec.gzip(goldenVector(), level)).digest('hex').slice(0, 16);
}

/** @throws HL_ERR_MACHINE (zlib: another library is linked) or HL_ERR_BUG (a package is not the pinned one) */
export function selfTest(name: CodecName, codec: Codec, expected = EXPECTED[name][codec.level]): void {
  const found = fingerprint(codec, codec.level);
  if (found === expected) return;
  const what = `codec ${codec.id} level ${codec.level}: the test vector compresses to ${found}, expected ${expected}`;
  if (name === 'zlib') {
    throw new HotlayerError('HL_ERR_MACHINE', `${what}; this Node (zlib ${process.versions.zlib}) makes other bytes`, {
      hint: 'use --codec pako, which makes the same bytes everywhere',
    });
  }
  throw new HotlayerError('HL_ERR_BUG', `${what}; the installed package is not the one hotlayer was made with`, {
    hint: 'install the dependencies again with npm ci',
  });
}

let vector: Buffer | undefined;

/**
 * 64 KiB that exercise a compressor: words that recur at short and long distances, a run of zeros, noise, a ramp.
 * A linear congruential generator (Numerical Recipes' constants) makes it the same everywhere.
 */
export function goldenVector(): Buffer {
  if (vector) return vector;
  let state = 20_251_123;
  const next = (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 0x1_0000_0000) * below);
  };
  const words = Array.from({ length: 400 }, () =>
    Array.from({ length: 2 + next(9) }, () => String.fromCharCode(97 + next(26))).join(''),
  );
  let text = '';
  while (text.length < 40 * 1024) text += `${words[Math.min(next(400), next(400))]}${next(12) === 0 ? ',\n' : ' '}`;
  vector = Buffer.alloc(64 * 1024);
  vector.write(text.slice(0, 40 * 1024), 0, 'latin1');
  // 40 … 44 KiB stay zero; then noise, a ramp, and a repeat of the beginning.
  for (let i = 44 * 1024; i < 52 * 1024; i++) vector[i] = next(256);
  for (let i = 52 * 1024; i < 56 * 1024; i++) vector[i] = (i * 7) & 0xff;
  vector.copy(vector, 56 * 1024, 1000, 1000 + 8 * 1024);
  return vector;
}
