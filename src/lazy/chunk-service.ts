// Fetches chunks, verifies them, keeps them, and tells the readers. What a process waits for goes before what it is
// expected to need (prefetch), and that before the rest (background).
import { errnoOf, HotlayerError, isHotlayerError } from '../errors.js';
import type { Link } from '../rootfs/types.js';
import { decodeChunk } from '../stargz/reader.js';
import { formatBytes, KIB, MIB } from '../units.js';
import { ByteQueue } from './byte-queue.js';
import { type ChunkTable, memberEnd, memberStart } from './chunk-table.js';
import { chunksWithin, memberRangeEnd, planRuns, type Run, rangeOf, type Wish } from './fetch-plan.js';
import type { LazyLayer } from './lazy-layer.js';
import type { ReaderMessage, ServiceMessage } from './messages.js';
import type { StartFetch } from './start-fetch.js';
import { MAX_PIECES, type StartGroup, startGroups } from './start-map.js';

export interface ServiceOptions {
  /** Requests at the same time. Default 6; prefetch and background leave some of them to what processes wait for. */
  readonly connections?: number;
  /** How long a read may wait for a registry that does not answer before it fails, ms. Default 30 s. */
  readonly patienceMs?: number;
  /** A request without a byte for so long is given up, ms. Default 15 s. */
  readonly stallMs?: number;
  /** True: nothing is fetched; what is not in the cache fails. */
  readonly offline?: boolean;
  /** Damage, failures, a full disk: one line each. */
  readonly onWarning?: (line: string) => void;
  /** Called when the disk is full, to make room. */
  readonly makeRoom?: () => void;
}

export interface ServiceCounts {
  /** Requests sent, and bytes of their answers' bodies. */
  readonly requests: number;
  readonly bytes: number;
  /** Chunks that a process waited for, and chunks fetched altogether. */
  readonly onDemand: number;
  readonly chunks: number;
}

type Urgency = 'demand' | 'prefetch' | 'background';

interface Wanted {
  readonly since: number;
  /** How often its bytes were wrong. */
  wrong: number;
}

/** Runs of one layer, ascending, that one request fetches. */
interface Batch {
  readonly layer: number;
  readonly runs: readonly Pick<Run, 'first' | 'end'>[];
  /** The answer, when somebody has asked already. */
  readonly bytes?: AsyncIterable<Buffer>;
}

const IDLE = 0;
const QUEUED = 1;
const FETCHING = 2;

/** Unasked-for bytes that are fetched when that saves a request, and the size of a request. */
const DEMAND = { gap: 64 * KIB, piece: 4 * MIB };
/** Batches to come among which neighbours are looked for when requests grow. */
const LOOKAHEAD = 12;
const FIRST_PIECE = 256 * KIB;
const LAST_PIECE = 4 * MIB;
/** Bytes that are wrong once may have been damaged on the way; twice, they are stored so. */
const MAX_WRONG = 2;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 3000;
/** The loop goes on with other things after so much decompressing, ms. */
const SLICE_MS = 8;
/** Content that could not be kept stays in memory, the newest of it. */
const LOOSE_BYTES = 64 * MIB;

export class ChunkService {
  readonly #layers: readonly (LazyLayer | undefined)[];
  readonly #options: ServiceOptions;
  readonly #links = new Set<Link>();
  readonly #states: (Uint8Array | undefined)[];
  readonly #wanted = new Map<string, Wanted>();
  #urgent: [layer: number, chunk: number][] = [];
  /** What is to come, in order. */
  #prefetch: Batch[] = [];
  /** Cut into requests when its turn comes. */
  #background: Run[] = [];
  readonly #active: Record<Urgency, number> = { demand: 0, prefetch: 0, background: 0 };
  readonly #aborts = new Set<AbortController>();
  #piece = FIRST_PIECE;
  #failures = 0;
  #pause: NodeJS.Timeout | undefined;
  #closed = false;
  /** Kept since the last message. */
  readonly #fresh = new Map<number, number[]>();
  #flushing = false;
  readonly #loose = new Map<string, Uint8Array>();
  #looseBytes = 0;
  #fullDisk = false;
  #prefetchDone: (() => void)[] = [];
  /** Called when a process has to wait. */
  readonly #onWanted = new Set<() => void>();
  readonly #counts = { requests: 0, bytes: 0, onDemand: 0, chunks: 0 };

  /** @param layers by index in the image; undefined for those that are whole */
  constructor(layers: readonly (LazyLayer | undefined)[], options: ServiceOptions = {}) {
    this.#layers = layers;
    this.#options = options;
    this.#states = layers.map(() => undefined);
  }

  /** Serves a reader (answers.ts) at the other end. */
  serve(link: Link): void {
    this.#links.add(link);
    link.listen((message) => this.#want(message as ReaderMessage));
  }

  counts(): ServiceCounts {
    return { ...this.#counts };
  }

  /** Settles when a process waits for what is not here, at the latest after so many ms. The time does not keep the process alive. */
  untilWanted(atMost: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#onWanted.delete(done);
        resolve();
      };
      const timer = setTimeout(done, atMost).unref();
      this.#onWanted.add(done);
    });
  }

  /** Fetches these in order, after what processes wait for. @returns settles when nothing of it is left to do */
  prefetch(wishes: Iterable<Wish>): Promise<void> {
    if (this.#options.offline) return Promise.resolve();
    const tables = this.#tables();
    const missing = function* (this: ChunkService) {
      for (const wish of wishes) if (tables[wish[0]] && !this.#isHere(...wish)) yield wish;
    }.call(this);
    for (const group of startGroups(tables, missing)) this.#prefetch.push(this.#batchOf(group));
    return this.#prefetching();
  }

  /**
   * The same with what was asked for before the tables were there.
   * @throws HL_ERR_STARGZ when its pieces are not of whole members
   */
  prefetchStart(start: StartFetch): Promise<void> {
    for (const { group, bytes } of start.take()) {
      const batch = this.#batchOf(group);
      this.#prefetch.push(bytes ? { ...batch, bytes } : batch);
    }
    return this.#prefetching();
  }

  #batchOf({ layer, pieces }: StartGroup): Batch {
    const { table, name } = this.#layers[layer]!;
    return {
      layer,
      runs: pieces.map(([offset, length]) => {
        const run = chunksWithin(table, offset, length);
        if (run) return run;
        const what = `${length} bytes at ${offset}, which a start is said to need`;
        throw new HotlayerError('HL_ERR_STARGZ', `${name}: ${what}, are not whole members`);
      }),
    };
  }

  #prefetching(): Promise<void> {
    const done = new Promise<void>((resolve) => this.#prefetchDone.push(resolve));
    this.#pump();
    return done;
  }

  /** Fetches all that is not here, when there is nothing else to do. */
  fetchRest(): void {
    if (this.#options.offline) return;
    const limits = { gap: LAST_PIECE, piece: MIB };
    const tables = this.#tables();
    this.#background = planRuns(tables, allChunks(tables), (l, c) => this.#isHere(l, c), limits);
    this.#pump();
  }

  /** Breaks off what is under way and lets the stores go. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#pause);
    for (const abort of this.#aborts) abort.abort();
    this.#settlePrefetch();
    for (const layer of this.#layers) layer?.close();
  }

  #tables() {
    return this.#layers.map((layer) => layer?.table);
  }

  #statesOf(layer: number): Uint8Array {
    this.#states[layer] ??= new Uint8Array(this.#layers[layer]!.table.chunks.length);
    return this.#states[layer];
  }

  #isHere(layer: number, chunk: number): boolean {
    return this.#layers[layer]!.store.has(chunk);
  }

  #want({ layer, chunks, damaged }: ReaderMessage): void {
    const lazy = this.#layers[layer];
    if (!lazy || this.#closed) return;
    const { store } = lazy;
    store.refresh();
    const states = this.#statesOf(layer);
    const have: number[] = [];
    for (const chunk of chunks) {
      const key = `${layer}/${chunk}`;
      if (damaged && states[chunk] === IDLE) {
        store.distrust(chunk);
        this.#warn(`${lazy.name}: ${describe(lazy, chunk)}: what the cache has of it is damaged; it is fetched again`);
      }
      const loose = this.#loose.get(key);
      if (loose) this.#send({ type: 'bytes', layer, chunk, content: loose });
      else if (store.holds(chunk)) have.push(chunk);
      else if (!this.#wanted.has(key)) {
        this.#wanted.set(key, { since: performance.now(), wrong: 0 });
        this.#counts.onDemand += 1;
        for (const done of this.#onWanted) done();
        if (states[chunk] === IDLE) this.#queue(layer, chunk);
      }
    }
    if (have.length > 0) this.#send({ type: 'have', layer, chunks: have });
    this.#pump();
  }

  #queue(layer: number, chunk: number): void {
    this.#statesOf(layer)[chunk] = QUEUED;
    this.#urgent.push([layer, chunk]);
  }

  /** Starts whatever there is room for. */
  #pump(): void {
    if (this.#closed) return;
    if (this.#options.offline) {
      for (const [layer, chunk] of this.#urgent.splice(0))
        this.#fail(
          layer,
          chunk,
          'it is not in the cache, and --offline forbids to fetch it (a run with --background-fetch fetches everything)',
        );
      return;
    }
    if (this.#pause) return;
    const connections = this.#options.connections ?? 6;
    while (this.#active.demand + this.#active.prefetch + this.#active.background < connections) {
      const run = this.#nextDemand();
      if (!run) break;
      this.#start({ layer: run.layer, runs: [run] }, 'demand');
    }
    // Two are left to those who wait.
    while (this.#active.prefetch < Math.max(1, connections - 2)) {
      const batch = this.#nextBatch();
      if (!batch) break;
      this.#start(batch, 'prefetch');
    }
    if (this.#prefetch.length === 0 && this.#active.prefetch === 0) this.#settlePrefetch();
    const busy = this.#active.demand + this.#active.prefetch + this.#prefetch.length > 0;
    while (!busy && this.#active.background < 2) {
      const run = this.#nextPiece(this.#background, LAST_PIECE);
      if (!run) break;
      this.#start({ layer: run.layer, runs: [run] }, 'background');
    }
  }

  /** The chunk that was waited for first, and others of its layer that are near it. */
  #nextDemand(): Run | undefined {
    const next = this.#urgent.shift();
    if (!next) return undefined;
    const [layer, chunk] = next;
    const table = this.#layers[layer]!.table;
    const near = this.#urgent.filter(([other]) => other === layer).map(([, other]) => other);
    const has = (_: number, one: number) => one !== chunk && this.#isHere(layer, one);
    const wishes: Wish[] = [chunk, ...near].map((one) => [layer, one]);
    const tables = this.#layers.map((_, i) => (i === layer ? table : undefined));
    const run = planRuns(tables, wishes, has, DEMAND).find(({ first, end }) => first <= chunk && chunk < end)!;
    this.#urgent = this.#urgent.filter(([other, one]) => other !== layer || one < run.first || one >= run.end);
    return run;
  }

  /** The next request's worth of what is prefetched: a batch, or several of a layer when requests may be larger. */
  #nextBatch(): Batch | undefined {
    for (let batch = this.#prefetch.shift(); batch; batch = this.#prefetch.shift()) {
      // It is under way: what comes is taken, whatever it is.
      if (batch.bytes) return batch;
      const { layer } = batch;
      const { table } = this.#layers[layer]!;
      const sizeOf = (runs: Batch['runs']) => runs.reduce((sum, r) => sum + rangeOf(table, r.first, r.end).length, 0);
      let runs = this.#missing(layer, batch.runs);
      if (runs.length === 0) continue;
      let size = sizeOf(runs);
      for (let i = 0; i < Math.min(LOOKAHEAD, this.#prefetch.length); i++) {
        const other = this.#prefetch[i]!;
        if (other.layer !== layer || other.bytes) continue;
        const more = this.#missing(layer, other.runs);
        const joined = size + sizeOf(more);
        if (joined > this.#piece || runs.length + more.length > MAX_PIECES) break;
        this.#prefetch.splice(i--, 1);
        runs = [...runs, ...more].sort((a, b) => a.first - b.first);
        size = joined;
      }
      return { layer, runs };
    }
    return undefined;
  }

  /** Of runs of whole members those parts that are neither here nor being fetched. */
  #missing(layer: number, runs: Batch['runs']): { first: number; end: number }[] {
    const { table } = this.#layers[layer]!;
    const states = this.#statesOf(layer);
    const out: { first: number; end: number }[] = [];
    for (const run of runs) {
      for (let first = run.first; first < run.end; ) {
        const end = memberEnd(table, first);
        let wanted = false;
        for (let chunk = first; chunk < end; chunk++)
          wanted ||= states[chunk] !== FETCHING && !this.#isHere(layer, chunk);
        if (wanted) {
          const last = out.at(-1);
          if (last?.end === first) last.end = end;
          else out.push({ first, end });
        }
        first = end;
      }
    }
    return out;
  }

  /** The next request's worth of a queue: its first runs as long as they are neighbours and small. */
  #nextPiece(queue: Run[], gap: number): Run | undefined {
    for (let run = queue.shift(); run; run = queue.shift()) {
      const { layer } = run;
      const { table } = this.#layers[layer]!;
      const states = this.#statesOf(layer);
      const free = (chunk: number) => states[chunk] === IDLE && !this.#isHere(layer, chunk);
      let { first, end } = run;
      while (first < end && !free(first)) first += 1;
      if (first === end) continue;
      first = memberStart(table, first);
      // What is being fetched already, or is a piece too long, is left for the next request.
      let to = memberEnd(table, first);
      while (to < end && free(to)) {
        const next = memberEnd(table, to);
        if (memberRangeEnd(table, next - 1) - table.chunks[first]!.offset > this.#piece) break;
        to = next;
      }
      if (to < end) queue.unshift({ layer, first: to, end });
      end = to;
      for (let more = queue[0]; more && more.layer === layer && more.first >= end; more = queue[0]) {
        const joined = memberRangeEnd(table, more.end - 1) - table.chunks[first]!.offset;
        const between = table.chunks[more.first]!.offset - memberRangeEnd(table, end - 1);
        if (joined > this.#piece || between > gap || !free(more.first)) break;
        end = more.end;
        queue.shift();
      }
      return { layer, first, end };
    }
    return undefined;
  }

  #start(batch: Batch, urgency: Urgency): void {
    const states = this.#statesOf(batch.layer);
    for (const run of batch.runs) for (let chunk = run.first; chunk < run.end; chunk++) states[chunk] = FETCHING;
    this.#active[urgency] += 1;
    void this.#fetch(batch, urgency).finally(() => {
      this.#active[urgency] -= 1;
      this.#pump();
    });
  }

  async #fetch(batch: Batch, urgency: Urgency): Promise<void> {
    const { layer, runs } = batch;
    const lazy = this.#layers[layer]!;
    const { table } = lazy;
    const states = this.#statesOf(layer);
    const pieces = runs.map(({ first, end }): [number, number] => {
      const { offset, length } = rangeOf(table, first, end);
      return [offset, length];
    });
    const total = pieces.reduce((sum, [, length]) => sum + length, 0);
    const abort = new AbortController();
    this.#aborts.add(abort);
    const { stallMs = 15_000 } = this.#options;
    const stalled = () => abort.abort(new Error(`no byte for ${stallMs / 1000} s`));
    let timer = setTimeout(stalled, stallMs);
    const queue = new ByteQueue();
    /** The run whose bytes are expected, where in the blob the queue begins, and the chunk that is expected. */
    let at = 0;
    let place = pieces[0]![0];
    let next = runs[0]!.first;
    let received = 0;
    this.#counts.requests += 1;
    const begin = performance.now();
    let firstByte = 0;
    let slice = begin;
    try {
      for await (const bytes of batch.bytes ?? lazy.pieces(pieces, abort.signal)) {
        clearTimeout(timer);
        timer = setTimeout(stalled, stallMs);
        firstByte ||= performance.now();
        this.#counts.bytes += bytes.length;
        received += bytes.length;
        queue.push(bytes);
        while (at < runs.length) {
          const to = memberEnd(table, next);
          const until = memberRangeEnd(table, to - 1);
          if (place + queue.length < until) break;
          const start = table.chunks[next]!.offset;
          queue.drop(start - place);
          this.#take(layer, next, to, queue.peek(until - start));
          queue.drop(until - start);
          place = until;
          next = to;
          if (next >= runs[at]!.end) {
            at += 1;
            if (at < runs.length) {
              place = pieces[at]![0];
              next = runs[at]!.first;
            }
          }
          if (performance.now() - slice > SLICE_MS) {
            await new Promise((resolve) => setImmediate(resolve));
            slice = performance.now();
          }
        }
        if (this.#closed) return;
      }
      if (at < runs.length) {
        const found = `${received} of ${total} bytes from offset ${pieces[0]![0]} on`;
        throw new HotlayerError('HL_ERR_STARGZ', `${lazy.name}: the blob ends early: found ${found}`);
      }
      this.#failures = 0;
      // A request that was under way for less time than it took to be answered leaves the line empty: ask for more.
      const now = performance.now();
      if (!batch.bytes && total >= this.#piece / 3 && now - firstByte < firstByte - begin)
        this.#piece = Math.min(LAST_PIECE, this.#piece * 2);
    } catch (error) {
      const rest = runs.slice(at).map((run, i) => (i === 0 ? { first: next, end: run.end } : run));
      if (!this.#closed)
        this.#broken({ layer, runs: rest }, urgency, abort.signal.aborted ? abort.signal.reason : error);
    } finally {
      clearTimeout(timer);
      this.#aborts.delete(abort);
      for (const { first, end } of runs) {
        for (let chunk = first; chunk < end; chunk++) {
          if (states[chunk] === FETCHING) states[chunk] = IDLE;
          // Wanted while it was under way, and not among what came.
          if (states[chunk] === IDLE && !this.#closed && this.#wanted.has(`${layer}/${chunk}`))
            this.#queue(layer, chunk);
        }
      }
    }
  }

  /** Decompresses, verifies and keeps the chunks of one member. */
  #take(layer: number, first: number, end: number, compressed: Buffer): void {
    const lazy = this.#layers[layer]!;
    const { table, store } = lazy;
    for (let chunk = first; chunk < end; chunk++) {
      this.#statesOf(layer)[chunk] = IDLE;
      if (store.has(chunk) && !this.#wanted.has(`${layer}/${chunk}`)) continue;
      try {
        const content = decodeChunk(compressed, table.owners[chunk]!, table.chunks[chunk]!, lazy.name);
        this.#counts.chunks += 1;
        this.#keep(layer, chunk, content);
      } catch (error) {
        if (!isHotlayerError(error)) throw error;
        this.#wrong(layer, chunk, error);
      }
    }
  }

  /** Never delivered: whoever waits gets it from a second attempt, or an error. */
  #wrong(layer: number, chunk: number, error: HotlayerError): void {
    this.#warn(`${error.message} (not delivered)`);
    const wanted = this.#wanted.get(`${layer}/${chunk}`);
    if (!wanted) return;
    wanted.wrong += 1;
    if (wanted.wrong >= MAX_WRONG) this.#fail(layer, chunk, error.message);
    else this.#queue(layer, chunk);
  }

  #keep(layer: number, chunk: number, content: Uint8Array): void {
    const { store } = this.#layers[layer]!;
    const key = `${layer}/${chunk}`;
    try {
      this.#put(() => store.put(chunk, content));
    } catch (error) {
      if (!this.#fullDisk) {
        this.#fullDisk = true;
        this.#warn(
          `the cache cannot be written (${errnoOf(error) ?? (error as Error).message}): what is read goes on without it`,
        );
      }
      this.#keepLoose(key, content);
      if (this.#wanted.delete(key)) this.#send({ type: 'bytes', layer, chunk, content });
      return;
    }
    const fresh = this.#fresh.get(layer);
    if (fresh) fresh.push(chunk);
    else this.#fresh.set(layer, [chunk]);
    // A process waits: tell it now. The others hear of it with the next batch.
    if (this.#wanted.delete(key)) this.#flush();
    else this.#flushSoon();
  }

  #put(put: () => void): void {
    try {
      put();
    } catch (error) {
      const full = ['ENOSPC', 'EDQUOT'].includes(errnoOf(error) ?? '');
      if (!full || !this.#options.makeRoom || this.#fullDisk) throw error;
      this.#options.makeRoom();
      put();
    }
  }

  #keepLoose(key: string, content: Uint8Array): void {
    this.#loose.set(key, content);
    this.#looseBytes += content.length;
    for (const [oldest, bytes] of this.#loose) {
      if (this.#looseBytes <= LOOSE_BYTES) break;
      this.#loose.delete(oldest);
      this.#looseBytes -= bytes.length;
    }
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    setImmediate(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#closed) return;
    for (const [layer, chunks] of this.#fresh) {
      try {
        this.#layers[layer]!.store.flush();
      } catch {
        // The content is there for this run; the next one fetches it again.
      }
      this.#send({ type: 'have', layer, chunks });
    }
    this.#fresh.clear();
  }

  /** A request failed before its end. */
  #broken(rest: Batch, urgency: Urgency, error: unknown): void {
    const lazy = this.#layers[rest.layer]!;
    const transient = !isHotlayerError(error) || (error as { transient?: boolean }).transient === true;
    const message = error instanceof Error ? error.message : String(error);
    const { patienceMs = 30_000 } = this.#options;
    const now = performance.now();
    const states = this.#statesOf(rest.layer);
    let dropped = !transient;
    for (const chunk of chunksIn(rest.runs)) {
      states[chunk] = IDLE;
      const wanted = this.#wanted.get(`${rest.layer}/${chunk}`);
      if (!wanted) continue;
      if (transient && now - wanted.since < patienceMs) this.#queue(rest.layer, chunk);
      else {
        dropped = true;
        this.#fail(rest.layer, chunk, message);
      }
    }
    if (dropped) this.#warn(`${lazy.name}: ${message}`);
    if (!transient && urgency !== 'demand') return;
    if (urgency === 'prefetch') this.#prefetch.unshift(rest);
    if (urgency === 'background') this.#background.unshift(...rest.runs.map((run) => ({ layer: rest.layer, ...run })));
    this.#failures += 1;
    // Nobody waits, and it fails again and again: what is needed is asked for when it is needed.
    if (this.#failures > 8) {
      this.#prefetch = [];
      this.#background = [];
    }
    const full = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (this.#failures - 1));
    clearTimeout(this.#pause);
    this.#pause = setTimeout(
      () => {
        this.#pause = undefined;
        this.#pump();
      },
      full * (0.5 + Math.random() / 2),
    );
  }

  #fail(layer: number, chunk: number, why: string): void {
    const lazy = this.#layers[layer]!;
    this.#statesOf(layer)[chunk] = IDLE;
    this.#wanted.delete(`${layer}/${chunk}`);
    this.#warn(`${lazy.name}: ${describe(lazy, chunk)} cannot be read: ${why}`);
    this.#send({ type: 'failed', layer, chunks: [chunk], why });
  }

  #settlePrefetch(): void {
    for (const done of this.#prefetchDone.splice(0)) done();
  }

  #send(message: ServiceMessage): void {
    for (const link of this.#links) link.send(message);
  }

  #warn(line: string): void {
    this.#options.onWarning?.(line);
  }
}

function* chunksIn(runs: Batch['runs']): Generator<number> {
  for (const { first, end } of runs) for (let chunk = first; chunk < end; chunk++) yield chunk;
}

function* allChunks(tables: readonly (ChunkTable | undefined)[]): Generator<Wish> {
  for (const [layer, table] of tables.entries())
    for (let chunk = 0; chunk < (table?.chunks.length ?? 0); chunk++) yield [layer, chunk];
}

function describe(lazy: LazyLayer, chunk: number): string {
  const owner = lazy.table.owners[chunk]!;
  const { at, size, offset } = lazy.table.chunks[chunk]!;
  return `/${owner.path}: chunk at ${at} (${formatBytes(size)}, member at offset ${offset})`;
}
