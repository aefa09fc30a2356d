// Where the bytes of an image lie that is about to be started: its layers, and for each file of a profile its chunks.
// From the TOCs of an image that exists, or (plan-layout.ts) from a plan and foretold sizes.
import type { StartGroup } from '../../lazy/start-map.js';
import type { StargzBlob } from '../../stargz/reader.js';
import type { Bytes } from '../../units.js';

export interface LayerLayout {
  /** Of the blob. */
  readonly size: Bytes;
  /** Compressed offset of the TOC; the footer ends the blob. */
  readonly tocOffset: Bytes;
  /** Bytes of its JSON. */
  readonly tocJson: Bytes;
  readonly entries: number;
  /** Compressed bytes before the landmark; 0: no prefetch. */
  readonly prefetch: Bytes;
  /** Files with content whose first chunk lies before it, and their uncompressed bytes. */
  readonly prefetchFiles: number;
  readonly prefetchInflated: Bytes;
  /** Uncompressed content of all files. */
  readonly inflated: Bytes;
}

export interface FileLayout {
  /** Index of the layer. */
  readonly layer: number;
  readonly size: Bytes;
  /** Of each chunk, ascending: its offset in the file; 0 first. */
  readonly at: readonly Bytes[];
  /** Of each chunk: compressed offset in the layer. */
  readonly offset: readonly Bytes[];
  /** Compressed offset at which the last one ends. */
  readonly end: Bytes;
}

export interface Layout {
  readonly layers: readonly LayerLayout[];
  /** By index in Profile.files; absent: has no content in the image. */
  readonly files: readonly (FileLayout | undefined)[];
  /** What the image says of its own start, which hotlayer's own reader asks for at once; absent: it says nothing. */
  readonly start?: readonly StartGroup[];
}

/** Which entry of which layer holds a file's content; undefined: none does. */
export type Locate = (path: string) => { readonly layer: number; readonly entry: string } | undefined;

/**
 * @param blobs lowest first
 * @param paths of the profile's files
 * @param start of the image's manifest
 */
export function layoutOfBlobs(
  blobs: readonly StargzBlob[],
  paths: readonly string[],
  locate: Locate,
  start?: readonly StartGroup[],
): Layout {
  const layers = blobs.map((blob): LayerLayout => {
    const prefetch = blob.prefetchSize;
    let [files, prefetchInflated, inflated] = [0, 0, 0];
    for (const { chunks, size } of blob.entries) {
      inflated += chunks.length > 0 ? size : 0;
      if (chunks.length === 0 || chunks[0]!.offset >= prefetch) continue;
      files += 1;
      prefetchInflated += size;
    }
    return {
      size: blob.size,
      tocOffset: blob.tocOffset,
      tocJson: blob.tocSize,
      entries: blob.entries.length,
      prefetch,
      prefetchFiles: files,
      prefetchInflated,
      inflated,
    };
  });
  const files = paths.map((path): FileLayout | undefined => {
    const place = locate(path);
    const blob = place && blobs[place.layer];
    const entry = blob?.byPath.get(place!.entry);
    if (!blob || !entry) return undefined;
    const chunks = blob.chunksOf(entry);
    if (chunks.length === 0) return undefined;
    return {
      layer: place.layer,
      size: blob.resolve(entry).size,
      at: chunks.map((chunk) => chunk.at),
      offset: chunks.map((chunk) => chunk.offset),
      end: chunks.at(-1)!.nextOffset,
    };
  });
  return { layers, files, ...(start && { start }) };
}

/** Index of the chunk that has the byte at `offset`. */
export function chunkAt({ at }: FileLayout, offset: Bytes): number {
  let low = 0;
  let high = at.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (at[middle]! <= offset) low = middle;
    else high = middle - 1;
  }
  return low;
}
