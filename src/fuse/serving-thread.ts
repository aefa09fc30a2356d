// The thread that serves a mount (raw-worker.ts). Apart from the transport, so that it can be started before that is loaded.
import { Worker } from 'node:worker_threads';
import type { ThreadData } from './worker-messages.js';

/** A thread for mounts to come, waiting. */
let spare: Worker | undefined;

/**
 * Starts the thread of this process's next mount before it is known what that is to serve: a thread takes tens of
 * milliseconds to start. It does not keep the process alive.
 * @param preload the file system module that the mount will probably be made with
 */
export function prepareThread(preload?: string): void {
  if (spare) return;
  spare = startThread({ spare: true, preload });
  spare.unref();
}

function startThread(data: ThreadData): Worker {
  return new Worker(new URL('./raw-worker.js', import.meta.url), {
    name: 'fuse',
    workerData: data,
    // The file system module may hand descriptors over at will: Node need not watch who closes them.
    trackUnmanagedFds: false,
    // The tree of a large image is made at once: room for it, rather than collections while it grows.
    resourceLimits: { maxYoungGenerationSizeMb: 64 },
    // Flags like --input-type are for the main script and make a worker fail.
    execArgv: [],
  });
}

/** The one that waits, or a new one. */
export function takeThread(): Worker {
  const thread = spare ?? startThread({ spare: false, preload: undefined });
  spare = undefined;
  thread.ref();
  return thread;
}
