// Run by compression-pool.test.ts in place of compression-worker.js: a thread that goes wrong in the way that the
// environment names, after it has done some batches rightly. (A worker's URL loses its query.)
import { parentPort } from 'node:worker_threads';
import { compressBatch } from '../../src/stargz/codec/batch.js';
import { openCodec } from '../../src/stargz/codec/codec.js';
import type { CompressionTask } from '../../src/stargz/codec/compression-pool.js';

const wrong: Record<string, () => void> = {
  exits: () => process.exit(7),
  throws: () => {
    throw new Error('this thread has had enough');
  },
  'runs out of memory': () => {
    const hoard: unknown[] = [];
    for (;;) hoard.push(new Array(10_000).fill(hoard.length));
  },
  'never answers': () => {},
};

const { THREAD_GOES_WRONG: how, THREAD_AFTER: after } = process.env;
const codec = await openCodec('libdeflate', 1);
let done = 0;
parentPort!.on('message', ({ id, batch }: CompressionTask) => {
  if (done++ >= Number(after)) return wrong[how!]!();
  parentPort!.postMessage({ id, result: compressBatch(batch, codec) });
});
