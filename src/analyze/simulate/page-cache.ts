// What the kernel of the client has of each file, page by page, and so which reads reach the client's file system.
import type { Bytes } from '../../units.js';

const PAGE = 4096;

/** [from, to) in a file. */
export type Span = readonly [from: Bytes, to: Bytes];

export class PageCache {
  private readonly files = new Map<number, Uint8Array>();

  /** @param readahead bytes around a read that are read with it */
  constructor(private readonly readahead: Bytes) {}

  /**
   * A read of a file of `size` bytes. What it had to ask for is there afterwards.
   * @returns what it asks the file system for, in order; nothing when all is there
   */
  read(file: number, size: Bytes, offset: Bytes, length: Bytes): readonly Span[] {
    let pages = this.files.get(file);
    if (!pages) {
      pages = new Uint8Array(Math.ceil(size / PAGE));
      this.files.set(file, pages);
    }
    const first = Math.floor(offset / PAGE);
    const last = Math.min(pages.length, Math.ceil((offset + length) / PAGE));
    let at = first;
    while (at < last && pages[at] === 1) at += 1;
    if (at >= last) return NONE;
    // As much on both sides as for a fault in a mapped file; a longer read asks for no more than it wants.
    const around = this.readahead / 2 / PAGE;
    const from = Math.max(0, first - around);
    const to = Math.min(pages.length, Math.max(last, first + around));
    const spans: [number, number][] = [];
    for (let page = from; page < to; page++) {
      if (pages[page] === 1) continue;
      pages[page] = 1;
      const open = spans.at(-1);
      if (open && open[1] === page * PAGE) open[1] = Math.min(size, (page + 1) * PAGE);
      else spans.push([page * PAGE, Math.min(size, (page + 1) * PAGE)]);
    }
    return spans;
  }
}

const NONE: readonly Span[] = [];
