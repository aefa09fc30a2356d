// Watches a workload until the first of its ready rules holds.
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Nanos } from '../../units.js';
import { toolEnv } from '../machine/shell.js';
import type { Tools } from '../machine/tools.js';
import { lineMatcher, type Output } from '../session/output.js';
import type { Net, ReadyRule } from '../types.js';
import { isListening } from './listening.js';
import { formatReadyRule } from './ready.js';

export interface Watched {
  /** Of the workload's first process, in this process's pid namespace. */
  readonly pid: number;
  readonly output: Output;
  readonly net: Net;
  /** First element: accesses so far (types.ts, SessionSpec.fs). */
  readonly activity: Int32Array;
  readonly tools: Tools;
}

export interface Ready {
  /** From the start of the workload. */
  readonly t: Nanos;
  readonly by: string;
}

const TCP_POLL_MS = 10;
/** setTimeout fires at once when asked for more: 2^31 - 1 ms, 24 days. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** A watch that is prepared, not running. */
interface Watch {
  /** Resolves when all that is slow is done: from here on the watch costs the workload next to nothing. */
  readonly prepared?: Promise<void>;
  /** `fire(at)`: at absent = now. */
  start(startedAt: bigint, fire: (at?: bigint) => void): void;
  stop(): void;
}

export class ReadyWatch {
  /** Resolves with the first rule that holds; pending for ever when none does. */
  readonly ready: Promise<Ready>;
  readonly #watches: { rule: ReadyRule; watch: Watch }[];
  #resolve!: (ready: Ready) => void;

  /** The `exit` rule is not watched: whoever waits for the workload's end sees it. */
  constructor(rules: readonly ReadyRule[], watched: Watched) {
    this.ready = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.#watches = rules.flatMap((rule) => {
      const watch = watchFor(rule, watched);
      return watch ? [{ rule, watch }] : [];
    });
  }

  async prepare(): Promise<void> {
    await Promise.all(this.#watches.map(({ watch }) => watch.prepared));
  }

  start(startedAt: bigint): void {
    for (const { rule, watch } of this.#watches) {
      watch.start(startedAt, (at = process.hrtime.bigint()) =>
        this.#resolve({ t: Number(at - startedAt), by: formatReadyRule(rule) }),
      );
    }
  }

  stop(): void {
    for (const { watch } of this.#watches) watch.stop();
  }
}

function watchFor(rule: ReadyRule, watched: Watched): Watch | undefined {
  switch (rule.kind) {
    case 'exit':
      return undefined;
    case 'line':
      return watchLines(rule, watched.output);
    case 'tcp':
      return poll(TCP_POLL_MS, () => isListening(watched.pid, rule.port));
    case 'http':
      return watched.net === 'host' ? watchHttp(rule.url) : watchHttpInside(rule.url, watched);
    case 'idle':
      return watchIdle(rule.forNanos, watched.activity);
    case 'period':
      return after(rule.forNanos);
  }
}

function watchLines(rule: { readonly text?: string; readonly pattern?: string }, output: Output): Watch {
  const matches = lineMatcher(rule);
  let end = () => {};
  return {
    start(_startedAt, fire) {
      end = output.onLine((line, complete) => {
        if (matches(line, complete)) fire();
      });
    },
    stop: () => end(),
  };
}

function poll(everyMs: number, holds: () => boolean): Watch {
  let timer: NodeJS.Timeout | undefined;
  return {
    start(_startedAt, fire) {
      timer = setInterval(() => {
        if (holds()) fire();
      }, everyMs);
    },
    stop: () => clearInterval(timer),
  };
}

function after(nanos: Nanos): Watch {
  let timer: NodeJS.Timeout | undefined;
  return {
    start(_startedAt, fire) {
      timer = setTimeout(fire, Math.min(nanos / 1e6, LONGEST_TIMER_MS));
    },
    stop: () => clearTimeout(timer),
  };
}

/** Accesses before the start are the runner's own; the wait begins with the workload's first. */
function watchIdle(nanos: Nanos, activity: Int32Array): Watch {
  let timer: NodeJS.Timeout | undefined;
  return {
    start(startedAt, fire) {
      let count = Atomics.load(activity, 0);
      let last: bigint | undefined;
      timer = setInterval(
        () => {
          const now = process.hrtime.bigint();
          const seen = Atomics.load(activity, 0);
          if (seen !== count) {
            count = seen;
            last = now;
          } else if (last !== undefined && now - last >= BigInt(nanos)) {
            fire(last > startedAt ? last : startedAt);
          }
        },
        Math.min(20, Math.max(1, nanos / 10e6)),
      );
    },
    stop: () => clearInterval(timer),
  };
}

function watchHttp(url: string): Watch {
  const abort = new AbortController();
  // Only where it is asked for: HTTP and TLS take long to load.
  const loaded = import('./http-probe.js');
  loaded.catch(() => {});
  return {
    prepared: loaded.then(() => {}),
    start(_startedAt, fire) {
      void loaded
        .then(({ waitForHttp }) => waitForHttp(url, abort.signal))
        .then((ready) => {
          if (ready) fire();
        });
    },
    stop: () => abort.abort(),
  };
}

/** The workload's network is not ours: a process enters it, before the workload starts, and asks from there. */
function watchHttpInside(url: string, watched: Watched): Watch {
  const main = fileURLToPath(new URL('./http-probe-main.js', import.meta.url));
  const { nsenter } = watched.tools;
  const args = ['--target', String(watched.pid), '--net', '--', process.execPath, '--no-warnings', main, url];
  const child: ChildProcess = spawn(nsenter, args, { cwd: '/', env: toolEnv(), stdio: ['pipe', 'pipe', 'ignore'] });
  let said = '';
  let onReady = () => {};
  const prepared = new Promise<void>((resolve) => {
    child.on('error', () => resolve());
    child.on('exit', () => resolve());
    child.stdin?.on('error', () => {});
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (said.startsWith('up\n')) resolve();
      if (said.includes('ready\n')) onReady();
    });
  });
  return {
    prepared,
    start(_startedAt, fire) {
      onReady = fire;
      child.stdin?.write('go\n');
    },
    stop: () => child.kill('SIGKILL'),
  };
}
