// Writes a layer as eStargz: the input's tar entries in a given order, each with the header bytes it had, one gzip
// member per chunk of content, a landmark, the table of contents, the footer. Rules: estargz's "Blob layout".
//
// A member begins at byte 0, at each chunk of a non-empty regular file, at the TOC and at the footer. Everything else
// (headers, directories, links, empty files, padding) rides in the member that is open.
import { createHash } from 'node:crypto';
import { readSync } from 'node:fs';
import { HotlayerError } from '../errors.js';
import type { Digest } from '../image/digest.js';
import { showPath } from '../paths.js';
import { MIB } from '../units.js';
import { checkChunkSize, chunksOf, DEFAULT_CHUNK_SIZE } from './chunking.js';
import { buildFooter } from './footer.js';
import { GlobalState } from './global-state.js';
import { isFormatEntry, LANDMARK_CONTENT, landmarkName, TOC_NAME } from './landmark.js';
import { MemberWriter, type Sink } from './member-writer.js';
import { effectiveEntries } from './names.js';
import { headersOfExpanded } from './sparse-header.js';
import { END_OF_ARCHIVE, madeHeader, paddingOf, ustarHeader } from './tar-build.js';
import type { TarEntry } from './tar-entry.js';
import { readPayload } from './tar-scan.js';
import { TocBuilder, type TocMeta, type WrittenChunk } from './toc.js';
import {
  checkNames,
  checkOrder,
  layerName,
  type MadeFile,
  type StargzInput,
  type StargzWarning,
} from './writer-input.js';

export { copyOfEntry, type MadeFile, type StargzInput, type StargzWarning } from './writer-input.js';

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
    checkOrder(this.input);
    checkNames(this.input, this.effective, (...warning) => this.warn(...warning));
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
    await this.members.append(madeHeader(file.meta));
    const meta: TocMeta = { type: 'reg', linkName: '', devMajor: 0, devMinor: 0, ...file.meta };
    if (meta.type === 'reg') await this.addContent(meta, file.read, inToc, cuts);
    else if (inToc) this.toc.add(meta, []);
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
          `${layerName(this.input)}: the tar ends at byte ${offset + done}; expected ${length} bytes from ${offset}`,
          { context: { offset } },
        );
      }
      done += count;
    }
    return buffer;
  }

  private warn(code: StargzWarning['code'], entry: string, message: string): void {
    this.warnings.push({ code, entry: showPath(entry), message });
  }
}
