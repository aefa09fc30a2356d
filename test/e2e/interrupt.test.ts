// SIGINT and SIGKILL while a workload runs: nothing may be left, neither mount nor process nor file, and soon.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeTempDir } from '../../src/temp.js';
import { commandOf, processesWith } from '../support/processes.js';
import { noFuse, type RunningCli, startCli } from './cli.js';
import { endedBy, newMarker, nothingLeft, WAYS } from './leftovers.js';
import { sampleImage } from './sample.js';

const temp = makeTempDir(undefined, 'hl-e2e-interrupt');
const at = (name: string) => join(temp.path, name);
after(() => temp.remove());
const cwd = temp.path;

before(() => {
  mkdirSync(at('tmp'));
  sampleImage(at('image'));
});

const PROFILE = ['profile', 'oci:image', '-o', 'p.json', '--until', 'line:never', '--entrypoint', '/bin/sh'];
/** Children of its own, one of them in the background; deaf to what a shell can be deaf to. */
const WORKLOAD = 'trap "" INT TERM HUP; sleep 300 & echo running; while :; do sleep 100; done';

/** Args with the workload, which comes after the flags that `start` adds. */
function startProfile(): { run: RunningCli; marker: string } {
  const marker = newMarker();
  const args = [...PROFILE, '--tmpdir', 'tmp', '-e', `E2E_MARKER=${marker}`, '--', '-c', WORKLOAD];
  return { run: startCli(args, { cwd, env: { E2E_MARKER: marker }, detached: true }), marker };
}

describe('while the workload runs', { skip: noFuse() }, () => {
  for (const way of WAYS) {
    test(way[0], async () => {
      const { run, marker } = startProfile();
      await run.stderrHas(/^running$/m);
      assert.ok(processesWith(marker).length >= 4, 'command, session, workload and its child can be found');
      await endedBy(way, run, cwd, marker);
      if (way[2] === 130) assert.match(run.said().stderr, /interrupted by SIG(INT|TERM).*\(HL_ERR_INTERRUPTED\)/);
    });
  }

  test('at moments spread over the whole start-up', async () => {
    for (const [i, delay] of [60, 130, 200, 280, 380, 500].entries()) {
      const { run, marker } = startProfile();
      await sleep(delay);
      run.child.kill(i % 2 === 0 ? 'SIGKILL' : 'SIGINT');
      const { status, signal } = await run.done;
      // Before the command is there to hear it, SIGINT ends the process itself.
      assert.ok(signal !== null || status === 130, `after ${delay} ms: ${signal ?? status}`);
      await nothingLeft(cwd, marker);
    }
  });

  test('the session alone is killed: an error, not a hang', async () => {
    const { run, marker } = startProfile();
    await run.stderrHas(/^running$/m);
    const session = processesWith(marker).find(
      (pid) => commandOf(pid).includes('session-main.js') && !commandOf(pid).includes('unshare'),
    );
    process.kill(Number(session), 'SIGKILL');
    const { status, stderr } = await run.done;
    assert.equal(status, 4, stderr);
    assert.match(stderr, /session's process/);
    await nothingLeft(cwd, marker);
  });
});
