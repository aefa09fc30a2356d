// One process that is being turned into the workload, from its first namespace to its end.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { HotlayerError } from '../errors.js';
import { flow } from './flow.js';
import { SOCKET } from './launch.js';
import { Output, type Stream } from './output.js';
import { warningsIn } from './shell.js';
import { firstProcessNotices } from './signals.js';
import type { OutputHook } from './types.js';

export interface Ended {
  readonly at: bigint;
  /** Exactly one of the two is there. */
  readonly exitCode?: number;
  readonly signal?: string;
}

export interface Pipes {
  /** Two FIFOs of `dir`, made with mode 0666: programs open /dev/stdout again, which a socket would refuse. */
  readonly stdout: string;
  readonly stderr: string;
}

const BLOCKED_POLL_MS = 50;

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
  readonly #socket: Socket;
  readonly #ready: Promise<void>;
  #said = '';
  /** What our own helpers say, which is nothing unless they fail. */
  #complaints = '';
  #pid = 0;

  /**
   * @param command as launch.ts makes it @param env of its helpers, not of the workload
   * @param onOutput gets what the workload prints; a promise holds that stream up
   */
  constructor(command: readonly string[], env: Readonly<Record<string, string>>, pipes: Pipes, onOutput: OutputHook) {
    const [program, ...args] = command;
    const stdout = this.#open(pipes.stdout, 'stdout', onOutput);
    const stderr = this.#open(pipes.stderr, 'stderr', onOutput);
    // Descriptors 3 and 4: launch.ts, SOCKET and WORKLOAD_STDERR.
    this.#child = spawn(program!, args, {
      cwd: '/',
      env,
      stdio: ['ignore', stdout.write, 'pipe', 'pipe', stderr.write],
    });
    closeSync(stdout.write);
    closeSync(stderr.write);
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#complaints += text;
    });
    this.#socket = this.#child.stdio[SOCKET] as Socket;
    const exited = new Promise<{ at: bigint; exitCode: number | null; signal: NodeJS.Signals | null }>(
      (resolve, reject) => {
        this.#child.on('error', reject);
        this.#child.on('exit', (exitCode, signal) => resolve({ at: process.hrtime.bigint(), exitCode, signal }));
      },
    );
    const closed = new Promise((resolve) => this.#child.on('close', resolve));
    this.ended = exited.then(async ({ at, exitCode, signal }) => {
      await this.#killRest();
      await Promise.all([stdout.drained, stderr.drained]);
      this.#socket.destroy();
      await closed;
      if (exitCode === null) return { at, signal: signal ?? 'SIGKILL' };
      return exitCode === 1 && CHILD_WAS_KILLED.test(this.#complaints) ? { at, signal: 'SIGKILL' } : { at, exitCode };
    });
    this.#ready = new Promise((resolve, reject) => {
      this.#socket.on('error', () => {});
      this.#socket.setEncoding('utf8').on('data', (text: string) => {
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
    this.#pid = Number(/^pid (\d+)$/m.exec(this.#said)?.[1] ?? 0);
    if (this.#pid <= 1) throw new HotlayerError('HL_ERR_BUG', 'the first process of the container is unknown');
    return warningsIn(this.#said);
  }

  /** Lets it become the workload. @returns the time right before, CLOCK_MONOTONIC */
  start(): bigint {
    const at = process.hrtime.bigint();
    this.#socket.write('go\n');
    return at;
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
    const pid = this.#pid || Number(/^pid (\d+)$/m.exec(this.#said)?.[1] ?? 0);
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
    const read = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const write = openSync(path, constants.O_WRONLY);
    const socket = new Socket({ fd: read, readable: true, writable: false });
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
    const said = this.#complaints.trim().replaceAll('\n', '; ') || 'it ended without a word';
    return new HotlayerError('HL_ERR_MACHINE', `cannot set up the container's namespaces: ${said}`, {
      hint: 'hotlayer doctor shows what this machine allows',
    });
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
