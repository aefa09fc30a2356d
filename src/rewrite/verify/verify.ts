// Proof that two images differ in order and compression only. Everything is recomputed from the bytes of both;
// whatever a writer recorded (TOC, annotations, diff_ids) is a claim that is held against them. All mismatches are
// collected; only an original that is broken itself, or an interrupt, ends the work early.
import type { Plan } from '../../analyze/types.js';
import { withContext } from '../../errors.js';
import type { Image, Layer } from '../../image/types.js';
import { mergeLayers } from '../../rootfs/merge.js';
import { type SpooledLayer, spoolLayer } from '../../stargz/spool.js';
import type { TarEntry } from '../../stargz/tar/entry.js';
import { makeTempDir } from '../../temp.js';
import { formatBytes, formatCount, GIB } from '../../units.js';
import { checkExpansion, expandedBytes } from '../expansion.js';
import { checkInterrupted } from '../interrupt.js';
import { orderLayer } from '../layer-order.js';
import { type LinkSource, type ResolvedLinks, resolveLinks, withoutReserved } from '../links.js';
import { checkPlanFits } from '../plan-fit.js';
import type { OnProgress } from '../progress.js';
import { checkImage } from './check-image.js';
import { checkOrder } from './check-order.js';
import { readStart, type StartPieces } from './check-start.js';
import { compareEntries, contentDigest, type Side } from './compare-entries.js';
import { compareTrees, type TreeSide } from './compare-trees.js';
import { type CheckId, Findings, type VerifyReport } from './findings.js';
import { type OptimizedLayer, readOptimizedLayer } from './optimized-layer.js';
import { rulingOf } from './ruling.js';

export type { Check, CheckId, Exception, Mismatch, VerifyReport } from './findings.js';

export interface VerifyOptions {
  /** What the optimized image was made from: each planned path must be before the landmark, nothing else may be. */
  readonly plan?: Plan | undefined;
  /** Where temporary files go; absent: the system's place. */
  readonly tempParent?: string | undefined;
  /** The original's layers, when the caller has them uncompressed already. They are not closed. */
  readonly spooled?: readonly SpooledLayer[] | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
}

/** An optimized layer may be larger by headers, padding, landmark and TOC; beyond that it is a bomb. */
const SLACK = GIB;

interface Totals {
  entries: number;
  bytes: number;
  chunks: number;
  /** Optimized layers that could be read. */
  blobs: number;
  /** Names in the merged tree. */
  names: number;
  hot: number;
}

/**
 * @param original what the other one was made from; it may be optimized already
 * @throws HotlayerError for what is wrong with the original, the plan or the temporary files, not with the optimized image
 */
export async function verifyImages(
  original: Image,
  optimized: Image,
  options: VerifyOptions = {},
): Promise<VerifyReport> {
  const findings = new Findings();
  const totals: Totals = { entries: 0, bytes: 0, chunks: 0, blobs: 0, names: 0, hot: 0 };
  if (options.plan) checkPlanFits(options.plan, original);
  checkImage(original, optimized, findings);
  const start = readStart(optimized, findings);
  const temp = makeTempDir(options.tempParent, 'hotlayer-verify');
  const pairs: LayerPair[] = [];
  try {
    for (const layer of original.layers) {
      checkInterrupted(options.signal, `layer ${layer.index} was verified`);
      const other = optimized.layers[layer.index];
      const own = { ...options, start: start.get(layer.index) };
      pairs.push(await verifyLayer(layer, other, pairs, temp.path, own, findings, totals));
    }
    if (pairs.every((pair) => pair.after)) totals.names = compareMerged(pairs, findings);
  } catch (error) {
    throw withContext(error, { image: original.reference });
  } finally {
    temp.remove();
  }
  return findings.report(details(totals, original.layers.length));
}

/** What is remembered of a layer once its tars are gone: entries and content digests. */
interface LayerPair {
  readonly before: Remembered;
  /** Absent when the optimized layer is missing or cannot be read. */
  readonly after?: Remembered;
  /** Entries that were hardlinks and are copies. */
  readonly copied: readonly TarEntry[];
}

interface Remembered {
  readonly entries: readonly TarEntry[];
  readonly digests: readonly (string | undefined)[];
}

async function verifyLayer(
  layer: Layer,
  other: Layer | undefined,
  below: readonly LayerPair[],
  temp: string,
  options: VerifyOptions & { readonly start?: StartPieces | undefined },
  findings: Findings,
  totals: Totals,
): Promise<LayerPair> {
  const { index } = layer;
  const layers = below.length + 1;
  const own = options.spooled?.[index];
  const progress = (step: 'spool' | 'read' | 'compare') => (bytes: number, total: number) =>
    options.onProgress?.({ step, layer: index, layers, bytes, total });
  const spooling = { onProgress: progress('spool'), ...(options.signal && { signal: options.signal }) };
  const spooled = own ?? (await spoolLayer(layer, temp, spooling));
  let after: OptimizedLayer | undefined;
  try {
    const entries = withoutReserved(spooled.scan.entries);
    const before: Side = { fd: spooled.fd, entries, digests: [], ruling: rulingOf(spooled.scan) };
    const lower = [...below.map((pair) => pair.before.entries), entries];
    const links = resolveLinks(lower, index);
    checkExpansion(layer.descriptor.digest, spooled.scan.size, entries, links);
    if (other) {
      const limits = { temp, maxBytes: spooled.scan.size + expandedBytes(entries, links) + SLACK };
      after = await readOptimizedLayer(
        other,
        { ...limits, start: options.start, signal: options.signal, onProgress: progress('read') },
        findings,
      );
    }
    const digestOf = (source: LinkSource): string =>
      source.layer === index
        ? contentDigest(before, source.entry)
        : below[source.layer]!.before.digests[source.entry.index]!;
    if (after) comparePair(index, lower, before, after, links, digestOf, options, findings, totals);
    // Later layers' links may name any file of this one, when its tar is gone.
    for (const entry of entries) if (entry.type === 'reg') contentDigest(before, entry);
    progress('compare')(1, 1);
    const copied = [...links.copies.keys()].map((i) => entries[i]!);
    const remembered = after && { entries: withoutReserved(after.entries), digests: after.digests };
    return { before: { entries, digests: before.digests }, ...(remembered && { after: remembered }), copied };
  } finally {
    after?.close();
    if (!own) spooled.close();
  }
}

function comparePair(
  index: number,
  lower: readonly (readonly TarEntry[])[],
  before: Side,
  after: OptimizedLayer,
  links: ResolvedLinks,
  digestOf: (source: LinkSource) => string,
  options: VerifyOptions,
  findings: Findings,
  totals: Totals,
): void {
  const files: Side = {
    fd: after.fd,
    entries: withoutReserved(after.entries),
    digests: after.digests,
    ruling: rulingOf(after.scan),
  };
  compareEntries({ layer: index, before, after: files, copies: links.copies, digestOf }, findings);
  const plan = options.plan?.layers.find((layer) => layer.index === index);
  const paths = plan?.hot.map((entry) => entry.path) ?? [];
  const hot = checkOrder(
    {
      layer: index,
      fd: after.fd,
      entries: after.entries,
      planned: plan && { paths, order: orderLayer(lower, index, paths, links) },
    },
    findings,
  );
  totals.blobs += 1;
  totals.hot += hot;
  totals.entries += before.entries.length;
  totals.bytes += before.entries.reduce((sum, entry) => sum + entry.size, 0);
  totals.chunks += after.counts.chunks;
}

function compareMerged(pairs: readonly LayerPair[], findings: Findings): number {
  const side = (layers: readonly Remembered[]): TreeSide => ({
    tree: mergeLayers(layers.map((layer) => layer.entries)),
    digestOf: (layer, entry) => layers[layer]?.digests[entry],
  });
  const copied = new Set(pairs.flatMap((pair) => pair.copied));
  return compareTrees(side(pairs.map((p) => p.before)), side(pairs.map((p) => p.after!)), copied, findings);
}

function details(totals: Totals, layers: number): Record<CheckId, string> {
  const n = formatCount;
  return {
    image: `config, history, annotations, ${n(layers)} layers`,
    files: `${n(totals.entries)} entries in ${n(layers)} layers, ${n(totals.names)} names in the merged tree: paths, types, modes, owners, times, xattrs, links, header bytes`,
    content: `${formatBytes(totals.bytes)} hashed on both sides`,
    estargz: `${n(totals.blobs)} of ${n(layers)} blobs: digests, footers, TOCs, ${n(totals.chunks)} chunk digests, annotations`,
    order: `${n(totals.hot)} entries before the landmarks, parents and link targets first`,
    tar: `${n(totals.blobs)} of ${n(layers)} blobs decompress and list as ordinary tars`,
  };
}
