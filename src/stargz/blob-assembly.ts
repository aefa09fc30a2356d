// The other end of the line: compressed batches come in, in the order of the blob; both sides are hashed, chunks get
// their offsets, and entries go into the TOC as soon as all their chunks are known.
import { createHash, type Hash } from 'node:crypto';
import type { Digest } from '../image/digest.js';
import { type Batch, bytesOf, type CompressedBatch } from './batch.js';
import type { TocBuilder, TocMeta, WrittenChunk } from './toc.js';

/** Gets the blob's bytes in order; awaited before it gets more. The buffer is used again once that has resolved. */
export type Sink = (bytes: Buffer) => Promise<void>;

/** An entry whose headers are laid out. */
export interface ExpectedEntry {
  readonly meta: TocMeta;
  /** Offset and size of each, in order: those of a non-empty regular file, none for all others. */
  readonly chunks: readonly (readonly [at: number, size: number])[];
  /** False: the entry is only in the tar. */
  readonly inToc: boolean;
  /** Called when all chunks are written. */
  readonly onDone?: (chunks: readonly WrittenChunk[]) => void;
}

interface Pending extends ExpectedEntry {
  readonly written: WrittenChunk[];
  /** Of the file's content; absent when one chunk is all of it. */
  readonly whole: Hash | undefined;
}

const EMPTY_FILE: Digest = `sha256:${createHash('sha256').digest('hex')}`;

export class BlobAssembly {
  /** Compressed bytes passed on. */
  size = 0;
  /** Decompressed bytes of them. */
  uncompressed = 0;

  private readonly blobHash = createHash('sha256');
  private readonly tarHash = createHash('sha256');
  /** Entries in order of the tar; the first one lacks chunks. Bounded by the batches under way. */
  private pending: Pending[] = [];
  /** First of `pending` that is not done. */
  private head = 0;

  constructor(
    private readonly toc: TocBuilder,
    private readonly sink: Sink,
  ) {}

  /** Announces an entry, in the order of the tar, before the batch with its first chunk comes in. */
  expect(entry: ExpectedEntry): void {
    const whole = entry.chunks.length > 1 ? createHash('sha256') : undefined;
    this.pending.push({ ...entry, written: [], whole });
    this.settle();
  }

  /** @throws what the sink throws */
  async accept(batch: Batch, result: CompressedBatch): Promise<void> {
    const bytes = bytesOf(batch);
    const blob = Buffer.from(result.blob.buffer, result.blob.byteOffset, result.blob.byteLength);
    this.tarHash.update(bytes);
    this.blobHash.update(blob);
    let chunks = 0;
    let start = 0;
    let offset = this.size;
    for (let i = 0; i < result.ends.length; i++) {
      const size = batch.members[3 * i + 1]!;
      if (size > 0) this.chunk(offset, bytes.subarray(start, start + size), result.digests[chunks++]!);
      start = batch.members[3 * i]!;
      offset = this.size + result.ends[i]!;
    }
    this.size += blob.length;
    this.uncompressed += batch.size;
    await this.sink(blob);
  }

  /** A member that is there already, with nothing in it: the footer. */
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

  private chunk(offset: number, bytes: Buffer, digest: string): void {
    const entry = this.pending[this.head]!;
    const [at, size] = entry.chunks[entry.written.length]!;
    entry.written.push({ offset, at, size, digest: `sha256:${digest}` });
    entry.whole?.update(bytes);
    this.settle();
  }

  /** Entries go into the TOC from the front, as far as they are complete. */
  private settle(): void {
    for (; this.head < this.pending.length; this.head++) {
      const { meta, chunks, written, whole, inToc, onDone } = this.pending[this.head]!;
      if (written.length < chunks.length) break;
      const digest: Digest = whole ? `sha256:${whole.digest('hex')}` : (written[0]?.digest ?? EMPTY_FILE);
      if (inToc) this.toc.add(meta, written, digest);
      onDone?.(written);
    }
    if (this.head === this.pending.length || this.head > 4096) {
      this.pending = this.pending.slice(this.head);
      this.head = 0;
    }
  }
}
