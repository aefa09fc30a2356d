// image + plan → optimized image: every layer becomes eStargz, its planned entries before the landmark, and config,
// manifest and descriptors follow. The bytes of the result depend on image, plan and compression settings only.
import type { LayerPlan, Plan } from '../analyze/types.js';
import { HotlayerError, withContext } from '../errors.js';
import type { Digest } from '../image/digest.js';
import { type NewLayer, withLayers } from '../image/rewrite.js';
import { type Descriptor, type Image, type ImageSink, type Layer, MEDIA } from '../image/types.js';
import { showPath } from '../paths.js';
import { stargzAnnotations } from '../stargz/annotations.js';
import { checkChunkSize } from '../stargz/chunking.js';
import { type Codec, type CodecName, openCodec } from '../stargz/codec.js';
import { type SpooledLayer, spoolLayer } from '../stargz/spool.js';
import type { TarEntry } from '../stargz/tar-entry.js';
import { copyOfEntry, type MadeFile, type StargzResult, writeStargz } from '../stargz/writer.js';
import { makeTempDir } from '../temp.js';
import { checkExpansion } from './expansion.js';
import { checkInterrupted } from './interrupt.js';
import { type CheckedOrder, orderLayer } from './layer-order.js';
import { type ResolvedLinks, resolveLinks, withoutReserved } from './links.js';
import { checkPlanFits } from './plan-fit.js';
import type { OnProgress } from './progress.js';

export interface OptimizeOptions {
  /** Bytes; files are divided into chunks of at most this size. */
  readonly chunkSize: number;
  readonly codec: CodecName;
  /** Absent: the codec's default. */
  readonly level?: number | undefined;
  /** Where the uncompressed layers are put; absent: the system's temporary directory. */
  readonly tempParent?: string | undefined;
  /** Refuse what lazy clients would show differently: names and link targets that are not UTF-8. */
  readonly strict?: boolean | undefined;
  /** Reserved: layers are written one after the other. The output does not depend on it. */
  readonly jobs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
  /** The source's layers, when the caller has them uncompressed already. They are not closed. */
  readonly spooled?: readonly SpooledLayer[] | undefined;
}

export interface LayerWarning {
  readonly layer: number;
  /** Stable, for programs: the writer's codes, and `hardlink-copied`, `planned-missing`, `order-kept`, `input`. */
  readonly code: string;
  /** As shown to people; "" when it concerns the whole layer. */
  readonly entry: string;
  readonly message: string;
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
  readonly warnings: readonly LayerWarning[];
}

export interface OptimizeResult {
  readonly reference: string;
  readonly digestBefore: Digest;
  /** The new manifest, as committed. */
  readonly manifest: Descriptor;
  readonly configDigest: Digest;
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

class Optimizer {
  /** Layers written so far by what makes their bytes: blob, order, chunks. */
  private readonly written = new Map<string, OptimizedLayerResult>();
  private readonly spooled: SpooledLayer[] = [];

  constructor(
    private readonly source: Image,
    private readonly sink: ImageSink,
    private readonly plan: Plan,
    private readonly options: OptimizeOptions,
  ) {}

  async run(): Promise<OptimizeResult> {
    const { source, plan, options } = this;
    checkChunkSize(options.chunkSize);
    checkPlanFits(plan, source);
    const codec = await openCodec(options.codec, options.level);
    const temp = makeTempDir(options.tempParent);
    const results: OptimizedLayerResult[] = [];
    try {
      for (const layer of source.layers) {
        checkInterrupted(options.signal, `layer ${layer.index} was optimized`);
        this.spooled.push(options.spooled?.[layer.index] ?? (await this.spool(layer, temp.path)));
        try {
          results.push(await this.layer(layer, plan.layers[layer.index]!, codec));
        } catch (error) {
          throw withContext(error, { layer: layer.descriptor.digest });
        }
      }
    } finally {
      // Kept to the end: a hardlink of a higher layer may need a file of any lower one.
      if (!options.spooled) for (const layer of this.spooled) layer.close();
      temp.remove();
    }
    return this.putDocuments(results);
  }

  private spool(layer: Layer, dir: string): Promise<SpooledLayer> {
    const { signal } = this.options;
    return spoolLayer(layer, dir, {
      onProgress: (bytes, total) => this.progress('spool', layer.index, bytes, total),
      ...(signal && { signal }),
    });
  }

  private progress(step: 'spool' | 'write', layer: number, bytes: number, total: number): void {
    this.options.onProgress?.({ step, layer, layers: this.source.layers.length, bytes, total });
  }

  private async layer(layer: Layer, plan: LayerPlan, codec: Codec): Promise<OptimizedLayerResult> {
    const { index } = layer;
    const spooled = this.spooled[index]!;
    const entries = withoutReserved(spooled.scan.entries);
    const layers = this.spooled.map((s) => withoutReserved(s.scan.entries));
    layers[index] = entries;
    const links = resolveLinks(layers, index);
    checkExpansion(layer.descriptor.digest, spooled.size, entries, links);
    const paths = plan.hot.map((entry) => entry.path);
    const order = orderLayer(layers, index, paths, links);
    // Copies depend on the layers below, everything else on blob and plan.
    const key =
      links.copies.size > 0
        ? undefined
        : JSON.stringify([layer.descriptor.digest, order.hot.map((e) => e.index), plan.chunks]);
    const same = key === undefined ? undefined : this.written.get(key);
    if (same)
      return { ...same, index, sameAs: same.index, warnings: same.warnings.map((w) => ({ ...w, layer: index })) };
    const warnings = this.warnings(index, spooled, entries, order, links);
    const written = await this.write(layer, spooled, entries, order, plan, links, codec);
    for (const { code, entry, message } of written.warnings) warnings.push({ layer: index, code, entry, message });
    if (this.options.strict) refuse(warnings);
    const prefetch = order.hot.length > 0;
    const result: OptimizedLayerResult = {
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
      hotBytes: order.hot.reduce((sum, entry) => sum + entry.size, 0),
      landmark: prefetch ? 'prefetch' : 'no-prefetch',
      prefetchBytes: prefetch ? written.landmarkOffset : 0,
      members: written.members,
      warnings,
    };
    if (key !== undefined) this.written.set(key, result);
    return result;
  }

  private async write(
    layer: Layer,
    spooled: SpooledLayer,
    entries: readonly TarEntry[],
    order: CheckedOrder,
    plan: LayerPlan,
    links: ResolvedLinks,
    codec: Codec,
  ): Promise<StargzResult> {
    const { options } = this;
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
          codec,
          chunkSize: options.chunkSize,
          chunks: chunkBoundaries(plan, entries, links),
          replace,
          name: `layer ${layer.index} (${layer.descriptor.digest})`,
          ...(options.signal && { signal: options.signal }),
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

  private warnings(
    layer: number,
    spooled: SpooledLayer,
    entries: readonly TarEntry[],
    order: CheckedOrder,
    links: ResolvedLinks,
  ): LayerWarning[] {
    const warnings: LayerWarning[] = spooled.warnings.map((message) => ({ layer, code: 'input', entry: '', message }));
    for (const path of order.missed) {
      const message = 'the plan names it, but the layer has no such entry: ignored';
      warnings.push({ layer, code: 'planned-missing', entry: showPath(path), message });
    }
    if (order.kept) {
      const message =
        'its entries replace each other through symlinks, and the planned order would change the result: the order is kept, nothing is prefetched';
      warnings.push({ layer, code: 'order-kept', entry: '', message });
    }
    for (const [position, source] of links.copies) {
      const { name, linkName } = entries[position]!;
      const where = source.layer === layer ? 'was replaced later in this layer' : `is in layer ${source.layer}`;
      const message = `a hardlink to "${showPath(linkName)}", which ${where}: stored as a copy (${source.entry.size} bytes)`;
      warnings.push({ layer, code: 'hardlink-copied', entry: showPath(name), message });
    }
    return warnings;
  }

  private async putDocuments(results: readonly OptimizedLayerResult[]): Promise<OptimizeResult> {
    const { source, sink } = this;
    const layers = results.map((result, i): NewLayer => {
      const old = source.layers[i]!.descriptor;
      return {
        descriptor: {
          mediaType: MEDIA.layerGzip,
          digest: result.digest,
          size: result.size,
          annotations: stargzAnnotations(result, old.annotations),
        },
        diffId: result.diffId,
      };
    });
    const rewritten = withLayers(source, layers);
    checkInterrupted(this.options.signal, 'the image was written');
    await sink.putBytes(rewritten.configBytes);
    await sink.putBytes(rewritten.manifestBytes);
    return {
      reference: source.reference,
      digestBefore: source.descriptor.digest,
      manifest: rewritten.descriptor,
      configDigest: rewritten.manifest.config.digest,
      layers: results,
      warnings: results.flatMap((result) => result.warnings),
    };
  }
}

/** The plan's chunk boundaries by entry index. @throws HL_ERR_DATA when they are not offsets inside the file */
function chunkBoundaries(
  plan: LayerPlan,
  entries: readonly TarEntry[],
  links: ResolvedLinks,
): Map<number, readonly number[]> {
  const boundaries = new Map<number, readonly number[]>();
  const wanted = Object.entries(plan.chunks ?? {});
  if (wanted.length === 0) return boundaries;
  const byPath = new Map(entries.map((entry, i) => [entry.path, i]));
  for (const [path, offsets] of wanted) {
    const position = byPath.get(path);
    if (position === undefined) continue;
    const file = links.copies.get(position)?.entry ?? entries[position]!;
    if (file.type !== 'reg') continue;
    const good = offsets.every(
      (offset, k) => Number.isSafeInteger(offset) && offset > (offsets[k - 1] ?? 0) && offset < file.size,
    );
    if (!good) {
      throw new HotlayerError(
        'HL_ERR_DATA',
        `plan: chunk boundaries of "${showPath(path)}" are ${JSON.stringify(offsets)}; expected ascending offsets above 0 and below ${file.size}`,
        { context: { entry: showPath(path) } },
      );
    }
    boundaries.set(entries[position]!.index, offsets);
  }
  return boundaries;
}

/** What `--strict` does not let pass: differences between the tar and the lazy view that nobody can mend. */
const STRICT: readonly string[] = ['name-not-utf8', 'name-collision', 'time-out-of-range'];

function refuse(warnings: readonly LayerWarning[]): void {
  const bad = warnings.filter((warning) => STRICT.includes(warning.code));
  const [first] = bad;
  if (!first) return;
  const more = bad.length > 1 ? ` (and ${bad.length - 1} more)` : '';
  throw new HotlayerError('HL_ERR_CHECK_FAILED', `layer ${first.layer}: "${first.entry}": ${first.message}${more}`, {
    context: { entry: first.entry },
    hint: 'rename it in the image, or go without --strict',
  });
}
