// Byte ranges: unions within a run, and counts of how many runs read which bytes. All results are sorted by offset,
// disjoint, and adjacent ranges of equal count are one, so that equal sets of bytes are equal lists.
import type { Bytes } from '../units.js';
import type { RangeCount } from './types.js';

/** [offset, length], length > 0. */
export type Range = readonly [offset: number, length: number];

/** The bytes covered by any of the ranges, in any order, overlapping or not. Empty ranges are dropped. */
export function unionRanges(ranges: Iterable<Range>): Range[] {
  const sorted = [...ranges].filter(([, length]) => length > 0).sort((a, b) => a[0] - b[0]);
  const out: [number, number][] = [];
  let last: [number, number] | undefined;
  for (const [offset, length] of sorted) {
    if (last && offset <= last[0] + last[1]) {
      last[1] = Math.max(last[1], offset + length - last[0]);
    } else {
      last = [offset, length];
      out.push(last);
    }
  }
  return out;
}

/** How many of the runs read each byte. @param runs one list a run; a list may overlap itself and still counts once */
export function countRanges(runs: readonly (readonly Range[])[]): RangeCount[] {
  return sumRangeCounts(
    runs.map((ranges) => unionRanges(ranges).map(([offset, length]): RangeCount => [offset, length, 1])),
  );
}

/** Adds up counts byte by byte (an interval sweep). Order-free and associative. */
export function sumRangeCounts(lists: readonly (readonly RangeCount[])[]): RangeCount[] {
  const steps = new Map<number, number>();
  const step = (at: number, by: number) => steps.set(at, (steps.get(at) ?? 0) + by);
  for (const list of lists) {
    for (const [offset, length, runs] of list) {
      if (length <= 0) continue;
      step(offset, runs);
      step(offset + length, -runs);
    }
  }
  const out: [number, number, number][] = [];
  let depth = 0;
  // A change of zero is an inner border between equal counts: no new range begins there.
  const borders = [...steps].filter(([, by]) => by !== 0).sort((a, b) => a[0] - b[0]);
  for (const [i, [at, by]] of borders.entries()) {
    depth += by;
    const next = borders[i + 1];
    if (next && depth > 0) out.push([at, next[0] - at, depth]);
  }
  return out;
}

/** Distinct bytes of disjoint ranges. */
export function totalLength(ranges: readonly (Range | RangeCount)[]): Bytes {
  let total = 0;
  for (const range of ranges) total += range[1];
  return total;
}

/**
 * Gathers ranges as they come; neighbours are joined at once, so that reading a file page by page stays one range. Of most
 * files that is all there is, so nothing is allocated for it.
 */
export class RangeSet {
  /** The latest range; from it on the next one mostly goes on. */
  #from = -1;
  #end = -1;
  /** Those before it. */
  #ranges: [number, number][] | undefined;
  /** List length at which it is sorted and merged again. */
  #limit = 1024;

  add(offset: number, length: number): void {
    if (length <= 0) return;
    if (this.#from >= 0 && offset >= this.#from && offset <= this.#end) {
      if (offset + length > this.#end) this.#end = offset + length;
      return;
    }
    if (this.#from >= 0) this.#keep(this.#from, this.#end);
    this.#from = offset;
    this.#end = offset + length;
  }

  ranges(): Range[] {
    if (this.#from < 0) return [];
    const last: Range = [this.#from, this.#end - this.#from];
    return this.#ranges ? unionRanges([...this.#ranges, last]) : [last];
  }

  /** Distinct bytes. */
  total(): Bytes {
    return this.#ranges ? totalLength(this.ranges()) : this.#end - this.#from;
  }

  clear(): void {
    this.#from = -1;
    this.#end = -1;
    this.#ranges = undefined;
    this.#limit = 1024;
  }

  #keep(from: number, end: number): void {
    this.#ranges ??= [];
    this.#ranges.push([from, end - from]);
    if (this.#ranges.length > this.#limit) {
      this.#ranges = unionRanges(this.#ranges) as [number, number][];
      this.#limit = Math.max(1024, 2 * this.#ranges.length);
    }
  }
}

/** Bytes covered so far; says of each range how much of it is new. */
export class Coverage {
  /** Borders: covered from the even ones to the odd ones after them; ascending. */
  readonly #borders: number[] = [];
  #total = 0;

  get total(): Bytes {
    return this.#total;
  }

  /** @returns bytes of the range that were not covered before */
  add(offset: Bytes, length: Bytes): Bytes {
    if (length <= 0) return 0;
    const borders = this.#borders;
    const end = offset + length;
    // The ranges that touch the new one are replaced by one that spans them all.
    let from = lowerBound(borders, offset);
    if (from % 2 === 1) from -= 1;
    let to = upperBound(borders, end);
    if (to % 2 === 1) to += 1;
    let known = 0;
    for (let i = from; i < to; i += 2) known += borders[i + 1]! - borders[i]!;
    const start = from < to ? Math.min(offset, borders[from]!) : offset;
    const stop = from < to ? Math.max(end, borders[to - 1]!) : end;
    borders.splice(from, to - from, start, stop);
    const added = stop - start - known;
    this.#total += added;
    return added;
  }
}

/** Index of the first border that is not below. */
function lowerBound(borders: readonly number[], value: number): number {
  let [low, high] = [0, borders.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (borders[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Index of the first border that is above. */
function upperBound(borders: readonly number[], value: number): number {
  let [low, high] = [0, borders.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (borders[middle]! <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}
