// The process that serves a file system through fuse-native (native-transport.ts starts it). libfuse's threads read the
// requests, the addon hands each to this thread, which does nothing else but answer them and what was put off.
import { spawn } from 'node:child_process';
import { readdirSync, readlinkSync } from 'node:fs';
import { HotlayerError, toPlainError } from '../errors.js';
import type { Answerer, Link, RootFs } from '../rootfs/types.js';
import { FUSE_DEVICE } from './device.js';
import { loadFsModule } from './fs-module.js';
import { ownIdMaps } from './id-map.js';
import type { FromNative, NativeInput, ToNative } from './native-messages.js';
import { PathOperations } from './path-operations.js';
import type { FsModule } from './types.js';

// It was for this process alone: what libfuse starts (fusermount) must not see it.
delete process.env.LD_PRELOAD;

/** How often it is looked whether the kernel has let go, and what was counted, milliseconds. */
const LOOK_MS = 20;
/** Operations that the addon is to hand over; all others are the kernel's (a read-only mount) or ENOSYS. */
const OPERATIONS = ['getattr', 'readlink', 'readdir', 'open', 'release', 'read', 'statfs', 'getxattr', 'listxattr'];
/** Requests that the kernel sends without waiting for those before: reads that are put off must not hold up others. */
const BACKGROUND = 64;

let faults = 0;
let listener: ((message: unknown) => void) | undefined;
const early: unknown[] = [];
let end: () => void = () => process.exit(1);

function say(message: FromNative): Promise<void> {
  return new Promise((resolve) => {
    if (process.connected) process.send!(message, undefined, undefined, () => resolve());
    else resolve();
  });
}

function onFault(error: unknown, operation: string, node: number): void {
  faults += 1;
  if (faults > 1) return;
  const { message, stack } = toPlainError(error);
  void say({ kind: 'fault', fault: { operation, node, message, ...(stack !== undefined && { stack }) } });
}

const link: Link = {
  send: (message) => void say({ kind: 'link', message }),
  listen(take) {
    listener = take;
    for (const message of early.splice(0)) take(message);
  },
};

async function fail(error: unknown): Promise<never> {
  await say({ kind: 'failed', error: toPlainError(error) });
  process.exit(1);
}

/** Descriptors of /dev/fuse in this process: libfuse opens one, and closes it when the connection has ended. */
function devices(): string[] {
  return readdirSync('/proc/self/fd').filter((fd) => pointsToDevice(fd));
}

function pointsToDevice(fd: string): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === FUSE_DEVICE;
  } catch {
    return false;
  }
}

function options({ name, mode, allowOther, maxReadahead, ttlSeconds = 3600 }: NativeInput): string {
  const list = [
    'ro',
    `fsname=${name}`,
    // Inode numbers are ours: hardlinks are one file.
    'use_ino',
    'kernel_cache',
    `entry_timeout=${ttlSeconds}`,
    `attr_timeout=${ttlSeconds}`,
    `negative_timeout=${ttlSeconds}`,
    `max_background=${BACKGROUND}`,
    'modules=iconv,from_code=UTF-8,to_code=ISO-8859-1', // see path-operations.ts, fromNative
    // Not for users: fusermount refuses these, or says itself that the directory is not empty.
    ...(mode === 'mount' ? ['suid', 'dev', 'nonempty'] : []),
    // A mount that is its user's alone needs no check of the mode bits: the files are theirs to read.
    ...(allowOther ? ['allow_other', 'default_permissions'] : mode === 'mount' ? ['default_permissions'] : []),
    ...(maxReadahead === undefined ? [] : [`max_readahead=${maxReadahead}`]),
  ];
  return `-o${list.join(',')}`;
}

/** The memory that `args` lost on the way, and what tells the other side of additions to it. */
function restoreCounters(input: NativeInput): { args: unknown; tell: () => void } {
  const names = Object.keys(input.counters);
  if (names.length === 0) return { args: input.args, tell: () => {} };
  const counters = names.map((name) => ({
    name,
    own: new Int32Array(new SharedArrayBuffer(4 * input.counters[name]!)),
    told: new Int32Array(input.counters[name]!),
  }));
  const args = { ...(input.args as object), ...Object.fromEntries(counters.map(({ name, own }) => [name, own])) };
  const tell = () => {
    for (const { name, own, told } of counters) {
      for (let index = 0; index < own.length; index++) {
        const now = Atomics.load(own, index);
        const by = (now - told[index]!) | 0;
        if (by === 0) continue;
        told[index] = now;
        void say({ kind: 'count', name, index, by });
      }
    }
  };
  return { args, tell };
}

async function makeFs(module: FsModule, args: unknown, linked: boolean) {
  const answerer: Answerer | undefined = module.createAnswerer?.(args, linked ? link : undefined);
  const fs = await module.createFs(args, {
    // As between threads: a copy, and not before its sender has gone on.
    post: (message) => void queueMicrotask(() => answerer?.onPost?.(message)),
  });
  return { answerer, fs };
}

async function closeFs(module: FsModule, fs: RootFs, answerer: Answerer | undefined): Promise<unknown> {
  let result: unknown;
  if (module.closeFs) result = await module.closeFs(fs);
  else fs.close();
  return answerer?.close ? answerer.close(result) : result;
}

/** The addon says "fuse failed"; why, libfuse and fusermount say on standard error. */
function mountError({ mountpoint }: NativeInput, cause: Error): HotlayerError {
  return new HotlayerError('HL_ERR_MACHINE', `cannot mount a file system on ${mountpoint}: ${cause.message}`, {
    hint: 'hotlayer doctor shows what this machine allows',
    context: { file: mountpoint },
    cause,
  });
}

async function run(input: NativeInput): Promise<void> {
  // Loaded here, not at the top: a library that is missing is a message of ours, not a stack.
  const { default: Fuse } = await import('fuse-native');
  const module = await loadFsModule(input.module);
  const { args, tell } = restoreCounters(input);
  const { answerer, fs } = await makeFs(module, args, input.linked);
  const operations = new PathOperations(fs, {
    caller: { pid: 0, uid: process.getuid!(), gid: process.getgid!() },
    ...(input.mode === 'mount' && ownIdMaps()),
    ...(answerer && { answer: (ticket, length) => answerer.answer(ticket, length) }),
    onFault,
  });
  const fuse = new Fuse(input.mountpoint, Object.fromEntries(OPERATIONS.map((name) => [name, true])), {
    timeout: false,
  });
  fuse._fuseOptions = () => options(input);
  for (const name of OPERATIONS) {
    const own = operations[name as keyof PathOperations].bind(operations);
    Object.assign(fuse, { [`_op_${name}`]: own });
  }
  await new Promise<void>((resolve, reject) => {
    fuse.mount((error) => (error ? reject(mountError(input, error)) : resolve()));
  });
  const opened = devices();
  let over = false;
  const finish = async () => {
    if (over) return;
    over = true;
    clearInterval(looking);
    try {
      tell();
      const result = await closeFs(module, fs, answerer);
      await say({ kind: 'closed', result, faults });
    } catch (error) {
      await fail(error);
    }
    // The last descriptor of the connection goes with the process: whoever still waits gets an error.
    process.exit(0);
  };
  const looking = setInterval(() => {
    tell();
    if (!opened.some(pointsToDevice)) void finish();
  }, LOOK_MS);
  end = () => void finish();
  process.removeAllListeners('disconnect');
  process.on('disconnect', () => {
    // Whoever mounted is gone.
    takeAway(input.unmount);
  });
  await say({ kind: 'serving' });
}

function takeAway([program, ...args]: readonly string[]): void {
  const child = spawn(program!, args, { stdio: 'ignore', cwd: '/' });
  child.on('error', () => process.exit(1));
  child.on('close', () => process.exit(1));
}

process.on('disconnect', () => process.exit(1));
// The terminal's, which are for whoever mounted.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) process.on(signal, () => {});
process.on('message', (message: ToNative) => {
  if (message.kind === 'mount') run(message.input).catch(fail);
  else if (message.kind === 'end') end();
  else if (listener) listener(message.message);
  else early.push(message.message);
});
