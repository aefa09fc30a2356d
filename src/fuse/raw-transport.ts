// The transport without an addon: /dev/fuse opened by Node, mounted by mount(8) with the descriptor inherited, served
// by a worker thread that speaks the kernel's protocol (server.ts). The mount belongs in a private mount namespace:
// then nothing is left of it when this process ends, however it ends.
import { closeSync } from 'node:fs';
import type { Worker } from 'node:worker_threads';
import { fromPlainError, HotlayerError, toPlainError } from '../errors.js';
import type { Answerer } from '../rootfs/types.js';
import { tellFault } from './fault.js';
import { deviceWriter, LateReplies } from './late-replies.js';
import { loadModule } from './load-module.js';
import { openFuseDevice, runMount, runUmount, runUmountSync } from './mount-command.js';
import { checkMountpoint } from './mountpoint.js';
import { takeThread } from './serving-thread.js';
import type { FsFault, FsModule, FuseTransport, Mounted, MountOptions } from './types.js';
import { PHASE, type WorkerInput, type WorkerMessage } from './worker-messages.js';

/** How long the serving thread may take to see that its connection is gone, milliseconds. */
const LET_GO_MS = 10_000;

export const rawTransport: FuseTransport = {
  name: 'raw',
  async mount(options) {
    const mountpoint = checkMountpoint(options.mountpoint);
    // Before the thread: what it posts needs somebody who takes it.
    const module = (await loadModule(options.module)) as Partial<FsModule>;
    const answerer = module.createAnswerer?.(options.args, options.link);
    const session = new RawMount(mountpoint, options, answerer, openFuseDevice());
    try {
      await session.start();
    } catch (error) {
      await session.abandon();
      throw error;
    }
    return session;
  },
};

/** Mounts of this process: see `endAll`. */
const active = new Set<RawMount>();

/**
 * process.exit() and an uncaught exception stop worker threads, and would wait forever for one that blocks in
 * read(2): unmount first. When even that fails the process can only be killed.
 */
function endAll(): void {
  for (const mount of active) {
    mount.cancel();
    if (mount.mounted && !runUmountSync(mount.mountpoint)) process.kill(process.pid, 'SIGKILL');
  }
}

class RawMount implements Mounted {
  readonly closed: Promise<unknown>;
  readonly mountpoint: string;
  readonly #options: MountOptions;
  readonly #fd: number;
  readonly #phase = new Int32Array(new SharedArrayBuffer(4));
  readonly #worker: Worker;
  /** The thread has ended, for whatever reason. */
  readonly #ended: Promise<void>;
  mounted = false;
  readonly #late: LateReplies | undefined;
  #faults = 0;
  #unmounting: Promise<void> | undefined;
  #on: { ready?: () => void; serving?: () => void } = {};

  constructor(mountpoint: string, options: MountOptions, answerer: Answerer | undefined, fd: number) {
    this.mountpoint = mountpoint;
    this.#options = options;
    this.#fd = fd;
    const input: WorkerInput = {
      fd,
      module: options.module,
      args: options.args,
      maxReadahead: options.maxReadahead,
      readdirplus: options.readdirplus,
      ttlSeconds: options.ttlSeconds,
      early: options.early ?? false,
      phase: this.#phase.buffer as SharedArrayBuffer,
    };
    this.#worker = takeThread();
    try {
      this.#worker.postMessage(input);
    } catch (error) {
      closeSync(fd); // args that cannot be cloned
      void this.#worker.terminate();
      throw error;
    }
    if (answerer) {
      this.#late = new LateReplies(answerer, deviceWriter(fd), (error, read) => {
        const { message, stack } = toPlainError(error);
        this.#fault({ operation: 'READ', node: read.node, message, ...(stack !== undefined && { stack }) });
      });
    }
    let end = () => {};
    this.#ended = new Promise((resolveEnded) => {
      end = resolveEnded;
    });
    this.closed = new Promise((resolveClosed, reject) => {
      this.#worker.on('message', (message: WorkerMessage) => {
        if (message.kind === 'ready') this.#on.ready?.();
        else if (message.kind === 'serving') this.#on.serving?.();
        else if (message.kind === 'fault') this.#fault(message.fault);
        else if (message.kind === 'failed') reject(fromPlainError(message.error));
        else if (message.kind === 'post') answerer?.onPost?.(message.message);
        else if (message.kind === 'later') void this.#late?.take(message.read);
        else {
          this.#faults = message.faults + (this.#late?.faults ?? 0);
          try {
            resolveClosed(answerer?.close ? answerer.close(message.result) : message.result);
          } catch (error) {
            reject(error);
          }
        }
      });
      this.#worker.on('error', reject);
      this.#worker.on('exit', (code) => {
        this.#late?.end();
        // The last descriptor of the connection: whoever still waits for an answer gets ENOTCONN now.
        closeSync(this.#fd);
        reject(new HotlayerError('HL_ERR_BUG', `the thread that serves ${mountpoint} ended early (status ${code})`));
        end();
        if (this.mounted && !this.#unmounting) void this.unmount().catch(() => {});
      });
    });
    // Whoever does not look at `closed` must not die of it.
    this.closed.catch(() => {});
  }

  /** Resolves when the kernel and the file system have shaken hands. */
  async start(): Promise<void> {
    const ready = new Promise<void>((go) => {
      this.#on.ready = go;
    });
    const serving = new Promise<void>((go) => {
      this.#on.serving = go;
    });
    if (active.size === 0) process.on('exit', endAll);
    active.add(this);
    if (this.#options.early) {
      // The kernel's first request waits until the file system is there.
      const outcomes = await Promise.allSettled([this.#orFailure(ready), this.#attach()]);
      for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    } else {
      await this.#orFailure(ready);
      await this.#attach();
    }
    await this.#orFailure(serving);
  }

  async #attach(): Promise<void> {
    const { allowOther = true, name = 'hotlayer' } = this.#options;
    await runMount({ mountpoint: this.mountpoint, name, allowOther }, this.#fd);
    this.mounted = true;
    Atomics.store(this.#phase, 0, PHASE.mounted);
    Atomics.notify(this.#phase, 0);
  }

  /** After a failed start: lets the thread and the descriptor go. */
  async abandon(): Promise<void> {
    this.cancel();
    if (this.mounted) await this.unmount().catch(() => {});
    await this.#ended;
    this.#forget();
  }

  /** A thread that still waits for the mount stops waiting. */
  cancel(): void {
    Atomics.store(this.#phase, 0, PHASE.cancelled);
    Atomics.notify(this.#phase, 0);
  }

  unmount(): Promise<void> {
    this.#unmounting ??= this.#unmount();
    return this.#unmounting;
  }

  faults(): number {
    return this.#faults;
  }

  async #unmount(): Promise<void> {
    const refused = await runUmount(this.mountpoint);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((give) => {
      timer = setTimeout(give, LET_GO_MS, 'late');
    });
    const outcome = await Promise.race([this.#ended, late]);
    clearTimeout(timer);
    if (outcome === 'late') {
      // `active` keeps this mount, so that the process is killed at its exit rather than hang.
      throw new HotlayerError(
        'HL_ERR_MACHINE',
        `cannot unmount ${this.mountpoint}: ${refused ?? 'it is still in use'}`,
        {
          hint: 'end the processes that use it; the mount goes away with its mount namespace',
          context: { file: this.mountpoint },
        },
      );
    }
    this.#forget();
  }

  #forget(): void {
    if (active.delete(this) && active.size === 0) process.removeListener('exit', endAll);
  }

  #fault(fault: FsFault): void {
    if (this.#faults > 0) return;
    this.#faults = 1;
    tellFault(fault, this.mountpoint, this.#options.onFault?.bind(this.#options));
  }

  /** `step`, unless the thread fails or ends before it. */
  async #orFailure(step: Promise<void>): Promise<void> {
    const ended = this.closed.then(() => {
      throw new HotlayerError('HL_ERR_MACHINE', `the mount on ${this.mountpoint} ended before it was ready`, {
        hint: 'something else unmounted it at once: look for a watcher of /proc/mounts',
      });
    });
    await Promise.race([step, ended]);
  }
}
