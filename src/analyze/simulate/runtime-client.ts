// hotlayer's own lazy runtime (`hotlayer run`): nothing waits for a prefetch. What the image says of its own start, or
// else what the profile given with -p says, comes in the order in which it is needed; an image that says it is asked for it
// together with its TOCs, before the container is there. Whatever somebody waits for goes before all that. Chunks are
// fetched without what lies between them.
import type { StartGroup } from '../../lazy/start-map.js';
import { type Bytes, KIB, MIB, type Nanos } from '../../units.js';
import { afterAll, type Engine } from './engine.js';
import { chunkAt, type FileLayout, type Layout } from './layout.js';
import { NetworkSide, type Pool } from './network-side.js';
import { PageCache } from './page-cache.js';
import type { Serve } from './player.js';
import type { Schedule } from './schedule.js';
import { type ChunkName, groupsFor, namesIn, type StartTable, startTables, wishesOf } from './start-requests.js';

/**
 * Rules are those of src/lazy (open-image.ts, start-fetch.ts, chunk-service.ts). Times were fitted to the cold starts of
 * reports/bench-run.md, of python, redis, postgresql and java on two networks, on two cores of an AMD EPYC with little else to
 * do; of images that were not fitted (nginx, ruby, node) predictions are off by 9 % in the median, by 18 % at most.
 */
export interface RuntimeModel {
  readonly name: string;
  /** Requests at the same time; so many of them at most for what nobody waits for yet. */
  readonly connections: number;
  readonly ahead: number;
  /** Connections that are opened beside the first one, while that asks for the manifest. */
  readonly warm: number;
  /** Requests are joined, of the next so many, up to a size that grows from the first to the last while the line waits. */
  readonly lookahead: number;
  readonly firstPiece: Bytes;
  readonly lastPiece: Bytes;
  /** Unasked-for bytes between two chunks that are waited for, and are fetched with them. */
  readonly gap: Bytes;
  /** Largest read that the kernel makes of a file, also around a page of a mapped one. */
  readonly readahead: Bytes;
  /** Until the first request. */
  readonly begin: Nanos;
  /** Until the container's side, which is prepared meanwhile, can take the image; from then and the last TOC to the workload's first instruction. */
  readonly prepared: Nanos;
  readonly run: Nanos;
  /** Of the registry and HTTP, for each request, besides the line. */
  readonly perRequest: Nanos;
  /** Of the one thread that receives, decompresses and verifies: for each byte that comes, each byte and chunk that it gives, each entry of a TOC. */
  readonly receivePerByte: Nanos;
  readonly inflatePerByte: Nanos;
  readonly perChunk: Nanos;
  readonly perTocEntry: Nanos;
  /** For each read that reaches the file system, and for each access that is not a read. */
  readonly perRead: Nanos;
  readonly perAccess: Nanos;
  /** What recording put between two accesses, and how much longer the workload thinks. */
  readonly recorded: Nanos;
  readonly slowdown: number;
}

export const HOTLAYER_RUN: RuntimeModel = {
  name: 'hotlayer run',
  connections: 6,
  ahead: 4,
  warm: 5,
  lookahead: 12,
  firstPiece: 256 * KIB,
  lastPiece: 4 * MIB,
  gap: 64 * KIB,
  readahead: 128 * KIB,
  begin: 150e6,
  prepared: 337e6,
  run: 123e6,
  perRequest: 1.8e6,
  receivePerByte: 4,
  inflatePerByte: 6,
  perChunk: 50_000,
  perTocEntry: 5.8e3,
  perRead: 44_000,
  perAccess: 106_000,
  recorded: 27_000,
  slowdown: 1,
};

/** Answers to GET manifest and GET config, without what a manifest says of the start. */
const MANIFEST: Bytes = 1200;
const CONFIG: Bytes = 400;
/** Of a manifest that says what a start needs: about so many for each piece of a blob. */
const PER_PIECE: Bytes = 15;
/** How finely what comes is taken in. */
const PART: Bytes = 64 * KIB;

const ABSENT = 0;
const COMING = 1;
const HERE = 2;

interface Request {
  readonly layer: number;
  readonly bytes: Bytes;
  readonly ranges: number;
  /** In the order in which they come. */
  readonly chunks: readonly ChunkName[];
}

export class RuntimeClient {
  misses = 0;
  onDemand = 0;
  readonly side: NetworkSide;
  private readonly pool: Pool = { idle: 0 };
  private readonly pages: PageCache;
  private readonly tables: readonly StartTable[];
  private readonly states = new Map<number, Uint8Array>();
  /** By file: 1 for chunks that the start is known to need. */
  private readonly hot = new Map<number, Uint8Array>();
  private readonly waiting = new Map<string, (() => void)[]>();
  private urgent: ChunkName[] = [];
  private ahead: Request[] = [];
  private readonly active = { urgent: 0, ahead: 0 };
  private piece: Bytes;
  /** What came before the tables of contents did; undefined once they are there. */
  private held: (() => void)[] | undefined = [];

  constructor(
    private readonly engine: Engine,
    private readonly rtt: Nanos,
    bytesPerSecond: number,
    private readonly model: RuntimeModel,
    private readonly layout: Layout,
    private readonly schedule: Schedule,
  ) {
    this.side = new NetworkSide(engine, { name: '', rtt, bytesPerSecond }, { ...model, cores: 1 }, undefined, PART);
    this.tables = startTables(layout);
    this.pages = new PageCache(model.readahead, (file, from, to) => this.answers(file, from, to));
    this.piece = model.firstPiece;
  }

  /** @param started the workload's first instruction; what is fetched ahead may be on its way still */
  open(started: () => void): void {
    const { engine, side, model, layout, pool } = this;
    const { layers, start } = layout;
    const pieces = start?.reduce((sum, group) => sum + group.pieces.length, 0) ?? 0;
    const opened = (): void => {
      const early = this.held ?? [];
      this.held = undefined;
      for (const take of early) take();
      if (!start) this.ahead = this.requestsOf(groupsFor(this.tables, wishesOf(this.schedule, layout, this.tables)));
      this.pump();
      engine.after(Math.max(0, model.prepared - engine.now) + model.run, started);
    };
    engine.after(model.begin, () =>
      side.request(pool, MANIFEST + PER_PIECE * pieces, () => {
        pool.idle += model.warm;
        const one = afterAll(layers.length + 1, opened);
        for (const { size, tocOffset, entries } of layers)
          side.request(pool, size - tocOffset, () => side.cpu.use(model.perTocEntry * entries, one));
        side.request(pool, CONFIG, one);
        if (!start) return;
        this.ahead = this.requestsOf(start);
        this.pump();
      }),
    );
  }

  readonly serve: Serve = (file, offset, length, done) => {
    const layout = this.layout.files[file];
    if (!layout) return 0;
    const { waited, ahead } = this.pages.read(file, layout.size, offset, length);
    for (const [from, to] of ahead) for (const chunk of this.missing(file, from, to)) this.wait(file, chunk, () => {});
    const missing: number[] = [];
    for (const [from, to] of waited)
      for (const chunk of this.missing(file, from, to)) if (missing.at(-1) !== chunk) missing.push(chunk);
    const cost = this.model.perRead * waited.length;
    if (missing.length === 0) return cost;
    this.misses += missing.length;
    const all = afterAll(missing.length, () => this.engine.after(cost, done));
    for (const chunk of missing) this.wait(file, chunk, all);
    this.pump();
    return undefined;
  };

  /** Chunks under [from, to) that are not there. */
  private missing(file: number, from: Bytes, to: Bytes): number[] {
    const layout = this.layout.files[file]!;
    const states = this.statesOf(file);
    const out: number[] = [];
    for (let i = chunkAt(layout, from); i < layout.at.length && layout.at[i]! < to; i++)
      if (states[i] !== HERE) out.push(i);
    return out;
  }

  /** A read around what somebody asks for is refused when it would fetch what no start needs, or wait for several things. */
  private answers(file: number, from: Bytes, to: Bytes): boolean {
    const missing = this.missing(file, from, to);
    return missing.length === 0 || (missing.length === 1 && this.hot.get(file)?.[missing[0]!] === 1);
  }

  private wait(file: number, chunk: number, done: () => void): void {
    const key = `${file} ${chunk}`;
    const others = this.waiting.get(key);
    if (others) {
      others.push(done);
      return;
    }
    this.waiting.set(key, [done]);
    if (this.statesOf(file)[chunk] === ABSENT) this.urgent.push([file, chunk]);
  }

  private requestsOf(groups: readonly StartGroup[]): Request[] {
    const requests = groups.map(({ layer, pieces }) => ({
      layer,
      bytes: pieces.reduce((sum, [, length]) => sum + length, 0),
      ranges: pieces.length,
      chunks: pieces.flatMap(([at, length]) => namesIn(this.tables[layer]!, at, at + length)),
    }));
    for (const { chunks } of requests) {
      for (const [file, chunk] of chunks) {
        let hot = this.hot.get(file);
        if (!hot) {
          hot = new Uint8Array(this.layout.files[file]!.at.length);
          this.hot.set(file, hot);
        }
        hot[chunk] = 1;
      }
    }
    return requests;
  }

  private pump(): void {
    const { model, active } = this;
    while (this.urgent.length > 0 && active.urgent + active.ahead < model.connections) {
      const next = this.nextUrgent();
      if (next) this.send(next, 'urgent');
    }
    while (active.ahead < model.ahead) {
      const next = this.nextAhead();
      if (!next) return;
      this.send(next, 'ahead');
    }
  }

  /** The chunk that was waited for first, with others of its layer that are near it. */
  private nextUrgent(): Request | undefined {
    const [file, chunk] = this.urgent.shift()!;
    // It may have been sent for ahead meanwhile.
    if (this.statesOf(file)[chunk] !== ABSENT) return undefined;
    const { layer } = this.layout.files[file]!;
    const chunks: ChunkName[] = [[file, chunk]];
    let [from, to] = this.placeOf(file, chunk);
    for (const [other, one] of this.urgent) {
      if (this.layout.files[other]!.layer !== layer || this.statesOf(other)[one] !== ABSENT) continue;
      const [start, end] = this.placeOf(other, one);
      if (start > to + this.model.gap || end < from - this.model.gap) continue;
      from = Math.min(from, start);
      to = Math.max(to, end);
      chunks.push([other, one]);
    }
    this.onDemand += 1;
    return { layer, bytes: to - from, ranges: 1, chunks };
  }

  /** The next request, joined with what follows of its layer once the tables are there. */
  private nextAhead(): Request | undefined {
    for (let next = this.ahead.shift(); next; next = this.ahead.shift()) {
      if (this.held) return next;
      let joined = this.without(next);
      if (joined.chunks.length === 0 && next.chunks.length > 0) continue;
      for (let i = 0; i < Math.min(this.model.lookahead, this.ahead.length); i++) {
        const other = this.ahead[i]!;
        if (other.layer !== joined.layer) continue;
        const more = this.without(other);
        if (joined.bytes + more.bytes > this.piece) break;
        this.ahead.splice(i--, 1);
        joined = {
          layer: joined.layer,
          bytes: joined.bytes + more.bytes,
          ranges: joined.ranges + more.ranges,
          chunks: [...joined.chunks, ...more.chunks],
        };
      }
      return joined;
    }
    return undefined;
  }

  /** A request less the chunks that were fetched because somebody waited for them. */
  private without(request: Request): Request {
    const chunks = request.chunks.filter(([file, chunk]) => this.statesOf(file)[chunk] === ABSENT);
    if (chunks.length === request.chunks.length) return request;
    const bytes = chunks.reduce((sum, name) => sum + this.bytesOf(name), 0);
    return { ...request, bytes, ranges: Math.min(request.ranges, chunks.length), chunks };
  }

  private send({ bytes, ranges, chunks }: Request, kind: 'urgent' | 'ahead'): void {
    const { engine, model } = this;
    const sent = engine.now;
    for (const [file, chunk] of chunks) this.statesOf(file)[chunk] = COMING;
    this.active[kind] += 1;
    // Each chunk is taken in when the last of its bytes is there.
    const ends: Bytes[] = [];
    for (const name of chunks) ends.push((ends.at(-1) ?? 0) + this.bytesOf(name));
    let taken = 0;
    const came = (share: number): void => {
      for (const upTo = share * (ends.at(-1) ?? 0); taken < chunks.length && ends[taken]! <= upTo + 0.5; taken++) {
        const name = chunks[taken]!;
        if (this.held) this.held.push(() => this.take(name));
        else this.take(name);
      }
    };
    const done = (): void => {
      const latency = this.rtt + model.perRequest;
      // Less time to come than to be answered leaves the line empty: more is asked for at once.
      if (!this.held && kind === 'ahead' && bytes >= this.piece / 3 && engine.now - sent < 2 * latency)
        this.piece = Math.min(model.lastPiece, 2 * this.piece);
      this.active[kind] -= 1;
      this.pump();
    };
    this.side.request(this.pool, bytes, done, ranges, came);
  }

  private take([file, chunk]: ChunkName): void {
    const at = this.layout.files[file]!;
    const size = (at.at[chunk + 1] ?? at.size) - at.at[chunk]!;
    this.side.cpu.use(this.model.inflatePerByte * size + this.model.perChunk, () => {
      this.statesOf(file)[chunk] = HERE;
      const key = `${file} ${chunk}`;
      const waiting = this.waiting.get(key) ?? [];
      this.waiting.delete(key);
      for (const done of waiting) done();
    });
  }

  private statesOf(file: number): Uint8Array {
    const known = this.states.get(file);
    if (known) return known;
    const states = new Uint8Array(this.layout.files[file]!.at.length).fill(ABSENT);
    this.states.set(file, states);
    return states;
  }

  private placeOf(file: number, chunk: number): readonly [from: Bytes, to: Bytes] {
    const at: FileLayout = this.layout.files[file]!;
    return [at.offset[chunk]!, at.offset[chunk + 1] ?? at.end];
  }

  private bytesOf([file, chunk]: ChunkName): Bytes {
    const [from, to] = this.placeOf(file, chunk);
    return to - from;
  }
}
