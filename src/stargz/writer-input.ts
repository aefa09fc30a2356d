// What the writer is given, and what has to be true of it before a byte is written.
import { HotlayerError } from '../errors.js';
import { cleanPath, isUtf8Path, showPath } from '../paths.js';
import { KIB, MIB } from '../units.js';
import type { Codec } from './codec/codec.js';
import type { Compressor } from './codec/compressor.js';
import { isFormatEntry, type LandmarkKind } from './landmark.js';
import { BATCH_BYTES } from './member-layout.js';
import type { EffectiveEntries } from './names.js';
import type { EntryOrder } from './order.js';
import { PathIndex } from './path-index.js';
import type { MadeMeta } from './tar/build.js';
import { copyEntry, type TarEntry } from './tar/entry.js';
import type { TarScan } from './tar/scan.js';
import { isWritableTime } from './toc.js';

/** An entry that is not in the input, mostly a regular file: its headers are made from `meta`. */
export interface MadeFile {
  readonly meta: MadeMeta;
  /** A regular file's content: that of an entry of a tar which stays open. */
  readonly content: { readonly fd: number; readonly entry: Pick<TarEntry, 'payloadOffset' | 'sparse'> };
}

/**
 * A TOC of more than this, about 200 000 files' worth, would take several times its size of memory if it were compressed
 * at once. A piece fits a batch, with headers and padding.
 */
export const TOC_IN_PIECES = { above: 64 * MIB, size: BATCH_BYTES - 4 * KIB };

export interface StargzInput {
  /** The uncompressed tar, readable at any offset. Stays open. */
  readonly fd: number;
  readonly scan: TarScan;
  /** Every entry's index exactly once; landmarks and TOC of an earlier conversion are left out wherever they are. */
  readonly order: EntryOrder;
  /** `prefetch`: between hot and rest. `no-prefetch`: before everything. */
  readonly landmark: LandmarkKind;
  readonly codec: Codec;
  /** Where the work is done; the bytes are the same anywhere. May be shared. Absent: in this thread. */
  readonly compressor?: Compressor;
  /** Compression level up to the landmark. Absent: the codec's. */
  readonly hotLevel?: number;
  /** Absent: DEFAULT_CHUNK_SIZE. */
  readonly chunkSize?: number;
  /** By entry index: offsets at which a chunk of the file has to begin, ascending, without 0. */
  readonly chunks?: ReadonlyMap<number, readonly number[]>;
  /** By entry index: what is to be written in place of the entry. */
  readonly replace?: ReadonlyMap<number, MadeFile>;
  /**
   * By entry index: files to be written right before the entry. A hardlink to a file of a lower layer can be kept as
   * it is with a copy of that file before it, which is what overlayfs makes of it when it is extracted.
   */
  readonly before?: ReadonlyMap<number, readonly MadeFile[]>;
  /** Where a TOC goes that is too large for the memory, while it is made. Absent: the system's temporary directory. */
  readonly tempDir?: string | undefined;
  /** From how many bytes of JSON on that is so, and in pieces of how many it is compressed. The blob depends on it; absent: TOC_IN_PIECES. */
  readonly tocInPieces?: { readonly above: number; readonly size: number };
  /** The result has the TOC's JSON, too. */
  readonly keepToc?: boolean;
  /** Names the layer in messages. */
  readonly name?: string;
  readonly signal?: AbortSignal;
  /** Called now and then with the uncompressed bytes written so far. */
  readonly onProgress?: (uncompressed: number) => void;
  /** Called once, when all content is with the compressor: from now on another layer can make use of it, too. */
  readonly onLaidOut?: () => void;
}

export interface StargzWarning {
  readonly code:
    | 'sparse-expanded'
    | 'name-not-utf8'
    | 'name-collision'
    | 'duplicate-name'
    | 'time-out-of-range'
    | 'global-header-dropped';
  /** The entry, as shown to people. */
  readonly entry: string;
  readonly message: string;
}

/**
 * A copy of an entry of another tar, under a name of its own.
 * @throws HL_ERR_BUG for a directory or hardlink
 */
export function copyOfEntry(fd: number, entry: TarEntry, name: string): MadeFile {
  const { type } = entry;
  if (type === 'dir' || type === 'hardlink') {
    throw new HotlayerError('HL_ERR_BUG', `a ${type} cannot be copied: "${showPath(entry.path)}"`);
  }
  return {
    meta: { ...copyEntry(entry), type, name },
    content: { fd, entry },
  };
}

/** The order has to be a permutation in which entries of one name keep their order: else the tree would change. */
export function checkOrder(input: StargzInput): void {
  const { scan, order } = input;
  const seen = new Uint8Array(scan.entries.length);
  const lastOfName = new PathIndex(scan.entries);
  for (const indexes of [order.hot, order.rest]) {
    for (const index of indexes) {
      const entry = scan.entries[index];
      if (!entry || seen[index] === 1)
        throw bug(input, `the order names entry ${index} ${entry ? 'twice' : 'of none'}`);
      seen[index] = 1;
      const { path } = entry;
      if (index < lastOfName.set(path, index)) {
        throw bug(input, `the order puts an earlier entry of "${showPath(path)}" behind a later one`);
      }
    }
  }
  for (const entry of scan.entries) {
    if (seen[entry.index] === 0 && !isFormatEntry(entry.path)) {
      throw bug(input, `the order leaves out entry ${entry.index}, "${showPath(entry.path)}"`);
    }
  }
}

/** Names as the TOC's readers will meet them: every hardlink has its target; names that others will see changed are reported. */
export function checkNames(
  input: StargzInput,
  effective: EffectiveEntries,
  warn: (code: StargzWarning['code'], path: string, message: string) => void,
): void {
  const { before, replace, scan } = input;
  const made = new Set<string>();
  for (const files of before?.values() ?? []) for (const file of files) made.add(cleanPath(file.meta.name));
  for (const path of made) {
    if (effective.has(path)) throw bug(input, `a file is to be added as "${showPath(path)}", which the layer has`);
  }
  /** Paths that are known to lead to a file: a chain of links is followed once. */
  const leads = new Set<string>(made);
  const shown = new Map<string, string>();
  const someNotUtf8 = scan.entries.some((entry) => !isUtf8Path(entry.name) || !isUtf8Path(entry.linkName));
  for (const entry of effective.values()) {
    if (entry.type === 'hardlink' && !replace?.has(entry.index)) checkHardlink(input, effective, leads, entry);
    if (!isWritableTime(entry.mtime)) {
      warn('time-out-of-range', entry.path, `modification time ${entry.mtime.sec} s has no form in a TOC: left out`);
    }
    if (!someNotUtf8) continue;
    if (!isUtf8Path(entry.name) || !isUtf8Path(entry.linkName)) {
      const what = isUtf8Path(entry.name) ? 'its link target is' : 'the name is';
      warn('name-not-utf8', entry.path, `${what} not UTF-8: lazy clients show U+FFFD for the bytes that are not`);
    }
    const asShown = asOthersSee(entry.path);
    const other = shown.get(asShown);
    if (other !== undefined) {
      warn(
        'name-collision',
        entry.path,
        `lazy clients cannot tell it from "${showPath(other)}": both look like "${asShown}"`,
      );
    }
    shown.set(asShown, entry.path);
  }
}

function checkHardlink(input: StargzInput, effective: EffectiveEntries, leads: Set<string>, link: TarEntry): void {
  const seen = new Set<string>();
  for (let path = link.path; !seen.has(path); ) {
    const entry = effective.get(path);
    if (leads.has(path) || (entry && (entry.type !== 'hardlink' || input.replace?.has(entry.index)))) {
      for (const passed of seen) leads.add(passed);
      return;
    }
    if (!entry) break;
    seen.add(path);
    path = cleanPath(entry.linkName);
  }
  throw new HotlayerError(
    'HL_ERR_LAYER',
    `${layerName(input)}: "${showPath(link.path)}" is a hardlink to "${showPath(link.linkName)}"; expected a file of this layer, found none`,
    { context: { entry: showPath(link.path), offset: link.headerOffset } },
  );
}

/** Each byte that is not part of valid UTF-8 as U+FFFD, as Go's encoding/json does it. */
function asOthersSee(path: string): string {
  return path.replace(/(?<![\ud800-\udbff])[\udc80-\udcff]/g, '\ufffd');
}

export function layerName(input: StargzInput): string {
  return input.name ?? 'layer';
}

export function bug(input: StargzInput, message: string): HotlayerError {
  return new HotlayerError('HL_ERR_BUG', `${layerName(input)}: ${message}`);
}
