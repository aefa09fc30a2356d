// The parent's side of a session: starts its process in namespaces of its own, passes the workload's output on, and
// sees to it that everything has ended before it returns, whatever happens.
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { HotlayerError } from '../../errors.js';
import { mayMount } from '../../fuse/may-mount.js';
import { makeTempDir } from '../../temp.js';
import { mappedCommand, ownRanges, REFUSED } from '../isolation/id-ranges.js';
import { requireNetwork } from '../isolation/network.js';
import { findTools, type Tools, toolPath } from '../machine/tools.js';
import { refuseTakenPorts } from '../ready/listening.js';
import { FIRST_INHERITED_FD, type SessionHooks, type SessionResult, type SessionSpec } from '../types.js';
import { flow } from './flow.js';
import { fromPlain, type ParentMessage, type SessionMessage } from './messages.js';
import { parseSignal } from './signals.js';
import { CHILD_WAS_KILLED } from './workload.js';

/** The namespaces and Node have this long to come up, milliseconds. */
const HELLO_MS = 30_000;
/** After its last message the session's process has this long to end by itself. */
const END_MS = 2000;
/** Signals that end a session. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
/** Signals that are handed on to a workload. */
const HANDED_ON = [...SIGNALS, 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGCONT', 'SIGWINCH'] as const;
/** As docker: whoever asks so often for the end gets it. */
const PATIENCE = 3;

/** A session's process that comes up, or waits for what it is to do. */
export interface StartedSession {
  /** Where it mounts: to be left out of a root file system that holds this place. */
  readonly dir: string;
  /** As runSession; `spec.fds` and `spec.tmpdir` were those of the start. Once only. */
  run(spec: SessionSpec, hooks?: SessionHooks): Promise<SessionResult>;
  /** Ends it without a run. Idempotent. */
  abandon(): Promise<void>;
}

export interface StartOptions {
  readonly fds?: readonly number[];
  readonly tmpdir?: string;
  /** Module that the file system will probably be made by: loaded meanwhile. */
  readonly preload?: string;
}

/**
 * Starts the process of a session before it is known what it is to run: that takes a tenth of a second, in which the
 * image can be found.
 * @throws HL_ERR_MACHINE when programs are missing, HL_ERR_IO
 */
export function startSession(options: StartOptions = {}): StartedSession {
  const tools = findTools();
  const dir = makeTempDir(options.tmpdir);
  let session: Session;
  try {
    session = new Session(tools, dir.path, options);
  } catch (error) {
    dir.remove();
    throw error;
  }
  return {
    dir: dir.path,
    async run(spec, hooks = {}) {
      const interrupt = (why: string) => session.interrupt(why);
      const onAbort = () => interrupt('the caller');
      const watched = hooks.onStarted ? HANDED_ON : SIGNALS;
      let asked = 0;
      const onSignal = (signal: NodeJS.Signals) => {
        const ends = (SIGNALS as readonly string[]).includes(signal);
        if (ends) asked += 1;
        if (!hooks.onStarted || asked >= PATIENCE) interrupt(signal);
        else if (!session.handOn(signal) && ends) interrupt(signal);
      };
      for (const signal of watched) process.on(signal, onSignal);
      hooks.signal?.addEventListener('abort', onAbort);
      try {
        parseSignal(spec.stopSignal ?? 'SIGTERM');
        if (spec.net === 'host') refuseTakenPorts(spec.until);
        requireNetwork(spec.net);
        session.begin(spec, hooks);
        if (hooks.signal?.aborted) onAbort();
        return await session.outcome;
      } catch (error) {
        await session.end();
        throw error;
      } finally {
        for (const signal of watched) process.removeListener(signal, onSignal);
        hooks.stdin?.unpipe();
        hooks.signal?.removeEventListener('abort', onAbort);
        dir.remove();
      }
    },
    async abandon() {
      await session.end();
      dir.remove();
    },
  };
}

/**
 * Starts a workload on a served file system, waits until it is ready or has ended, and ends it.
 * When the promise settles, no process, no mount and no file of the session is left; when this process is killed, the
 * kernel ends them. While it runs, SIGINT, SIGTERM and SIGHUP of this process end the session instead of the process.
 * @throws HL_ERR_MACHINE (with the mend), HL_ERR_WORKLOAD (the user is not in the image …), HL_ERR_NOT_FOUND (a bind's
 *   source), HL_ERR_USAGE (the stop signal), HL_ERR_INTERRUPTED, and what the file system module throws.
 *   A workload that fails, or is never ready, is a result.
 */
export async function runSession(spec: SessionSpec, hooks: SessionHooks = {}): Promise<SessionResult> {
  // Before there is a process to end.
  parseSignal(spec.stopSignal ?? 'SIGTERM');
  if (spec.net === 'host') refuseTakenPorts(spec.until);
  const { fds, tmpdir } = spec;
  return startSession({ fds, preload: spec.fs.module, ...(tmpdir !== undefined && { tmpdir }) }).run(spec, hooks);
}

class Session {
  /** Settles when the session's processes have ended. */
  readonly outcome: Promise<SessionResult>;
  readonly #child: ChildProcess;
  readonly #dir: string;
  #spec: SessionSpec | undefined;
  #hooks: SessionHooks = {};
  #onFsMessage: ((message: unknown) => void) | undefined;
  readonly #fsMessages: unknown[] = [];
  #result: SessionResult | undefined;
  #error: HotlayerError | undefined;
  #hello = false;
  #started = false;
  #earlyText = '';
  #wasKilled = false;
  #killed = false;
  readonly #pipes: Readable[] = [];
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(tools: Tools, dir: string, { fds = [], preload }: StartOptions) {
    this.#dir = dir;
    const [program, ...args] = sessionCommand(tools, dir, needsUserNamespace(), preload);
    this.#child = spawn(program!, args, {
      cwd: '/',
      // A session of its own: the terminal's Ctrl-C reaches this process only.
      detached: true,
      env: { ...withoutAuthorities(process.env), PATH: toolPath() },
      stdio: ['pipe', 'pipe', 'pipe', 'ipc', ...fds],
      serialization: 'advanced',
    });
    this.#child.stdin?.on('error', () => {});
    const drained = (['stdout', 'stderr'] as const).map((stream) => {
      const pipe = this.#child[stream]!;
      this.#pipes.push(pipe);
      flow(
        pipe,
        (chunk) => this.#output(chunk, stream),
        () => this.#killed,
      );
      return new Promise((resolve) => pipe.on('close', resolve));
    });
    this.#child.on('message', (message: SessionMessage) => {
      switch (message.type) {
        case 'hello':
          this.#hello = true;
          clearTimeout(slow);
          this.#handOver();
          return;
        case 'started':
          this.#started = true;
          this.#hooks.onStarted?.();
          return;
        case 'fs':
          if (this.#onFsMessage) this.#onFsMessage(message.message);
          else this.#fsMessages.push(message.message);
          return;
        case 'result':
          this.#result = { ...message.result, warnings: [...this.#refusedIds(), ...(message.result.warnings ?? [])] };
          break;
        case 'error':
          this.#error ??= fromPlain(message.error);
      }
      this.#later(END_MS, () => this.#kill());
    });
    const slow = this.#later(HELLO_MS, () =>
      this.#fail(new HotlayerError('HL_ERR_MACHINE', `the session did not start within ${HELLO_MS / 1000} s`)),
    );
    // Not the event "close": it never comes when this side has closed the channel.
    const exited = new Promise<{ status: number | null; signal: string | null }>((resolve) => {
      this.#child.on('exit', (status, signal) => resolve({ status, signal }));
      this.#child.on('error', (cause) => {
        this.#error ??= new HotlayerError('HL_ERR_MACHINE', `cannot start ${program}: ${cause.message}`, { cause });
        if (this.#child.pid === undefined) resolve({ status: null, signal: null });
      });
    });
    this.outcome = exited.then(async ({ status, signal }) => {
      for (const timer of this.#timers) clearTimeout(timer);
      if (this.#child.pid !== undefined) await Promise.all(drained);
      // A last word that has arrived, but has not been looked at.
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#error) throw this.#error;
      return this.#result ?? Promise.reject(this.#lost(status, signal));
    });
    // It may end before anybody runs something in it.
    this.outcome.catch(() => {});
  }

  begin(spec: SessionSpec, hooks: SessionHooks): void {
    this.#spec = spec;
    this.#hooks = hooks;
    if (spec.stdin && hooks.stdin) hooks.stdin.pipe(this.#child.stdin!);
    else this.#child.stdin?.end();
    hooks.onLink?.({
      send: (message) => this.#post({ type: 'fs', message }),
      listen: (listener) => {
        this.#onFsMessage = listener;
        for (const message of this.#fsMessages.splice(0)) listener(message);
      },
    });
    this.#handOver();
  }

  /** @returns false while there is no workload to hand it on to */
  handOn(signal: NodeJS.Signals): boolean {
    if (!this.#started) return false;
    this.#post(signal === 'SIGWINCH' ? { type: 'resized' } : { type: 'signal', signal });
    return true;
  }

  /** Ends its processes; the outcome does not matter any more. */
  async end(): Promise<void> {
    this.#kill();
    await this.outcome.catch(() => {});
  }

  /** What newuidmap and newgidmap said, if they did not do it. */
  #refusedIds(): string[] {
    let said = '';
    try {
      said = readFileSync(join(this.#dir, REFUSED), 'utf8').trim();
    } catch {
      // not asked
    }
    return said === '' ? [] : [`only one user id, not those of /etc/subuid: ${said.replaceAll('\n', '; ')}`];
  }

  #handOver(): void {
    if (!this.#hello || !this.#spec) return;
    const fds = this.#spec.fds.map((_, i) => FIRST_INHERITED_FD + i);
    this.#post({ type: 'start', spec: { ...this.#spec, fds }, dir: this.#dir });
  }

  #post(message: ParentMessage): void {
    if (!this.#child.connected) return;
    this.#child.send(message, (error) => {
      if (error && message.type === 'start')
        this.#fail(new HotlayerError('HL_ERR_BUG', `cannot hand over the session: ${error.message}`));
    });
  }

  #output(chunk: Buffer, stream: 'stdout' | 'stderr'): unknown {
    const text = stream === 'stderr' || !this.#hello ? chunk.toString('utf8') : '';
    if (!this.#hello) this.#earlyText += text;
    else if (stream === 'stderr' && CHILD_WAS_KILLED.test(text)) this.#wasKilled = true;
    else return this.#hooks.onOutput?.(chunk, stream);
    return undefined;
  }

  interrupt(why: string): void {
    this.#fail(new HotlayerError('HL_ERR_INTERRUPTED', `interrupted by ${why}; the workload has been ended`));
  }

  #fail(error: HotlayerError): void {
    this.#error ??= error;
    this.#kill();
  }

  /**
   * The session's process first: it is the first of its pid namespace, and the process before it (unshare) then ends
   * only after all of them have.
   */
  #kill(): void {
    // From now on the end of the output counts, not whether somebody reads it.
    this.#killed = true;
    for (const pipe of this.#pipes) pipe.resume();
    const { pid } = this.#child;
    if (pid === undefined) return;
    const inner = childrenOf(pid);
    for (const child of inner) killQuietly(child);
    if (inner.length === 0) this.#child.kill('SIGKILL');
    else this.#later(END_MS, () => this.#child.kill('SIGKILL'));
    // Should it have been born in this moment: it ends when it finds the channel closed.
    if (this.#child.connected) this.#child.disconnect();
  }

  /** The process ended without a last word. */
  #lost(status: number | null, signal: string | null): HotlayerError {
    if (this.#wasKilled) signal = 'SIGKILL';
    const how = signal === null ? `ended with status ${status}` : `was ended by ${signal}`;
    if (this.#hello) {
      return new HotlayerError('HL_ERR_MACHINE', `the session's process ${how}`, {
        hint: signal === 'SIGKILL' ? 'was the machine out of memory?' : 'this should not happen: please report it',
      });
    }
    const said = this.#earlyText.trim().replaceAll('\n', '; ') || how;
    return new HotlayerError('HL_ERR_MACHINE', `cannot start a session in namespaces of its own: ${said}`, {
      hint: 'hotlayer doctor shows what this machine allows; hotlayer mount needs no namespaces',
    });
  }

  #later(ms: number, action: () => void): NodeJS.Timeout {
    const timer = setTimeout(action, ms);
    this.#timers.add(timer);
    return timer;
  }
}

/**
 * setpriv: dies with this process. unshare: its child, the session, dies with it. The tmpfs: nothing in it is seen, or
 * stays, outside of the mount namespace.
 */
function sessionCommand(tools: Tools, dir: string, userNamespace: boolean, preload: string | undefined): string[] {
  const main = fileURLToPath(new URL('./session-main.js', import.meta.url));
  const mountTmpfs = 'mount -n -t tmpfs -o mode=755 hotlayer "$1" && shift && exec "$@"';
  const ranges = userNamespace ? ownRanges() : undefined;
  const command = [
    tools.unshare,
    ...(userNamespace && !ranges ? ['--user', '--map-root-user'] : []),
    ...['--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--mount-proc', '--'],
    ...[
      tools.sh,
      '-c',
      mountTmpfs,
      'hotlayer',
      dir,
      process.execPath,
      '--no-warnings',
      main,
      ...(preload === undefined ? [] : [preload]),
    ],
  ];
  const rest = ranges ? mappedCommand(ranges, dir, command, tools) : command;
  return [tools.setpriv, '--pdeathsig', 'KILL', '--', ...rest];
}

/** Node reads the authorities that this names when it starts, a millisecond for every four; a session speaks to nobody. */
function withoutAuthorities({ NODE_EXTRA_CA_CERTS: _, ...env }: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return env;
}

/** Whether mounting takes a user namespace of our own. */
export function needsUserNamespace(): boolean {
  return !mayMount();
}

function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ').filter(Boolean).map(Number);
  } catch {
    // A kernel without CONFIG_PROC_CHILDREN: look at everybody.
    return readdirSync('/proc').flatMap((name) =>
      /^\d+$/.test(name) && parentIs(Number(name), pid) ? [Number(name)] : [],
    );
  }
}

function parentIs(pid: number, parent: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] === String(parent);
  } catch {
    return false;
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // gone
  }
}
