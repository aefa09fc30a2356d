// The other end of the line: compressed batches come in, in the order of the blob; both sides are hashed, chunks get
// their offsets, and entries go into the TOC as soon as all their chunks are known.
import { createHash, type Hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { Digest } from '../image/digest.js';
import { type Batch, bytesOf, type CompressedBatch, DIGEST_SIZE, memberTrailer } from './codec/batch.js';
import type { TocBuilder, TocMeta, WrittenChunk } from './toc.js';

/** Gets the blob's bytes in order; awaited before it gets more. The buffer is used again once that has resolved. */
export type Sink = (bytes: Buffer) => Promise<void>;

/** Offset and size of each chunk of a file, in order. */
export type ChunkList = readonly (readonly [at: number, size: number])[];

/** A file of more than one chunk, or one that somebody waits for. */
interface Several {
  readonly chunks: ChunkList;
  readonly written: WrittenChunk[];
  /** Of the file's content. */
  readonly whole: Hash;
  readonly onDone: ((chunks: readonly WrittenChunk[]) => void) | undefined;
}

/** How an entry waits: what is missing of it, and whether it is for the TOC. */
const NOTHING = 0;
const ONE_CHUNK = 1;
const SEVERAL = 2;
const IN_TOC = 4;

const EMPTY_FILE: Digest = `sha256:${createHash('sha256').digest('hex')}`;

export class BlobAssembly {
  /** Compressed bytes passed on. */
  size = 0;
  /** Decompressed bytes of them. */
  uncompressed = 0;

  private readonly blobHash = createHash('sha256');
  private readonly tarHash = createHash('sha256');
  /**
   * Entries in order of the tar; the first one lacks chunks. Bounded by the batches under way, but those may have ten
   * thousand: nothing is made for an entry here that would outlive the youngest garbage.
   */
  private pending: TocMeta[] = [];
  private forms: number[] = [];
  /** First of `pending` that is not done. */
  private head = 0;
  /** Of those in `pending` whose form says so, in order. */
  private readonly several: Several[] = [];
  /** Of a member in pieces, as far as it has come. */
  private readonly joined = { crc: 0, size: 0 };

  constructor(
    private readonly toc: TocBuilder,
    private readonly sink: Sink,
  ) {}

  /**
   * Announces an entry whose headers are laid out, in the order of the tar, before the batch with its first chunk comes in.
   * @param inToc false: the entry is only in the tar
   * @param chunks those of a non-empty regular file; none for all others
   * @param onDone called when all chunks are written
   */
  expect(meta: TocMeta, inToc: boolean, chunks: ChunkList, onDone?: (chunks: readonly WrittenChunk[]) => void): void {
    let form = NOTHING;
    if (chunks.length > 1 || onDone) {
      form = SEVERAL;
      this.several.push({ chunks, written: [], whole: createHash('sha256'), onDone });
    } else if (chunks.length === 1) form = ONE_CHUNK;
    this.pending.push(meta);
    this.forms.push(inToc ? form | IN_TOC : form);
    this.settle();
  }

  /** @throws what the sink throws */
  async accept(batch: Batch, result: CompressedBatch): Promise<void> {
    const bytes = bytesOf(batch);
    const blob = Buffer.from(result.blob.buffer, result.blob.byteOffset, result.blob.byteLength);
    this.tarHash.update(bytes);
    this.blobHash.update(blob);
    const digests = Buffer.from(result.digests.buffer);
    let digestAt = 0;
    let start = 0;
    let offset = this.size;
    for (let i = 0; i < result.ends.length; i++) {
      const size = batch.members[3 * i + 1]!;
      if (size > 0) {
        const digest = digests.toString('hex', digestAt, digestAt + DIGEST_SIZE);
        digestAt += DIGEST_SIZE;
        this.chunk(offset, bytes.subarray(start, start + size), digest);
      }
      start = batch.members[3 * i]!;
      offset = this.size + result.ends[i]!;
    }
    this.size += blob.length;
    this.uncompressed += batch.size;
    await this.sink(blob);
    if (batch.piece) await this.join(batch, bytes);
  }

  /** The last piece of a member is followed by what only all of them together know. */
  private async join({ piece, size }: Batch, bytes: Buffer): Promise<void> {
    const { joined } = this;
    joined.crc = crc32(bytes, joined.crc);
    joined.size += size;
    if (piece !== 'last') return;
    const trailer = memberTrailer(joined.crc, joined.size);
    Object.assign(joined, { crc: 0, size: 0 });
    this.blobHash.update(trailer);
    this.size += trailer.length;
    await this.sink(trailer);
  }

  /** A member that is there already, with nothing in it: filling, the footer. */
  async acceptEmptyMember(member: Buffer): Promise<void> {
    this.blobHash.update(member);
    this.size += member.length;
    await this.sink(member);
  }

  /** Digest and size of all that was passed on, and of what it decompresses to. Ends the assembly. */
  finish(): { digest: Digest; size: number; diffId: Digest; uncompressedSize: number } {
    return {
      digest: `sha256:${this.blobHash.digest('hex')}`,
      size: this.size,
      diffId: `sha256:${this.tarHash.digest('hex')}`,
      uncompressedSize: this.uncompressed,
    };
  }

  private chunk(offset: number, bytes: Buffer, hex: string): void {
    const digest: Digest = `sha256:${hex}`;
    const form = this.forms[this.head]!;
    if (form & ONE_CHUNK) {
      this.done([{ offset, at: 0, size: bytes.length, digest }], digest);
    } else {
      const [{ chunks, written, whole, onDone }] = this.several as [Several];
      const [at, size] = chunks[written.length]!;
      written.push({ offset, at, size, digest });
      whole.update(bytes);
      if (written.length < chunks.length) return;
      this.several.shift();
      this.done(written, `sha256:${whole.digest('hex')}`);
      onDone?.(written);
    }
    this.settle();
  }

  /** Entries go into the TOC from the front, as far as they are complete. */
  private settle(): void {
    while (this.head < this.pending.length && (this.forms[this.head]! & (ONE_CHUNK | SEVERAL)) === 0) {
      this.done([], EMPTY_FILE);
    }
    if (this.head === this.pending.length || this.head > 4096) {
      this.pending = this.pending.slice(this.head);
      this.forms = this.forms.slice(this.head);
      this.head = 0;
    }
  }

  private done(chunks: readonly WrittenChunk[], digest: Digest): void {
    if (this.forms[this.head]! & IN_TOC) this.toc.add(this.pending[this.head]!, chunks, digest);
    this.head += 1;
  }
}
