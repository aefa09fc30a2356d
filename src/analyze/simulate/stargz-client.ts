// containerd with the stargz snapshotter, from the pull to ready. What it does in which order is that of its source
// (fs/fs.go, fs/layer, fs/remote, fs/reader of v0.12.0); what the steps cost is in model/client.ts.
import type { Bytes, Nanos } from '../../units.js';
import type { ClientModel } from '../model/client.js';
import { afterAll, type Engine } from './engine.js';
import { chunkAt, type FileLayout, type LayerLayout, type Layout } from './layout.js';
import type { NetworkSide, Pool } from './network-side.js';
import { PageCache, type Span } from './page-cache.js';
import type { Serve } from './player.js';

/** Answers to HEAD manifest, GET manifest, GET config; they are small. */
export const MANIFEST: readonly Bytes[] = [360, 1200];
export const CONFIG: readonly Bytes[] = [400];

class LayerState {
  readonly pieces: Uint8Array;
  readonly pool: Pool = { idle: 0 };
  prefetched = false;

  constructor(
    readonly layout: LayerLayout,
    piece: Bytes,
  ) {
    this.pieces = new Uint8Array(Math.ceil(layout.size / piece));
  }
}

/** A read that the kernel has sent and that is not answered yet. */
interface KernelRead {
  readonly from: Bytes;
  readonly to: Bytes;
  readonly waiters: (() => void)[];
}

export class StargzClient {
  /** Chunks that were not there when they were read. */
  misses = 0;
  /** Requests for them. */
  onDemand = 0;
  private readonly layers: readonly LayerState[];
  private readonly pages: PageCache;
  /** By file: 1 for chunks that are there. */
  private readonly chunks = new Map<number, Uint8Array>();
  /** Who waits for a chunk on its way, by file and chunk. */
  private readonly waiting = new Map<string, (() => void)[]>();
  /** By file: the kernel's reads for which something is fetched. */
  private readonly reads = new Map<number, KernelRead[]>();
  private prefetches = 0;
  private whenPrefetched: (() => void) | undefined;

  constructor(
    private readonly engine: Engine,
    private readonly side: NetworkSide,
    private readonly client: ClientModel,
    private readonly layout: Layout,
  ) {
    this.layers = layout.layers.map((layer) => new LayerState(layer, client.piece));
    this.pages = new PageCache(client.readahead);
  }

  /** Pull, mount, prefetch. @param mounted called when the pull has ended */
  pull(mounted: () => void): void {
    const { engine, side, client, layers } = this;
    const resolved = layers.map(() => false);
    let next = 0;
    let busy = false;
    // Layers are mounted in order, each as soon as it is resolved and the one below is mounted.
    const mount = (): void => {
      if (busy) return;
      if (next === layers.length) mounted();
      if (!resolved[next]) return;
      busy = true;
      engine.after(client.perLayer, () => {
        busy = false;
        next += 1;
        mount();
      });
    };
    engine.after(client.pull, () =>
      side.sequence({ idle: 0 }, MANIFEST.slice(0, 1), () =>
        side.sequence({ idle: 0 }, [...MANIFEST.slice(1), ...CONFIG], () => {
          if (layers.length === 0) mount();
          for (const [i, layer] of layers.entries()) {
            this.resolve(layer, () => {
              resolved[i] = true;
              mount();
              this.prefetch(layer);
            });
          }
        }),
      ),
    );
  }

  /** @param done when all that is prefetched is there, or the client's patience is over */
  waitForPrefetch(done: () => void): void {
    this.whenPrefetched = done;
    if (this.prefetches === 0) this.endWait();
    this.engine.after(this.client.prefetchWait, () => this.endWait());
  }

  /** `Serve` for the workload in the container. */
  readonly serve: Serve = (file, offset, length, done) => {
    const layout = this.layout.files[file];
    if (!layout) return 0;
    const { waited, ahead } = this.pages.read(file, layout.size, offset, length);
    for (const span of ahead) this.send(file, layout, span);
    let cost = 0;
    for (const span of waited) if (!this.send(file, layout, span)) cost += this.readCost(span);
    const pending = this.reads.get(file)?.filter(({ from, to }) => from < offset + length && to > offset) ?? NOTHING;
    if (pending.length === 0) return cost;
    const all = afterAll(pending.length, () => this.engine.after(cost, done));
    for (const { waiters } of pending) waiters.push(all);
    return undefined;
  };

  /** A read of the kernel. @returns whether something has to be fetched for it; it is in `reads` until that is there */
  private send(file: number, layout: FileLayout, span: Span): boolean {
    const missing = this.missing(file, layout, span);
    if (missing.length === 0) return false;
    const read: KernelRead = { from: span[0], to: span[1], waiters: [] };
    const reads = this.reads.get(file) ?? [];
    this.reads.set(file, reads);
    reads.push(read);
    this.bring(file, layout, missing, () =>
      this.engine.after(this.readCost(span), () => {
        reads.splice(reads.indexOf(read), 1);
        for (const waiter of read.waiters) waiter();
      }),
    );
    return true;
  }

  private endWait(): void {
    const done = this.whenPrefetched;
    this.whenPrefetched = undefined;
    done?.();
  }

  /** GET 0-1, HEAD, the piece with the footer, the rest of the TOC; then the TOC is parsed. */
  private resolve(layer: LayerState, done: () => void): void {
    const { size, tocOffset, entries } = layer.layout;
    this.side.sequence(layer.pool, [2, 0], () =>
      this.fetch(layer, size - 1, size, () =>
        this.fetch(layer, tocOffset, size, () => this.side.cpu.use(this.client.perTocEntry * entries, done)),
      ),
    );
  }

  private prefetch(layer: LayerState): void {
    const { prefetch, prefetchFiles, prefetchInflated } = layer.layout;
    if (prefetch === 0) return;
    this.prefetches += 1;
    const { client } = this;
    this.fetch(layer, 0, prefetch, () =>
      this.side.work(client.inflatePerByte * prefetchInflated + client.perFile * prefetchFiles, () => {
        layer.prefetched = true;
        this.prefetches -= 1;
        if (this.prefetches === 0) this.endWait();
      }),
    );
  }

  /** The pieces of [from, to) that are not there, in one request. @returns whether one was needed */
  private fetch(layer: LayerState, from: Bytes, to: Bytes, done: () => void): boolean {
    const { piece } = this.client;
    const { pieces, layout } = layer;
    const wanted: number[] = [];
    let ranges = 0;
    let bytes = 0;
    for (let i = Math.floor(from / piece); i * piece < to && i < pieces.length; i++) {
      if (pieces[i] === 1) continue;
      if (wanted.at(-1) !== i - 1) ranges += 1;
      wanted.push(i);
      bytes += Math.min(piece, layout.size - i * piece);
    }
    if (wanted.length === 0) {
      done();
      return false;
    }
    // Pieces are kept as they come; whoever needs one of them does not ask for it again.
    let kept = 0;
    const keep = (share: number): void => {
      for (const until = Math.floor(share * wanted.length); kept < until; kept++) pieces[wanted[kept]!] = 1;
    };
    this.side.request(layer.pool, bytes, done, ranges, keep);
    return true;
  }

  private readCost([from, to]: Span): Nanos {
    const { readahead, perRead, perReadByte } = this.client;
    return Math.ceil((to - from) / readahead) * perRead + (to - from) * perReadByte;
  }

  /** Chunks under the span that are not there. */
  private missing(file: number, layout: FileLayout, [from, to]: Span): readonly number[] {
    const layer = this.layers[layout.layer]!;
    if (layer.prefetched && layout.offset[0]! < layer.layout.prefetch) return NOTHING;
    const there = this.chunks.get(file);
    const out: number[] = [];
    for (let i = chunkAt(layout, from); i < layout.at.length && layout.at[i]! < to; i++)
      if (there?.[i] !== 1) out.push(i);
    return out;
  }

  /** One chunk after the other, as one reader asks for them. */
  private bring(file: number, layout: FileLayout, chunks: readonly number[], done: () => void, at = 0): void {
    const chunk = chunks[at];
    if (chunk === undefined) {
      done();
      return;
    }
    const then = (): void => this.bring(file, layout, chunks, done, at + 1);
    const key = `${file} ${chunk}`;
    const others = this.waiting.get(key);
    if (others) {
      others.push(then);
      return;
    }
    if (this.chunks.get(file)?.[chunk] === 1) {
      then();
      return;
    }
    const mine: (() => void)[] = [];
    this.waiting.set(key, mine);
    this.misses += 1;
    const { client } = this;
    const end = layout.offset[chunk + 1] ?? layout.end;
    const size = (layout.at[chunk + 1] ?? layout.size) - layout.at[chunk]!;
    // A window after the other until the chunk is whole.
    const windows = (from: Bytes): void => {
      const to = Math.min(layout.end, from + client.window);
      const fetched = this.fetch(this.layers[layout.layer]!, from, to, () => {
        if (to < end) {
          windows(to);
          return;
        }
        this.side.cpu.use(client.perMiss + client.inflatePerByte * size, () => {
          const there = this.chunks.get(file) ?? new Uint8Array(layout.at.length);
          there[chunk] = 1;
          this.chunks.set(file, there);
          this.waiting.delete(key);
          for (const other of mine) other();
          then();
        });
      });
      if (fetched) this.onDemand += 1;
    };
    windows(layout.offset[chunk]!);
  }
}

const NOTHING: never[] = [];
