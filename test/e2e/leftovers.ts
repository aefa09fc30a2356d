// What a run may leave behind, and the ways to end one.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { commandOf, processesWith } from '../support/processes.js';
import { type RunningCli, startCli } from './cli.js';

/** All must be gone this long after the end of the command, ms: a second or two, and much more on a machine that is busy. */
export const SOON = 20_000;

let serial = 0;

/** Text by which the processes of one run are found. */
export function newMarker(): string {
  return `hotlayer-e2e-${process.pid}-${serial++}`;
}

/** Starts a command with a marker in its environment, in a process group of its own; cwd has a directory `tmp`. */
export function startMarked(cwd: string, args: readonly string[]): { run: RunningCli; marker: string } {
  const marker = newMarker();
  const run = startCli([...args, '--tmpdir', 'tmp'], { cwd, env: { E2E_MARKER: marker }, detached: true });
  return { run, marker };
}

function leftovers(cwd: string, marker: string): string[] {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(cwd));
  return [
    ...mounts.map((line) => `mount ${line}`),
    ...processesWith(marker).map((pid) => `process ${pid}: ${commandOf(pid)}`),
    ...readdirSync(join(cwd, 'tmp')).map((name) => `temporary file ${name}`),
    ...readdirSync(cwd).flatMap((name) =>
      name.startsWith('.') || /^(target|p\.json)/.test(name) ? [`file ${name}`] : [],
    ),
  ];
}

/** Mounts, processes, temporary files, targets: all gone, if not at once then soon. */
export async function nothingLeft(cwd: string, marker: string): Promise<void> {
  const until = Date.now() + SOON;
  let left = leftovers(cwd, marker);
  while (left.length > 0 && Date.now() < until) {
    await sleep(50);
    left = leftovers(cwd, marker);
  }
  assert.deepEqual(left, []);
}

export type Way = readonly [
  name: string,
  send: (pid: number) => void,
  status: number | null,
  signal: NodeJS.Signals | null,
];

const twice = (pid: number) => {
  process.kill(pid, 'SIGINT');
  process.kill(pid, 'SIGINT');
};

export const WAYS: readonly Way[] = [
  ['SIGINT', (pid) => process.kill(pid, 'SIGINT'), 130, null],
  ['SIGTERM', (pid) => process.kill(pid, 'SIGTERM'), 130, null],
  ['SIGINT to the whole group, as a terminal does', (pid) => process.kill(-pid, 'SIGINT'), 130, null],
  ['SIGINT twice', twice, 130, null],
  ['SIGKILL', (pid) => process.kill(pid, 'SIGKILL'), null, 'SIGKILL'],
];

/** Ends a run and asserts how it ended, that it was quick, and that nothing is left. */
export async function endedBy(
  [name, send, status, signal]: Way,
  run: RunningCli,
  cwd: string,
  marker: string,
): Promise<void> {
  const began = Date.now();
  send(run.pid);
  const result = await run.done;
  assert.deepEqual([result.status, result.signal], [status, signal], `${name}: ${result.stderr}`);
  assert.ok(Date.now() - began < SOON, `ended after ${Date.now() - began} ms`);
  assert.equal(result.stdout, '');
  await nothingLeft(cwd, marker);
}
