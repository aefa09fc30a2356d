// Command names by process id, as /proc has them. Reading /proc costs about 10 µs, an event must cost less than 3:
// a name is kept, but not past the moments at which it can change.
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { bytesToPath } from '../paths.js';

/** A name older than this is read again: the id may belong to another process by now. */
const STALE_NANOS = 250_000_000n;
/** After an exec was seen, that many look-ups ask /proc again: the name changes a few reads after the open. */
const FRESH_AFTER_EXEC = 48;
/** Names kept; beyond it all are forgotten (a fork storm must not fill the memory). */
const MAX_KEPT = 10_000;

interface Known {
  comm: string | undefined;
  readAt: bigint;
  /** Look-ups left that must ask again. */
  again: number;
}

export interface CommCache {
  /** Absent: the process is gone, or unknown (pid 0). `now`: CLOCK_MONOTONIC. */
  of(pid: number, now: bigint): string | undefined;
  /** The process that a thread belongs to; of a process, its parent. Absent: not known. Not kept. */
  parentOf(pid: number): number | undefined;
  /** The process is about to become another program. */
  expectExec(pid: number): void;
}

/**
 * @param read absent: /proc/PID/comm; undefined when there is no such process.
 * @param parent absent: from /proc/PID/status, when names come from /proc, too
 */
export function commCache(
  read: (pid: number) => string | undefined = readComm,
  parent: (pid: number) => number | undefined = read === readComm ? readParent : () => undefined,
): CommCache {
  const known = new Map<number, Known>();
  return {
    of(pid, now) {
      if (pid === 0) return undefined;
      const entry = known.get(pid);
      if (!entry) {
        if (known.size >= MAX_KEPT) known.clear();
        const comm = read(pid);
        known.set(pid, { comm, readAt: now, again: 0 });
        return comm;
      }
      if (entry.again > 0 || now - entry.readAt > STALE_NANOS) {
        const comm = read(pid);
        // Once the new name is there it stays: no reason to ask at every event any more.
        entry.again = comm === entry.comm && entry.again > 0 ? entry.again - 1 : 0;
        entry.comm = comm;
        entry.readAt = now;
      }
      return entry.comm;
    },
    parentOf: (pid) => (pid === 0 ? undefined : parent(pid)),
    expectExec(pid) {
      const entry = known.get(pid);
      if (entry) entry.again = FRESH_AFTER_EXEC;
    },
  };
}

// TASK_COMM_LEN is 16 with the final NUL; kernel threads may show more.
const buffer = Buffer.alloc(64);

function readComm(pid: number): string | undefined {
  let fd: number;
  try {
    fd = openSync(`/proc/${pid}/comm`, 'r');
  } catch {
    return undefined;
  }
  try {
    const length = readSync(fd, buffer, 0, buffer.length, 0);
    return bytesToPath(buffer.subarray(0, buffer[length - 1] === 0x0a ? length - 1 : length));
  } catch {
    return undefined;
  } finally {
    closeSync(fd);
  }
}

/** proc_pid_status(5): Tgid is the process, PPid its parent; 0: outside of this pid namespace. */
function readParent(pid: number): number | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/status`, 'latin1');
  } catch {
    return undefined;
  }
  const field = (name: string): number => Number(new RegExp(`^${name}:\\t(\\d+)$`, 'm').exec(text)?.[1] ?? 0);
  const process = field('Tgid');
  const parent = process === pid ? field('PPid') : process;
  return parent > 0 ? parent : undefined;
}
