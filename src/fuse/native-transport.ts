// The transport for machines that forbid user namespaces but have a setuid fusermount: the npm package fuse-native, with
// the libfuse 2 that it brings. It serves in a process of its own: its operations run on the main loop, which would wait
// for itself as soon as the mounting process touched the mount, and the library has to be there when the process starts.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, realpathSync, symlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fromPlainError, HotlayerError } from '../errors.js';
import { makeTempDir, type TempDir } from '../temp.js';
import { tellFault } from './fault.js';
import { lazyUmount, run, runUmount } from './mount-command.js';
import { checkMountpoint } from './mountpoint.js';
import type { FromNative, NativeInput, ToNative } from './native-messages.js';
import { isLack, type NativeSupport, nativeSupport, userMayAllowOthers } from './native-support.js';
import { startReaper } from './reaper.js';
import type { FsFault, FuseTransport, Mounted, MountOptions } from './types.js';

/** How long the serving process may take to end once the mount is gone, milliseconds. */
const LET_GO_MS = 10_000;
/** After its end, what it said arrives within, milliseconds. */
const LAST_WORD_MS = 1000;
/** The addon has a buffer of 1024 bytes for it. */
const LONGEST_MOUNTPOINT = 1000;

export const nativeTransport: FuseTransport = {
  name: 'fuse-native',
  async mount(options) {
    // As the table of mounts names it.
    const mountpoint = realpathSync(checkMountpoint(options.mountpoint));
    if (Buffer.byteLength(mountpoint) > LONGEST_MOUNTPOINT) {
      throw new HotlayerError(
        'HL_ERR_MACHINE',
        `fuse-native mounts on paths of up to ${LONGEST_MOUNTPOINT} bytes only`,
        {
          context: { file: mountpoint },
        },
      );
    }
    const support = nativeSupport();
    if (isLack(support)) {
      throw new HotlayerError('HL_ERR_MACHINE', `cannot mount through fuse-native: ${support.why}`, {
        hint: support.mend,
        context: { file: mountpoint },
      });
    }
    const mount = new NativeMount(mountpoint, options, support);
    try {
      await mount.start();
    } catch (error) {
      await mount.abandon();
      throw error;
    }
    return mount;
  },
};

class NativeMount implements Mounted {
  readonly closed: Promise<unknown>;
  readonly mountpoint: string;
  readonly #support: NativeSupport;
  readonly #options: MountOptions;
  readonly #child: ChildProcess;
  /** Its process has ended, for whatever reason. */
  readonly #ended: Promise<void>;
  readonly #serving: Promise<void>;
  /** It has ended, or will soon, and has said its last word. */
  readonly #silence: Promise<void>;
  readonly #reaper: { kill(): void } | undefined;
  /** What lay on the directory before, which is not ours to take away. */
  readonly #before: ReadonlySet<string>;
  #scratch: TempDir | undefined;
  #faults = 0;
  #said = '';
  #unmounting: Promise<void> | undefined;

  constructor(mountpoint: string, options: MountOptions, support: NativeSupport) {
    this.mountpoint = mountpoint;
    this.#options = options;
    this.#support = support;
    this.#before = new Set(mountsOn(mountpoint));
    const { args, counters } = takeCounters(options.args);
    // In a namespace that ends with the processes in it no mount can be left.
    if (support.mode === 'fusermount') this.#reaper = startReaper(mountpoint, this.#unmountCommand());
    try {
      this.#child = this.#spawn();
    } catch (error) {
      this.#reaper?.kill();
      this.#scratch?.remove();
      throw error;
    }
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#said = (this.#said + text).slice(-2000);
    });
    this.#silence = new Promise((resolve) => {
      this.#child.once('close', () => resolve());
      // Not for ever: what it started may hold the pipe.
      this.#child.once('exit', () => setTimeout(resolve, LAST_WORD_MS));
    });
    let serving = () => {};
    this.#serving = new Promise((resolve) => {
      serving = resolve;
    });
    let close: (result: unknown) => void = () => {};
    let failed: (error: unknown) => void = () => {};
    this.closed = new Promise((resolve, reject) => {
      close = resolve;
      failed = reject;
    });
    // Whoever does not look at `closed` must not die of it.
    this.closed.catch(() => {});
    this.#child.on('message', (message: FromNative) => {
      switch (message.kind) {
        case 'serving':
          serving();
          break;
        case 'link':
          options.link?.send(message.message);
          break;
        case 'fault':
          this.#fault(message.fault);
          break;
        case 'count': {
          const counter = counters.get(message.name);
          if (counter) Atomics.add(counter, message.index, message.by);
          break;
        }
        case 'closed':
          this.#faults = message.faults;
          close(message.result);
          break;
        case 'failed':
          // What libfuse said comes through another pipe, and may be on its way.
          void this.#silence.then(() => failed(this.#explain(fromPlainError(message.error))));
      }
    });
    this.#ended = new Promise((resolve) => {
      const end = (how: string) => {
        this.#scratch?.remove();
        resolve();
        void this.#silence.then(() => {
          failed(
            new HotlayerError('HL_ERR_MACHINE', `the process that serves ${mountpoint} ${how}${this.#lastWords()}`),
          );
        });
        // A mount that answers nobody is of no use to anybody.
        void this.unmount().catch(() => {});
      };
      this.#child.on('error', (error) => end(`could not be started: ${error.message}`));
      // Not "close": fusermount may hold the pipe for a moment longer.
      this.#child.on('exit', (status, signal) =>
        end(signal === null ? `ended early (status ${status})` : `was ended by ${signal}`),
      );
    });
    options.link?.listen((message) => this.#post({ kind: 'link', message }));
    const input: NativeInput = {
      mountpoint,
      name: options.name ?? 'hotlayer',
      mode: support.mode,
      unmount: this.#unmountCommand(),
      allowOther: options.allowOther ?? (support.mode === 'mount' || userMayAllowOthers()),
      module: options.module,
      args,
      counters: Object.fromEntries([...counters].map(([name, { length }]) => [name, length])),
      maxReadahead: options.maxReadahead,
      ttlSeconds: options.ttlSeconds,
      linked: options.link !== undefined,
    };
    try {
      this.#child.send({ kind: 'mount', input } satisfies ToNative, (error) => error && failed(error));
    } catch (error) {
      failed(error); // args that cannot be cloned
    }
  }

  #spawn(): ChildProcess {
    const { library, fusermount } = this.#support;
    const fds = this.#options.fds ?? [];
    // The file system's descriptors keep their numbers; the channel and the library come behind them.
    const stdio: ('ignore' | 'pipe' | 'ipc' | number)[] = ['ignore', 'ignore', 'pipe'];
    for (let fd = 3; fd <= Math.max(2, ...fds); fd++) stdio.push(fds.includes(fd) ? fd : 'ignore');
    stdio.push('ipc');
    const env: NodeJS.ProcessEnv = { ...process.env };
    delete env.NODE_V8_COVERAGE;
    delete env.LD_LIBRARY_PATH;
    let file: number | undefined;
    if (library !== undefined) {
      // Loaded before Node, so that the addon finds it by its name (libfuse.so.2). As a descriptor: whatever is in the
      // path of the package, and without a link in a temporary directory.
      file = openSync(library, 'r');
      env.LD_PRELOAD = `/proc/self/fd/${stdio.length}`;
      stdio.push(file);
    }
    if (fusermount !== undefined && basename(fusermount) !== 'fusermount') {
      // libfuse 2 knows it by this name only.
      this.#scratch = makeTempDir();
      symlinkSync(fusermount, join(this.#scratch.path, 'fusermount'));
      env.PATH = `${this.#scratch.path}:${env.PATH ?? ''}`;
    }
    try {
      const main = fileURLToPath(new URL('./native-main.js', import.meta.url));
      return spawn(process.execPath, ['--no-warnings', main], {
        cwd: '/',
        env,
        stdio,
        // The terminal's Ctrl-C is for the mounting process.
        detached: true,
        serialization: 'advanced',
      });
    } finally {
      if (file !== undefined) closeSync(file);
    }
  }

  /** Resolves when the kernel and libfuse have shaken hands. */
  async start(): Promise<void> {
    const ended = this.closed.then(() => {
      throw new HotlayerError('HL_ERR_MACHINE', `the mount on ${this.mountpoint} ended before it was ready`);
    });
    await Promise.race([this.#serving, ended]);
  }

  /** After a failed start. */
  async abandon(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
    await this.unmount().catch(() => {});
  }

  unmount(): Promise<void> {
    this.#unmounting ??= this.#unmount();
    return this.#unmounting;
  }

  faults(): number {
    return this.#faults;
  }

  async #unmount(): Promise<void> {
    const refused = this.#isMounted() ? await this.#takeAway() : undefined;
    this.#post({ kind: 'end' });
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), LET_GO_MS);
    await this.#ended;
    clearTimeout(timer);
    this.#reaper?.kill();
    // Its end was that of the connection; the name may still be in the table (a busy mount that fusermount refused).
    if (this.#isMounted()) {
      const again = await this.#takeAway();
      if (again !== undefined && this.#isMounted()) {
        throw new HotlayerError('HL_ERR_MACHINE', `cannot unmount ${this.mountpoint}: ${again || refused}`, {
          hint: `fusermount -uz ${this.mountpoint}, or umount -l as root, takes it away`,
          context: { file: this.mountpoint },
        });
      }
    }
  }

  #isMounted(): boolean {
    return mountsOn(this.mountpoint).some((id) => !this.#before.has(id));
  }

  /** A busy one goes, too; its connection ends with the serving process. */
  #unmountCommand(): string[] {
    const { fusermount } = this.#support;
    return fusermount === undefined ? lazyUmount(this.mountpoint) : [fusermount, '-u', '-z', '--', this.mountpoint];
  }

  /** @returns undefined, or why it is still there */
  async #takeAway(): Promise<string | undefined> {
    if (this.#support.mode === 'mount') return runUmount(this.mountpoint);
    const [program, ...args] = this.#unmountCommand();
    const { status, stderr, error } = await run(program!, args);
    return status === 0 ? undefined : (error?.message ?? stderr.trim());
  }

  #post(message: ToNative): void {
    if (this.#child.connected) this.#child.send(message, () => {});
  }

  #fault(fault: FsFault): void {
    if (this.#faults > 0) return;
    this.#faults = 1;
    tellFault(fault, this.mountpoint, this.#options.onFault?.bind(this.#options));
  }

  #lastWords(): string {
    const words = this.#said.trim().split('\n').slice(-3).join('; ');
    return words === '' ? '' : `: ${words}`;
  }

  /** With what libfuse and fusermount said. */
  #explain(error: HotlayerError): HotlayerError {
    if (error.code !== 'HL_ERR_MACHINE') return error;
    const { hint, context } = error;
    return new HotlayerError(error.code, error.message + this.#lastWords(), {
      ...(hint !== undefined && { hint }),
      context,
    });
  }
}

/** Ids of the mounts on a directory (proc_pid_mountinfo(5)). */
function mountsOn(mountpoint: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([, , , , place = '']) => unescapeOctal(place) === mountpoint)
    .map(([id]) => id!);
}

function unescapeOctal(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** Memory that is shared with `args` cannot go to another process: its members are taken out, by name. */
function takeCounters(args: unknown): { args: unknown; counters: ReadonlyMap<string, Int32Array> } {
  const counters = new Map<string, Int32Array>();
  if (typeof args !== 'object' || args === null || Object.getPrototypeOf(args) !== Object.prototype)
    return { args, counters };
  const rest: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(args)) {
    if (value instanceof Int32Array && value.buffer instanceof SharedArrayBuffer) counters.set(name, value);
    else rest[name] = value;
  }
  return { args: rest, counters };
}
