// For hotlayer's own reader, which fetches the chunks that a profile knows and nothing between them: chunk boundaries
// where reading begins and ends. What they cost other readers is a chunk more to decompress for each.
import { type Bytes, KIB } from '../../units.js';
import type { ProfileFile } from '../types.js';
import { alignedBoundaries } from './areas.js';
import type { ClientModel } from './client.js';
import type { CompressedFile } from './file-cost.js';
import { type Network, transferNanos } from './network.js';

/** Who will read the image: containerd's stargz snapshotter, `hotlayer run`, or both. */
export const READERS = ['stargz', 'hotlayer', 'both'] as const;
export type Reader = (typeof READERS)[number];

/** A chunk of hot bytes is no larger: whoever waits for its first byte waits for all of it. */
const LARGEST = 256 * KIB;
/** Ranges with no more than this between them are one chunk. Reading goes by pages. */
const GAP: Readonly<Record<'hotlayer' | 'both', Bytes>> = { hotlayer: 0, both: 12 * KIB };
/** What a boundary adds to a blob: a member's header and trailer, an entry with a digest in the compressed TOC, what deflate forgets. */
const BOUNDARY: Bytes = 250;

export interface ExactCuts {
  /** As `chunksOf` takes them; empty: the ordinary chunks. */
  readonly cuts: readonly number[];
  /** Compressed bytes that the reader fetches of the file. */
  readonly bytes: Bytes;
}

/** @param use what is known of its reads; undefined: all of it is fetched */
export function exactCuts(
  file: CompressedFile,
  use: Pick<ProfileFile, 'ranges'> | undefined,
  reader: 'hotlayer' | 'both',
  chunkSize: Bytes,
  client: ClientModel,
  networks: readonly Network[],
): ExactCuts {
  const whole = { cuts: [], bytes: file.compressed };
  if (!use || file.size === 0) return whole;
  const areas = use.ranges.map(([offset, length]) => ({ offset, length, probability: 1 }));
  const cuts = alignedBoundaries(areas, file.size, GAP[reader], Math.min(LARGEST, chunkSize));
  const upTo = file.compressedUpTo ?? ((offset: Bytes) => (file.compressed * offset) / file.size);
  const hot = areas.reduce(
    (sum, { offset, length }) => sum + upTo(Math.min(file.size, offset + length)) - upTo(offset),
    0,
  );
  const bytes = Math.min(file.compressed, Math.round(hot));
  const saved = file.compressed - bytes - BOUNDARY * cuts.length;
  if (cuts.length === 0 || saved <= 0) return whole;
  if (reader === 'hotlayer') return { cuts, bytes };
  // The other reader inflates every one of them by itself, and takes the bytes that they add.
  const pays = networks.every(
    (network) =>
      transferNanos(network, saved) >
      transferNanos(network, BOUNDARY * cuts.length) + (client.perFile * cuts.length) / client.cores,
  );
  return pays ? { cuts, bytes } : whole;
}
