// hotlayer's own lazy runtime (`hotlayer run -p PROFILE`): nothing waits for a prefetch. The workload starts as soon as the
// TOCs are there; meanwhile the chunks that the profile knows come in the order of their first use, and whatever somebody
// waits for goes before them. A chunk is fetched alone, without windows.
import { type Bytes, KIB, type Nanos } from '../../units.js';
import { type Engine, Shared } from './engine.js';
import { chunkAt, type FileLayout, type Layout } from './layout.js';
import type { NetworkSide, Pool } from './network-side.js';
import { PageCache, type Span } from './page-cache.js';
import type { Serve } from './player.js';
import type { Schedule } from './schedule.js';

/** Rules are those of src/lazy (chunk-service.ts, fetch-plan.ts); times are estimates, not fitted to measurements. */
export interface RuntimeModel {
  readonly name: string;
  /** Requests at the same time; so many of them at most for what nobody waits for yet. */
  readonly connections: number;
  readonly ahead: number;
  /** Unasked-for bytes between two chunks that are fetched with them; bytes of one request. */
  readonly gap: Bytes;
  readonly piece: Bytes;
  /** Of the blob's end, fetched for footer and TOC. */
  readonly tail: Bytes;
  readonly readahead: Bytes;
  /** Of the one thread that decompresses and verifies, for each byte and each chunk. */
  readonly inflatePerByte: Nanos;
  readonly perChunk: Nanos;
  /** Until the first request; from the last TOC to the workload's first instruction; for each entry of a TOC. */
  readonly begin: Nanos;
  readonly run: Nanos;
  readonly perTocEntry: Nanos;
  /** For each read that reaches the file system. */
  readonly perRead: Nanos;
}

export const HOTLAYER_RUN: RuntimeModel = {
  name: 'hotlayer run',
  connections: 6,
  ahead: 4,
  gap: 32 * KIB,
  piece: 256 * KIB,
  tail: 64 * KIB,
  readahead: 128 * KIB,
  inflatePerByte: 6,
  perChunk: 50_000,
  begin: 150e6,
  run: 120e6,
  perTocEntry: 8e3,
  perRead: 40_000,
};

const ABSENT = 0;
const QUEUED = 1;
const COMING = 2;
const HERE = 3;

interface Request {
  readonly bytes: Bytes;
  readonly chunks: readonly (readonly [file: number, chunk: number])[];
}

export class RuntimeClient {
  misses = 0;
  onDemand = 0;
  private readonly pool: Pool = { idle: 0 };
  private readonly pages: PageCache;
  private readonly thread: Shared;
  private readonly states = new Map<number, Uint8Array>();
  private readonly waiting = new Map<string, (() => void)[]>();
  private urgent: Request[] = [];
  private ahead: Request[] = [];
  private active = { urgent: 0, ahead: 0 };

  constructor(
    private readonly engine: Engine,
    private readonly side: NetworkSide,
    private readonly model: RuntimeModel,
    private readonly layout: Layout,
    private readonly schedule: Schedule,
  ) {
    this.pages = new PageCache(model.readahead);
    this.thread = new Shared(this.engine, 1, 1);
  }

  /** @param ready the file system is there, and the prefetch has begun */
  open(ready: () => void): void {
    const { engine, side, model, layout, pool } = this;
    engine.after(model.begin, () =>
      side.sequence(pool, [1200, 400], () => {
        let left = layout.layers.length;
        const opened = (): void => {
          left -= 1;
          if (left > 0) return;
          this.plan();
          this.pump();
          engine.after(model.run, ready);
        };
        for (const { size, tocOffset, entries } of layout.layers) {
          const toc = size - tocOffset;
          const rest = toc > model.tail ? [toc - model.tail] : [];
          side.sequence(pool, [Math.min(size, model.tail), ...rest], () =>
            side.cpu.use(model.perTocEntry * entries, opened),
          );
        }
      }),
    );
  }

  readonly serve: Serve = (file, offset, length, done) => {
    const layout = this.layout.files[file];
    if (!layout) return 0;
    const { waited, ahead } = this.pages.read(file, layout.size, offset, length);
    for (const chunk of this.missing(file, layout, ahead)) this.wait(file, chunk, () => {});
    const missing = this.missing(file, layout, waited);
    const cost = this.model.perRead * waited.length;
    if (missing.length === 0) {
      if (ahead.length > 0) this.pump();
      return cost;
    }
    this.misses += missing.length;
    let left = missing.length;
    for (const chunk of missing) {
      this.wait(file, chunk, () => {
        left -= 1;
        if (left === 0) this.engine.after(cost, done);
      });
    }
    this.pump();
    return undefined;
  };

  /** Chunks under the spans that are not there. */
  private missing(file: number, layout: FileLayout, spans: readonly Span[]): number[] {
    const states = this.statesOf(file);
    const out: number[] = [];
    for (const [from, to] of spans) {
      for (let i = chunkAt(layout, from); i < layout.at.length && layout.at[i]! < to; i++)
        if (states[i] !== HERE && out.at(-1) !== i) out.push(i);
    }
    return out;
  }

  private wait(file: number, chunk: number, done: () => void): void {
    const key = `${file} ${chunk}`;
    const others = this.waiting.get(key);
    if (others) others.push(done);
    else this.waiting.set(key, [done]);
    const states = this.statesOf(file);
    if (states[chunk] === COMING) return;
    // What is queued for later is asked for now; when its turn comes it is here.
    states[chunk] = COMING;
    this.onDemand += 1;
    this.urgent.push({ bytes: this.bytesOf(file, chunk), chunks: [[file, chunk]] });
  }

  /** The chunks that the recorded run reads, in the order of their files' first use, neighbours together. */
  private plan(): void {
    const { schedule, layout, model } = this;
    const wished = new Map<number, Set<number>>();
    for (let i = 0; i < schedule.length; i++) {
      const file = schedule.file[i]!;
      const at = layout.files[file];
      if (schedule.reads[i] === 0 || !at) continue;
      const chunks = wished.get(file) ?? new Set<number>();
      wished.set(file, chunks);
      const end = schedule.offset[i]! + schedule.bytes[i]!;
      for (let k = chunkAt(at, schedule.offset[i]!); k < at.at.length && at.at[k]! < end; k++) chunks.add(k);
    }
    interface Group {
      readonly rank: number;
      readonly chunks: (readonly [number, number])[];
      readonly start: Bytes;
      end: Bytes;
    }
    const groups: Group[] = [];
    const byPlace = [...wished].flatMap(([file, chunks], rank) =>
      [...chunks].map((chunk) => ({ file, chunk, rank, place: layout.files[file]! })),
    );
    byPlace.sort((a, b) => a.place.layer - b.place.layer || a.place.offset[a.chunk]! - b.place.offset[b.chunk]!);
    let layer = -1;
    for (const { file, chunk, rank, place } of byPlace) {
      this.statesOf(file)[chunk] = QUEUED;
      const [start, end] = [place.offset[chunk]!, place.offset[chunk + 1] ?? place.end];
      const last = groups.at(-1);
      if (last && layer === place.layer && start - last.end <= model.gap && end - last.start <= model.piece) {
        last.chunks.push([file, chunk]);
        last.end = end;
      } else {
        groups.push({ rank, chunks: [[file, chunk]], start, end });
      }
      layer = place.layer;
    }
    this.ahead = groups
      .sort((a, b) => a.rank - b.rank)
      .map(({ chunks, start, end }) => ({ bytes: end - start, chunks }));
  }

  private pump(): void {
    const { model, active } = this;
    for (;;) {
      const total = active.urgent + active.ahead;
      if (this.urgent.length > 0 && total < model.connections) {
        this.send(this.urgent.shift()!, 'urgent');
      } else if (this.ahead.length > 0 && total < model.connections && active.ahead < model.ahead) {
        const next = this.ahead.shift()!;
        const chunks = next.chunks.filter(([file, chunk]) => this.statesOf(file)[chunk] === QUEUED);
        for (const [file, chunk] of chunks) this.statesOf(file)[chunk] = COMING;
        if (chunks.length > 0) this.send({ bytes: next.bytes, chunks }, 'ahead');
      } else {
        return;
      }
    }
  }

  private send({ bytes, chunks }: Request, kind: 'urgent' | 'ahead'): void {
    this.active[kind] += 1;
    this.side.request(this.pool, bytes, () => {
      this.active[kind] -= 1;
      this.pump();
      for (const [file, chunk] of chunks) {
        const at = this.layout.files[file]!;
        const size = (at.at[chunk + 1] ?? at.size) - at.at[chunk]!;
        this.thread.use(this.model.inflatePerByte * size + this.model.perChunk, () => {
          this.statesOf(file)[chunk] = HERE;
          const key = `${file} ${chunk}`;
          const waiting = this.waiting.get(key) ?? [];
          this.waiting.delete(key);
          for (const done of waiting) done();
        });
      }
    });
  }

  private statesOf(file: number): Uint8Array {
    const known = this.states.get(file);
    if (known) return known;
    const states = new Uint8Array(this.layout.files[file]!.at.length).fill(ABSENT);
    this.states.set(file, states);
    return states;
  }

  private bytesOf(file: number, chunk: number): Bytes {
    const at = this.layout.files[file]!;
    return (at.offset[chunk + 1] ?? at.end) - at.offset[chunk]!;
  }
}
