// A compression thread: takes a batch, carries it out, gives it back, takes the next.
import { parentPort, workerData } from 'node:worker_threads';
import { HotlayerError, type PlainError, toPlainError } from '../../errors.js';
import { compressBatch } from './batch.js';
import { type Codec, type GivenCodec, openGivenCodec } from './codec.js';
import { type CompressionReply, type CompressionTask, OUT_OF_MEMORY_HINT } from './compression-pool.js';

function plain(error: unknown): PlainError {
  // V8: "Array buffer allocation failed"; the heap's own end is an 'error' event at the other side.
  if (error instanceof RangeError && /allocation/i.test(error.message)) {
    const message = `a compression thread found no memory: ${error.message}`;
    return toPlainError(new HotlayerError('HL_ERR_MACHINE', message, { hint: OUT_OF_MEMORY_HINT }));
  }
  return toPlainError(error);
}

function work({ id, batch }: CompressionTask, codec: Codec): void {
  let reply: CompressionReply;
  try {
    reply = { id, result: compressBatch(batch, codec) };
  } catch (error) {
    parentPort!.postMessage({ id, error: plain(error) } satisfies CompressionReply);
    return;
  }
  const { blob, ends, digests } = reply.result;
  const own = blob.buffer instanceof ArrayBuffer ? [blob.buffer] : [];
  parentPort!.postMessage(reply, [ends.buffer, digests.buffer, ...own]);
}

openGivenCodec(workerData as GivenCodec).then(
  (codec) => parentPort!.on('message', (task: CompressionTask) => work(task, codec)),
  (error) => parentPort!.postMessage({ unusable: plain(error) } satisfies CompressionReply),
);
