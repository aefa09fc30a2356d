// What a start needs, asked for before it is known what it is: the bytes wait here for the tables of contents.
import type { StartGroup } from './start-map.js';

/** Requests at the same time until the tables are there; the tables' own are under way with them. */
const PARALLEL = 4;

export interface Started {
  readonly group: StartGroup;
  /** Absent: not asked for yet. */
  readonly bytes?: AsyncIterable<Buffer>;
}

export class StartFetch {
  readonly groups: readonly StartGroup[];
  readonly #ask: (group: StartGroup, signal: AbortSignal) => AsyncIterable<Buffer>;
  readonly #abort = new AbortController();
  readonly #eager: (group: StartGroup) => boolean;
  /** By index of the group. */
  readonly #asked = new Map<number, Early>();
  #next = 0;
  #active = 0;
  #taken = false;

  /**
   * Begins when `when` resolves; absent: at once.
   * @param ask for the bytes of a group's pieces, one after the other; tried once
   * @param eager false for what may be here already
   */
  constructor(
    groups: readonly StartGroup[],
    ask: (group: StartGroup, signal: AbortSignal) => AsyncIterable<Buffer>,
    eager: (group: StartGroup) => boolean = () => true,
    when?: Promise<void>,
  ) {
    this.groups = groups;
    this.#ask = ask;
    this.#eager = eager;
    if (when) void when.then(() => this.#pump());
    else this.#pump();
  }

  /** Whether nothing had to be asked for. */
  get idle(): boolean {
    return this.#asked.size === 0;
  }

  /** All groups in order, with the answers as far as there are some: from now on they are the caller's. */
  take(): Started[] {
    this.#taken = true;
    return this.groups.map((group, i) => {
      const bytes = this.#asked.get(i);
      return bytes ? { group, bytes } : { group };
    });
  }

  /** Breaks off what is under way. Idempotent. */
  close(): void {
    this.#taken = true;
    this.#abort.abort();
  }

  #pump(): void {
    for (; !this.#taken && this.#active < PARALLEL && this.#next < this.groups.length; this.#next++) {
      const group = this.groups[this.#next]!;
      if (!this.#eager(group)) continue;
      this.#active += 1;
      const early = new Early(this.#ask(group, this.#abort.signal), () => {
        this.#active -= 1;
        this.#pump();
      });
      this.#asked.set(this.#next, early);
    }
  }
}

/** An answer that is read whether or not somebody wants it yet. */
class Early implements AsyncIterable<Buffer> {
  readonly #held: Buffer[] = [];
  #ended = false;
  #failure: unknown;
  #wake = () => {};

  constructor(source: AsyncIterable<Buffer>, onEnd: () => void) {
    void this.#read(source).finally(() => {
      this.#ended = true;
      this.#wake();
      onEnd();
    });
  }

  async #read(source: AsyncIterable<Buffer>): Promise<void> {
    try {
      for await (const bytes of source) {
        this.#held.push(bytes);
        this.#wake();
      }
    } catch (error) {
      this.#failure = error;
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    for (;;) {
      for (let next = this.#held.shift(); next; next = this.#held.shift()) yield next;
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#ended) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
