// Which processes there are, from /proc: to see that none is left.
import { readdirSync, readFileSync } from 'node:fs';

export interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly state: string;
  /** Ticks since boot: with the pid, the same for no other process. */
  readonly started: string;
  readonly command: string;
}

export function processes(): Process[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
      // proc_pid_stat(5): the name in parentheses may hold anything, the rest are words, the state is the third.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      const command = readFileSync(`/proc/${name}/cmdline`, 'latin1').replaceAll('\0', ' ').trim();
      return [{ pid: Number(name), parent: Number(fields[1]), state: fields[0]!, started: fields[19]!, command }];
    } catch {
      return []; // ended meanwhile
    }
  });
}

/** All below `pid`, itself not included. */
export function descendants(pid: number): Process[] {
  const all = processes();
  const below = (parent: number): Process[] =>
    all.filter((p) => p.parent === parent).flatMap((p) => [p, ...below(p.pid)]);
  return below(pid);
}

/** Those of `list` that still run. */
export function alive(list: readonly Process[]): Process[] {
  const now = new Map(processes().map((p) => [p.pid, p]));
  return list.filter((p) => {
    const found = now.get(p.pid);
    return found !== undefined && found.started === p.started && found.state !== 'Z';
  });
}

/** Waits until none of them runs. @returns those that still do after `ms` */
export async function gone(list: readonly Process[], ms: number): Promise<Process[]> {
  const end = Date.now() + ms;
  for (;;) {
    const left = alive(list);
    if (left.length === 0 || Date.now() >= end) return left;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Pids whose command line or environment has the text; not ours. */
export function processesWith(text: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return false;
    try {
      const about = readFileSync(`/proc/${pid}/cmdline`, 'latin1') + readFileSync(`/proc/${pid}/environ`, 'latin1');
      return about.includes(text);
    } catch {
      return false;
    }
  });
}

export function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
  } catch {
    return 'ended';
  }
}
