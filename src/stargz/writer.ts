// Writes a layer as eStargz: the input's tar entries in a given order, each with the header bytes it had, one gzip
// member per chunk of content, a landmark, the table of contents, the footer. Rules: estargz's "Blob layout".
//
// A member begins at byte 0, at each chunk of a non-empty regular file, at filling, TOC and footer. Everything else
// (headers, directories, links, empty files, padding) rides in the member that is open.
import { readSync } from 'node:fs';
import { HotlayerError } from '../errors.js';
import { collectGarbage } from '../garbage.js';
import type { Digest } from '../image/digest.js';
import { showPath } from '../paths.js';
import { MIB } from '../units.js';
import { BlobAssembly, type Sink } from './blob-assembly.js';
import { checkChunkSize, chunksOf, DEFAULT_CHUNK_SIZE } from './chunking.js';
import type { Batch, CompressedBatch } from './codec/batch.js';
import { type Compressor, InlineCompressor } from './codec/compressor.js';
import { buildFooter, FOOTER_SIZE } from './footer.js';
import { GlobalState } from './global-state.js';
import { isFormatEntry, LANDMARK_CONTENT, landmarkName, TOC_NAME } from './landmark.js';
import { MemberLayout } from './member-layout.js';
import { type EffectiveEntries, effectiveEntries } from './names.js';
import { END_OF_ARCHIVE, madeHeader, paddingOf, ustarHeader } from './tar/build.js';
import type { TarEntry } from './tar/entry.js';
import { payloadPieces } from './tar/scan.js';
import { headersOfExpanded } from './tar/sparse-header.js';
import { TocBuilder, type TocJson, type TocMeta, type WrittenChunk } from './toc.js';
import { fillingBefore, fillingMember } from './toc-place.js';
import {
  bug,
  checkNames,
  checkOrder,
  layerName,
  type MadeFile,
  type StargzInput,
  type StargzWarning,
  TOC_IN_PIECES,
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
  /** Its JSON; absent unless it was asked for. */
  readonly toc?: Buffer;
  readonly tocOffset: number;
  /** Compressed offset of the landmark's content: with `prefetch`, the bytes that clients fetch first. */
  readonly landmarkOffset: number;
  /** Entries in the TOC, the landmark included, chunks not counted. */
  readonly entries: number;
  /** Gzip members, TOC and footer included, and filling before the TOC (toc-place.ts). */
  readonly members: number;
  readonly warnings: readonly StargzWarning[];
}

/**
 * Writes the blob to `sink`. Memory: the batches that the compressor admits, and the TOC.
 * Output depends on the input's bytes, order, landmark, codec, levels and chunking, on nothing else.
 * When it returns, or throws, the compressor does nothing for it any more, unless the compressor itself has failed.
 * @throws HL_ERR_LAYER for a hardlink without target, HL_ERR_LIMIT, HL_ERR_IO, and what `sink` and compressor throw
 */
export async function writeStargz(input: StargzInput, sink: Sink): Promise<StargzResult> {
  return new Writer(input, sink).write();
}

/** Entries of which what was needed to plan and check them, and is garbage now, takes 20 MiB and more. */
const MANY_ENTRIES = 200_000;
/** Bytes copied at once where a directory or link has a payload. */
const COPY = MIB;

/** A batch that was admitted. */
interface Underway {
  readonly batch: Batch;
  readonly result: Promise<CompressedBatch>;
}

class Writer {
  private readonly layout: MemberLayout;
  private readonly assembly: BlobAssembly;
  private readonly compressor: Compressor;
  private readonly toc: TocBuilder;
  private readonly tocInPieces: typeof TOC_IN_PIECES;
  private readonly globals: GlobalState;
  private readonly effective: EffectiveEntries;
  private readonly chunkSize: number;
  private readonly warnings: StargzWarning[] = [];
  /** In order of the blob. */
  private readonly underway: Underway[] = [];
  /** Where the landmark's chunk comes, among all chunks; its offset is known once it is written. */
  private landmarkOffset = 0;

  constructor(
    private readonly input: StargzInput,
    sink: Sink,
  ) {
    const { codec, compressor } = input;
    this.chunkSize = checkChunkSize(input.chunkSize ?? DEFAULT_CHUNK_SIZE);
    if (compressor && (compressor.codec.id !== codec.id || compressor.codec.name !== codec.name)) {
      throw bug(input, `to be compressed by ${codec.id}, but the compressor has ${compressor.codec.id}`);
    }
    this.compressor = compressor ?? new InlineCompressor(codec);
    const takeBuffer = (size: number) => this.compressor.takeBuffer(size);
    this.layout = new MemberLayout(layerName(input), input.hotLevel ?? codec.level, this.chunkSize, takeBuffer);
    this.tocInPieces = input.tocInPieces ?? TOC_IN_PIECES;
    this.toc = new TocBuilder(this.chunkSize, this.tocInPieces.above, input.tempDir);
    this.assembly = new BlobAssembly(this.toc, sink);
    this.globals = new GlobalState(input.scan.globals);
    this.effective = effectiveEntries(input.scan.entries);
  }

  async write(): Promise<StargzResult> {
    checkOrder(this.input);
    checkNames(this.input, this.effective, (...warning) => this.warn(...warning));
    if (this.input.scan.entries.length > MANY_ENTRIES) collectGarbage();
    try {
      for (const batch of this.content()) await this.submit(batch);
      this.input.onLaidOut?.();
      await this.settle();
      return await this.finish();
    } finally {
      // Whoever closes the descriptors next must not do it under a thread that still reads them.
      for (const { batch, result } of this.underway) {
        await result.catch(() => {});
        this.compressor.leave(batch.size);
      }
      this.toc.close();
    }
  }

  /** Waits for room, and makes some by writing what is done, oldest first. */
  private async submit(batch: Batch): Promise<void> {
    this.input.signal?.throwIfAborted();
    while (!this.compressor.enter(batch.size)) {
      if (this.underway.length > 0) await this.writeOldest();
      else await this.compressor.left();
    }
    const result = this.compressor.compress(batch);
    // Its failure is met when its turn comes; until then nobody awaits it.
    result.catch(() => {});
    this.underway.push({ batch, result });
  }

  private async writeOldest(): Promise<void> {
    const { batch, result } = this.underway[0]!;
    const compressed = await result;
    this.input.signal?.throwIfAborted();
    await this.assembly.accept(batch, compressed);
    this.underway.shift();
    this.compressor.giveBuffer(batch.buffer);
    this.compressor.leave(batch.size);
    this.input.onProgress?.(this.assembly.uncompressed);
  }

  private async settle(): Promise<void> {
    while (this.underway.length > 0) await this.writeOldest();
    this.input.signal?.throwIfAborted();
  }

  private async finish(): Promise<StargzResult> {
    const begin = this.assembly.size;
    const json = this.toc.finish();
    const toc = this.input.keepToc ? this.wholeToc(json) : undefined;
    let filling = 0;
    for (const batch of this.tocMember(json)) {
      await this.submit(batch);
      if (typeof json.content !== 'number') filling = await this.fill();
    }
    const tocOffset = begin + filling;
    await this.settle();
    await this.assembly.acceptEmptyMember(buildFooter(tocOffset));
    return {
      ...this.assembly.finish(),
      tocDigest: json.digest,
      ...(toc && { toc }),
      tocOffset,
      landmarkOffset: this.landmarkOffset,
      entries: this.toc.entries,
      members: this.layout.members + (filling > 0 ? 2 : 1),
      warnings: this.warnings,
    };
  }

  /** Before the TOC, which is a single batch that is under way. @returns bytes written */
  private async fill(): Promise<number> {
    const { blob } = await this.underway[0]!.result;
    const filling = fillingBefore(this.assembly.size, blob.byteLength + FOOTER_SIZE);
    if (filling > 0) await this.assembly.acceptEmptyMember(fillingMember(filling));
    return filling;
  }

  /**
   * The TOC's member, as batches. Readers want one and no more; what is too large to be compressed at once is compressed
   * in pieces.
   */
  private *tocMember({ content, size }: TocJson): Generator<Batch> {
    const { layout } = this;
    const { size: piece } = this.tocInPieces;
    layout.addMade(ustarHeader({ name: Buffer.from(TOC_NAME), typeflag: '0', size }));
    if (typeof content === 'number') {
      for (let at = 0; at < size; at += piece) {
        if (at > 0) yield layout.takePiece(at === piece ? 'first' : 'inner');
        layout.addFrom(content, at, Math.min(piece, size - at));
      }
    } else for (const part of content) layout.addMade(part);
    layout.addZeros(paddingOf(size));
    layout.addMade(END_OF_ARCHIVE);
    if (typeof content === 'number' && size > piece) yield layout.takePiece('last');
    else yield* layout.takeAll();
  }

  private wholeToc({ content, size }: TocJson): Buffer {
    return typeof content === 'number' ? readAt(content, 0, size, layerName(this.input)) : Buffer.concat(content);
  }

  /** Everything up to the TOC, as batches. Nothing is read except headers that have to be changed. */
  private *content(): Generator<Batch> {
    const { scan, order, landmark, codec } = this.input;
    if (landmark === 'no-prefetch') yield* this.addLandmark();
    for (const header of scan.globals) {
      // Volume labels and lists of names rule nothing; they stay in front.
      if (header.flag !== 'g') yield* this.copy(header.headerOffset, header.end - header.headerOffset);
    }
    for (const index of order.hot) yield* this.addInput(scan.entries[index]!);
    if (landmark === 'prefetch') yield* this.addLandmark();
    this.layout.level = codec.level;
    for (const index of order.rest) yield* this.addInput(scan.entries[index]!);
    for (const header of this.globals.unused()) {
      this.warn(
        'global-header-dropped',
        '',
        `the global PAX header at byte ${header.headerOffset} rules no entry: dropped`,
      );
    }
    for (const block of this.globals.beforeOwn()) this.layout.appendMade(block);
    yield* this.layout.takeAll();
  }

  private *addInput(entry: TarEntry): Generator<Batch> {
    const { input, layout } = this;
    if (isFormatEntry(entry.path)) return;
    for (const file of input.before?.get(entry.index) ?? []) yield* this.addMade(file);
    const inToc = this.effective.counts(entry.index);
    const cuts = input.chunks?.get(entry.index);
    const replacement = input.replace?.get(entry.index);
    if (replacement) {
      yield* this.addMade(replacement, inToc, cuts);
      return;
    }
    for (const block of this.globals.before(entry.index)) {
      if (Buffer.isBuffer(block)) layout.appendMade(block);
      else yield* this.copy(block.headerOffset, block.end - block.headerOffset);
    }
    if (!inToc) {
      this.warn('duplicate-name', entry.path, 'a later entry has the same name: kept in the tar, not in the TOC');
    }
    const headers = entry.payloadOffset - entry.headerOffset;
    if (entry.type !== 'reg') {
      layout.appendFrom(input.fd, entry.headerOffset, headers);
      yield* this.copy(entry.payloadOffset, entry.payloadSize);
      layout.addZeros(paddingOf(entry.payloadSize));
      this.assembly.expect(entry, inToc, []);
      return;
    }
    if (entry.sparse) {
      this.warn('sparse-expanded', entry.path, `a sparse file, stored in full (${entry.size} bytes)`);
      layout.appendMade(headersOfExpanded(readAt(input.fd, entry.headerOffset, headers, layerName(input)), entry));
    } else layout.appendFrom(input.fd, entry.headerOffset, headers);
    yield* this.addContent(entry, { fd: input.fd, entry }, inToc, cuts);
  }

  private *addMade(file: MadeFile, inToc = true, cuts?: readonly number[]): Generator<Batch> {
    for (const block of this.globals.beforeOwn()) this.layout.appendMade(block);
    this.layout.appendMade(madeHeader(file.meta));
    const meta: TocMeta = { type: 'reg', linkName: '', devMajor: 0, devMinor: 0, ...file.meta };
    if (meta.type === 'reg') yield* this.addContent(meta, file.content, inToc, cuts);
    else this.assembly.expect(meta, inToc, []);
  }

  private *addLandmark(): Generator<Batch> {
    const name = landmarkName(this.input.landmark);
    const nobody = { uid: 0, gid: 0, uname: '', gname: '', mode: 0, mtime: { sec: 0, nsec: 0 } };
    for (const block of this.globals.beforeOwn()) this.layout.appendMade(block);
    const size = LANDMARK_CONTENT.length;
    this.layout.appendMade(ustarHeader({ name: Buffer.from(name), typeflag: '0', size }));
    const meta: TocMeta = { ...nobody, name, type: 'reg', linkName: '', size, devMajor: 0, devMinor: 0 };
    const onDone = ([chunk]: readonly WrittenChunk[]) => {
      this.landmarkOffset = chunk!.offset;
    };
    yield* this.addContent(meta, LANDMARK_CONTENT, true, [], onDone);
  }

  /** A regular file's content after its headers: each chunk in a member of its own, padding after the last. */
  private *addContent(
    meta: TocMeta,
    content: Buffer | MadeFile['content'],
    inToc: boolean,
    cuts?: readonly number[],
    onDone?: (chunks: readonly WrittenChunk[]) => void,
  ): Generator<Batch> {
    const { layout } = this;
    const chunks = [...chunksOf(meta.size, this.chunkSize, cuts)];
    this.assembly.expect(meta, inToc, chunks, onDone);
    for (const [at, size] of chunks) {
      layout.beginChunk(size);
      if (Buffer.isBuffer(content)) layout.addMade(content.subarray(at, at + size));
      else {
        for (const [from, length] of payloadPieces(content.entry, at, size)) {
          if (from === undefined) layout.addZeros(length);
          else layout.addFrom(content.fd, from, length);
        }
      }
      yield* layout.take();
    }
    layout.addZeros(paddingOf(meta.size));
  }

  /** Bytes of the input as they are. */
  private *copy(offset: number, length: number): Generator<Batch> {
    for (let done = 0; done < length; done += COPY) {
      this.layout.appendFrom(this.input.fd, offset + done, Math.min(COPY, length - done));
      yield* this.layout.take();
    }
  }

  private warn(code: StargzWarning['code'], entry: string, message: string): void {
    this.warnings.push({ code, entry: showPath(entry), message });
  }
}

function readAt(fd: number, offset: number, length: number, layer: string): Buffer {
  const buffer = Buffer.allocUnsafe(length);
  for (let done = 0; done < length; ) {
    const count = readSync(fd, buffer, done, length - done, offset + done);
    if (count === 0) {
      throw new HotlayerError(
        'HL_ERR_IO',
        `${layer}: the tar ends at byte ${offset + done}; expected ${length} bytes from ${offset}`,
        { context: { offset } },
      );
    }
    done += count;
  }
  return buffer;
}
