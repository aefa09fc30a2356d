// Runs the real bin/hotlayer.js as a user would, in an environment of its own: nothing of the tester's HOTLAYER_
// variables, terminal or config files reaches it.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { probeFuse } from '../../src/fuse/index.js';

/** dist/test/e2e → the package. */
export const PACKAGE = resolve(fileURLToPath(new URL('../../..', import.meta.url)));
export const BIN = resolve(PACKAGE, 'bin/hotlayer.js');

export interface CliOptions {
  /** Default /. */
  readonly cwd?: string;
  /** Added to PATH and HOME. */
  readonly env?: Readonly<Record<string, string>>;
  /** Words before `bin/hotlayer.js …`: `unshare …` and the like. */
  readonly through?: readonly string[];
  /** True: a process group of its own. */
  readonly detached?: boolean;
  /** Give up after this long, ms. Default 60 s. */
  readonly timeout?: number;
}

export interface CliResult {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunningCli {
  readonly child: ChildProcess;
  readonly pid: number;
  /** Settles when the process has ended and its output is complete. */
  readonly done: Promise<CliResult>;
  /** What it has said so far. */
  said(): { stdout: string; stderr: string };
  /** Resolves as soon as stderr matches. @throws when it ends before */
  stderrHas(pattern: RegExp): Promise<void>;
}

export function startCli(args: readonly string[], options: CliOptions = {}): RunningCli {
  const [program, ...rest] = [...(options.through ?? []), BIN, ...args];
  const { PATH = '/usr/bin:/bin', HOME = '/' } = process.env;
  const child = spawn(program!, rest, {
    cwd: options.cwd ?? '/',
    env: { PATH: `${dirname(process.execPath)}:${PATH}`, HOME, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: options.detached ?? false,
    timeout: options.timeout ?? 60_000,
    killSignal: 'SIGKILL',
  });
  let stdout = '';
  let stderr = '';
  let ended = false;
  const wake = new Set<() => void>();
  const woken = () => {
    for (const look of wake) look();
  };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    woken();
  });
  const done = new Promise<CliResult>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status, signal) => {
      ended = true;
      woken();
      resolve({ status, signal, stdout, stderr });
    });
  });
  const stderrHas = (pattern: RegExp) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        if (!pattern.test(stderr) && !ended) return;
        wake.delete(look);
        if (pattern.test(stderr)) resolve();
        else reject(new Error(`ended without saying ${pattern}:\n${stderr}`));
      };
      wake.add(look);
      look();
    });
  return { child, pid: child.pid!, done, said: () => ({ stdout, stderr }), stderrHas };
}

export function cli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  return startCli(args, options).done;
}

/** Runs a command that must end with this status; shows what it said when it does not. */
export async function expectCli(status: number, args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const result = await cli(args, options);
  const how = result.signal ?? result.status;
  const said = `stdout: ${result.stdout}\nstderr: ${result.stderr}`;
  assert.equal(result.status, status, `hotlayer ${args.join(' ')}: ended with ${how}\n${said}`);
  return result;
}

/** The one JSON document that stdout is; anything before or after it fails. */
export function documentOf<T = Record<string, unknown>>(result: CliResult): T {
  try {
    return JSON.parse(result.stdout) as T;
  } catch (error) {
    throw new Error(`stdout is not one JSON document: ${(error as Error).message}\n${result.stdout.slice(0, 2000)}`);
  }
}

/** As `lacking` of test/support/tools.ts, for what `profile` needs: false, or the reason to skip. */
export function noFuse(): string | false {
  const probe = probeFuse();
  if (probe.ok) return false;
  if (process.env.HOTLAYER_REQUIRE_E2E === '1') {
    throw new Error(`HOTLAYER_REQUIRE_E2E=1, but ${probe.detail}; ${probe.mend ?? ''}`);
  }
  return `${probe.detail}; ${probe.mend ?? ''}`;
}
