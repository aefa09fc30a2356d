// Temporary directories that go away whatever ends the process, SIGKILL included: a tiny shell, in a session of
// its own, reads from a pipe that only this process holds. When the pipe closes, it removes what it was told of.
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, openSync, rmSync, statfsSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import type { Writable } from 'node:stream';
import { HotlayerError } from './errors.js';
import { type Bytes, formatBytes } from './units.js';

/** Reads one path a line until the pipe closes, then removes them all. Ignores the signals of a terminal. */
const REAPER = `trap '' INT TERM HUP QUIT; set --; while IFS= read -r p; do set -- "$@" "$p"; done; [ $# -eq 0 ] || rm -rf -- "$@"`;

export type ReaperShell = ChildProcessByStdio<Writable, null, null>;

/**
 * A shell that outlives this process, whatever ends it, to clean up after it: its standard input is a pipe that only this
 * process holds. It keeps neither this process nor any directory busy.
 * @param script should begin by ignoring a terminal's signals, and read to the end of its input
 * @param args `$1` and on
 */
export function startReaperShell(script: string, ...args: string[]): ReaperShell {
  const shell = spawn('/bin/sh', ['-c', script, 'sh', ...args], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  shell.on('error', () => {});
  shell.stdin.on('error', () => {});
  shell.unref();
  (shell.stdin as unknown as { unref?(): void }).unref?.();
  return shell;
}

let reaper: ReaperShell | undefined;

function reap(path: string): void {
  reaper ??= startReaperShell(REAPER);
  reaper.stdin.write(`${path}\n`);
}

/**
 * @param what needs it, for the message
 * @param hint what else can be done about it than to free some
 * @throws HL_ERR_IO when the file system of `directory` has less than `bytes` for us. One that does not say how large it
 *   is has enough
 */
export function requireSpace(
  directory: string,
  bytes: Bytes,
  what: string,
  hint = 'choose a place with more room with --tmpdir',
): void {
  const { blocks, bavail, bsize } = statfsSync(directory);
  if (blocks === 0 || bavail * bsize >= bytes) return;
  throw new HotlayerError(
    'HL_ERR_IO',
    `${what} need at least ${formatBytes(bytes)} in ${dirname(directory)}; there are ${formatBytes(bavail * bsize)} free`,
    { hint: `free some space there, or ${hint}`, context: { file: directory } },
  );
}

/**
 * A new file without a name, to be read and written: nothing of it is left behind, however the process ends.
 * @throws what the system says, not as HotlayerError
 */
export function openNameless(directory: string, label: string): number {
  const path = join(directory, `.${label}-${process.pid}-${randomBytes(6).toString('hex')}`);
  const fd = openSync(path, 'wx+', 0o600);
  try {
    unlinkSync(path);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return fd;
}

export interface TempDir extends Disposable {
  readonly path: string;
  /** Removes the directory and all that is in it. Idempotent. */
  remove(): void;
}

/**
 * A new empty directory, mode 0700, removed by `remove()`, at process exit, or by the reaper after a crash.
 * @param parent absolute or relative directory; absent: `$TMPDIR`, else /tmp
 * @throws HL_ERR_IO when it cannot be made
 */
export function makeTempDir(parent: string = process.env.TMPDIR || tmpdir(), label = 'hotlayer'): TempDir {
  const path = join(resolve(parent), `.${label}-${process.pid}-${randomBytes(6).toString('hex')}`);
  if (path.includes('\n'))
    throw new HotlayerError('HL_ERR_IO', `temporary directory ${parent} has a newline in its name`);
  reap(path);
  try {
    mkdirSync(path, { mode: 0o700, recursive: false });
  } catch (cause) {
    throw new HotlayerError(
      'HL_ERR_IO',
      `cannot create a temporary directory in ${parent}: ${(cause as Error).message}`,
      {
        hint: 'choose another place with --tmpdir',
        cause,
        context: { file: path },
      },
    );
  }
  const remove = () => rmSync(path, { recursive: true, force: true });
  process.once('exit', remove);
  return {
    path,
    remove() {
      process.removeListener('exit', remove);
      remove();
    },
    [Symbol.dispose]() {
      this.remove();
    },
  };
}

/** A staging directory beside `target`, on the same file system, so that a rename into place is atomic. */
export function makeStagingDir(target: string): TempDir {
  const absolute = resolve(target);
  return makeTempDir(dirname(absolute), `${basename(absolute)}.hotlayer`);
}
