// One layer of an optimized image, with everything about it recomputed from the blob's bytes: digests, members, the
// tar that comes out, its entries, footer and TOC. What its descriptor, config and TOC claim is held against that.
import { createHash } from 'node:crypto';
import { closeSync, createWriteStream, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { HotlayerError } from '../../errors.js';
import type { Layer } from '../../image/types.js';
import type { TarEntry } from '../../stargz/tar/entry.js';
import { scanTarFd, type TarScan } from '../../stargz/tar/scan.js';
import { KIB, MIB } from '../../units.js';
import { digest, readBytes } from '../inspect/content.js';
import { type Member, walkMembers } from '../inspect/members.js';
import {
  TOC_DIGEST_ANNOTATION,
  TOC_NAME,
  TOC_OFFSET_ANNOTATION,
  UNCOMPRESSED_ANNOTATION,
  UNCOMPRESSED_SIZE_ANNOTATION,
} from '../names.js';
import { checkStart, type StartPieces } from './check-start.js';
import { checkToc, type TocCounts, unreadable } from './check-toc.js';
import type { Findings } from './findings.js';
import { type TocItem, tocItems } from './toc-document.js';

/**
 * 51 bytes = 10 (gzip header, FEXTRA set, OS 255) + 2 (XLEN 26) + 4 (subfield "SG", length 22) + 16 (hex digits of the
 * TOC's offset) + 6 ("STARGZ") + 5 (final stored block of no bytes) + 8 (CRC and length, 0). eStargz, "Footer".
 */
const FOOTER_SIZE = 51;
const FOOTER_START = Buffer.from('1f8b08040000000000ff1a0053471600', 'hex');
const FOOTER_END = Buffer.from('53544152475a010000ffff0000000000000000', 'hex');
/** POSIX: two blocks of zeros end an archive. */
const END_OF_ARCHIVE = 1024;
/** Pieces of the output from this size on are left out when they are all zeros; none is larger than ZEROS. */
const HOLE = 64 * KIB;
const ZEROS = Buffer.alloc(16 * MIB);

export interface OptimizedLayer {
  /** The decompressed tar, open for reading. */
  readonly fd: number;
  /** Without the TOC's; landmarks included. */
  readonly entries: readonly TarEntry[];
  readonly scan: TarScan;
  /** sha256 of regular files by `TarEntry.index`, as far as they were computed. */
  readonly digests: (string | undefined)[];
  readonly counts: TocCounts;
  close(): void;
}

export interface ReadOptions {
  /** Existing directory for temporary files. */
  readonly temp: string;
  /** More decompressed bytes than this are refused. */
  readonly maxBytes: number;
  /** What the image says that a start needs of the blob. */
  readonly start?: StartPieces | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((bytes: number, total: number) => void) | undefined;
}

/**
 * Adds all that is wrong to `findings`.
 * @returns undefined when the blob is so broken that there is no tar to look at
 */
export async function readOptimizedLayer(
  layer: Layer,
  options: ReadOptions,
  findings: Findings,
): Promise<OptimizedLayer | undefined> {
  const blob = await openBlob(layer, options.temp, findings);
  let tar: number | undefined;
  try {
    const path = join(options.temp, `optimized-${layer.index}.tar`);
    tar = openSync(path, 'w+');
    const members = await inflate(layer, blob, tar, options, findings);
    if (!members) return undefined;
    const scanned = scan(layer, tar, findings);
    if (!scanned) return undefined;
    const toc = checkFrame(layer, blob, tar, members, scanned.entries, findings);
    const files = scanned.entries.filter((entry) => entry !== toc?.entry);
    let counts: TocCounts = { chunks: 0, bytes: 0 };
    const digests: (string | undefined)[] = [];
    if (toc?.items) {
      const { items } = toc;
      counts = checkToc({ layer: layer.index, fd: tar, entries: files, items, members, digests }, findings);
      checkMemberStarts(layer.index, files, members, findings);
      checkStart(layer.index, options.start ?? [], members, findings);
    }
    const fd = tar;
    tar = undefined;
    return { fd, entries: files, scan: scanned, digests, counts, close: () => closeSync(fd) };
  } finally {
    closeSync(blob);
    if (tar !== undefined) closeSync(tar);
  }
}

/** The blob as an open file; its digest and size are checked on the way, by ourselves. */
async function openBlob(layer: Layer, temp: string, findings: Findings): Promise<number> {
  const path = layer.file ?? join(temp, `blob-${layer.index}`);
  if (layer.file === undefined) {
    try {
      await pipeline(layer.open(), createWriteStream(path));
    } catch (error) {
      // A wrong digest is one mismatch of many; it is found again below.
      if (!(error instanceof HotlayerError) || error.code !== 'HL_ERR_DIGEST') throw error;
    }
  }
  const fd = openSync(path, 'r');
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(1024 * 1024);
  let size = 0;
  for (let got = readSync(fd, buffer, 0, buffer.length, 0); got > 0; ) {
    hash.update(buffer.subarray(0, got));
    size += got;
    got = readSync(fd, buffer, 0, buffer.length, size);
  }
  const where = { layer: layer.index };
  findings.same('estargz', layer.descriptor.digest, digest(hash), { ...where, message: 'digest of the blob' });
  findings.same('estargz', layer.descriptor.size, size, { ...where, message: 'size of the blob' });
  return fd;
}

async function inflate(
  layer: Layer,
  blob: number,
  tar: number,
  options: ReadOptions,
  findings: Findings,
): Promise<Member[] | undefined> {
  const size = fstatSync(blob).size;
  const hash = createHash('sha256');
  let at = 0;
  let members: Member[];
  try {
    members = await walkMembers(
      blob,
      size,
      (piece) => {
        hash.update(piece);
        // The holes of what was a sparse file take no space here, either.
        const hole = piece.length >= HOLE && piece.equals(ZEROS.subarray(0, piece.length));
        for (let done = 0; !hole && done < piece.length; ) {
          done += writeSync(tar, piece, done, piece.length - done, at + done);
        }
        at += piece.length;
      },
      {
        maxOutput: options.maxBytes,
        signal: options.signal,
        onProgress: options.onProgress && ((bytes) => options.onProgress?.(bytes, size)),
      },
    );
  } catch (error) {
    if (!(error instanceof HotlayerError) || (error.code !== 'HL_ERR_LAYER' && error.code !== 'HL_ERR_LIMIT'))
      throw error;
    findings.fail('tar', {
      layer: layer.index,
      message: 'the blob does not decompress',
      expected: 'gzip members from the first byte to the last',
      found: error.message,
    });
    return undefined;
  }
  ftruncateSync(tar, at);
  const where = { layer: layer.index };
  const diffId = digest(hash);
  findings.same('estargz', diffId, layer.diffId, { ...where, message: 'diff_id in the config' });
  const annotations = layer.descriptor.annotations ?? {};
  findings.same('estargz', String(at), annotations[UNCOMPRESSED_SIZE_ANNOTATION], {
    ...where,
    message: `annotation ${UNCOMPRESSED_SIZE_ANNOTATION}`,
  });
  if (annotations[UNCOMPRESSED_ANNOTATION] !== undefined) {
    findings.same('estargz', diffId, annotations[UNCOMPRESSED_ANNOTATION], {
      ...where,
      message: `annotation ${UNCOMPRESSED_ANNOTATION}`,
    });
  }
  return members;
}

function scan(layer: Layer, tar: number, findings: Findings): TarScan | undefined {
  try {
    return scanTarFd(tar, fstatSync(tar).size, { layer: layer.descriptor.digest });
  } catch (error) {
    if (!(error instanceof HotlayerError)) throw error;
    findings.fail('tar', {
      layer: layer.index,
      message: 'the decompressed blob is not a tar',
      expected: 'headers with correct checksums to the end',
      found: error.message,
    });
    return undefined;
  }
}

/** Footer, TOC member and end of the tar. @returns the TOC, `items` absent when it cannot be read */
function checkFrame(
  layer: Layer,
  blob: number,
  tar: number,
  members: readonly Member[],
  entries: readonly TarEntry[],
  findings: Findings,
): { entry: TarEntry; items?: Iterable<TocItem> } | undefined {
  const where = { layer: layer.index };
  const fail = (message: string, expected: string, found: string) =>
    findings.fail('estargz', { ...where, message, expected, found });
  const tocOffset = checkFooter(blob, members, fail);
  const tocMember = members.at(-2);
  if (tocOffset !== undefined && tocMember?.start !== tocOffset) {
    fail(
      'TOC offset in the footer',
      `${tocMember?.start ?? 'a member'}, the start of the last member but one`,
      `${tocOffset}`,
    );
  }
  const said = layer.descriptor.annotations?.[TOC_OFFSET_ANNOTATION];
  if (said !== undefined && tocMember && said !== String(tocMember.start))
    fail(`annotation ${TOC_OFFSET_ANNOTATION}`, `${tocMember.start}`, said);
  const entry = entries.at(-1);
  for (const other of entries) {
    if (other.path === TOC_NAME && other !== entry) {
      findings.fail('tar', {
        ...where,
        entry: other.name,
        message: "a second entry of the TOC's name",
        expected: 'one, the last',
        found: `entry ${other.index}`,
      });
    }
  }
  if (entry?.name !== TOC_NAME || entry.type !== 'reg') {
    fail('the last entry of the tar is the TOC', TOC_NAME, entry ? `${entry.type} ${entry.name}` : 'no entry');
    return undefined;
  }
  if (tocMember && tocMember.outStart !== entry.headerOffset) {
    fail(
      "the TOC member begins with the TOC's tar header",
      `tar offset ${entry.headerOffset}`,
      `${tocMember.outStart}`,
    );
  }
  checkTarEnd(layer.index, tar, entry, findings);
  const json = readBytes(tar, entry.payloadOffset, entry.payloadSize);
  const found = digest(createHash('sha256').update(json));
  findings.same('estargz', found, layer.descriptor.annotations?.[TOC_DIGEST_ANNOTATION], {
    ...where,
    message: `annotation ${TOC_DIGEST_ANNOTATION}`,
  });
  try {
    return { entry, items: tocItems(json) };
  } catch (error) {
    if (!(error instanceof HotlayerError)) throw error;
    unreadable(layer.index, error, findings);
    return { entry };
  }
}

function checkFooter(
  blob: number,
  members: readonly Member[],
  fail: (message: string, expected: string, found: string) => void,
): number | undefined {
  const last = members.at(-1);
  const size = last?.end ?? 0;
  const footer = readBytes(blob, Math.max(0, size - FOOTER_SIZE), Math.min(size, FOOTER_SIZE));
  const digits = footer.toString('latin1', FOOTER_START.length, FOOTER_START.length + 16);
  const right =
    footer.length === FOOTER_SIZE &&
    footer.subarray(0, FOOTER_START.length).equals(FOOTER_START) &&
    footer.subarray(FOOTER_START.length + 16).equals(FOOTER_END) &&
    /^[0-9a-f]{16}$/.test(digits);
  if (!right) {
    fail('footer', `${FOOTER_SIZE} bytes: a gzip header with "SG" and "STARGZ"`, footer.toString('hex'));
    return undefined;
  }
  if (last?.start !== size - FOOTER_SIZE)
    fail('the footer is a member of its own', `${size - FOOTER_SIZE}`, `${last?.start}`);
  return Number.parseInt(digits, 16);
}

/** After the TOC: two blocks of zeros, and nothing else. */
function checkTarEnd(layer: number, tar: number, toc: TarEntry, findings: Findings): void {
  const rest = fstatSync(tar).size - toc.end;
  const bytes = readBytes(tar, toc.end, Math.min(Math.max(rest, 0), END_OF_ARCHIVE));
  if (rest === END_OF_ARCHIVE && bytes.every((byte) => byte === 0)) return;
  findings.fail('tar', {
    layer,
    message: 'the tar ends with two blocks of zeros after the TOC',
    expected: `${END_OF_ARCHIVE} zero bytes`,
    found: `${rest} bytes`,
  });
}

/** Every file with content starts a member of its own (eStargz "gzip members"). */
function checkMemberStarts(
  layer: number,
  entries: readonly TarEntry[],
  members: readonly Member[],
  findings: Findings,
): void {
  const starts = new Set(members.map((member) => member.outStart));
  for (const entry of entries) {
    if (entry.type !== 'reg' || entry.payloadSize === 0 || starts.has(entry.payloadOffset)) continue;
    findings.fail('estargz', {
      layer,
      entry: entry.name,
      message: "no gzip member starts with the file's first byte",
      expected: `a member at tar offset ${entry.payloadOffset}`,
      found: 'none',
    });
  }
}
