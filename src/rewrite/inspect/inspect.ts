// What is in a layer, read from its bytes: compression, members, entries, TOC, landmark, and what lies before it.
// Nothing is judged here; that is verify's work.
import { createHash } from 'node:crypto';
import { closeSync, createReadStream, createWriteStream, fstatSync, openSync } from 'node:fs';
import { basename, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { layerSteps } from '../../analyze/packages/attribute.js';
import { type Layout, layoutOfBlobs } from '../../analyze/simulate/layout.js';
import type { LayerStep, Profile } from '../../analyze/types.js';
import { errnoOf, HotlayerError, withContext } from '../../errors.js';
import { sniffCompression } from '../../image/media.js';
import type { Image, Layer } from '../../image/types.js';
import { mergeLayers } from '../../rootfs/merge.js';
import { fileSource } from '../../stargz/blob-source.js';
import { unzstd } from '../../stargz/codec/zstd.js';
import { openStargz, type StargzBlob } from '../../stargz/reader.js';
import { MAX_LAYER_BYTES } from '../../stargz/spool.js';
import type { EntryType, TarEntry } from '../../stargz/tar/entry.js';
import { TarScanner } from '../../stargz/tar/scan.js';
import { makeTempDir } from '../../temp.js';
import type { Bytes } from '../../units.js';
import { isReserved, NO_PREFETCH_LANDMARK, PREFETCH_LANDMARK, TOC_DIGEST_ANNOTATION } from '../names.js';
import { digest, readBytes } from './content.js';
import { type Member, walkMembers } from './members.js';

export interface EntryInspection {
  readonly path: string;
  /** Uncompressed bytes. */
  readonly size: number;
  /** Of its members in the blob; absent when the layer is not stargz. */
  readonly compressedSize?: number;
}

export interface StargzInspection {
  /** `estargz`: 51 bytes; `legacy`: the 47 bytes of CRFS. */
  readonly footer: 'estargz' | 'legacy';
  readonly tocOffset: number;
  /** Bytes of the TOC's JSON. */
  readonly tocSize: number;
  readonly tocDigest: string;
  /** Whether the descriptor's annotation names this TOC; absent for a blob without a descriptor. */
  readonly annotated?: boolean;
  readonly landmark?: {
    readonly kind: 'prefetch' | 'no-prefetch';
    /** Compressed offset. */
    readonly offset: number;
    /** Position among the layer's entries, 0 = first. */
    readonly entry: number;
  };
  /** Compressed bytes that a lazy client fetches before the start. */
  readonly prefetchBytes: number;
  /** Entries before the landmark, and the uncompressed bytes of the files among them and behind it. */
  readonly hotEntries: number;
  readonly hotBytes: number;
  readonly coldBytes: number;
  /** The largest files before the landmark, at most TOP of them. */
  readonly largestHot: readonly EntryInspection[];
}

export interface TouchedInspection {
  /** Regular files of this layer that the profile saw being read, and their distinct bytes read (median of the runs). */
  readonly files: number;
  readonly bytesRead: number;
  /** Their sizes, whole. */
  readonly bytes: number;
  /** How many of them, of how many bytes, lie before the landmark; 0 without one. */
  readonly prefetchedFiles: number;
  readonly prefetchedBytes: number;
  /** Files before the landmark that were not read. */
  readonly unusedFiles: number;
  readonly unusedBytes: number;
}

export interface BlobInspection {
  /** Of the bytes found. */
  readonly digest: string;
  readonly size: number;
  readonly compression: 'gzip' | 'zstd' | 'none';
  readonly uncompressedSize: number;
  readonly diffId: string;
  /** Gzip members; 0 for a blob that is not gzip. */
  readonly members: number;
  /** Without landmarks and TOC. */
  readonly entries: number;
  readonly entriesByType: Readonly<Partial<Record<EntryType, number>>>;
  /** Uncompressed bytes of regular files. */
  readonly fileBytes: number;
  /** Absent when the blob has no usable footer and TOC. */
  readonly stargz?: StargzInspection;
  /** Why there is no `stargz` although something looks like it. */
  readonly problem?: string;
}

export interface LayerInspection extends BlobInspection {
  readonly index: number;
  readonly mediaType: string;
  /** Only with a profile. */
  readonly touched?: TouchedInspection;
  /** Only with `files: true`. */
  readonly files?: LayerFiles;
}

/** Every regular file with content of a layer, in the order of the tar, in columns of equal length. */
export interface LayerFiles {
  /** Names of the entries, cleaned. */
  readonly paths: readonly string[];
  readonly sizes: readonly Bytes[];
  /** First byte: compressed, in the blob, when `exact`; else of the payload in the uncompressed tar. */
  readonly at: readonly Bytes[];
  /** Bytes that it takes there. */
  readonly length: readonly Bytes[];
  /** How many of them lie before the landmark: the first so many. */
  readonly prefetched: number;
  /** Whether the offsets are those of the blob, as only stargz says them. */
  readonly exact: boolean;
}

/** Where a profile's file lies: layer, and number in its `files`. */
export type Located = readonly [layer: number, number: number];

export interface ImageInspection {
  readonly reference: string;
  readonly digest: string;
  readonly mediaType: string;
  readonly platform: Image['platform'];
  readonly layers: readonly LayerInspection[];
  /** Files that the profile read but that no layer of this image has. */
  readonly profiledElsewhere: number;
  /** What made each layer, as the config's history says. */
  readonly steps: readonly LayerStep[];
  /** With a profile and `files: true`: for each of its files; undefined: has no content in a layer of this image. */
  readonly located?: readonly (Located | undefined)[];
  /** With these, when every layer is stargz: what a start from this image can be simulated with. */
  readonly layout?: Layout;
}

export interface InspectOptions {
  readonly profile?: Profile | undefined;
  /** Also list the files of each layer, and where those of the profile are among them. */
  readonly files?: boolean | undefined;
  readonly tempParent?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((layer: number, bytes: number, total: number) => void) | undefined;
}

const TOP = 10;

/** What was seen of a blob, before it is summed up. */
interface Seen {
  readonly blob: BlobInspection;
  /** All entries, landmarks and TOC included. */
  readonly entries: readonly TarEntry[];
  /** Position of the landmark that counts; -1: none. */
  readonly landmarkAt: number;
  /** Its table of contents; absent: it is not stargz. */
  readonly lazy?: StargzBlob;
}

/** @throws HL_ERR_DIGEST, HL_ERR_LAYER, HL_ERR_LIMIT for layers that are damaged */
export async function inspectImage(image: Image, options: InspectOptions = {}): Promise<ImageInspection> {
  const seen: Seen[] = [];
  const temp = makeTempDir(options.tempParent);
  try {
    for (const layer of image.layers) {
      const found = await withLayerFile(layer, temp.path, (fd) =>
        look(
          fd,
          layer.descriptor.digest,
          layer.descriptor.annotations?.[TOC_DIGEST_ANNOTATION] ?? '',
          options,
          layer.index,
        ),
      ).catch((error) => {
        throw withContext(error, { image: image.reference, layer: layer.descriptor.digest });
      });
      if (found.blob.digest !== layer.descriptor.digest) {
        throw new HotlayerError(
          'HL_ERR_DIGEST',
          `layer ${layer.index}: the stored bytes have digest ${found.blob.digest}, expected ${layer.descriptor.digest}`,
          { context: { image: image.reference, layer: layer.descriptor.digest } },
        );
      }
      seen.push(found);
    }
  } finally {
    temp.remove();
  }
  const nodes = options.profile && locateFiles(options.profile, seen);
  const use = nodes && touchedOf(options.profile!, nodes, seen);
  const listed = options.files ? seen.map(filesOf) : undefined;
  return {
    reference: image.reference,
    digest: image.descriptor.digest,
    mediaType: image.descriptor.mediaType,
    platform: image.platform,
    layers: seen.map(({ blob }, index) => ({
      index,
      mediaType: image.layers[index]!.descriptor.mediaType,
      ...blob,
      ...(use && { touched: use.layers[index]! }),
      ...(listed && { files: listed[index]!.files }),
    })),
    profiledElsewhere: use?.elsewhere ?? 0,
    steps: layerSteps(image.config.history, image.layers.length),
    ...(listed &&
      nodes && {
        located: nodes.map((node): Located | undefined => {
          const number = node && listed[node.layer]!.numbers.get(node.entry);
          return number === undefined ? undefined : [node!.layer, number];
        }),
        ...layoutOf(options.profile!, nodes, seen),
      }),
  };
}

/** A layer's blob by itself: gzip, eStargz, zstd or plain tar. @throws HL_ERR_NOT_FOUND, HL_ERR_LAYER, HL_ERR_LIMIT */
export async function inspectBlob(
  path: string,
  options: Omit<InspectOptions, 'profile'> = {},
): Promise<BlobInspection> {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (cause) {
    const code = errnoOf(cause) === 'ENOENT' ? 'HL_ERR_NOT_FOUND' : 'HL_ERR_IO';
    throw new HotlayerError(code, `cannot open ${path}: ${(cause as Error).message}`, {
      cause,
      context: { file: path },
    });
  }
  try {
    if (!fstatSync(fd).isFile()) {
      throw new HotlayerError('HL_ERR_LAYER', `${path} is not a regular file`, { context: { file: path } });
    }
    return (await look(fd, basename(path), undefined, options, 0)).blob;
  } catch (error) {
    throw withContext(error, { file: path });
  } finally {
    closeSync(fd);
  }
}

async function withLayerFile<T>(layer: Layer, temp: string, use: (fd: number) => Promise<T>): Promise<T> {
  const path = layer.file ?? join(temp, `layer-${layer.index}`);
  if (layer.file === undefined) await pipeline(layer.open(), createWriteStream(path));
  const fd = openSync(path, 'r');
  try {
    return await use(fd);
  } finally {
    closeSync(fd);
  }
}

/** @param annotation the TOC digest that the descriptor names, "" when it names none; undefined: there is no descriptor */
async function look(
  fd: number,
  name: string,
  annotation: string | undefined,
  options: InspectOptions,
  layer: number,
): Promise<Seen> {
  const { size } = fstatSync(fd);
  const head = readBytes(fd, 0, Math.min(size, 8));
  const compression = sniffCompression(head);
  if (compression === 'xz' || compression === 'bzip2') {
    throw new HotlayerError(
      'HL_ERR_LAYER',
      `${name} is compressed with ${compression}; expected gzip, zstd or a plain tar`,
    );
  }
  const blobHash = createHash('sha256');
  const tarHash = createHash('sha256');
  const scanner = new TarScanner({ layer: name });
  let uncompressedSize = 0;
  const take = (piece: Buffer) => {
    uncompressedSize += piece.length;
    if (uncompressedSize > MAX_LAYER_BYTES) {
      throw new HotlayerError('HL_ERR_LIMIT', `${name}: more than ${MAX_LAYER_BYTES} bytes (MAX_LAYER_BYTES)`);
    }
    tarHash.update(piece);
    scanner.push(piece);
  };
  let members: Member[] = [];
  async function* blob() {
    for await (const piece of createReadStream('', { fd, autoClose: false, start: 0, highWaterMark: 1 << 20 })) {
      blobHash.update(piece as Buffer);
      yield piece as Buffer;
    }
  }
  if (compression === 'zstd') await unzstd(blob(), take, { layer: name });
  else for await (const piece of blob()) if (compression === 'none') take(piece);
  if (compression === 'gzip') {
    members = await walkMembers(fd, size, take, {
      maxOutput: MAX_LAYER_BYTES,
      signal: options.signal,
      onProgress: (done) => options.onProgress?.(layer, done, size),
    });
  }
  const { entries } = scanner.end();
  const files = entries.filter((entry) => !isReserved(entry.path));
  const byType: Partial<Record<EntryType, number>> = {};
  for (const entry of files) byType[entry.type] = (byType[entry.type] ?? 0) + 1;
  const landmarkAt = landmarkPosition(entries);
  const lazy = compression === 'gzip' ? await stargzOf(fd, size, name) : {};
  return {
    blob: {
      digest: digest(blobHash),
      size,
      compression,
      uncompressedSize,
      diffId: digest(tarHash),
      members: members.length,
      entries: files.length,
      entriesByType: byType,
      fileBytes: sizeOf(files),
      ...(lazy.blob && { stargz: describe(lazy.blob, entries, landmarkAt, annotation) }),
      ...(lazy.problem !== undefined && { problem: lazy.problem }),
    },
    entries,
    landmarkAt,
    ...(lazy.blob && { lazy: lazy.blob }),
  };
}

async function stargzOf(fd: number, size: number, name: string): Promise<{ blob?: StargzBlob; problem?: string }> {
  try {
    return { blob: await openStargz(fileSource(fd, size, name)) };
  } catch (error) {
    if (!(error instanceof HotlayerError) || !['HL_ERR_STARGZ', 'HL_ERR_LIMIT'].includes(error.code)) throw error;
    return { problem: error.message };
  }
}

/** With both landmarks, the one that says "nothing" wins, as for every client. */
function landmarkPosition(entries: readonly TarEntry[]): number {
  const none = entries.findIndex((entry) => entry.path === NO_PREFETCH_LANDMARK);
  return none >= 0 ? none : entries.findIndex((entry) => entry.path === PREFETCH_LANDMARK);
}

function sizeOf(entries: readonly TarEntry[]): number {
  return entries.reduce((sum, entry) => sum + entry.size, 0);
}

function describe(
  blob: StargzBlob,
  entries: readonly TarEntry[],
  landmarkAt: number,
  annotation: string | undefined,
): StargzInspection {
  const { landmark } = blob;
  const prefetches = landmark?.kind === 'prefetch';
  const hot = (prefetches ? entries.slice(0, Math.max(0, landmarkAt)) : []).filter((entry) => !isReserved(entry.path));
  const all = entries.filter((entry) => !isReserved(entry.path));
  const hotBytes = sizeOf(hot);
  const largest = hot.filter((entry) => entry.type === 'reg' && entry.size > 0).sort((a, b) => b.size - a.size);
  return {
    footer: blob.format,
    tocOffset: blob.tocOffset,
    tocSize: blob.tocSize,
    tocDigest: blob.tocDigest,
    ...(annotation !== undefined && { annotated: annotation === blob.tocDigest }),
    ...(landmark && { landmark: { kind: landmark.kind, offset: landmark.offset, entry: landmarkAt } }),
    prefetchBytes: prefetches ? landmark.offset : 0,
    hotEntries: hot.length,
    hotBytes,
    coldBytes: sizeOf(all) - hotBytes,
    largestHot: largest.slice(0, TOP).map((entry) => {
      const chunks = blob.byPath.get(entry.path)?.chunks ?? [];
      const compressedSize = chunks.reduce((sum, chunk) => sum + chunk.nextOffset - chunk.offset, 0);
      return { path: entry.path, size: entry.size, compressedSize };
    }),
  };
}

interface FileNode {
  readonly layer: number;
  readonly entry: TarEntry;
}

/** For each file of the profile the entry that holds its content. */
function locateFiles(profile: Profile, seen: readonly Seen[]): (FileNode | undefined)[] {
  const tree = mergeLayers(seen.map(({ entries }) => entries));
  return profile.files.map((file) => {
    if (file.type !== 'reg') return undefined;
    const node = tree.find(file.path);
    return node?.type === 'reg' && node.entry ? { layer: node.layer, entry: node.entry } : undefined;
  });
}

function layoutOf(
  profile: Profile,
  nodes: readonly (FileNode | undefined)[],
  seen: readonly Seen[],
): { layout?: Layout } {
  const blobs = seen.flatMap(({ lazy }) => (lazy ? [lazy] : []));
  if (blobs.length < seen.length) return {};
  const places = new Map(profile.files.map(({ path }, i) => [path, nodes[i]]));
  const layout = layoutOfBlobs(blobs, [...places.keys()], (path) => {
    const node = places.get(path);
    return node && { layer: node.layer, entry: node.entry.path };
  });
  return { layout };
}

/** What of the files that a profile saw being read lies where. */
function touchedOf(
  profile: Profile,
  nodes: readonly (FileNode | undefined)[],
  seen: readonly Seen[],
): { layers: TouchedInspection[]; elsewhere: number } {
  const read = seen.map(() => new Map<TarEntry, number>());
  let elsewhere = 0;
  for (const [i, file] of profile.files.entries()) {
    if (file.type !== 'reg' || file.bytesRead.median === 0) continue;
    const node = nodes[i];
    if (node) {
      const layer = read[node.layer]!;
      layer.set(node.entry, Math.max(layer.get(node.entry) ?? 0, file.bytesRead.median));
    } else {
      elsewhere += 1;
    }
  }
  const layers = seen.map((layer, i): TouchedInspection => {
    const used = read[i]!;
    const isHot = hotIn(layer);
    const touched = [...used.keys()];
    const prefetched = touched.filter(isHot);
    const unused = layer.entries.filter((e) => e.type === 'reg' && !isReserved(e.path) && isHot(e) && !used.has(e));
    return {
      files: touched.length,
      bytesRead: [...used.values()].reduce((sum, bytes) => sum + bytes, 0),
      bytes: sizeOf(touched),
      prefetchedFiles: prefetched.length,
      prefetchedBytes: sizeOf(prefetched),
      unusedFiles: unused.length,
      unusedBytes: sizeOf(unused),
    };
  });
  return { layers, elsewhere };
}

/** Whether an entry lies before the landmark. */
function hotIn({ blob, entries, landmarkAt }: Seen): (entry: TarEntry) => boolean {
  const end = blob.stargz?.landmark?.kind === 'prefetch' ? entries[landmarkAt]!.index : 0;
  return (entry) => entry.index < end;
}

function filesOf(seen: Seen): { files: LayerFiles; numbers: ReadonlyMap<TarEntry, number> } {
  const { entries, lazy } = seen;
  const isHot = hotIn(seen);
  const numbers = new Map<TarEntry, number>();
  const [paths, sizes, at, length] = [[] as string[], [] as Bytes[], [] as Bytes[], [] as Bytes[]];
  let prefetched = 0;
  for (const entry of entries) {
    if (entry.type !== 'reg' || entry.size === 0 || isReserved(entry.path)) continue;
    const chunks = lazy?.byPath.get(entry.path)?.chunks ?? [];
    numbers.set(entry, paths.length);
    paths.push(entry.path);
    sizes.push(entry.size);
    at.push(lazy ? (chunks[0]?.offset ?? 0) : entry.payloadOffset);
    length.push(lazy ? Math.max(0, (chunks.at(-1)?.nextOffset ?? 0) - (chunks[0]?.offset ?? 0)) : entry.payloadSize);
    if (isHot(entry)) prefetched += 1;
  }
  return { files: { paths, sizes, at, length, prefetched, exact: lazy !== undefined }, numbers };
}
