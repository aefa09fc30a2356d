import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { HotlayerError } from '../../src/errors.js';
import { descendants, gone, type Process } from '../support/processes.js';
import { lackingSession, mountPoints, run, type SessionPlan, shell } from '../support/session.js';

const CHILD = fileURLToPath(new URL('../support/session-child.js', import.meta.url));
/** Everything must have ended this long after the kill. */
const SOON_MS = 10_000;

/** A workload of three processes: the first ignores what it can, one has left its session and group. */
const PLAN: SessionPlan = {
  programs: ['sleep', 'setsid'],
  config: shell('trap "" TERM INT HUP; sleep 1000 & setsid sleep 1000 & echo running; while :; do sleep 0.1; done', {
    User: 'app',
  }),
  timeoutNanos: 60e9,
};

describe('nothing outlives a session', { skip: lackingSession() }, () => {
  const scratch = mkdtempSync(join(tmpdir(), 'hotlayer-kill-'));
  after(() => rmSync(scratch, { recursive: true }));
  const before = mountPoints();

  /** Starts the session in a process of its own; resolves when the workload runs. */
  async function start(): Promise<{
    child: ChildProcess;
    tree: Process[];
    ended: Promise<{ status: number | null; said: string }>;
  }> {
    const plan = JSON.stringify({ ...PLAN, tmpdir: scratch });
    const child = spawn(process.execPath, [CHILD, plan], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, TMPDIR: scratch },
    });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const ended = new Promise<{ status: number | null; said: string }>((resolve) => {
      child.on('close', (status) => resolve({ status, said }));
    });
    await Promise.race([
      new Promise((resolve) => child.stdout.once('data', resolve)),
      ended.then((end) => assert.fail(`no session: ${end.said}`)),
    ]);
    const sleeping = () => descendants(child.pid ?? 0).filter((p) => p.command === 'sleep 1000').length;
    for (let i = 0; sleeping() < 2 && i < 200; i++) await new Promise((resolve) => setTimeout(resolve, 20));
    // The reaper of temp.ts is to live on: it is what removes the directory.
    const tree = descendants(child.pid ?? 0).filter((p) => !p.command.includes('while IFS= read -r p'));
    if (sleeping() < 2) child.kill('SIGKILL');
    assert.equal(tree.filter((p) => p.command === 'sleep 1000').length, 2, tree.map((p) => p.command).join('\n'));
    return { child, tree, ended };
  }

  async function nothingLeft(tree: readonly Process[]): Promise<void> {
    const left = await gone(tree, SOON_MS);
    for (const { pid } of left) process.kill(pid, 'SIGKILL');
    assert.deepEqual(left, [], 'processes are left');
    assert.deepEqual(mountPoints(), before, 'mounts are left');
    const end = Date.now() + SOON_MS;
    while (readdirSync(scratch).length > 0 && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual(readdirSync(scratch), [], 'files are left');
  }

  test('SIGKILL of the process that called runSession', async () => {
    const { child, tree } = await start();
    child.kill('SIGKILL');
    await nothingLeft(tree);
  });

  for (const [who, find] of [
    [
      'the session’s process',
      (p: Process) =>
        p.command.includes('session-main.js') && p.command.includes('--no-warnings') && !p.command.includes('unshare'),
    ],
    ['the unshare before it', (p: Process) => p.command.includes('unshare') && p.command.includes('session-main.js')],
  ] as const) {
    test(`SIGKILL of ${who}: the caller gets an error`, async () => {
      const { tree, ended } = await start();
      const victim = tree.find(find);
      assert.ok(victim, tree.map((p) => p.command).join('\n'));
      process.kill(victim.pid, 'SIGKILL');
      const { status, said } = await ended;
      assert.equal(status, 4, said);
      assert.match(said, /HL_ERR_MACHINE.*session's process/);
      await nothingLeft(tree);
    });
  }

  test('SIGKILL of the unshare before the workload, and of the workload: a result like any other', async () => {
    const victims = [
      (p: Process) =>
        p.command.includes('unshare') && p.command.includes('--ipc') && !p.command.includes('session-main'),
      (p: Process) => p.command.startsWith('sh -c trap'),
    ];
    for (const find of victims) {
      const { tree, ended } = await start();
      const victim = tree.find(find);
      assert.ok(victim, tree.map((p) => p.command).join('\n'));
      process.kill(victim.pid, 'SIGKILL');
      const { status, said } = await ended;
      assert.equal(status, 0, said);
      assert.equal((JSON.parse(said) as { signal?: string }).signal, 'SIGKILL');
      await nothingLeft(tree);
    }
  });

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    test(`${signal} of the caller: HL_ERR_INTERRUPTED`, async () => {
      const { child, tree, ended } = await start();
      child.kill(signal);
      const { status, said } = await ended;
      assert.equal(status, 130);
      assert.match(said, new RegExp(`"code":"HL_ERR_INTERRUPTED".*${signal}`));
      // The promise is not rejected before all is over.
      assert.deepEqual(await gone(tree, 0), []);
      await nothingLeft(tree);
    });
  }

  test('an AbortSignal: before the start, in the middle of it, and on a running workload', async () => {
    const interrupted = (e: unknown) => e instanceof HotlayerError && e.code === 'HL_ERR_INTERRUPTED';
    await assert.rejects(run(PLAN, { signal: AbortSignal.abort() }), interrupted);
    for (const ms of [10, 60, 150]) await assert.rejects(run(PLAN, { signal: AbortSignal.timeout(ms) }), interrupted);
    const abort = new AbortController();
    await assert.rejects(run(PLAN, { signal: abort.signal, onOutput: () => abort.abort() }), interrupted);
    const left = descendants(process.pid).filter((p) => /unshare|session-main|sleep/.test(p.command));
    assert.deepEqual(left, []);
    assert.deepEqual(
      readdirSync(tmpdir()).filter((name) => name.startsWith(`.hotlayer-${process.pid}-`)),
      [],
    );
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
      assert.equal(process.listenerCount(signal), 0, signal);
  });
});
