// A name for a process that no later process has: its pid and the time it started.
import { readFileSync } from 'node:fs';

let own: string | undefined;

export function ownMark(): string {
  own ??= `${process.pid}-${startOf('self') ?? 0}`;
  return own;
}

/** False also for a process of a pid namespace that is not seen from here. */
export function isAlive(mark: string): boolean {
  const [pid, start] = mark.split('-');
  return pid !== undefined && /^\d+$/.test(pid) && startOf(pid) === start;
}

/** Clock ticks since boot (proc_pid_stat(5), field 22); undefined: no such process, or only its remains. */
function startOf(pid: string): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[22 - 3];
  } catch {
    return undefined;
  }
}
