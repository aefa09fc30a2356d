// A seat: one image in use by some processes at once, in a container or through a mount, for a while; then it ends, or
// hotlayer is killed in the middle of it. What is left of it afterwards is looked for.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { commandOf, processesWith } from '../../test/support/processes.js';
import { BIN } from './commands.js';
import type { SoakImage } from './images.js';

export interface Sitting {
  readonly kind: 'run' | 'mount';
  readonly image: SoakImage;
  readonly host: string;
  readonly cache: string;
  readonly cacheBytes: number;
  readonly processes: number;
  readonly seconds: number;
  /** Seconds after which hotlayer gets SIGKILL. Absent: it ends in peace. */
  readonly killAfter?: number;
  readonly seed: number;
  /** New, of its own. */
  readonly directory: string;
  /** The static program, on this machine. */
  readonly reader: string;
}

export interface Sat {
  readonly kind: Sitting['kind'];
  readonly image: string;
  readonly killed: boolean;
  /** False: the registry's faults came before there was a tree. */
  readonly read: boolean;
  readonly opens: number;
  readonly bytes: number;
  readonly errors: number;
  readonly differences: number;
  readonly longestMs: number;
  /** Processes, mounts and files that outlived it. */
  readonly left: readonly string[];
  /** Lines that say what differed, and what should not have been said at all. */
  readonly complaints: readonly string[];
  /** Warnings of hotlayer: damage and failures. */
  readonly warnings: number;
}

/** Patience for what should be gone at once, on a machine that is busy. */
const GONE_MS = 30_000;

/** $1: directory to mount on; $2: seconds to the kill, or 0; $3: the reader's words, quoted; then hotlayer's. */
const MOUNT = `root=$1 after=$2 reader=$3; shift 3
"$@" & pid=$!
n=0; until [ -e "$root/data" ]; do sleep 0.05; kill -0 $pid 2>/dev/null || exit 98; n=$((n+1)); [ $n -lt 1200 ] || break; done
gone() { n=0; while grep -qF " $root " /proc/self/mountinfo; do sleep 0.1; n=$((n+1)); [ $n -lt 300 ] || { echo "LEFT: the mount" >&2; break; }; done; }
eval "$reader" & r=$!
if [ "$after" != 0 ]; then sleep "$after"; kill -KILL $pid; gone; sleep 0.5; kill $r; wait; exit 0; fi
wait $r; status=$?; kill -INT $pid; wait $pid; gone; exit $status`;

export async function sit(sitting: Sitting): Promise<Sat> {
  const { kind, image, directory, killAfter, seconds, processes, seed } = sitting;
  mkdirSync(join(directory, 'tmp'), { recursive: true });
  const lazy = ['--plain-http', '--fetch-timeout', '1s', '--tmpdir', join(directory, 'tmp')];
  const cache = ['--cache-dir', sitting.cache, '--cache-size', `${sitting.cacheBytes}B`];
  const reference = `${sitting.host}/${image.name}`;
  const stats = join(directory, 'stats');
  let command: string[];
  if (kind === 'run') {
    const binds = ['-v', `${image.original}:/original:ro`, '-v', `${directory}:/control`];
    const reader = [
      '/reader',
      String(seconds),
      String(processes),
      '/data',
      '/original',
      '/control/stats',
      String(seed),
    ];
    command = [process.execPath, BIN, 'run', ...lazy, ...cache, ...binds, '--net', 'none', reference, '--', ...reader];
  } else {
    const root = join(directory, 'root');
    mkdirSync(root);
    const words = [sitting.reader, seconds, processes, `${root}/data`, image.original, stats, seed];
    // In the machine's pid namespace: from another one nobody would see that it uses its layers of the cache.
    const mortal = ['setpriv', '--pdeathsig', 'KILL', '--'];
    const own = [...mortal, 'unshare', '--mount', '--propagation', 'private'];
    const shell = ['--', 'sh', '-c', MOUNT, 'sh', root, String(killAfter ?? 0), words.map((w) => `'${w}'`).join(' ')];
    command = [...own, ...shell, ...mortal, process.execPath, BIN, 'mount', ...lazy, ...cache, reference, root];
  }
  const [program, ...args] = command;
  const child = spawn(program!, args, { cwd: '/', stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => resolve(status));
  });
  if (kind === 'run' && killAfter !== undefined) {
    const timer = setTimeout(() => child.kill('SIGKILL'), killAfter * 1000);
    void ended.then(() => clearTimeout(timer));
  }
  const status = await ended;
  const left = await leftOf(directory, said);
  const read = existsSync(stats);
  const [opens = 0, bytes = 0, errors = 0, differences = 0, longestMs = 0] = read
    ? readFileSync(stats, 'utf8').trim().split(' ').map(Number)
    : [];
  const complaints = said.split('\n').filter((line) => /DIFFERENCE|HL_ERR_BUG|should not happen/.test(line));
  if (killAfter === undefined && read && status !== 0 && differences === 0)
    complaints.push(`${kind} ended with ${status}: ${said.slice(-1000)}`);
  const warnings = (said.match(/^warning: /gm) ?? []).length;
  const killed = killAfter !== undefined;
  return {
    kind,
    image: image.name,
    killed,
    read,
    opens,
    bytes,
    errors,
    differences,
    longestMs,
    left,
    complaints,
    warnings,
  };
}

async function leftOf(directory: string, said: string): Promise<string[]> {
  const look = () => processesWith(directory);
  for (const end = performance.now() + GONE_MS; look().length > 0 && performance.now() < end; ) await sleep(50);
  return [
    ...look().map((pid) => `process ${pid}: ${commandOf(pid)}`),
    ...said.split('\n').filter((line) => line.startsWith('LEFT')),
    ...readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => line.includes(directory)),
  ];
}
