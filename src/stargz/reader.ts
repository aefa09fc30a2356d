// Opens a stargz or eStargz blob: footer, TOC, and any range of any file, verified chunk by chunk. Nothing in a blob
// is trusted: sizes are bounded before they are used, and every refusal names the blob, the offset and both sides.
import { createHash } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import { HotlayerError } from '../errors.js';
import type { Digest } from '../image/digest.js';
import { showPath } from '../paths.js';
import { GIB, KIB, MIB } from '../units.js';
import { type BlobSource, nameOf, readExactly } from './blob-source.js';
import { inflatePrefix } from './codec/inflate.js';
import { FOOTER_SIZE, type Footer, parseFooter } from './footer.js';
import { type LandmarkKind, NO_PREFETCH_LANDMARK, PREFETCH_LANDMARK, TOC_NAME } from './landmark.js';
import { BLOCK } from './tar/header.js';
import { MAX_TOC_JSON } from './toc.js';
import { type Chunk, parseToc, resolveHardlink, type TocEntry, type TocLimits } from './toc-parse.js';

export interface StargzLimits extends TocLimits {
  /** Compressed bytes of the TOC member. */
  readonly maxTocCompressed: number;
  /** Bytes of its JSON. */
  readonly maxTocJson: number;
}

/** Far above what real blobs have (4 MiB chunks, a TOC of some MiB), low enough to survive a hostile one. */
export const STARGZ_LIMITS: StargzLimits = {
  maxChunk: GIB,
  maxEntries: 8_000_000,
  maxTocCompressed: 256 * MIB,
  maxTocJson: MAX_TOC_JSON,
};

export interface OpenStargzOptions {
  /** As the layer's descriptor has it; another TOC is refused. Absent: not checked. */
  readonly tocDigest?: Digest | string;
  readonly limits?: Partial<StargzLimits>;
}

export interface Landmark {
  readonly kind: LandmarkKind;
  /** Compressed offset of its member: what a client prefetches is [0, offset). 0 when the entry has no content. */
  readonly offset: number;
  readonly entry: TocEntry;
}

/** Bytes fetched beforehand from the blob's end: with an ordinary TOC, footer and TOC come in one request. */
const TAIL = 64 * KIB;

/** @throws HL_ERR_STARGZ, HL_ERR_LIMIT */
export async function openStargz(source: BlobSource, options: OpenStargzOptions = {}): Promise<StargzBlob> {
  const { footer, tocDigest, json } = await fetchToc(source, options);
  return new StargzBlob(source, footer, tocDigest, json, { ...STARGZ_LIMITS, ...options.limits });
}

/** A TOC as it stands in its blob. */
export interface StoredToc {
  readonly footer: Footer;
  /** Of the JSON. */
  readonly tocDigest: Digest;
  readonly json: Buffer;
}

/**
 * @param options.tail bytes of the blob's end that are asked for first; more are asked for only when the TOC is longer.
 *   Absent: 64 KiB
 * @throws HL_ERR_STARGZ, HL_ERR_LIMIT
 */
export async function fetchToc(
  source: BlobSource,
  options: OpenStargzOptions & { readonly tail?: number } = {},
): Promise<StoredToc> {
  const limits = { ...STARGZ_LIMITS, ...options.limits };
  const blob = nameOf(source);
  const wanted = Math.min(Math.max(options.tail ?? TAIL, FOOTER_SIZE), source.size);
  const tail = await readExactly(source, source.size - wanted, wanted, 'the footer');
  const footer = requireFooter(tail, source);
  const size = source.size - footer.size - footer.tocOffset;
  if (size <= 0) {
    throw broken(blob, footer.tocOffset, `a TOC before the footer at ${source.size - footer.size}`, 'none');
  }
  if (size > limits.maxTocCompressed) throw tooLarge(blob, 'the compressed TOC', size, limits.maxTocCompressed);
  const have = tail.subarray(0, tail.length - footer.size);
  const compressed =
    size <= have.length
      ? have.subarray(have.length - size)
      : Buffer.concat([await readExactly(source, footer.tocOffset, size - have.length, 'the TOC'), have]);
  const json = extractToc(compressed, blob, footer.tocOffset, limits.maxTocJson);
  const tocDigest: Digest = `sha256:${createHash('sha256').update(json).digest('hex')}`;
  if (options.tocDigest !== undefined && options.tocDigest !== tocDigest) {
    throw new HotlayerError(
      'HL_ERR_STARGZ',
      `${blob}: the TOC at offset ${footer.tocOffset} has digest ${tocDigest}; expected ${options.tocDigest}`,
      { context: { offset: footer.tocOffset } },
    );
  }
  return { footer, tocDigest, json };
}

/** Whether the last bytes of a blob (51 or more, or all of a shorter one) are a stargz footer. @throws as parseFooter */
export function isStargzTail(tail: Buffer): boolean {
  return parseFooter(tail) !== undefined;
}

export class StargzBlob {
  readonly format: Footer['kind'];
  readonly size: number;
  /** Compressed offset of the TOC member: members before it hold the entries. */
  readonly tocOffset: number;
  /** Bytes of the TOC's JSON. */
  readonly tocSize: number;
  /** In tar order, chunks folded into their files. */
  readonly entries: readonly TocEntry[];
  /** By cleaned path (`""` = root); where a name occurs twice, the last. */
  readonly byPath: ReadonlyMap<string, TocEntry>;
  /** Why content cannot be verified (a blob of before chunk digests); absent when all of it can. */
  readonly unverifiable: string | undefined;
  /** Absent: none in the root directory. With both, `.no.prefetch.landmark` counts, as for other readers. */
  readonly landmark: Landmark | undefined;
  private readonly source: BlobSource;

  constructor(
    source: BlobSource,
    footer: Footer,
    /** Of the TOC's JSON as it stands in the blob. */
    readonly tocDigest: Digest,
    json: Buffer,
    limits: TocLimits,
  ) {
    const toc = parseToc(json, nameOf(source), footer.tocOffset, limits);
    this.source = source;
    this.format = footer.kind;
    this.size = source.size;
    this.tocOffset = footer.tocOffset;
    this.tocSize = json.length;
    this.entries = toc.entries;
    this.byPath = toc.byPath;
    this.unverifiable = toc.unverifiable;
    this.landmark = findLandmark(toc.byPath);
  }

  /** Compressed bytes that a client fetches before it starts the container. */
  get prefetchSize(): number {
    return this.landmark?.kind === 'prefetch' ? this.landmark.offset : 0;
  }

  /** The entry that holds the content: a hardlink's target, chains followed; any other entry is its own. */
  resolve(entry: TocEntry): TocEntry {
    // Checked when the TOC was parsed.
    return resolveHardlink(this.byPath, entry)!;
  }

  /** In order, without gaps; those of the target for a hardlink; none for what is not a file. */
  chunksOf(entry: TocEntry): readonly Chunk[] {
    return this.resolve(entry).chunks;
  }

  /** Offsets at which the TOC says that a member begins, ascending: 0, each chunk's, the TOC's, the footer's. */
  memberOffsets(): number[] {
    const offsets = new Set<number>([0]);
    for (const entry of this.entries) for (const chunk of entry.chunks) offsets.add(chunk.offset);
    offsets.add(this.tocOffset);
    offsets.add(this.size - (this.format === 'estargz' ? FOOTER_SIZE : FOOTER_SIZE - 4));
    return [...offsets];
  }

  /**
   * Bytes [offset, offset + length) of a file, fewer only at its end; every chunk touched is verified first.
   * @param options.unverified also give bytes that no digest vouches for (old blobs)
   * @throws HL_ERR_STARGZ when a chunk is damaged, or cannot be verified; HL_ERR_NOT_FOUND for what is not a file
   */
  async readFile(
    entry: TocEntry,
    offset = 0,
    length = Number.POSITIVE_INFINITY,
    options: { readonly unverified?: boolean } = {},
  ): Promise<Buffer> {
    const file = this.resolve(entry);
    if (file.type !== 'reg') {
      throw new HotlayerError(
        'HL_ERR_NOT_FOUND',
        `${nameOf(this.source)}: ${showPath(entry.name)} is a ${file.type}, not a file`,
      );
    }
    const end = Math.min(file.size, offset + length);
    const parts: Buffer[] = [];
    for (let i = chunkIndex(file.chunks, offset); i < file.chunks.length; i++) {
      const chunk = file.chunks[i]!;
      if (chunk.at >= end) break;
      const bytes = await this.readChunk(file, chunk, options.unverified ?? false);
      parts.push(bytes.subarray(Math.max(0, offset - chunk.at), Math.min(chunk.size, end - chunk.at)));
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }

  private async readChunk(file: TocEntry, chunk: Chunk, unverified: boolean): Promise<Buffer> {
    const range = chunkRange(chunk);
    const compressed = await readExactly(this.source, range.offset, range.length, showPath(file.name));
    return decodeChunk(compressed, file, chunk, nameOf(this.source), unverified);
  }
}

/**
 * The compressed bytes that hold a chunk. A TOC may claim that the next member is far away (and in foreign blobs
 * data without entry may lie between); no deflate stream needs more than twice the bytes it gives, and some headers.
 */
export function chunkRange(chunk: Chunk): { readonly offset: number; readonly length: number } {
  const bound = 2 * (chunk.innerOffset + chunk.size) + 64 * KIB;
  return { offset: chunk.offset, length: Math.min(chunk.nextOffset - chunk.offset, bound) };
}

/**
 * A chunk's bytes from the compressed range `chunkRange` named, checked against its digest. Synchronous, so that the
 * thread that answers the kernel can call it.
 * @throws HL_ERR_STARGZ
 */
export function decodeChunk(
  compressed: Buffer,
  file: TocEntry,
  chunk: Chunk,
  blob: string,
  unverified = false,
): Buffer {
  const where = `${blob}: ${showPath(file.name)}: chunk at ${chunk.at}, member at offset ${chunk.offset}`;
  const context = { entry: showPath(file.path), offset: chunk.offset };
  let bytes: Buffer;
  try {
    bytes = inflatePrefix(compressed, chunk.innerOffset + chunk.size).subarray(chunk.innerOffset);
  } catch (cause) {
    throw new HotlayerError('HL_ERR_STARGZ', `${where}: does not decompress: ${(cause as Error).message}`, {
      cause,
      context,
    });
  }
  if (bytes.length !== chunk.size) {
    throw new HotlayerError('HL_ERR_STARGZ', `${where}: expected ${chunk.size} bytes, found ${bytes.length}`, {
      context,
    });
  }
  if (chunk.digest) {
    const found = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    if (found !== chunk.digest) {
      throw new HotlayerError('HL_ERR_STARGZ', `${where}: expected ${chunk.digest}, found ${found}`, { context });
    }
  } else if (!unverified) {
    throw new HotlayerError('HL_ERR_STARGZ', `${where}: the TOC has no digest to verify it with`, {
      context,
      hint: 'the blob is from before chunk digests: rewrite the layer',
    });
  }
  return bytes;
}

/** Index of the chunk that holds `offset`: the last one that begins at or before it. */
function chunkIndex(chunks: readonly Chunk[], offset: number): number {
  let low = 0;
  let high = chunks.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (chunks[middle]!.at <= offset) low = middle;
    else high = middle - 1;
  }
  return low;
}

function requireFooter(tail: Buffer, source: BlobSource): Footer {
  const footer = parseFooter(tail, nameOf(source));
  if (footer) return footer;
  const shown = tail.subarray(-FOOTER_SIZE).toString('hex', 0, 16);
  throw new HotlayerError(
    'HL_ERR_STARGZ',
    `${nameOf(source)}: expected a stargz footer in the last ${FOOTER_SIZE} of ${source.size} bytes, found ${shown || 'nothing'}…`,
    {
      hint: 'the layer is not eStargz, or the blob is cut off',
      context: { offset: Math.max(0, source.size - FOOTER_SIZE) },
    },
  );
}

/** The JSON in the TOC member: one tar entry named exactly `stargz.index.json`. */
function extractToc(compressed: Buffer, blob: string, offset: number, maxJson: number): Buffer {
  let tar: Buffer;
  try {
    // The entry's header, its padding and the archive's end lie around the JSON.
    tar = gunzipSync(compressed, { maxOutputLength: maxJson + 64 * KIB });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE')
      throw tooLarge(blob, 'the TOC', undefined, maxJson);
    throw broken(blob, offset, 'a gzip member with the TOC', (cause as Error).message, cause);
  }
  const found = tar.toString('latin1', 0, Math.min(100, tar.length)).split('\0')[0]!;
  if (tar.length < BLOCK || found !== TOC_NAME) {
    throw broken(blob, offset, `a tar entry named ${TOC_NAME}`, JSON.stringify(found.slice(0, 100)));
  }
  const digits = tar
    .toString('latin1', 124, 136)
    .replace(/[\0 ]+$/, '')
    .trim();
  const size = /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : Number.NaN;
  if (!(size <= tar.length - BLOCK)) {
    throw broken(blob, offset, `a TOC of ${JSON.stringify(digits)} (octal) bytes`, `${tar.length - BLOCK} bytes`);
  }
  if (size > maxJson) throw tooLarge(blob, 'the TOC', size, maxJson);
  return tar.subarray(BLOCK, BLOCK + size);
}

function findLandmark(byPath: ReadonlyMap<string, TocEntry>): Landmark | undefined {
  const no = byPath.get(NO_PREFETCH_LANDMARK);
  const entry = no ?? byPath.get(PREFETCH_LANDMARK);
  if (!entry) return undefined;
  return { kind: no ? 'no-prefetch' : 'prefetch', offset: entry.chunks[0]?.offset ?? 0, entry };
}

function broken(blob: string, offset: number, expected: string, found: string, cause?: unknown): HotlayerError {
  return new HotlayerError('HL_ERR_STARGZ', `${blob}: at offset ${offset}: expected ${expected}, found ${found}`, {
    context: { offset },
    ...(cause === undefined ? {} : { cause }),
  });
}

function tooLarge(blob: string, what: string, found: number | undefined, limit: number): HotlayerError {
  const size = found === undefined ? 'more' : `${found} bytes`;
  return new HotlayerError('HL_ERR_LIMIT', `${blob}: ${what} has ${size}; the limit is ${limit} bytes`);
}
