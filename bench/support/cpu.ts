// CPU time of what this process has started, directly or not.
import { readdirSync, readFileSync } from 'node:fs';

/** USER_HZ, which is 100 on every Linux that Node runs on. */
const TICK_MS = 10;

interface Stat {
  readonly parent: number;
  /** User and system. */
  readonly ownMs: number;
  /** Of children that have ended and were waited for. */
  readonly childrenMs: number;
}

export class CpuMeter {
  /** ms of each descendant that was there at the start. */
  private readonly before: ReadonlyMap<number, number>;
  private readonly reapedBefore: number;

  /** From now on: all descendants of this process but `others` and theirs. */
  constructor(private readonly others: ReadonlySet<number> = new Set()) {
    const stats = readStats();
    this.before = new Map(descendants(stats, others).map(([pid, stat]) => [pid, stat.ownMs + stat.childrenMs]));
    this.reapedBefore = stats.get(process.pid)!.childrenMs;
  }

  /** ms since the start, each process to a hundredth of a second. What was orphaned before it ended is not seen. */
  read(): number {
    const stats = readStats();
    let sum = stats.get(process.pid)!.childrenMs - this.reapedBefore;
    for (const [pid, { ownMs, childrenMs }] of descendants(stats, this.others))
      sum += ownMs + childrenMs - (this.before.get(pid) ?? 0);
    // What was there at the start and has ended since has come back whole, through whoever waited for it.
    for (const [pid, ms] of this.before) if (!stats.has(pid)) sum -= ms;
    return sum;
  }
}

/** What the machine did beside this process and all that it has started. */
export class NeighbourMeter {
  private readonly family = new CpuMeter();
  private readonly own = process.cpuUsage();
  private readonly busy = machineBusyMs();

  /** CPU ms since the start, of all processors together; what ran at low priority included. */
  read(): number {
    const { user, system } = process.cpuUsage(this.own);
    return Math.max(0, Math.round(machineBusyMs() - this.busy - this.family.read() - (user + system) / 1000));
  }
}

/** proc(5), /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal. */
function machineBusyMs(): number {
  const fields = readFileSync('/proc/stat', 'latin1').split('\n', 1)[0]!.split(/ +/).slice(1).map(Number);
  return [0, 1, 2, 5, 6].reduce((sum, i) => sum + fields[i]! * TICK_MS, 0);
}

/** Pids of all that descends from this process now. */
export function descendantPids(): ReadonlySet<number> {
  return new Set(descendants(readStats(), new Set()).map(([pid]) => pid));
}

function descendants(stats: ReadonlyMap<number, Stat>, without: ReadonlySet<number>): [number, Stat][] {
  const children = new Map<number, number[]>();
  for (const [pid, { parent }] of stats) children.set(parent, [...(children.get(parent) ?? []), pid]);
  const found: [number, Stat][] = [];
  const waiting = [...(children.get(process.pid) ?? [])];
  for (let pid = waiting.pop(); pid !== undefined; pid = waiting.pop()) {
    if (without.has(pid)) continue;
    found.push([pid, stats.get(pid)!]);
    waiting.push(...(children.get(pid) ?? []));
  }
  return found;
}

/** proc(5): of stat, the fields after the name, which may hold anything. */
function readStats(): Map<number, Stat> {
  const stats = new Map<number, Stat>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const fields = readFileSync(`/proc/${name}/stat`, 'latin1')
        .replace(/^.*\) /s, '')
        .split(' ')
        .map(Number);
      const [user, system, childrenUser, childrenSystem] = fields.slice(11, 15);
      stats.set(Number(name), {
        parent: fields[1]!,
        ownMs: (user! + system!) * TICK_MS,
        childrenMs: (childrenUser! + childrenSystem!) * TICK_MS,
      });
    } catch {
      // It has ended meanwhile.
    }
  }
  return stats;
}
