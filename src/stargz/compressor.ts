// Where batches are compressed: in this thread, or in others (compression-pool.ts). Both admit a bounded number of
// batches, from their layout to the moment their bytes are written.
import { type Bytes, MIB } from '../units.js';
import { type Batch, type CompressedBatch, compressBatch } from './batch.js';
import type { Codec } from './codec.js';
import { BATCH_BYTES } from './member-layout.js';

export interface Compressor {
  /** Its name and id; levels come with the batches. */
  readonly codec: Codec;
  /** Takes room for a batch of this size, to be given back with `leave`. False: there is none now. */
  enter(size: Bytes): boolean;
  leave(size: Bytes): void;
  /** Resolves when a batch, of whomever, has left since the call. */
  left(): Promise<void>;
  /** Room for a batch's bytes, with anything in it. */
  takeBuffer(size: Bytes): ArrayBuffer;
  /** For the next who asks. */
  giveBuffer(buffer: ArrayBuffer): void;
  /** The batch's buffer belongs to the compressor until the result brings it back. */
  compress(batch: Batch): Promise<CompressedBatch>;
}

/** Batches under way: admitted, not yet written. */
export class Room {
  batches = 0;
  bytes: Bytes = 0;
  /** The most there ever were. */
  peakBatches = 0;
  peakBytes: Bytes = 0;
  private waiting: { resolve(): void; reject(error: unknown): void }[] = [];

  /** @param maxBytes a batch that is larger is admitted alone */
  constructor(
    readonly maxBatches: number,
    readonly maxBytes: Bytes,
  ) {}

  enter(size: Bytes): boolean {
    if (this.batches > 0 && (this.batches >= this.maxBatches || this.bytes + size > this.maxBytes)) return false;
    this.batches += 1;
    this.bytes += size;
    this.peakBatches = Math.max(this.peakBatches, this.batches);
    this.peakBytes = Math.max(this.peakBytes, this.bytes);
    return true;
  }

  leave(size: Bytes): void {
    this.batches -= 1;
    this.bytes -= size;
    this.wake((one) => one.resolve());
  }

  left(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ resolve, reject });
    });
  }

  /** Nothing will leave any more. */
  fail(error: unknown): void {
    this.wake((one) => one.reject(error));
  }

  private wake(how: (one: { resolve(): void; reject(error: unknown): void }) => void): void {
    const waiting = this.waiting;
    this.waiting = [];
    for (const one of waiting) how(one);
  }
}

/** Buffers that are used again: two MiB of fresh memory cost as much as hashing them. */
export class Buffers {
  private readonly free: ArrayBuffer[] = [];

  /** @param most that are kept */
  constructor(private readonly most: number) {}

  take(size: Bytes): ArrayBuffer {
    if (size <= BATCH_BYTES) return this.free.pop() ?? new ArrayBuffer(BATCH_BYTES);
    // Large chunks come in all sizes: rounded up to whole MiB they fit each other's buffers no better.
    return new ArrayBuffer(size);
  }

  give(buffer: ArrayBuffer): void {
    if (buffer.byteLength === BATCH_BYTES && this.free.length < this.most) this.free.push(buffer);
  }
}

/** Compresses in this thread, one batch at a time, before `compress` returns. */
export class InlineCompressor implements Compressor {
  private readonly room = new Room(1, MIB);
  private readonly buffers = new Buffers(1);

  constructor(readonly codec: Codec) {}

  enter(size: Bytes): boolean {
    return this.room.enter(size);
  }

  leave(size: Bytes): void {
    this.room.leave(size);
  }

  left(): Promise<void> {
    return this.room.left();
  }

  takeBuffer(size: Bytes): ArrayBuffer {
    return this.buffers.take(size);
  }

  giveBuffer(buffer: ArrayBuffer): void {
    this.buffers.give(buffer);
  }

  async compress(batch: Batch): Promise<CompressedBatch> {
    return compressBatch(batch, this.codec);
  }
}
