// The chunks of a layer numbered, and the place of each in the file that keeps their content. Both follow from the TOC
// alone, so that whoever fetches chunks and whoever reads them agree without a word.
import type { Chunk, TocEntry } from '../stargz/toc-parse.js';
import { KIB } from '../units.js';

/** Kept content is checked in pieces of this size: a process that reads a page of a big chunk must not wait for all of it. */
export const CHECK_BLOCK = 64 * KIB;

/** What a reader of kept content needs of it. */
export interface PlaceTable {
  /** Of each entry (by `TocEntry.index`) its first chunk; -1: it has none. A file's chunks follow each other. */
  readonly firstOf: Int32Array;
  /** Where each chunk's content begins; one more at the end: the size of all. A file's content is in one piece. */
  readonly at: Float64Array;
  /** Number of each chunk's first check block; one more at the end: how many there are. */
  readonly blockOf: Uint32Array;
}

export interface ChunkTable extends PlaceTable {
  /** In TOC order, which is the order of their members in the blob. */
  readonly chunks: readonly Chunk[];
  /** The entry that each belongs to. */
  readonly owners: readonly TocEntry[];
}

/** What tells which chunks are fetched together. */
export interface MemberTable {
  readonly chunks: readonly Pick<Chunk, 'offset' | 'innerOffset' | 'size' | 'nextOffset'>[];
}

export function chunkTable(entries: readonly TocEntry[]): ChunkTable {
  const chunks: Chunk[] = [];
  const owners: TocEntry[] = [];
  const firstOf = new Int32Array(entries.length).fill(-1);
  for (const entry of entries) {
    if (entry.chunks.length > 0) firstOf[entry.index] = chunks.length;
    for (const chunk of entry.chunks) {
      chunks.push(chunk);
      owners.push(entry);
    }
  }
  const at = new Float64Array(chunks.length + 1);
  const blockOf = new Uint32Array(chunks.length + 1);
  for (const [i, { size }] of chunks.entries()) {
    at[i + 1] = at[i]! + size;
    blockOf[i + 1] = blockOf[i]! + blocksIn(size);
  }
  return { chunks, owners, firstOf, at, blockOf };
}

export function blocksIn(size: number): number {
  return Math.ceil(size / CHECK_BLOCK);
}

/** How many chunks there are. */
export function countOf({ at }: PlaceTable): number {
  return at.length - 1;
}

/** Bytes of a chunk's content. */
export function sizeOf({ at }: PlaceTable, chunk: number): number {
  return at[chunk + 1]! - at[chunk]!;
}

/** How many check blocks a chunk has; undefined: there is no such chunk. */
export function blocksOf({ blockOf }: PlaceTable, chunk: number): number | undefined {
  return chunk < blockOf.length - 1 ? blockOf[chunk + 1]! - blockOf[chunk]! : undefined;
}

/** The last chunk that begins at or before a position of the content; `from` is one that does. */
export function chunkAt(table: PlaceTable, position: number, from: number): number {
  const { at } = table;
  if (at[from + 1]! > position) return from;
  let low = from;
  let high = countOf(table) - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (at[middle]! <= position) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** First of the chunks that share a member with this one (innerOffset of estargz's --estargz-min-chunk-size). */
export function memberStart(table: MemberTable, chunk: number): number {
  let first = chunk;
  while (first > 0 && table.chunks[first - 1]!.offset === table.chunks[chunk]!.offset) first -= 1;
  return first;
}

/** One more than the last of the chunks that share a member with this one. */
export function memberEnd(table: MemberTable, chunk: number): number {
  let end = chunk + 1;
  while (end < table.chunks.length && table.chunks[end]!.offset === table.chunks[chunk]!.offset) end += 1;
  return end;
}
