// A cgroup for a container's processes, with limits: of version 1 or 2, whichever has the controller, beside or below
// the one that this process is in. It is made and removed out here; the session puts the container's first process in.
import { accessSync, constants, mkdirSync, readdirSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve, sep } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf, HotlayerError } from '../../errors.js';
import { isAlive, ownMark } from '../../lazy/process-mark.js';
import { startReaperShell } from '../../temp.js';
import { type Bytes, formatBytes } from '../../units.js';
import { readText } from '../machine/read-text.js';

export interface Limits {
  readonly memory?: Bytes;
  /** Cores, more than 0; 0.5: half of the time of one. */
  readonly cpus?: number;
}

export interface Cgroup extends AsyncDisposable {
  /** Directories; a process is limited once its pid is written to `cgroup.procs` in each. */
  readonly directories: readonly string[];
  /** Processes that the kernel ended because the memory was used up. */
  memoryKills(): number;
}

/** Where cgroups are found; for tests. */
export interface World {
  /** Texts of /proc/self/mountinfo and /proc/self/cgroup. */
  readonly mountinfo: string;
  readonly cgroup: string;
}

type Controller = 'memory' | 'cpu';

const PREFIX = 'hotlayer-';
/** Microseconds. */
const PERIOD = 100_000;
const LEAST_QUOTA = 1000;
/** How long the last process may take to leave, milliseconds. */
const GONE_MS = 5000;
/** A cgroup of a run that was killed together with its reaper is removed when it is older. */
const STALE_MS = 60_000;

let serial = 0;

/**
 * @returns undefined when there is nothing to limit
 * @throws HL_ERR_MACHINE where none can be had, HL_ERR_USAGE
 */
export function makeCgroup(limits: Limits, world: World = thisMachine()): Cgroup | undefined {
  const wanted: Controller[] = [];
  if (limits.memory !== undefined) wanted.push('memory');
  if (limits.cpus !== undefined) wanted.push('cpu');
  if (wanted.length === 0) return undefined;
  const name = `${PREFIX}${ownMark()}-${serial++}`;
  const made: string[] = [];
  const reaper = startReaper();
  const make = (parent: string) => {
    const directory = join(parent, name);
    if (made.includes(directory)) return directory;
    sweep(parent);
    // Before there is something to remove.
    reaper.tell(directory);
    mkdirSync(directory);
    made.push(directory);
    return directory;
  };
  const old = wanted.filter((controller) => placeInOld(controller, world) !== undefined);
  try {
    for (const controller of old) setOld(make(placeInOld(controller, world)!), controller, limits);
    const rest = wanted.filter((controller) => !old.includes(controller));
    if (rest.length > 0) makeNew(rest, limits, world, make);
  } catch (cause) {
    for (const directory of made) removeNow(directory);
    reaper.end();
    if (cause instanceof HotlayerError) throw cause;
    throw refused(wordsOf(limits), (cause as Error).message, cause);
  }
  return {
    directories: made,
    memoryKills: () => made.reduce((sum, directory) => sum + killsIn(directory), 0),
    async [Symbol.asyncDispose]() {
      for (const end = performance.now() + GONE_MS; performance.now() < end; await sleep(20)) {
        if (made.every(removeNow)) break;
      }
      // What it still finds it waits for.
      reaper.end();
    },
  };
}

function thisMachine(): World {
  return { mountinfo: readText('/proc/self/mountinfo'), cgroup: readText('/proc/self/cgroup') };
}

interface Hierarchy {
  readonly type: string;
  /** Directory of it that is seen at `point`. */
  readonly root: string;
  readonly point: string;
  readonly options: readonly string[];
}

/** proc_pid_mountinfo(5). */
function hierarchies({ mountinfo }: World): Hierarchy[] {
  return mountinfo.split('\n').flatMap((line) => {
    const [left = '', right = ''] = line.split(' - ');
    const [, , , root, point] = left.split(' ');
    const [type, , options] = right.split(' ');
    const known = (type === 'cgroup' || type === 'cgroup2') && root !== undefined && point !== undefined;
    return known ? [{ type, root, point, options: (options ?? '').split(',') }] : [];
  });
}

/** Where this process is, as a directory that can be looked at. @param own path as in /proc/self/cgroup */
function directoryIn({ root, point }: Hierarchy, own: string): string {
  const inside = root === '/' ? own : own === root || own.startsWith(`${root}/`) ? own.slice(root.length) : '/';
  const directory = join(point, inside);
  return statSync(directory, { throwIfNoEntry: false })?.isDirectory() ? directory : point;
}

/** cgroups(7): `ID:CONTROLLERS:PATH`, version 2 with neither a number nor a name. */
function ownPath({ cgroup }: World, controller: Controller | ''): string | undefined {
  for (const line of cgroup.split('\n')) {
    const [, names, ...path] = line.split(':');
    if (names?.split(',').includes(controller)) return path.join(':');
  }
  return undefined;
}

/** The directory of version 1 in which this process is with that controller. */
function placeInOld(controller: Controller, world: World): string | undefined {
  const hierarchy = hierarchies(world).find(({ type, options }) => type === 'cgroup' && options.includes(controller));
  const own = ownPath(world, controller);
  return hierarchy && own !== undefined ? directoryIn(hierarchy, own) : undefined;
}

function setOld(directory: string, controller: Controller, limits: Limits): void {
  const set = (file: string, value: number) => writeFileSync(join(directory, file), String(value));
  if (controller === 'cpu') {
    set('cpu.cfs_period_us', PERIOD);
    set('cpu.cfs_quota_us', quotaOf(limits));
    return;
  }
  set('memory.limit_in_bytes', limits.memory!);
  try {
    // With swap as much again, as docker has it.
    set('memory.memsw.limit_in_bytes', 2 * limits.memory!);
  } catch {
    // a kernel that does not count it
  }
}

/**
 * A cgroup of version 2 with processes in it cannot give controllers to others (cgroups(7), "no internal processes"): ours
 * lies beside the one that this process is in, or further up, wherever we may put both. First where the controllers are
 * given already.
 */
function makeNew(wanted: readonly Controller[], limits: Limits, world: World, make: (parent: string) => string): void {
  const hierarchy = hierarchies(world).find(({ type }) => type === 'cgroup2');
  const own = ownPath(world, '');
  if (!hierarchy || own === undefined) throw refused(wordsOf(limits), 'no cgroups with these controllers are mounted');
  const above = ancestors(directoryIn(hierarchy, own), hierarchy.point);
  let why = `no cgroup gives ${wanted.join(' and ')} to those below it`;
  for (const enable of [false, true]) {
    for (const parent of above) {
      try {
        // Whoever moves a process has to be allowed to in the nearest cgroup that both places are in.
        accessSync(join(parent, 'cgroup.procs'), constants.W_OK);
        const words = (file: string) => readText(join(parent, file)).trim().split(/\s+/);
        const missing = wanted.filter((controller) => !words('cgroup.subtree_control').includes(controller));
        if (missing.length > 0) {
          if (!enable || !missing.every((controller) => words('cgroup.controllers').includes(controller))) continue;
          const text = missing.map((controller) => `+${controller}`).join(' ');
          writeFileSync(join(parent, 'cgroup.subtree_control'), text);
        }
        const directory = make(parent);
        const set = (file: string, value: number | string) => writeFileSync(join(directory, file), String(value));
        if (wanted.includes('cpu')) set('cpu.max', `${quotaOf(limits)} ${PERIOD}`);
        if (wanted.includes('memory')) {
          set('memory.max', limits.memory!);
          if (statSync(join(directory, 'memory.swap.max'), { throwIfNoEntry: false }))
            set('memory.swap.max', limits.memory!);
        }
        return;
      } catch (cause) {
        why = (cause as Error).message;
      }
    }
  }
  throw refused(wordsOf(limits), why);
}

/** Of a directory, itself first, up to `top`. */
function ancestors(directory: string, top: string): string[] {
  const found = [directory];
  for (let at = directory; at !== top && at.startsWith(top + (top === sep ? '' : sep)); ) {
    at = dirname(at);
    found.push(at);
  }
  return found;
}

function quotaOf({ cpus }: Limits): number {
  return Math.max(LEAST_QUOTA, Math.round(cpus! * PERIOD));
}

function wordsOf({ memory, cpus }: Limits): string {
  return [memory === undefined ? '' : `--memory ${formatBytes(memory)}`, cpus === undefined ? '' : `--cpus ${cpus}`]
    .filter(Boolean)
    .join(' and ');
}

function refused(what: string, why: string, cause?: unknown): HotlayerError {
  return new HotlayerError('HL_ERR_MACHINE', `${what}: no cgroup can be made: ${why}`, {
    hint: 'run it as root, or in a cgroup that is yours: systemd-run --user --scope -p Delegate=yes hotlayer run …; or limit the whole command: systemd-run --user --scope -p MemoryMax=1G -p CPUQuota=150% hotlayer run …',
    cause,
  });
}

/** `oom_kill N` in memory.events (version 2) or memory.oom_control. */
function killsIn(directory: string): number {
  const text = readText(join(directory, 'memory.events')) || readText(join(directory, 'memory.oom_control'));
  return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
}

/** @returns false: there are processes in it */
function removeNow(directory: string): boolean {
  try {
    rmdirSync(directory);
    return true;
  } catch (error) {
    return errnoOf(error) === 'ENOENT';
  }
}

/** Removes what earlier runs left that were killed together with their reapers. */
function sweep(parent: string): void {
  for (const name of readdirSync(parent)) {
    if (!name.startsWith(PREFIX) || isAlive(name.slice(PREFIX.length).split('-').slice(0, 2).join('-'))) continue;
    const path = resolve(parent, name);
    const since = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Number.POSITIVE_INFINITY;
    if (Date.now() - since > STALE_MS) removeNow(path);
  }
}

/** Reads one directory a line until this process has ended, or says so; then removes them when they are empty. */
const REAPER = `trap '' INT TERM HUP QUIT; set --; while IFS= read -r d; do set -- "$@" "$d"; done
for d; do n=0; while [ -d "$d" ] && ! rmdir -- "$d" 2>/dev/null; do n=$((n+1)); [ $n -lt 600 ] || break; sleep 0.05; done; done`;

function startReaper() {
  const shell = startReaperShell(REAPER);
  return {
    tell: (directory: string) => void shell.stdin.write(`${directory}\n`),
    end: () => void shell.stdin.end(),
  };
}
