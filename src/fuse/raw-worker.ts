// The serving thread: makes the file system, then does nothing but read a request from /dev/fuse, answer it, and
// read the next, until the kernel says that the mount is gone. It blocks in read(2): while it does, this thread
// cannot be terminated, only the end of the mount lets it go (raw-transport.ts sees to that).
import { once } from 'node:events';
import { readSync, writeSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { errnoOf, HotlayerError, toPlainError } from '../errors.js';
import { ERRNO, type RootFs } from '../rootfs/types.js';
import { expectBriefWork } from './brief.js';
import { loadFsModule, prepareFsModule } from './fs-module.js';
import { ownIdMaps } from './id-map.js';
import { opName } from './protocol.js';
import { type DeferredRead, FuseServer } from './server.js';
import { warmUp } from './warm-up.js';
import type { Reply } from './wire.js';
import { PHASE, type ThreadData, type WorkerInput, type WorkerMessage } from './worker-messages.js';

let input: WorkerInput;
let phase: Int32Array<SharedArrayBuffer>;
let warm = false;
let faults = 0;

async function main(): Promise<void> {
  const told = once(parentPort!, 'message');
  const { spare, preload } = workerData as ThreadData;
  // What is wrong with it is said when it is used.
  if (preload !== undefined) await prepareFsModule(preload).catch(() => {});
  expectBriefWork();
  if (spare) beWarm();
  [input] = (await told) as [WorkerInput];
  phase = new Int32Array(input.phase);
  try {
    await run();
  } catch (error) {
    say({ kind: 'failed', error: toPlainError(error) });
  }
}

void main();

function say(message: WorkerMessage): void {
  parentPort!.postMessage(message);
}

function onFault(error: unknown, operation: string, node: number): void {
  faults += 1;
  if (faults > 1) return;
  const { message, stack } = toPlainError(error);
  say({ kind: 'fault', fault: { operation, node, message, ...(stack !== undefined && { stack }) } });
}

/** One request into the server's buffer. Returns false when the connection has ended. */
function receive(server: FuseServer): boolean {
  for (;;) {
    try {
      readSync(input.fd, server.request.bytes, 0, server.request.bytes.length, null);
      return true;
    } catch (error) {
      switch (errnoOf(error)) {
        case 'ENODEV': // unmounted
        case 'ECONNABORTED': // aborted (INIT_FLAG.ABORT_ERROR)
          return false;
        case 'ENOENT': // the request was taken back before we had it
        case 'EINTR':
        case 'EAGAIN':
          continue;
        case 'EPERM':
          // Not mounted yet. Once it is, the kernel says so itself: mount(8) may already wait for an answer.
          if (Atomics.load(phase, 0) === PHASE.cancelled) return false;
          if (Atomics.load(phase, 0) === PHASE.mounted && server.init) throw error;
          Atomics.wait(phase, 0, PHASE.mounting, 1);
          continue;
        default:
          throw error;
      }
    }
  }
}

function send(server: FuseServer, length: number): void {
  try {
    writeSync(input.fd, server.reply.bytes, 0, length, null);
  } catch (error) {
    const code = errnoOf(error);
    // The asker was killed, or the connection aborted, while we worked: nobody waits for this reply.
    if (code === 'ENOENT' || code === 'ENODEV' || code === 'ECONNABORTED') return;
    onFault(error, `reply to ${opName(server.request.opcode)}`, server.request.nodeid);
    // A reply the kernel did not take (EINVAL) leaves its asker waiting: give it an error instead.
    try {
      writeSync(input.fd, server.reply.bytes, 0, server.reply.fail(server.request, ERRNO.EIO), null);
    } catch {
      // taken back meanwhile
    }
  }
}

/** What the kernel does not take it will ask for. */
function store({ bytes }: Reply, length: number): void {
  try {
    writeSync(input.fd, bytes, 0, length, null);
  } catch {
    // forgotten meanwhile, or a kernel that cannot
  }
}

/** @param practise absent: with nothing else than what does for all */
function beWarm(practise?: () => RootFs | undefined): void {
  try {
    const fs = practise?.();
    if (warm && !fs) return;
    warm = true;
    warmUp(fs);
  } catch {
    // Only a saving. What is wrong shows where it is needed.
  }
}

function serve(server: FuseServer): void {
  while (receive(server)) {
    const started = server.init !== undefined;
    const length = server.handle();
    if (length > 0) send(server, length);
    if (server.refusal !== undefined) {
      throw new HotlayerError('HL_ERR_MACHINE', server.refusal, { hint: 'use Linux 5.4 or newer' });
    }
    if (!started && server.init) {
      say({ kind: 'serving', minor: server.init.minor, maxReadahead: server.init.maxReadahead });
    }
  }
}

async function run(): Promise<void> {
  const module = await loadFsModule(input.module);
  const fs = await module.createFs(input.args, { post: (message) => say({ kind: 'post', message }) });
  let result: unknown;
  try {
    const { maxReadahead, readdirplus, ttlSeconds } = input;
    const onLater = (read: DeferredRead) => say({ kind: 'later', read });
    const options = { maxReadahead, readdirplus, ttlSeconds, ...ownIdMaps(), onFault, onStore: store };
    const server = new FuseServer(fs, module.createAnswerer ? { ...options, onLater } : options);
    say({ kind: 'ready' });
    // mount(8) is at work meanwhile.
    if (!input.early) beWarm(() => module.practice?.(input.args));
    serve(server);
  } finally {
    if (module.closeFs) result = await module.closeFs(fs);
    else fs.close();
  }
  say({ kind: 'closed', result, faults });
}
