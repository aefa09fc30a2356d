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

interface FilePages {
  readonly pages: Uint8Array;
  /** The latest window, and how many pages before its end the mark lies. */
  start: number;
  size: number;
  mark: number;
}

export class PageCache {
  private readonly files = new Map<number, FilePages>();
  /** Pages of a window. */
  private readonly window: number;

  /** @param readahead bytes of a window; 0: only what is asked for is read */
  constructor(readahead: Bytes) {
    this.window = Math.floor(readahead / PAGE);
  }

  /** A read of a file of `size` bytes. What is asked for counts as there afterwards. */
  read(file: number, size: Bytes, offset: Bytes, length: Bytes): PageReads {
    const state = this.stateOf(file, size);
    const { pages } = state;
    const first = Math.floor(offset / PAGE);
    const last = Math.min(pages.length, Math.ceil((offset + length) / PAGE));
    const spans: [number, number][] = [];
    for (let page = first; page < last; page++) {
      if (pages[page] === PRESENT) continue;
      if (pages[page] === MARKED) this.readAhead(state, page, spans);
      else this.readAround(state, page, last, spans);
    }
    if (spans.length === 0) return NONE;
    const waited: Span[] = [];
    const ahead: Span[] = [];
    for (const [from, to] of spans) {
      const to_ = Math.min(size, to * PAGE);
      if (from < last && to > first) waited.push([from * PAGE, to_]);
      else ahead.push([from * PAGE, to_]);
    }
    return { waited, ahead };
  }

  private stateOf(file: number, size: Bytes): FilePages {
    let state = this.files.get(file);
    if (!state) {
      state = { pages: new Uint8Array(Math.ceil(size / PAGE)), start: 0, size: 0, mark: 0 };
      this.files.set(file, state);
    }
    return state;
  }

  /** A page is not there: the window has it in its middle. A longer read gets what it wants. */
  private readAround(state: FilePages, page: number, last: number, spans: [number, number][]): void {
    const { window } = this;
    if (window === 0) {
      take(state, page, last, -1, spans);
      return;
    }
    state.start = Math.max(0, page - (window >> 1));
    state.size = window;
    state.mark = window >> 2;
    const end = Math.min(state.pages.length, Math.max(last, state.start + window));
    take(state, state.start, end, end - state.mark, spans);
  }

  /** A marked page is touched: the window goes on, or begins behind what is there. */
  private readAhead(state: FilePages, page: number, spans: [number, number][]): void {
    const { pages } = state;
    pages[page] = PRESENT;
    if (page === state.start + state.size - state.mark) {
      state.start += state.size;
      state.size = this.grown(state.size);
    } else {
      let absent = page + 1;
      while (absent < pages.length && absent - page <= this.window && pages[absent] !== ABSENT) absent += 1;
      if (absent - page > this.window) return;
      state.start = absent;
      state.size = this.grown(absent - page + 1);
    }
    state.mark = state.size;
    take(state, state.start, Math.min(pages.length, state.start + state.size), state.start, spans);
  }

  private grown(size: number): number {
    if (size < this.window / 16) return 4 * size;
    return size <= this.window / 2 ? 2 * size : this.window;
  }
}

/** Asks for the pages of [from, to) that are not there. @param mark the page that is marked if it is one of them */
function take({ pages }: FilePages, from: number, to: number, mark: number, spans: [number, number][]): void {
  let open: [number, number] | undefined;
  for (let page = from; page < to; page++) {
    if (pages[page] !== ABSENT) continue;
    pages[page] = page === mark ? MARKED : PRESENT;
    if (open && open[1] === page) open[1] = page + 1;
    else {
      open = [page, page + 1];
      spans.push(open);
    }
  }
}

const NONE: PageReads = { waited: [], ahead: [] };
