// `run --memory` and `--cpus`: the kernel holds the container to them, whoever starts it, and no cgroup is left behind
// whatever is killed.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { lackingCgroup } from '../container/cgroup-here.js';
import { lacking } from '../support/tools.js';
import { expectCli, noFuse, startCli } from './cli.js';
import { asNobody } from './users.js';

const nobody = asNobody(0o666);
/** Until something is as it should be; a busy machine may take long. */
const PATIENCE_MS = 30_000;

/** Directories of the cgroups that a process of hotlayer made. */
function cgroupsOf(pid: number): string[] {
  return execFileSync('find', ['/sys/fs/cgroup', '-type', 'd', '-name', `hotlayer-${pid}-*`], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
    .split('\n')
    .filter(Boolean);
}

async function until<T>(look: () => T | undefined): Promise<T> {
  for (const end = Date.now() + PATIENCE_MS; ; await sleep(50)) {
    const found = look();
    if (found !== undefined || Date.now() > end) {
      assert.notEqual(found, undefined, String(look));
      return found!;
    }
  }
}

const SPIN = 'echo up >&2; while :; do :; done';

describe('limits', { skip: noFuse() || lackingCgroup() || lacking('runc', 'crun', 'python3') }, () => {
  for (const runtime of ['builtin', 'runc', 'crun']) {
    const words = ['run', '--runtime', runtime, '--net', 'none'];

    test(`${runtime} --memory: who takes more is ended, who takes less is not`, async () => {
      const take = (bytes: number) => `bytearray(${bytes}); print("took", flush=True)`;
      const flags = [...words, '--memory', '96MiB', 'dir:/', '--', 'python3', '-c'];
      const more = await expectCli(137, [...flags, `import os; ${take(200 << 20)}`]);
      assert.deepEqual([more.stdout, more.stderr.includes('--memory 96.0 MiB was used up')], ['', true]);
      const less = await expectCli(0, [...flags, take(20 << 20)]);
      assert.deepEqual([less.stdout, less.stderr], ['took\n', '']);
    });

    test(`${runtime} --cpus: a loop gets its share of every period, and nothing is left at the end`, async () => {
      const running = startCli([...words, '--cpus', '0.2', 'dir:/', '--', 'sh', '-c', SPIN]);
      await running.stderrHas(/up/);
      const place = cgroupsOf(running.pid).find((path) => readdirSync(path).includes('cpu.stat'))!;
      const number = (name: string) =>
        Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(readFileSync(join(place, 'cpu.stat'), 'utf8'))?.[1]);
      await until(() => (number('nr_throttled') >= 10 ? true : undefined));
      const pids = readFileSync(join(place, 'cgroup.procs'), 'utf8').trim().split('\n');
      const ticks = pids.map((pid) => {
        const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
        const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        return Number(fields[11]) + Number(fields[12]);
      });
      // Periods of 100 ms: 20 ms each, 2 ticks. Read after the time, so that it cannot be too few.
      const allowed = 2 * number('nr_periods');
      const used = ticks.reduce((sum, n) => sum + n, 0);
      assert.ok(used <= 1.3 * allowed + 10, `${used} of ${allowed} ticks`);
      process.kill(running.pid, 'SIGTERM');
      assert.equal((await running.done).status, 143);
      assert.deepEqual(cgroupsOf(running.pid), []);
    });
  }

  for (const [who, kill] of [
    ['hotlayer', (pid: number) => process.kill(pid, 'SIGKILL')],
    [
      'the workload',
      (pid: number) => {
        const [place] = cgroupsOf(pid);
        for (const one of readFileSync(join(place!, 'cgroup.procs'), 'utf8').trim().split('\n'))
          process.kill(Number(one), 'SIGKILL');
      },
    ],
    [
      'hotlayer and all that it started',
      // In one go; those that have gone with the first one cannot be killed any more.
      (pid: number) => execFileSync('sh', ['-c', `kill -9 ${all(pid).join(' ')} 2>/dev/null || :`]),
    ],
  ] as const)
    test(`SIGKILL of ${who}: no cgroup is left`, async () => {
      const running = startCli(['run', '--memory', '1GiB', '--cpus', '0.2', 'dir:/', '--', 'sh', '-c', SPIN]);
      await running.stderrHas(/up/);
      assert.ok(cgroupsOf(running.pid).length > 0);
      kill(running.pid);
      await running.done;
      await until(() => (cgroupsOf(running.pid).length === 0 ? true : undefined));
    });
});

/** A process and those below it, without the shells that clean up. */
function all(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  const cleansUp = readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('while IFS= read -r');
  return cleansUp ? [] : [pid, ...children.flatMap(all)];
}

test('limits that an ordinary user cannot have are refused, with what to do', {
  skip: noFuse() || nobody.skip,
}, async () => {
  const { through } = nobody;
  const { stderr } = await expectCli(4, ['run', '--memory', '1GiB', '--cpus', '1.5', 'dir:/', '--', 'true'], {
    through,
  });
  assert.match(stderr, /--memory 1.00 GiB and --cpus 1.5: no cgroup can be made/);
  assert.match(stderr, /systemd-run --user --scope -p Delegate=yes hotlayer run/);
  const { stderr: wrong } = await expectCli(2, ['run', '--cpus', '0', 'dir:/', '--', 'true']);
  assert.match(wrong, /Expected a number above 0/);
});
