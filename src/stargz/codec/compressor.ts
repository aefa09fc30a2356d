// Where batches are compressed: in this thread, or in others (compression-pool.ts). Both admit a bounded number of
// batches, from their layout to the moment their bytes are written.
import { type Bytes, MIB } from '../../units.js';
import { BATCH_BYTES } from '../member-layout.js';
import { type Batch, type CompressedBatch, compressBatch } from './batch.js';
import type { Codec } from './codec.js';

export interface Compressor {
  /** Its name and id; levels come with the batches. */
  readonly codec: Codec;
  /** Takes room for a batch of this size, to be given back with `leave`. False: there is none now. */
  enter(size: Bytes): boolean;
  leave(size: Bytes): void;
  /** Resolves when a batch, of whomever, has left since the call. */
  left(): Promise<void>;
  /** A buffer for a batch of that size (batch.ts), with anything in it. */
  takeBuffer(size: Bytes): SharedArrayBuffer;
  /** For the next who asks. */
  giveBuffer(buffer: SharedArrayBuffer): void;
  /** The batch's buffer belongs to the compressor until there is a result. */
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

/**
 * Buffers that are used again: two MiB of fresh memory cost as much as hashing them. Shared by the threads, not handed
 * from one to the other: each handing over would count as fresh memory and bring the garbage collector up.
 */
export class Buffers {
  private readonly free: SharedArrayBuffer[] = [];

  /** @param most that are kept */
  constructor(private readonly most: number) {}

  take(size: Bytes): SharedArrayBuffer {
    const wanted = 2 * roomFor(size);
    const at = this.free.findIndex((buffer) => buffer.byteLength === wanted);
    return at < 0 ? new SharedArrayBuffer(wanted) : this.free.splice(at, 1)[0]!;
  }

  give(buffer: SharedArrayBuffer): void {
    this.free.push(buffer);
    // The oldest goes: it is of a size that is not asked for now.
    if (this.free.length > this.most) this.free.shift();
  }
}

/** A power of two, so that those for chunks of all sizes fit each other. What is not touched takes no memory. */
function roomFor(size: Bytes): Bytes {
  let room = BATCH_BYTES;
  while (room < size) room *= 2;
  return room;
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

  takeBuffer(size: Bytes): SharedArrayBuffer {
    return this.buffers.take(size);
  }

  giveBuffer(buffer: SharedArrayBuffer): void {
    this.buffers.give(buffer);
  }

  async compress(batch: Batch): Promise<CompressedBatch> {
    return compressBatch(batch, this.codec);
  }
}
