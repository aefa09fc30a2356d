// Threads that read, hash and compress batches. They share the process's descriptors and the batches' buffers, so what
// travels between threads is instructions. Which thread does what, and when, leaves no trace
// in the output: the writer takes the results in the order in which it gave the batches.
import { Worker } from 'node:worker_threads';
import { fromPlainError, HotlayerError, type PlainError } from '../../errors.js';
import { type Bytes, MIB } from '../../units.js';
import type { Batch, CompressedBatch } from './batch.js';
import type { Codec } from './codec.js';
import { Buffers, type Compressor, Room } from './compressor.js';

export interface CompressionTask {
  readonly id: number;
  readonly batch: Batch;
}

export type CompressionReply =
  | { readonly id: number; readonly result: CompressedBatch }
  | { readonly id: number; readonly error: PlainError }
  /** The thread cannot work at all. */
  | { readonly unusable: PlainError };

export interface PoolOptions {
  /** Threads at most, 1 or more; each is started when there is work for it. */
  readonly jobs: number;
  /** Aborted: whatever waits for the pool fails with the signal's reason, and the threads are stopped. */
  readonly signal?: AbortSignal | undefined;
  /** What the threads run. Absent: compression-worker.ts; tests have others. */
  readonly module?: URL | undefined;
}

/** Batches that a thread holds: one at work and one that it can go on with at once. */
const PER_WORKER = 2;
/**
 * Batches under way for each thread, and two more: one that is laid out, one that is written. Their bytes are bounded
 * as well, at six MiB each (a chunk of the default size with what may follow it, plus its result), but never below
 * what a few chunks of a larger size need.
 */
const BYTES_PER_BATCH = 6 * MIB;
const BYTES_AT_LEAST = 256 * MIB;

/** A thread's heap holds messages and digests; bytes of layers lie outside of it. Without limits it grows by habit. */
const HEAP = { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 4 };

interface Task {
  readonly batch: Batch;
  resolve(result: CompressedBatch): void;
  reject(error: unknown): void;
}

interface Thread {
  readonly worker: Worker;
  readonly tasks: Set<number>;
}

export class CompressionPool implements Compressor, AsyncDisposable {
  readonly codec: Codec;
  readonly room: Room;
  private readonly threads: Thread[] = [];
  private readonly buffers: Buffers;
  /** All that are not done, by id; `queue` has those that no thread holds yet. */
  private readonly tasks = new Map<number, Task>();
  private readonly queue: number[] = [];
  private lastId = 0;
  private failure: unknown;
  private closing: Promise<void> | undefined;
  private readonly onAbort = () => this.fail(this.options.signal!.reason);

  /** @param codec its name and level are what the threads open; other levels may come with the batches */
  constructor(
    codec: Codec,
    private readonly options: PoolOptions,
  ) {
    this.codec = codec;
    const batches = PER_WORKER * options.jobs + 2;
    this.room = new Room(batches, Math.max(batches * BYTES_PER_BATCH, BYTES_AT_LEAST));
    this.buffers = new Buffers(batches + 2);
    if (options.signal?.aborted) this.onAbort();
    else options.signal?.addEventListener('abort', this.onAbort, { once: true });
  }

  enter(size: Bytes): boolean {
    return this.room.enter(size);
  }

  leave(size: Bytes): void {
    this.room.leave(size);
  }

  async left(): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
    return this.room.left();
  }

  takeBuffer(size: Bytes): SharedArrayBuffer {
    return this.buffers.take(size);
  }

  giveBuffer(buffer: SharedArrayBuffer): void {
    this.buffers.give(buffer);
  }

  /**
   * @throws what the thread met with this batch; or for this and all others: HL_ERR_MACHINE when a thread ran out of
   *   memory, HL_ERR_BUG when it ended by itself, the signal's reason
   */
  async compress(batch: Batch): Promise<CompressedBatch> {
    if (this.failure !== undefined) throw this.failure;
    this.lastId += 1;
    const id = this.lastId;
    return new Promise((resolve, reject) => {
      this.tasks.set(id, { batch, resolve, reject });
      this.queue.push(id);
      this.dispatch();
    });
  }

  /** Stops the threads, and waits until they have: from then on nobody reads the descriptors. Idempotent. */
  close(): Promise<void> {
    this.closing ??= this.stop();
    return this.closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private async stop(): Promise<void> {
    this.options.signal?.removeEventListener('abort', this.onAbort);
    this.fail(new HotlayerError('HL_ERR_BUG', 'a batch was given to a pool of threads that is closed'));
    await Promise.all(this.threads.map(({ worker }) => worker.terminate()));
  }

  private fail(error: unknown): void {
    if (this.failure !== undefined) return;
    this.failure = error;
    this.queue.length = 0;
    const tasks = [...this.tasks.values()];
    this.tasks.clear();
    for (const task of tasks) task.reject(error);
    this.room.fail(error);
    for (const { worker } of this.threads) void worker.terminate();
  }

  private dispatch(): void {
    while (this.queue.length > 0) {
      const thread = this.nextThread();
      if (!thread) return;
      const id = this.queue.shift()!;
      const { batch } = this.tasks.get(id)!;
      thread.tasks.add(id);
      const task: CompressionTask = { id, batch };
      thread.worker.postMessage(task, [batch.steps.buffer]);
    }
  }

  /** The one with the least to do; a new one rather than one that is busy. */
  private nextThread(): Thread | undefined {
    let best: Thread | undefined;
    for (const thread of this.threads) if (!best || thread.tasks.size < best.tasks.size) best = thread;
    if (best?.tasks.size === 0) return best;
    if (this.threads.length < this.options.jobs) return this.start();
    return best && best.tasks.size < PER_WORKER ? best : undefined;
  }

  private start(): Thread {
    const worker = new Worker(this.options.module ?? new URL('./compression-worker.js', import.meta.url), {
      name: 'compression',
      // GivenCodec, for compression-worker.ts.
      workerData: this.codec.given,
      // Flags like --input-type are for the main script and make a worker fail.
      execArgv: [],
      resourceLimits: HEAP,
    });
    const thread: Thread = { worker, tasks: new Set() };
    worker.on('message', (reply: CompressionReply) => {
      if ('unusable' in reply) this.fail(fromPlainError(reply.unusable));
      else this.settle(thread, reply);
    });
    worker.on('messageerror', (cause) => this.fail(ended('sent what cannot be read', cause)));
    worker.on('error', (cause) => this.fail(ended(`failed: ${(cause as Error)?.message ?? cause}`, cause)));
    worker.on('exit', (status) => this.fail(ended(`ended by itself (status ${status})`)));
    this.threads.push(thread);
    return thread;
  }

  private settle(thread: Thread, reply: Exclude<CompressionReply, { unusable: PlainError }>): void {
    thread.tasks.delete(reply.id);
    const task = this.tasks.get(reply.id);
    // Replies that were on their way when the pool failed.
    if (!task) return;
    this.tasks.delete(reply.id);
    if ('error' in reply) task.reject(fromPlainError(reply.error));
    else task.resolve(reply.result);
    this.dispatch();
  }
}

function ended(how: string, cause?: unknown): HotlayerError {
  const message = `a compression thread ${how}`;
  if ((cause as { code?: unknown })?.code === 'ERR_WORKER_OUT_OF_MEMORY') {
    return new HotlayerError('HL_ERR_MACHINE', message, { cause, hint: OUT_OF_MEMORY_HINT });
  }
  return new HotlayerError('HL_ERR_BUG', message, { cause });
}

export const OUT_OF_MEMORY_HINT = 'use fewer --jobs, or a smaller --chunk-size';
