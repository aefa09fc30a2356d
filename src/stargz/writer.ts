// Writes a layer as eStargz: the input's tar entries in a given order, each with the header bytes it had, one gzip
// member per chunk of content, a landmark, the table of contents, the footer. Rules: estargz's "Blob layout".
//
// A member begins at byte 0, at each chunk of a non-empty regular file, at the TOC and at the footer. Everything else
// (headers, directories, links, empty files, padding) rides in the member that is open.
import { createHash } from 'node:crypto';
import { readSync } from 'node:fs';
import { HotlayerError } from '../errors.js';
import type { Digest } from '../image/digest.js';
import { cleanPath, isUtf8Path, showPath } from '../paths.js';
import { MIB } from '../units.js';
import { checkChunkSize, chunksOf, DEFAULT_CHUNK_SIZE } from './chunking.js';
import type { Codec } from './codec.js';
import { buildFooter } from './footer.js';
import { GlobalState } from './global-state.js';
import { isFormatEntry, LANDMARK_CONTENT, type LandmarkKind, landmarkName, TOC_NAME } from './landmark.js';
import { MemberWriter, type Sink } from './member-writer.js';
import { effectiveEntries } from './names.js';
import type { EntryOrder } from './order.js';
import { headersOfExpanded } from './sparse-header.js';
import { END_OF_ARCHIVE, paddingOf, regularHeader, ustarHeader } from './tar-build.js';
import type { TarEntry } from './tar-entry.js';
import { readPayload, type TarScan } from './tar-scan.js';
import { isWritableTime, TocBuilder, type TocMeta, type WrittenChunk } from './toc.js';

/** A regular file that is not in the input: its headers are made from `meta`. */
export interface MadeFile {
  readonly meta: Omit<TocMeta, 'type' | 'linkName' | 'devMajor' | 'devMinor'>;
  /** Fills `into` with the content from `offset`; both lie inside `meta.size`. */
  readonly read: (offset: number, into: Buffer) => void;
}

export interface StargzInput {
  /** The uncompressed tar, readable at any offset. Stays open. */
  readonly fd: number;
  readonly scan: TarScan;
  /** Every entry's index exactly once; landmarks and TOC of an earlier conversion are left out wherever they are. */
  readonly order: EntryOrder;
  /** `prefetch`: between hot and rest. `no-prefetch`: before everything. */
  readonly landmark: LandmarkKind;
  readonly codec: Codec;
  /** Compression level up to the landmark. Absent: the codec's. */
  readonly hotLevel?: number;
  /** Absent: DEFAULT_CHUNK_SIZE. */
  readonly chunkSize?: number;
  /** By entry index: offsets at which a chunk of the file has to begin, ascending, without 0. */
  readonly chunks?: ReadonlyMap<number, readonly number[]>;
  /** By entry index: a regular file to be written in place of the entry. */
  readonly replace?: ReadonlyMap<number, MadeFile>;
  /**
   * By entry index: files to be written right before the entry. A hardlink to a file of a lower layer can be kept as
   * it is with a copy of that file before it, which is what overlayfs makes of it when it is extracted.
   */
  readonly before?: ReadonlyMap<number, readonly MadeFile[]>;
  /** Names the layer in messages. */
  readonly name?: string;
  readonly signal?: AbortSignal;
  /** Called now and then with the uncompressed bytes done so far. */
  readonly onProgress?: (uncompressed: number) => void;
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

export interface StargzResult {
  /** Of the blob. */
  readonly digest: Digest;
  readonly size: number;
  /** Of all that the blob decompresses to, TOC and end-of-archive blocks included. */
  readonly diffId: Digest;
  readonly uncompressedSize: number;
  readonly tocDigest: Digest;
  readonly tocOffset: number;
  /** Compressed offset of the landmark's content: with `prefetch`, the bytes that clients fetch first. */
  readonly landmarkOffset: number;
  /** Entries in the TOC, the landmark included, chunks not counted. */
  readonly entries: number;
  /** Gzip members, TOC and footer included. */
  readonly members: number;
  readonly warnings: readonly StargzWarning[];
}

/**
 * Writes the blob to `sink`, member by member. Memory: one chunk, one compressed member and the TOC.
 * Output depends on the input's bytes, order, landmark, codec, levels and chunking, on nothing else.
 * @throws HL_ERR_LAYER for a hardlink without target, HL_ERR_LIMIT, HL_ERR_IO, and what `sink` throws
 */
export async function writeStargz(input: StargzInput, sink: Sink): Promise<StargzResult> {
  return new Writer(input, sink).write();
}

/** Bytes copied at once where a directory or link has a payload. */
const COPY = MIB;

class Writer {
  private readonly members: MemberWriter;
  private readonly toc: TocBuilder;
  private readonly globals: GlobalState;
  private readonly effective: Map<string, TarEntry>;
  private readonly chunkSize: number;
  private readonly warnings: StargzWarning[] = [];
  /** Paths of `before`. */
  private readonly made = new Set<string>();

  constructor(
    private readonly input: StargzInput,
    sink: Sink,
  ) {
    this.chunkSize = checkChunkSize(input.chunkSize ?? DEFAULT_CHUNK_SIZE);
    const { codec } = input;
    this.members = new MemberWriter(codec, input.hotLevel ?? codec.level, this.chunkSize, sink);
    this.toc = new TocBuilder(this.chunkSize);
    this.globals = new GlobalState(input.scan.globals);
    this.effective = effectiveEntries(input.scan.entries);
  }

  async write(): Promise<StargzResult> {
    const { scan, order, landmark, codec } = this.input;
    this.checkOrder();
    this.checkNames();
    let landmarkOffset = 0;
    if (landmark === 'no-prefetch') landmarkOffset = await this.addLandmark();
    for (const header of scan.globals) {
      // Volume labels and lists of names rule nothing; they stay in front.
      if (header.flag !== 'g') await this.copy(header.headerOffset, header.end - header.headerOffset);
    }
    for (const index of order.hot) await this.addInput(scan.entries[index]!);
    if (landmark === 'prefetch') landmarkOffset = await this.addLandmark();
    this.members.level = codec.level;
    for (const index of order.rest) await this.addInput(scan.entries[index]!);
    for (const header of this.globals.unused()) {
      this.warn(
        'global-header-dropped',
        '',
        `the global PAX header at byte ${header.headerOffset} rules no entry: dropped`,
      );
    }
    return this.finish(landmarkOffset);
  }

  private async finish(landmarkOffset: number): Promise<StargzResult> {
    for (const block of this.globals.beforeOwn()) await this.members.append(block);
    await this.members.cut();
    const tocOffset = this.members.offset;
    const { json, digest: tocDigest } = this.toc.finish();
    ustarHeader({ name: Buffer.from(TOC_NAME), typeflag: '0', size: json.length }).copy(this.members.reserve(512));
    json.copy(this.members.reserve(json.length));
    this.members.reserve(paddingOf(json.length)).fill(0);
    END_OF_ARCHIVE.copy(this.members.reserve(END_OF_ARCHIVE.length));
    await this.members.addEmptyMember(buildFooter(tocOffset));
    return {
      ...this.members.finish(),
      tocDigest,
      tocOffset,
      landmarkOffset,
      entries: this.toc.entries,
      members: this.members.members,
      warnings: this.warnings,
    };
  }

  private async addInput(entry: TarEntry): Promise<void> {
    const { input } = this;
    input.signal?.throwIfAborted();
    if (isFormatEntry(entry.path)) return;
    for (const file of input.before?.get(entry.index) ?? []) await this.addMade(file);
    const replacement = input.replace?.get(entry.index);
    if (replacement) {
      await this.addMade(replacement, this.effective.get(entry.path) === entry, input.chunks?.get(entry.index));
      return;
    }
    for (const block of this.globals.before(entry.index)) {
      if (Buffer.isBuffer(block)) await this.members.append(block);
      else await this.copy(block.headerOffset, block.end - block.headerOffset);
    }
    const headers = this.read(entry.headerOffset, entry.payloadOffset - entry.headerOffset);
    const inToc = this.effective.get(entry.path) === entry;
    if (!inToc) {
      this.warn('duplicate-name', entry.path, 'a later entry has the same name: kept in the tar, not in the TOC');
    }
    if (entry.type !== 'reg') {
      await this.members.append(headers);
      await this.copy(entry.payloadOffset, entry.payloadSize);
      this.members.reserve(paddingOf(entry.payloadSize)).fill(0);
      if (inToc) this.toc.add(entry, []);
      return;
    }
    if (entry.sparse) {
      this.warn('sparse-expanded', entry.path, `a sparse file, stored in full (${entry.size} bytes)`);
    }
    await this.members.append(entry.sparse ? headersOfExpanded(headers, entry) : headers);
    const read = (offset: number, into: Buffer) => {
      readPayload(input.fd, entry, offset, into);
    };
    await this.addContent(entry, read, inToc, input.chunks?.get(entry.index));
  }

  private async addMade(file: MadeFile, inToc = true, cuts?: readonly number[]): Promise<void> {
    for (const block of this.globals.beforeOwn()) await this.members.append(block);
    await this.members.append(regularHeader(file.meta));
    const meta: TocMeta = { ...file.meta, type: 'reg', linkName: '', devMajor: 0, devMinor: 0 };
    await this.addContent(meta, file.read, inToc, cuts);
  }

  private async addLandmark(): Promise<number> {
    const name = landmarkName(this.input.landmark);
    const nobody = { uid: 0, gid: 0, uname: '', gname: '', mode: 0, mtime: { sec: 0, nsec: 0 } };
    for (const block of this.globals.beforeOwn()) await this.members.append(block);
    const size = LANDMARK_CONTENT.length;
    await this.members.append(ustarHeader({ name: Buffer.from(name), typeflag: '0', size }));
    const meta: TocMeta = { ...nobody, name, type: 'reg', linkName: '', size, devMajor: 0, devMinor: 0 };
    const [chunk] = await this.addContent(meta, (_, into) => void LANDMARK_CONTENT.copy(into), true);
    return chunk!.offset;
  }

  /** A regular file's content after its headers: each chunk in a member of its own, padding after the last. */
  private async addContent(
    meta: TocMeta,
    read: (offset: number, into: Buffer) => void,
    inToc: boolean,
    cuts?: readonly number[],
  ): Promise<WrittenChunk[]> {
    const whole = createHash('sha256');
    const chunks: WrittenChunk[] = [];
    for (const [at, size] of chunksOf(meta.size, this.chunkSize, cuts)) {
      this.input.signal?.throwIfAborted();
      await this.members.cut();
      const offset = this.members.offset;
      const bytes = this.members.reserve(size);
      read(at, bytes);
      whole.update(bytes);
      chunks.push({ offset, at, size, digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}` });
      this.input.onProgress?.(this.members.uncompressed);
    }
    this.members.reserve(paddingOf(meta.size)).fill(0);
    if (inToc) this.toc.add(meta, chunks, `sha256:${whole.digest('hex')}`);
    return chunks;
  }

  /** Bytes of the input as they are. */
  private async copy(offset: number, length: number): Promise<void> {
    for (let done = 0; done < length; done += COPY) {
      await this.members.append(this.read(offset + done, Math.min(COPY, length - done)));
    }
  }

  private read(offset: number, length: number): Buffer {
    const buffer = Buffer.allocUnsafe(length);
    for (let done = 0; done < length; ) {
      const count = readSync(this.input.fd, buffer, done, length - done, offset + done);
      if (count === 0) {
        throw new HotlayerError(
          'HL_ERR_IO',
          `${this.layer()}: the tar ends at byte ${offset + done}; expected ${length} bytes from ${offset}`,
          { context: { offset } },
        );
      }
      done += count;
    }
    return buffer;
  }

  /** The order has to be a permutation in which entries of one name keep their order: else the tree would change. */
  private checkOrder(): void {
    const { scan, order } = this.input;
    const seen = new Set<number>();
    const lastOfName = new Map<string, number>();
    for (const index of [...order.hot, ...order.rest]) {
      const entry = scan.entries[index];
      if (!entry || seen.has(index)) throw this.bug(`the order names entry ${index} ${entry ? 'twice' : 'of none'}`);
      seen.add(index);
      if (index < (lastOfName.get(entry.path) ?? -1)) {
        throw this.bug(`the order puts an earlier entry of "${showPath(entry.path)}" behind a later one`);
      }
      lastOfName.set(entry.path, index);
    }
    for (const entry of scan.entries) {
      if (!seen.has(entry.index) && !isFormatEntry(entry.path)) {
        throw this.bug(`the order leaves out entry ${entry.index}, "${showPath(entry.path)}"`);
      }
    }
  }

  /** Names as the TOC's readers will meet them: every hardlink has its target; names that others will see changed are reported. */
  private checkNames(): void {
    const { before, replace, scan } = this.input;
    for (const files of before?.values() ?? []) for (const file of files) this.made.add(cleanPath(file.meta.name));
    for (const path of this.made) {
      if (this.effective.has(path)) throw this.bug(`a file is to be added as "${showPath(path)}", which the layer has`);
    }
    const shown = new Map<string, string>();
    const someNotUtf8 = scan.entries.some((entry) => !isUtf8Path(entry.name) || !isUtf8Path(entry.linkName));
    for (const entry of this.effective.values()) {
      if (entry.type === 'hardlink' && !replace?.has(entry.index)) this.checkHardlink(entry);
      if (!isWritableTime(entry.mtime)) {
        this.warn(
          'time-out-of-range',
          entry.path,
          `modification time ${entry.mtime.sec} s has no form in a TOC: left out`,
        );
      }
      if (!someNotUtf8) continue;
      if (!isUtf8Path(entry.name) || !isUtf8Path(entry.linkName)) {
        const what = isUtf8Path(entry.name) ? 'its link target is' : 'the name is';
        this.warn(
          'name-not-utf8',
          entry.path,
          `${what} not UTF-8: lazy clients show U+FFFD for the bytes that are not`,
        );
      }
      const asShown = asOthersSee(entry.path);
      const other = shown.get(asShown);
      if (other !== undefined) {
        this.warn(
          'name-collision',
          entry.path,
          `lazy clients cannot tell it from "${showPath(other)}": both look like "${asShown}"`,
        );
      }
      shown.set(asShown, entry.path);
    }
  }

  private checkHardlink(link: TarEntry): void {
    const seen = new Set<string>();
    for (let path = link.path; ; ) {
      const entry = this.effective.get(path);
      if (!entry ? this.made.has(path) : entry.type !== 'hardlink' || this.input.replace?.has(entry.index)) return;
      if (!entry || seen.has(path)) break;
      seen.add(path);
      path = cleanPath(entry.linkName);
    }
    throw new HotlayerError(
      'HL_ERR_LAYER',
      `${this.layer()}: "${showPath(link.path)}" is a hardlink to "${showPath(link.linkName)}"; expected a file of this layer, found none`,
      { context: { entry: showPath(link.path), offset: link.headerOffset } },
    );
  }

  private warn(code: StargzWarning['code'], entry: string, message: string): void {
    this.warnings.push({ code, entry: showPath(entry), message });
  }

  private bug(message: string): HotlayerError {
    return new HotlayerError('HL_ERR_BUG', `${this.layer()}: ${message}`);
  }

  private layer(): string {
    return this.input.name ?? 'layer';
  }
}

/** Each byte that is not part of valid UTF-8 as U+FFFD, as Go's encoding/json does it. */
function asOthersSee(path: string): string {
  return path.replace(/(?<![\ud800-\udbff])[\udc80-\udcff]/g, '\ufffd');
}

/** A copy of a regular file of another tar, under a name of its own. */
export function copyOfEntry(fd: number, entry: TarEntry, name: string): MadeFile {
  return {
    meta: { ...entry, name },
    read: (offset, into) => {
      readPayload(fd, entry, offset, into);
    },
  };
}
