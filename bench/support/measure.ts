// Runs a program and tells what it cost.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

export interface Cost {
  /** Milliseconds from the start of the program to its end. */
  readonly wallMs: number;
  /** Of the program itself, user and system; to the last look at it, a hundredth of a second before its end at most. */
  readonly cpuMs: number;
  /** Peak resident set in bytes (VmHWM), to the last look. */
  readonly peakBytes: number;
}

const LOOK_MS = 10;
/** USER_HZ, which is 100 on every Linux that Node runs on. */
const TICK_MS = 10;

/** @throws with the end of what it said when the status is not 0 */
export async function measure(argv: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<Cost> {
  const [program, ...args] = argv;
  const began = performance.now();
  const child = spawn(program!, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text) => {
      said = (said + text).slice(-4000);
    });
  let cpuMs = 0;
  let peakBytes = 0;
  const look = () => {
    try {
      cpuMs = cpuOf(child.pid!);
      peakBytes = peakOf(child.pid!) ?? peakBytes;
    } catch {
      // It has ended between two looks.
    }
  };
  const timer = setInterval(look, LOOK_MS);
  try {
    const { status, ended } = await new Promise<{ status: number | null; ended: number }>((resolve, reject) => {
      let at = 0;
      child.once('error', reject);
      child.once('exit', () => {
        at = performance.now();
      });
      child.once('close', (code) => resolve({ status: code, ended: at }));
    });
    if (status !== 0) throw new Error(`${argv.join(' ')}: status ${status}\n${said}`);
    return { wallMs: ended - began, cpuMs, peakBytes };
  } finally {
    clearInterval(timer);
  }
}

/** proc(5): fields 14 and 15 of stat, counted after the name, which may hold anything. */
function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
    .replace(/^.*\) /s, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

/** Undefined for a process that has ended and was not waited for yet. */
function peakOf(pid: number): number | undefined {
  const kib = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
  return kib === undefined ? undefined : Number(kib) * 1024;
}
