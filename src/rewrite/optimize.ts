// image + plan → optimized image: every layer becomes eStargz, its planned entries before the landmark, and config,
// manifest and descriptors follow. The bytes of the result depend on image, plan and compression settings only.
//
// One pool of threads compresses for all layers. A layer begins when all content of the one below is with the pool, so
// that no thread waits while a layer's end is hashed, written and synced.
import { availableParallelism } from 'node:os';
import type { LayerPlan, Plan } from '../analyze/types.js';
import { HotlayerError, withContext } from '../errors.js';
import type { Digest } from '../image/digest.js';
import { type NewLayer, withLayers } from '../image/rewrite.js';
import { type Descriptor, type Image, type ImageSink, type Layer, MEDIA } from '../image/types.js';
import type { HotFile } from '../lazy/prefetch.js';
import { START_ANNOTATION } from '../lazy/start-map.js';
import { stargzAnnotations } from '../stargz/annotations.js';
import { checkChunkSize } from '../stargz/chunking.js';
import { type Codec, type CodecName, defaultHotLevel, LEVELS, openCodec } from '../stargz/codec/codec.js';
import { CompressionPool } from '../stargz/codec/compression-pool.js';
import { requireSpoolSpace, type SpooledLayer, spoolLayer } from '../stargz/spool.js';
import type { TarEntry } from '../stargz/tar/entry.js';
import { copyOfEntry, type MadeFile, type StargzInput, type StargzResult, writeStargz } from '../stargz/writer.js';
import { makeTempDir } from '../temp.js';
import { MIB } from '../units.js';
import { chunkBoundaries } from './chunk-boundaries.js';
import { checkExpansion } from './expansion.js';
import { checkInterrupted } from './interrupt.js';
import { type CheckedOrder, orderLayer } from './layer-order.js';
import { type LayerWarning, layerWarnings, refuse } from './layer-warnings.js';
import { type ResolvedLinks, resolveLinks, withoutReserved } from './links.js';
import { checkPlanFits } from './plan-fit.js';
import type { OnProgress } from './progress.js';
import { startAnnotation, startOfFiles, type WrittenToc } from './start-annotation.js';

export type { LayerWarning } from './layer-warnings.js';

export interface OptimizeOptions {
  /** Bytes; files are divided into chunks of at most this size. */
  readonly chunkSize: number;
  readonly codec: CodecName;
  /** Absent: the codec's default. */
  readonly level?: number | undefined;
  /** For what is before the landmark. Absent: the codec's, while there is little (`defaultHotLevel`). */
  readonly hotLevel?: number | undefined;
  /** Where the uncompressed layers are put; absent: the system's temporary directory. */
  readonly tempParent?: string | undefined;
  /** Refuse what lazy clients would show differently: names and link targets that are not UTF-8. */
  readonly strict?: boolean | undefined;
  /** Threads that compress; absent: as many as there are cores. The output does not depend on it. */
  readonly jobs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
  /** The source's layers, when the caller has them uncompressed already. They are not closed. */
  readonly spooled?: readonly SpooledLayer[] | undefined;
  /** What a start reads, where the result is to say where that lies. */
  readonly hot?: readonly HotFile[] | undefined;
  /** Shared by images that are written into one sink, in turn or at once: a layer that several have is made once. */
  readonly made?: MadeLayers | undefined;
}

/** Layers being written or done in a run with the same options. */
export class MadeLayers {
  /** By what makes their bytes: blob, order, chunks. `by` is the image's work that began it. */
  readonly results = new Map<string, { readonly by: object; readonly result: Promise<OptimizedLayerResult> }>();
  /** Blobs that were begun with. */
  readonly sources = new Set<Digest>();
  /** By blob, of those whose plan has a start that is to be told. */
  readonly tocs = new Map<Digest, WrittenToc>();
}

export interface OptimizedLayerResult {
  readonly index: number;
  /** Of the blob, before and after. */
  readonly digestBefore: Digest;
  readonly digest: Digest;
  readonly sizeBefore: number;
  readonly size: number;
  readonly diffIdBefore: Digest;
  readonly diffId: Digest;
  readonly tocDigest: Digest;
  /** Of the blob, decompressed. */
  readonly uncompressedSize: number;
  /** Entries of the layer, without landmark and TOC. */
  readonly entries: number;
  /** Entries before the landmark, and the uncompressed bytes of the files among them. */
  readonly hotEntries: number;
  readonly hotBytes: number;
  readonly landmark: 'prefetch' | 'no-prefetch';
  /** Compressed bytes that a lazy client fetches before the start: the landmark's offset; 0 for no-prefetch. */
  readonly prefetchBytes: number;
  readonly members: number;
  /** Index of the layer below that is the same blob, when there is one: it was written once. */
  readonly sameAs?: number;
  /** Another image of the run has the same layer, and it was made there. */
  readonly reused?: true;
  /** The blob was optimized in just this way already: what was made of it is byte for byte what it was. */
  readonly unchanged?: true;
  readonly warnings: readonly LayerWarning[];
}

export interface OptimizeResult {
  readonly reference: string;
  readonly digestBefore: Digest;
  /** The new manifest, as committed. */
  readonly manifest: Descriptor;
  readonly configDigest: Digest;
  /** Which bytes of the blobs a start needs (lazy/start-map.ts, formatStart). Absent: nobody asked. */
  readonly start?: string;
  readonly layers: readonly OptimizedLayerResult[];
  /** All layers' warnings, lowest layer first. */
  readonly warnings: readonly LayerWarning[];
}

/**
 * Writes the optimized image and commits it; on failure the sink is aborted and nothing is visible.
 * @throws HL_ERR_DATA when the plan is another image's; HL_ERR_CHECK_FAILED what `strict` refuses; HL_ERR_USAGE for codec,
 *   level or chunk size; what reading the source and writing the target throw
 */
export async function optimizeImage(
  source: Image,
  sink: ImageSink,
  plan: Plan,
  options: OptimizeOptions,
): Promise<OptimizeResult> {
  try {
    const result = await writeOptimized(source, sink, plan, options);
    await sink.commit(result.manifest);
    return result;
  } catch (error) {
    await sink.abort();
    throw withContext(error, { image: source.reference });
  }
}

/** The same without the commit: layers, config and manifest are put into the sink. It is not aborted on failure. */
export function writeOptimized(
  source: Image,
  sink: ImageSink,
  plan: Plan,
  options: OptimizeOptions,
): Promise<OptimizeResult> {
  return new Optimizer(source, sink, plan, options).run();
}

/** Compressed bytes of an image below which starting threads takes longer than the work. */
const WORTH_THREADS = MIB;

class Optimizer {
  private readonly made: MadeLayers;
  private readonly spooled: SpooledLayer[] = [];
  /** Aborted when one layer fails, for all others. */
  private readonly stop = new AbortController();
  /** The caller's and `stop`. */
  private readonly signal: AbortSignal;
  private failure: unknown;
  private pool: CompressionPool | undefined;
  private tempDir: string | undefined;
  /** Uncompressed bytes written, by layer. */
  private readonly done: number[];
  constructor(
    private readonly source: Image,
    private readonly sink: ImageSink,
    private readonly plan: Plan,
    private readonly options: OptimizeOptions,
  ) {
    this.signal = options.signal ? AbortSignal.any([options.signal, this.stop.signal]) : this.stop.signal;
    this.made = options.made ?? new MadeLayers();
    this.done = source.layers.map(() => 0);
  }

  async run(): Promise<OptimizeResult> {
    const { source, options } = this;
    checkChunkSize(options.chunkSize);
    checkPlanFits(this.plan, source);
    const codec = await openCodec(options.codec, options.level);
    // Only to see that its bytes are the known ones.
    await openCodec(options.codec, options.hotLevel ?? LEVELS[codec.name].hot);
    const temp = makeTempDir(options.tempParent);
    this.tempDir = temp.path;
    if (!options.spooled) requireSpoolSpace(source.layers, temp.path);
    this.sink.requireSpace?.(this.leastBytes());
    const writes: Promise<OptimizedLayerResult>[] = [];
    if (source.layers.reduce((sum, layer) => sum + layer.descriptor.size, 0) > WORTH_THREADS) {
      this.pool = new CompressionPool(codec, { jobs: options.jobs ?? availableParallelism(), signal: this.signal });
    }
    try {
      let laidOut: Promise<void> | undefined;
      for (const layer of source.layers) {
        checkInterrupted(this.signal, `layer ${layer.index} was optimized`);
        this.spooled.push(options.spooled?.[layer.index] ?? (await this.spool(layer, temp.path)));
        await laidOut;
        const begun = this.begin(layer, codec);
        laidOut = begun.laidOut;
        writes.push(begun.result);
      }
      return await this.putDocuments(await Promise.all(writes));
    } catch (error) {
      checkInterrupted(options.signal, 'the image was optimized');
      throw this.failure ?? error;
    } finally {
      this.stop.abort();
      await Promise.allSettled(writes);
      await this.pool?.close();
      // Kept to the end: a hardlink of a higher layer may need a file of any lower one.
      if (!options.spooled) for (const layer of this.spooled) layer.close();
      temp.remove();
    }
  }

  /** What the new layers take at least, hardly ever less: those compressed already, if badly, by another compressor. */
  private leastBytes(): number {
    const { sources } = this.made;
    let bytes = 0;
    for (const { descriptor, compression } of this.source.layers) {
      if (compression !== 'none' && !sources.has(descriptor.digest)) bytes += descriptor.size;
      sources.add(descriptor.digest);
    }
    return Math.floor(bytes / 3);
  }

  private spool(layer: Layer, dir: string): Promise<SpooledLayer> {
    return spoolLayer(layer, dir, {
      onProgress: (bytes, total) => this.progress('spool', layer.index, bytes, total),
      signal: this.signal,
    });
  }

  private progress(step: 'spool' | 'write', layer: number, bytes: number, total: number): void {
    const layers = this.source.layers.length;
    if (step === 'write') this.done[layer] = bytes;
    const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0);
    const known = step === 'write' && (this.options.spooled ?? this.spooled).length === layers;
    const overall = known && {
      bytes: sum(this.done),
      total: sum((this.options.spooled ?? this.spooled).map((spooled) => spooled.size)),
    };
    this.options.onProgress?.({ step, layer, layers, bytes, total, ...(overall && { overall }) });
  }

  /** `laidOut` resolves, never rejects, when the next layer may begin. */
  private begin(layer: Layer, codec: Codec): { result: Promise<OptimizedLayerResult>; laidOut: Promise<void> } {
    let resolve = () => {};
    const laidOut = new Promise<void>((go) => {
      resolve = go;
    });
    const result = this.layer(layer, this.plan.layers[layer.index]!, codec, resolve)
      .catch((error) => {
        this.failure ??= withContext(error, { layer: layer.descriptor.digest });
        this.stop.abort(this.failure);
        throw this.failure;
      })
      .finally(resolve);
    result.catch(() => {});
    return { result, laidOut };
  }

  private async layer(
    layer: Layer,
    plan: LayerPlan,
    codec: Codec,
    onLaidOut: () => void,
  ): Promise<OptimizedLayerResult> {
    const { index } = layer;
    const entries = withoutReserved(this.spooled[index]!.scan.entries);
    const layers = this.spooled.map((s) => withoutReserved(s.scan.entries));
    layers[index] = entries;
    const links = resolveLinks(layers, index);
    checkExpansion(layer.descriptor.digest, this.spooled[index]!.size, entries, links);
    const paths = plan.hot.map((entry) => entry.path);
    const order = orderLayer(layers, index, paths, links);
    const rewrite = () => this.rewrite(layer, entries, order, plan, links, codec, onLaidOut);
    // Copies depend on the layers below, everything else on blob and plan.
    if (links.copies.size > 0) return rewrite();
    const key = JSON.stringify([
      layer.descriptor.digest,
      order.hot.map((e) => e.index),
      plan.chunks,
      this.plan.start !== undefined,
    ]);
    const first = this.made.results.get(key);
    if (first) {
      onLaidOut();
      const { sameAs, reused, ...same } = await first.result;
      this.progress('write', index, this.spooled[index]!.size, this.spooled[index]!.size);
      const warnings = same.warnings.map((w) => ({ ...w, layer: index }));
      return { ...same, index, warnings, ...(first.by === this ? { sameAs: same.index } : { reused: true }) };
    }
    const result = rewrite();
    this.made.results.set(key, { by: this, result });
    return result;
  }

  private async rewrite(
    layer: Layer,
    entries: readonly TarEntry[],
    order: CheckedOrder,
    plan: LayerPlan,
    links: ResolvedLinks,
    codec: Codec,
    onLaidOut: () => void,
  ): Promise<OptimizedLayerResult> {
    const { index } = layer;
    const warnings = layerWarnings(index, this.spooled[index]!, entries, order, links);
    const hotBytes = order.hot.reduce((sum, entry) => sum + entry.size, 0);
    const hotLevel = this.options.hotLevel ?? defaultHotLevel(codec, hotBytes);
    const written = await this.write(layer, entries, order, plan, links, { codec, hotLevel, onLaidOut });
    for (const { code, entry, message } of written.warnings) warnings.push({ layer: index, code, entry, message });
    if (this.options.strict) refuse(warnings);
    if (written.toc) this.made.tocs.set(written.digest, { json: written.toc, tocOffset: written.tocOffset });
    const prefetch = order.hot.length > 0;
    return {
      index,
      digestBefore: layer.descriptor.digest,
      digest: written.digest,
      sizeBefore: layer.descriptor.size,
      size: written.size,
      diffIdBefore: layer.diffId,
      diffId: written.diffId,
      tocDigest: written.tocDigest,
      uncompressedSize: written.uncompressedSize,
      entries: entries.length,
      hotEntries: order.hot.length,
      hotBytes,
      landmark: prefetch ? 'prefetch' : 'no-prefetch',
      prefetchBytes: prefetch ? written.landmarkOffset : 0,
      members: written.members,
      ...(written.digest === layer.descriptor.digest && { unchanged: true }),
      warnings,
    };
  }

  private async write(
    layer: Layer,
    entries: readonly TarEntry[],
    order: CheckedOrder,
    plan: LayerPlan,
    links: ResolvedLinks,
    how: Pick<StargzInput, 'codec' | 'hotLevel' | 'onLaidOut'>,
  ): Promise<StargzResult> {
    const { options } = this;
    const spooled = this.spooled[layer.index]!;
    const replace = new Map<number, MadeFile>();
    for (const [position, source] of links.copies) {
      const entry = entries[position]!;
      replace.set(entry.index, copyOfEntry(this.spooled[source.layer]!.fd, source.entry, entry.name));
    }
    const blob = await this.sink.createBlob();
    try {
      const result = await writeStargz(
        {
          fd: spooled.fd,
          scan: spooled.scan,
          order: { hot: order.hot.map((e) => e.index), rest: order.rest.map((e) => e.index) },
          landmark: order.hot.length > 0 ? 'prefetch' : 'no-prefetch',
          ...how,
          ...(this.pool && { compressor: this.pool }),
          chunkSize: options.chunkSize,
          chunks: chunkBoundaries(plan, entries, links),
          replace,
          keepToc: this.tellsStart,
          tempDir: this.tempDir,
          name: `layer ${layer.index} (${layer.descriptor.digest})`,
          signal: this.signal,
          onProgress: (bytes) => this.progress('write', layer.index, Math.min(bytes, spooled.size), spooled.size),
        },
        (chunk) => blob.write(chunk),
      );
      const { digest, size } = await blob.finish();
      if (digest !== result.digest || size !== result.size) {
        throw new HotlayerError(
          'HL_ERR_BUG',
          `layer ${layer.index}: the target stored ${size} bytes, ${digest}; written were ${result.size}, ${result.digest}`,
        );
      }
      this.progress('write', layer.index, spooled.size, spooled.size);
      return result;
    } finally {
      await blob.abort();
    }
  }

  /** Whether it will be said where in the blobs lies what a start needs. */
  private get tellsStart(): boolean {
    return this.plan.start !== undefined || this.options.hot !== undefined;
  }

  private async putDocuments(results: readonly OptimizedLayerResult[]): Promise<OptimizeResult> {
    const { source, sink } = this;
    const tocOf = (result: OptimizedLayerResult) => this.made.tocs.get(result.digest);
    const start = this.plan.start && startAnnotation(this.plan.start, results.map(tocOf));
    const { hot } = this.options;
    const told = hot && (start ?? startOfFiles(hot, results.map(tocOf)));
    const layers = results.map((result, i): NewLayer => {
      const old = source.layers[i]!.descriptor;
      return {
        descriptor: {
          mediaType: MEDIA.layerGzip,
          digest: result.digest,
          size: result.size,
          annotations: stargzAnnotations(
            { ...result, tocOffset: this.plan.start && tocOf(result)?.tocOffset },
            old.annotations,
          ),
        },
        diffId: result.diffId,
      };
    });
    const rewritten = withLayers(source, layers, { [START_ANNOTATION]: start });
    checkInterrupted(this.options.signal, 'the image was written');
    await sink.putBytes(rewritten.configBytes);
    await sink.putBytes(rewritten.manifestBytes);
    return {
      reference: source.reference,
      digestBefore: source.descriptor.digest,
      manifest: rewritten.descriptor,
      configDigest: rewritten.manifest.config.digest,
      ...(told !== undefined && { start: told }),
      layers: results,
      warnings: results.flatMap((result) => result.warnings),
    };
  }
}
