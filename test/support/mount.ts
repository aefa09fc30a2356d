// Mounts a memory file system for the length of one test, and small ways to look at it from other processes.
import { type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FuseTransport, Mounted, MountOptions } from '../../src/fuse/index.js';
import { type MemoryFsArgs, type MemoryFsResult, memoryFsModule } from './memory-fs.js';

export interface TestMount {
  readonly path: string;
  readonly mounted: Mounted;
  /** Unmounts (once) and gives what the file system saw. */
  end(): Promise<MemoryFsResult>;
}

/** Runs `body` on a mount of `args`; unmounts and removes the mount point whatever happens. */
export async function withMount<T>(
  transport: FuseTransport,
  args: MemoryFsArgs,
  body: (mount: TestMount) => T | Promise<T>,
  options: Partial<MountOptions> = {},
): Promise<T> {
  const path = mkdtempSync(join(tmpdir(), 'hotlayer-fuse-'));
  try {
    const mounted = await transport.mount({ mountpoint: path, module: memoryFsModule, args, ...options });
    try {
      const end = async () => {
        await mounted.unmount();
        return (await mounted.closed) as MemoryFsResult;
      };
      return await body({ path, mounted, end });
    } finally {
      await mounted.unmount();
    }
  } finally {
    rmdirSync(path);
  }
}

/** A command's result as text; a shell is not involved. */
export function command(program: string, args: readonly string[], cwd = '/'): SpawnSyncReturns<string> {
  const result = spawnSync(program, args, {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
    maxBuffer: 64 * 1024 * 1024,
    timeout: 20_000,
  });
  if (result.error) throw result.error;
  return result;
}

export interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * A command that reads what this thread has to answer: nothing here may block while it runs. `cwd` is entered by the
 * command itself, because starting a process waits for its directory and program.
 */
export function later(program: string, args: readonly string[], cwd: string): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn('sh', ['-c', 'cd "$1" && shift && exec "$@"', 'sh', cwd, program, ...args], {
      cwd: '/',
      env: { ...process.env, LC_ALL: 'C' },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 20_000,
      killSignal: 'SIGKILL',
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (status, signal) => resolve({ status, signal, stdout, stderr }));
  });
}

/** The stdout of a command that must succeed. */
export function output(program: string, args: readonly string[], cwd = '/'): string {
  const { status, stdout, stderr } = command(program, args, cwd);
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: status ${status}\n${stderr}`);
  return stdout;
}

/** Lines of this process's mount table that name the path. */
export function mountLines(path: string, table = '/proc/self/mountinfo'): string[] {
  return readFileSync(table, 'utf8')
    .split('\n')
    .filter((line) => line.split(' ')[4] === path);
}

/** The errno name of what a function throws; '' when it does not. */
export function errnoFrom(action: () => unknown): string {
  try {
    action();
    return '';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}
