// Where a file is divided. A chunk is the unit that lazy clients decompress and verify, and never larger than the
// chunk size, so that a file of any size can be read through a bounded buffer.
import { HotlayerError } from '../errors.js';
import { KIB, MIB } from '../units.js';

/** estargz's default, so the one that clients see most. */
export const DEFAULT_CHUNK_SIZE = 4 * MIB;
export const MIN_CHUNK_SIZE = 4 * KIB;
/** A chunk is held in memory, by us and by every client. */
export const MAX_CHUNK_SIZE = 256 * MIB;

/** @throws HL_ERR_USAGE */
export function checkChunkSize(chunkSize: number): number {
  if (Number.isInteger(chunkSize) && chunkSize >= MIN_CHUNK_SIZE && chunkSize <= MAX_CHUNK_SIZE) return chunkSize;
  throw new HotlayerError(
    'HL_ERR_USAGE',
    `chunk size ${chunkSize}; expected ${MIN_CHUNK_SIZE} to ${MAX_CHUNK_SIZE} bytes`,
  );
}

/**
 * Chunks of a file, in order, as [offset, size].
 * @param cuts offsets at which a chunk has to begin: ascending, above 0 and below `size`. What lies between two of
 *   them is divided further every `chunkSize` bytes.
 * @throws HL_ERR_BUG when `cuts` is not that
 */
export function* chunksOf(size: number, chunkSize: number, cuts: readonly number[] = []): Generator<[number, number]> {
  let at = 0;
  for (const cut of [...cuts, size]) {
    if (!Number.isSafeInteger(cut) || cut <= at || cut > size) {
      if (cut === size && at === size) return;
      throw new HotlayerError('HL_ERR_BUG', `chunk boundary ${cut} after ${at} in a file of ${size} bytes`);
    }
    for (; at < cut; at = Math.min(at + chunkSize, cut)) yield [at, Math.min(chunkSize, cut - at)];
  }
}
