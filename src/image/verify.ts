// Blobs are believed only after their size and digest were seen to be those of the descriptor that names them.
import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { HotlayerError } from '../errors.js';
import type { Digest } from './digest.js';
import { streamOf } from './files.js';
import type { Descriptor } from './types.js';

export type Named = Pick<Descriptor, 'digest' | 'size'>;

/** The same bytes; fails with HL_ERR_DIGEST as soon as there are too many, or at the end when size or digest differ. */
export function verified(source: Readable, expected: Named, name: string): Readable {
  return streamOf(verifiedChunks(source, expected, name));
}

async function* verifiedChunks(source: Readable, expected: Named, name: string): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  let size = 0;
  try {
    for await (const chunk of source as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > expected.size) throw wrongSize(name, expected, `more than that`);
      hash.update(chunk);
      yield chunk;
    }
  } finally {
    source.destroy();
  }
  requireSame(name, expected, { size, digest: `sha256:${hash.digest('hex')}` });
}

/** @throws HL_ERR_DIGEST when what was found is not what the descriptor says */
export function requireSame(name: string, expected: Named, found: { size: number; digest: Digest }): void {
  if (found.size !== expected.size) throw wrongSize(name, expected, `${found.size}`);
  if (found.digest === expected.digest) return;
  throw new HotlayerError(
    'HL_ERR_DIGEST',
    `${name}: the stored bytes have digest ${found.digest}, expected ${expected.digest}`,
    {
      hint: 'the image is damaged; copy it again from where it came',
      context: { layer: expected.digest },
    },
  );
}

export function wrongSize(name: string, expected: Named, found: string): HotlayerError {
  return new HotlayerError(
    'HL_ERR_DIGEST',
    `${name}: expected ${expected.size} bytes for ${expected.digest}, found ${found}`,
    {
      hint: 'the image is damaged; copy it again from where it came',
      context: { layer: expected.digest },
    },
  );
}

/** A whole small blob. @throws HL_ERR_LIMIT when the descriptor says more than `limit` bytes, HL_ERR_DIGEST */
export async function readVerified(
  open: () => Readable,
  expected: Named,
  limit: { readonly bytes: number; readonly name: string },
  name: string,
): Promise<Buffer> {
  if (expected.size > limit.bytes) {
    throw new HotlayerError(
      'HL_ERR_LIMIT',
      `${name}: ${expected.size} bytes, at most ${limit.bytes} are accepted (${limit.name})`,
    );
  }
  const parts: Buffer[] = [];
  for await (const chunk of verified(open(), expected, name) as AsyncIterable<Buffer>) parts.push(chunk);
  return Buffer.concat(parts);
}
