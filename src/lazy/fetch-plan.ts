// Which requests fetch a list of chunks: neighbours in a blob together, the ones needed first before the others. Pure.
import type { Bytes } from '../units.js';
import { type ChunkTable, type MemberTable, memberEnd, memberStart } from './chunk-table.js';

/** Chunks [first, end) of a layer, all members whole, fetched by one request. */
export interface Run {
  readonly layer: number;
  readonly first: number;
  readonly end: number;
}

/** Chunks in the order in which they are expected to be needed. */
export type Wish = readonly [layer: number, chunk: number];

export interface PlanLimits {
  /** Compressed bytes that nobody asked for and that are fetched all the same when that saves a request. */
  readonly gap: Bytes;
  /** Compressed bytes after which a run is ended; one member may be larger. */
  readonly piece: Bytes;
}

/**
 * The compressed bytes of a run. A TOC may claim that the next member is far away: no deflate stream needs more than
 * twice the bytes it gives, and some headers.
 */
export function rangeOf(table: ChunkTable, first: number, end: number): { offset: number; length: number } {
  const { offset } = table.chunks[first]!;
  return { offset, length: memberRangeEnd(table, end - 1) - offset };
}

/** End of the compressed bytes that hold the member of a chunk, the last of its member. */
export function memberRangeEnd(table: MemberTable, last: number): number {
  const { offset, innerOffset, size, nextOffset } = table.chunks[last]!;
  return Math.min(nextOffset, offset + 2 * (innerOffset + size) + 64 * 1024);
}

/**
 * @param has chunks that are here already, and are not asked for; they may lie inside a run
 * @returns runs in the order in which they should be asked for, none of which shares a chunk with another
 */
export function planRuns(
  tables: readonly (ChunkTable | undefined)[],
  wishes: Iterable<Wish>,
  has: (layer: number, chunk: number) => boolean,
  limits: PlanLimits,
): Run[] {
  /** By layer: first chunk of each wanted member → when it is needed. */
  const wanted = new Map<number, Map<number, number>>();
  let rank = 0;
  for (const [layer, chunk] of wishes) {
    const table = tables[layer];
    if (!table || has(layer, chunk)) continue;
    const members = wanted.get(layer) ?? new Map<number, number>();
    wanted.set(layer, members);
    const member = memberStart(table, chunk);
    if (!members.has(member)) members.set(member, rank++);
  }
  const ranked: { run: Run; rank: number }[] = [];
  for (const [layer, members] of wanted) {
    const table = tables[layer]!;
    let open: { first: number; end: number; rank: number } | undefined;
    const finish = () => {
      if (open) ranked.push({ run: { layer, first: open.first, end: open.end }, rank: open.rank });
    };
    for (const [member, when] of [...members].sort((a, b) => a[0] - b[0])) {
      const end = memberEnd(table, member);
      const start = table.chunks[member]!.offset;
      const joins =
        open !== undefined &&
        start - memberRangeEnd(table, open.end - 1) <= limits.gap &&
        memberRangeEnd(table, end - 1) - table.chunks[open.first]!.offset <= limits.piece;
      if (open && joins) {
        open.end = end;
        open.rank = Math.min(open.rank, when);
      } else {
        finish();
        open = { first: member, end, rank: when };
      }
    }
    finish();
  }
  return ranked.sort((a, b) => a.rank - b.rank).map(({ run }) => run);
}

/** The chunks whose members are exactly these compressed bytes; undefined: there are none. */
export function chunksWithin(
  table: ChunkTable,
  offset: number,
  length: number,
): { first: number; end: number } | undefined {
  const { chunks } = table;
  const first = firstFrom(table, offset);
  const end = firstFrom(table, offset + length);
  const whole = first < end && chunks[first]!.offset === offset && memberRangeEnd(table, end - 1) === offset + length;
  return whole ? { first, end } : undefined;
}

/** Index of the first chunk whose member begins at or after an offset; members ascend. */
export function firstFrom({ chunks }: MemberTable, offset: number): number {
  let low = 0;
  let high = chunks.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (chunks[middle]!.offset < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}
