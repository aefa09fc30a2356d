// An exclusive lock on a directory that the kernel gives back whatever ends this process: flock(1) holds it for as long
// as a pipe from us is open.
import { spawn } from 'node:child_process';
import { errnoOf, HotlayerError } from '../errors.js';

/** Milliseconds to wait for whoever holds the lock: sinks hold it for some renames only. */
const LOCK_TIMEOUT = 60_000;

/**
 * Runs `work` while no other hotlayer process has the lock on `directory`.
 * @param timeout ms to wait for the lock
 * @throws HL_ERR_MACHINE without flock(1), HL_ERR_IO
 */
export async function withLock<T>(
  directory: string,
  work: () => Promise<T>,
  timeout: number = LOCK_TIMEOUT,
): Promise<T> {
  // Detached: a Ctrl-C in the terminal must not take the lock away while we finish.
  const holder = spawn('flock', ['-x', directory, 'sh', '-c', 'echo locked; exec cat >/dev/null'], {
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const ended = new Promise<void>((resolve) => holder.once('close', () => resolve()));
  try {
    await new Promise<void>((resolve, reject) => {
      let complaint = '';
      const timer = setTimeout(() => {
        holder.kill();
        reject(failed(`it was still held by another process after ${timeout / 1000} s`));
      }, timeout);
      const failed = (why: string) =>
        new HotlayerError('HL_ERR_IO', `cannot lock ${directory}: ${why}`, { context: { file: directory } });
      holder.stdin.on('error', () => {});
      holder.stderr.on('data', (chunk: Buffer) => {
        complaint += chunk.toString();
      });
      holder.stdout.once('data', () => {
        clearTimeout(timer);
        resolve();
      });
      holder.once('error', (cause) => {
        clearTimeout(timer);
        reject(
          errnoOf(cause) === 'ENOENT'
            ? new HotlayerError('HL_ERR_MACHINE', `cannot lock ${directory}: the command flock is missing`, {
                hint: 'install util-linux',
                cause,
              })
            : failed(cause.message),
        );
      });
      holder.once('exit', (code, signal) => {
        clearTimeout(timer);
        reject(failed(complaint.trim() || `flock ended with ${signal ?? code}`));
      });
    });
    return await work();
  } finally {
    holder.stdin.end();
    if (holder.pid !== undefined) await ended;
  }
}
