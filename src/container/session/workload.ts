// One process that is being turned into the workload, from its first namespace to its end.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { constants as osConstants } from 'node:os';
import type { Readable } from 'node:stream';
import { HotlayerError } from '../../errors.js';
import { warningsIn } from '../machine/shell.js';
import type { OutputHook } from '../types.js';
import { flow } from './flow.js';
import { COMPLAINTS, SOCKET } from './launch.js';
import { Output, type Stream } from './output.js';
import { firstProcessNotices, ignoresSignal } from './signals.js';

export interface Ended {
  readonly at: bigint;
  /** Exactly one of the two is there. */
  readonly exitCode?: number;
  readonly signal?: string;
}

/** Where the workload reads and prints. */
export interface Streams {
  /** FIFOs made with mode 0666: programs open /dev/stdout again, which a socket would refuse. */
  readonly stdout: string;
  readonly stderr: string;
  readonly stdin: string;
  /** What it is given to read. Absent: /dev/null. */
  readonly input?: Readable;
  /** The user's terminal, a descriptor; then none of the others is used. */
  readonly terminal?: number;
}

/** A process that turns into the workload. */
export interface WorkloadStart {
  readonly command: readonly string[];
  /** Of its helpers, not of the workload. */
  readonly env: Readonly<Record<string, string>>;
  /** How it says its pid and "ready", and hears that it may go on. `socket`: launch.ts. */
  readonly control:
    | { readonly kind: 'socket' }
    | { readonly kind: 'fifos'; readonly said: string; readonly go: string };
  /** Passes on that the user's terminal has another size. Absent: it is told by SIGWINCH. */
  readonly resized?: () => void;
  /** What it says went wrong, besides what it says on descriptors. */
  readonly complaints?: () => string;
}

const BLOCKED_POLL_MS = 50;
/** Signals that end a process that has no handler for them (signal(7)), as far as they are handed on. */
const ENDING: readonly string[] = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGUSR1', 'SIGUSR2'];

/**
 * unshare(1) up to 2.38 cannot repeat the SIGKILL that ended its child: it says so and exits with 1. (Other signals,
 * and SIGKILL in later versions, end it too.)
 */
export const CHILD_WAS_KILLED = /^unshare: sigprocmask unblock failed/m;

export class Workload {
  readonly output = new Output();
  /** Resolves once the process, all others of its pid namespace, and its output have ended. */
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;
  readonly #start: WorkloadStart;
  /** What it says. */
  readonly #control: Socket;
  /** Descriptor on which a runtime's hook waits. */
  #go: number | undefined;
  /** The signal that was sent to it, when it was us who made it end. */
  #endedFor: string | undefined;
  readonly #ready: Promise<void>;
  #said = '';
  /** What our own helpers say, which is nothing unless they fail. */
  #complaints = '';
  #pid = 0;

  /** @param onOutput gets what the workload prints; a promise holds that stream up */
  constructor(start: WorkloadStart, streams: Streams, onOutput: OutputHook) {
    const [program, ...args] = start.command;
    const { control } = start;
    this.#start = start;
    const { terminal } = streams;
    const builtin = control.kind === 'socket';
    const said = builtin ? undefined : openReader(control.said);
    if (!builtin) this.#go = openSync(control.go, constants.O_RDWR);
    const stdout = terminal === undefined ? this.#open(streams.stdout, 'stdout', onOutput) : undefined;
    const stderr = terminal === undefined ? this.#open(streams.stderr, 'stderr', onOutput) : undefined;
    const fed = terminal === undefined && streams.input ? feed(streams.stdin, streams.input) : undefined;
    const stdin = fed?.read;
    const input = terminal ?? stdin ?? 'ignore';
    const output = terminal ?? stdout!.write;
    this.#child = spawn(program!, args, {
      cwd: '/',
      env: start.env,
      // Descriptors 3 to 5 of the builtin runner: launch.ts.
      stdio: builtin
        ? [
            input,
            output,
            'pipe',
            'pipe',
            stderr?.write ?? 'ignore',
            ...(terminal === undefined ? [] : ['pipe' as const]),
          ]
        : [input, output, terminal ?? stderr!.write],
    });
    for (const fd of [stdin, stdout?.write, stderr?.write]) if (fd !== undefined) closeSync(fd);
    for (const stream of builtin ? [this.#child.stderr, (this.#child.stdio as unknown[])[COMPLAINTS]] : []) {
      (stream as Readable | null | undefined)?.setEncoding('utf8').on('data', (text: string) => {
        this.#complaints += text;
      });
    }
    this.#control = said ?? (this.#child.stdio[SOCKET] as Socket);
    const exited = new Promise<{ at: bigint; exitCode: number | null; signal: NodeJS.Signals | null }>(
      (resolve, reject) => {
        this.#child.on('error', reject);
        this.#child.on('exit', (exitCode, signal) => resolve({ at: process.hrtime.bigint(), exitCode, signal }));
      },
    );
    const closed = new Promise((resolve) => this.#child.on('close', resolve));
    this.ended = exited.then(async ({ at, exitCode, signal }) => {
      await this.#killRest();
      fed?.end();
      await Promise.all([stdout?.drained, stderr?.drained]);
      this.#control.destroy();
      if (this.#go !== undefined) closeSync(this.#go);
      this.#go = undefined;
      await closed;
      if (this.#endedFor !== undefined) return { at, signal: this.#endedFor };
      if (exitCode === null) return { at, signal: signal ?? 'SIGKILL' };
      return exitCode === 1 && CHILD_WAS_KILLED.test(this.#complaints) ? { at, signal: 'SIGKILL' } : { at, exitCode };
    });
    this.#ready = new Promise((resolve, reject) => {
      this.#control.on('error', () => {});
      this.#control.setEncoding('utf8').on('data', (text: string) => {
        this.#said += text;
        if (/^ready$/m.test(this.#said)) resolve();
      });
      this.ended.then(() => reject(this.#setupError()), reject);
    });
    this.#ready.catch(() => {});
  }

  /** Of its first process, in this process's pid namespace; known when `prepared` has resolved. */
  get pid(): number {
    return this.#pid;
  }

  /** Resolves with the warnings when the process waits for `start`. @throws HL_ERR_MACHINE with what was said instead */
  async prepared(): Promise<string[]> {
    await this.#ready;
    this.#pid = this.#saidPid();
    if (this.#pid <= 1) throw new HotlayerError('HL_ERR_BUG', 'the first process of the container is unknown');
    return warningsIn(this.#said);
  }

  /** Lets it become the workload. @returns the time right before, CLOCK_MONOTONIC */
  start(): bigint {
    const at = process.hrtime.bigint();
    if (this.#go === undefined) this.#control.write('go\n');
    else writeSync(this.#go, 'go\n');
    return at;
  }

  /** What went wrong in the words of whoever was to start it. */
  complaints(): string {
    return [this.#complaints.trim(), this.#start.complaints?.() ?? ''].filter((text) => text !== '').join('\n');
  }

  /**
   * Hands a signal on to the first process. The kernel drops one that a first process has no handler for: what it would
   * do to any other process is then done to the container, so that Ctrl-C ends what knows nothing of it.
   */
  signal(name: NodeJS.Signals): void {
    const number = osConstants.signals[name];
    if (ENDING.includes(name) && this.#notices(number) === 'never' && !this.#ignores(number)) {
      this.#endedFor = name;
      void this.kill();
    } else this.#send(number);
  }

  /** The user's terminal has another size. */
  resized(): void {
    if (this.#start.resized) this.#start.resized();
    else this.#child.kill('SIGWINCH');
  }

  /** A runtime's hook is given the container's state, JSON. */
  #saidPid(): number {
    return Number(/^pid (\d+)$|"pid":\s*(\d+)/m.exec(this.#said)?.slice(1).find(Boolean) ?? 0);
  }

  #ignores(signal: number): boolean {
    try {
      return ignoresSignal(readFileSync(`/proc/${this.#pid}/status`, 'latin1'), signal);
    } catch {
      return false; // gone
    }
  }

  /**
   * Sends the stop signal to the first process and, when it is still there after the grace, kills all of them. A first
   * process that cannot notice the signal is killed at once.
   */
  async stop(signal: number, graceMs: number): Promise<Ended> {
    const deadline = performance.now() + graceMs;
    let how = this.#notices(signal);
    if (how !== 'never' && this.#send(signal)) {
      // A shell blocks everything for the moment in which it forks: look again, later.
      while (how !== 'never' && performance.now() < deadline) {
        const left = deadline - performance.now();
        const end = await this.#endedWithin(how === 'caught' ? left : Math.min(left, BLOCKED_POLL_MS));
        if (end) return end;
        if (how === 'blocked') how = this.#notices(signal);
      }
    }
    return this.kill();
  }

  async #endedWithin(ms: number): Promise<Ended | undefined> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(resolve, ms, undefined);
    });
    const end = await Promise.race([this.ended, late]);
    clearTimeout(timer);
    return end;
  }

  /** The end of process 1 is the end of its pid namespace (pid_namespaces(7)). */
  async kill(): Promise<Ended> {
    if (!this.#send('SIGKILL')) this.#child.kill('SIGKILL');
    return this.ended;
  }

  #notices(signal: number): 'caught' | 'blocked' | 'never' {
    try {
      return firstProcessNotices(readFileSync(`/proc/${this.#pid}/status`, 'latin1'), signal);
    } catch {
      return 'never'; // gone
    }
  }

  #send(signal: number | NodeJS.Signals): boolean {
    if (this.#pid <= 1) return false;
    try {
      return process.kill(this.#pid, signal);
    } catch {
      return false; // gone
    }
  }

  /**
   * The process between us and the workload (unshare) normally ends after it. When somebody kills it alone, the
   * workload may live on: its own death signal is forgotten when it changes its user (prctl(2), PR_SET_PDEATHSIG).
   */
  async #killRest(): Promise<void> {
    const pid = this.#pid || this.#saidPid();
    if (pid <= 1) return;
    // Nobody but our own helpers gets a new pid here in between, and those are not children that were given to us.
    while (parentOf(pid) === process.pid) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  #open(path: string, stream: Stream, onOutput: OutputHook) {
    // The reader first and without waiting; then there is somebody to write to.
    const socket = openReader(path);
    const write = openSync(path, constants.O_WRONLY);
    const drained = new Promise<void>((resolve) => {
      flow(socket, (chunk) => {
        this.output.push(chunk, stream);
        return onOutput(chunk, stream);
      });
      socket.on('error', () => {});
      socket.on('close', () => {
        this.output.end(stream);
        resolve();
      });
    });
    return { write, drained };
  }

  #setupError(): HotlayerError {
    const said = this.complaints().replaceAll('\n', '; ') || 'it ended without a word';
    return new HotlayerError('HL_ERR_MACHINE', `cannot set up the container's namespaces: ${said}`, {
      hint: 'hotlayer doctor shows what this machine allows',
    });
  }
}

/** A FIFO's end, opened without waiting for the other. */
function openReader(path: string): Socket {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  return new Socket({ fd, readable: true, writable: false });
}

/** How long whoever opens the input again after its end waits at most to learn that, milliseconds. */
const REOPENED_MS = 100;

/** @returns the end that is to be read, which waits as a pipe does; it ends with `input`. And what to call at the end */
function feed(path: string, input: Readable): { readonly read: number; end(): void } {
  const both = openSync(path, constants.O_RDWR);
  const read = openSync(path, constants.O_RDONLY);
  const write = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  closeSync(both);
  const socket = new Socket({ fd: write, readable: false, writable: true });
  // Whoever does not read to the end does so on purpose.
  socket.on('error', () => input.destroy());
  input.on('error', () => socket.end());
  input.pipe(socket);
  // Opening a FIFO waits for somebody at its other end: without one, `/dev/stdin` could not be opened any more.
  let timer: NodeJS.Timeout | undefined;
  let ended = false;
  socket.on('close', () => {
    if (!ended) timer = setInterval(() => letIn(path), REOPENED_MS);
  });
  return {
    read,
    end() {
      ended = true;
      clearInterval(timer);
    },
  };
}

/** Whoever waits for a writer gets one, and the end of the input with it. */
function letIn(path: string): void {
  try {
    closeSync(openSync(path, constants.O_WRONLY | constants.O_NONBLOCK));
  } catch {
    // nobody reads
  }
}

/** Parent of a process that is not a zombie, else undefined (proc_pid_stat(5), fields 3 and 4). */
function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' || state === 'X' ? undefined : Number(parent);
  } catch {
    return undefined;
  }
}
