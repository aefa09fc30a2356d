// Collects decompressed bytes into gzip members and passes each on when the next begins, hashing both sides.
// At most one member is in memory.
import { createHash } from 'node:crypto';
import type { Digest } from '../image/digest.js';
import { MIB } from '../units.js';
import type { Codec } from './codec.js';

export type Sink = (chunk: Buffer) => Promise<void>;

/** How many bytes may follow a chunk in its member (padding, headers) before another is begun. */
const AFTER_CHUNK = MIB;

export class MemberWriter {
  /** Members passed on. */
  members = 0;
  /** Compressed bytes passed on: where the next member begins. */
  offset = 0;
  /** Decompressed bytes, the pending ones included. */
  uncompressed = 0;

  private readonly limit: number;
  private pending = Buffer.allocUnsafeSlow(64 * 1024);
  private filled = 0;
  private hashed = 0;
  private readonly blobHash = createHash('sha256');
  private readonly tarHash = createHash('sha256');

  /**
   * @param level used from the next member on; may be changed between members
   * @param sink gets each member; awaited before the next is begun. The buffer is its to keep.
   */
  constructor(
    private readonly codec: Codec,
    public level: number,
    chunkSize: number,
    private readonly sink: Sink,
  ) {
    this.limit = chunkSize + AFTER_CHUNK;
  }

  /** Bytes that belong behind what is there. A member that is full ends before them: a boundary that format allows. */
  async append(bytes: Buffer): Promise<void> {
    if (this.filled > 0 && this.filled + bytes.length > this.limit) await this.cut();
    bytes.copy(this.reserve(bytes.length));
  }

  /** The next `size` bytes of the member, to be filled at once by the caller. */
  reserve(size: number): Buffer {
    const end = this.filled + size;
    if (end > this.pending.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(end, Math.min(2 * this.pending.length, this.limit)));
      this.pending.copy(larger, 0, 0, this.filled);
      this.pending = larger;
    }
    const area = this.pending.subarray(this.filled, end);
    this.filled = end;
    this.uncompressed += size;
    return area;
  }

  /** Ends the member, if there is one; the next byte begins a new one at `offset`. */
  async cut(): Promise<void> {
    if (this.filled === 0) return;
    const bytes = this.pending.subarray(0, this.filled);
    this.tarHash.update(bytes);
    this.hashed += bytes.length;
    const member = this.codec.gzip(bytes, this.level);
    this.filled = 0;
    this.members += 1;
    await this.emit(member);
  }

  /** A member that is there already, with nothing in it: the footer. */
  async addEmptyMember(member: Buffer): Promise<void> {
    await this.cut();
    this.members += 1;
    await this.emit(member);
  }

  /** Digest and size of all that was passed on, and of what it decompresses to. Ends the writer. */
  finish(): { digest: Digest; size: number; diffId: Digest; uncompressedSize: number } {
    return {
      digest: `sha256:${this.blobHash.digest('hex')}`,
      size: this.offset,
      diffId: `sha256:${this.tarHash.digest('hex')}`,
      uncompressedSize: this.hashed,
    };
  }

  private async emit(member: Buffer): Promise<void> {
    this.blobHash.update(member);
    this.offset += member.length;
    await this.sink(member);
  }
}
