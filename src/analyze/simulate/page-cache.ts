// What the kernel of the client has of each file, page by page, and so which reads reach the client's file system. Its
// rules are those of Linux for a mapped file (mm/filemap.c, mm/readahead.c): a page that is not there brings a window
// around it, and in the last quarter of the window lies a mark; whoever touches that makes the next window come, while
// nobody waits for it.
import type { Bytes } from '../../units.js';

const PAGE = 4096;

/** [from, to) in a file. */
export type Span = readonly [from: Bytes, to: Bytes];

/** What an access makes the kernel ask the file system for; each span is a read of its own. */
export interface PageReads {
  /** Spans in which there is something that was asked for. */
  readonly waited: readonly Span[];
  /** Spans that are only read ahead. */
  readonly ahead: readonly Span[];
}

const ABSENT = 0;
const PRESENT = 1;
const MARKED = 2;

/** For each file what follows it in memory: columns and not objects, for there may be a hundred thousand files. */
interface Windows {
  /** Where its pages begin in `pages`, from 1; 0: it has none yet. */
  readonly base: Uint32Array;
  /** How many they are. */
  readonly count: Uint32Array;
  /** The latest window, and how many pages before its end the mark lies. */
  readonly start: Uint32Array;
  readonly size: Uint32Array;
  readonly mark: Uint32Array;
}

const windowsFor = (files: number): Windows => ({
  base: new Uint32Array(files),
  count: new Uint32Array(files),
  start: new Uint32Array(files),
  size: new Uint32Array(files),
  mark: new Uint32Array(files),
});

export class PageCache {
  private windows = windowsFor(64);
  /** Of all files, one after the other as they are first read. */
  private pages = new Uint8Array(1024);
  private used = 1;
  /** Pages of a window. */
  private readonly window: number;

  /**
   * @param readahead bytes of a window; 0: only what is asked for is read
   * @param answers whether the file system answers a read that goes beyond what is asked for; one that it refuses brings
   *   nothing, and what is asked for is read by itself. Absent: it answers all
   */
  constructor(
    readahead: Bytes,
    private readonly answers: (file: number, from: Bytes, to: Bytes) => boolean = () => true,
  ) {
    this.window = Math.floor(readahead / PAGE);
  }

  /** A read of a file of `size` bytes. What is asked for counts as there afterwards. */
  read(file: number, size: Bytes, offset: Bytes, length: Bytes): PageReads {
    const base = this.baseOf(file, size);
    const first = Math.floor(offset / PAGE);
    const last = Math.min(this.windows.count[file]!, Math.ceil((offset + length) / PAGE));
    let spans: [number, number][] | undefined;
    for (let page = first; page < last; page++) {
      const state = this.pages[base + page];
      if (state === PRESENT) continue;
      spans ??= [];
      if (state === MARKED) this.readAhead(file, page, spans);
      else this.readAround(file, page, last, spans);
    }
    if (spans === undefined || spans.length === 0) return NONE;
    const waited: Span[] = [];
    const ahead: Span[] = [];
    for (const [from, to] of spans) {
      const to_ = Math.min(size, to * PAGE);
      if (from < last && to > first) waited.push([from * PAGE, to_]);
      else ahead.push([from * PAGE, to_]);
    }
    return { waited, ahead };
  }

  private baseOf(file: number, size: Bytes): number {
    const known = this.windows.base[file];
    if (known) return known;
    if (known === undefined) {
      const larger = windowsFor(2 * (file + 1));
      for (const name of COLUMNS) larger[name].set(this.windows[name]);
      this.windows = larger;
    }
    const base = this.used;
    const count = Math.ceil(size / PAGE);
    this.used += count;
    if (this.used > this.pages.length) {
      const larger = new Uint8Array(2 * this.used);
      larger.set(this.pages);
      this.pages = larger;
    }
    this.windows.base[file] = base;
    this.windows.count[file] = count;
    return base;
  }

  /** A page is not there: the window has it in its middle. A longer read gets what it wants. */
  private readAround(file: number, page: number, last: number, spans: [number, number][]): void {
    const { window, windows } = this;
    if (window === 0) {
      this.take(file, page, last, -1, spans);
      return;
    }
    const start = Math.max(0, page - (window >> 1));
    const end = Math.min(windows.count[file]!, Math.max(last, start + window));
    if (!this.answers(file, start * PAGE, end * PAGE)) {
      this.take(file, page, last, -1, spans);
      return;
    }
    windows.start[file] = start;
    windows.size[file] = window;
    windows.mark[file] = window >> 2;
    this.take(file, start, end, end - (window >> 2), spans);
  }

  /** A marked page is touched: the window goes on, or begins behind what is there. */
  private readAhead(file: number, page: number, spans: [number, number][]): void {
    const { pages, windows } = this;
    const base = windows.base[file]!;
    const count = windows.count[file]!;
    let start = windows.start[file]!;
    let size = windows.size[file]!;
    pages[base + page] = PRESENT;
    if (page === start + size - windows.mark[file]!) {
      start += size;
      size = this.grown(size);
    } else {
      let absent = page + 1;
      while (absent < count && absent - page <= this.window && pages[base + absent] !== ABSENT) absent += 1;
      if (absent - page > this.window) return;
      start = absent;
      size = this.grown(absent - page + 1);
    }
    windows.start[file] = start;
    windows.size[file] = size;
    windows.mark[file] = size;
    const end = Math.min(count, start + size);
    if (start < end && this.answers(file, start * PAGE, end * PAGE)) this.take(file, start, end, start, spans);
  }

  private grown(size: number): number {
    if (size < this.window / 16) return 4 * size;
    return size <= this.window / 2 ? 2 * size : this.window;
  }

  /** Asks for the pages of [from, to) that are not there. @param mark the page that is marked if it is one of them */
  private take(file: number, from: number, to: number, mark: number, spans: [number, number][]): void {
    const { pages } = this;
    const base = this.windows.base[file]!;
    let open: [number, number] | undefined;
    for (let page = from; page < to; page++) {
      if (pages[base + page] !== ABSENT) continue;
      pages[base + page] = page === mark ? MARKED : PRESENT;
      if (open && open[1] === page) open[1] = page + 1;
      else {
        open = [page, page + 1];
        spans.push(open);
      }
    }
  }
}

const COLUMNS = ['base', 'count', 'start', 'size', 'mark'] as const;
const NONE: PageReads = { waited: [], ahead: [] };
