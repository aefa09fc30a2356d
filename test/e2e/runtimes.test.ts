// The three runtimes side by side: the same container, whoever starts it; and a terminal, on a real one (tmux).
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { testDir } from '../support/temp.js';
import { lacking } from '../support/tools.js';
import { BIN, expectCli, noFuse, startCli } from './cli.js';
import { asNobody } from './users.js';

const skip = noFuse() || lacking('runc', 'crun', 'tmux', 'script');
const RUNTIMES = ['builtin', 'runc', 'crun'];
const nobody = asNobody(0o666);

/** Ids, capabilities, what is masked, what is read-only, devices, limits, variables: one line each. */
const LOOK = `id -u; id -g; cat /proc/sys/kernel/hostname; pwd; grep -hE '^Cap(Eff|Bnd|Inh|Amb)' /proc/self/status
  wc -c < /proc/keys; (echo x > /proc/sys/kernel/domainname) 2>/dev/null || echo closed
  ulimit -c; ls /sys/class/net; echo "$A $(tr '\\0' '\\n' < /proc/1/environ | grep '^b.c=')"; (: > /etc/new) && echo writable; exit 9`;

describe('the runtimes', { skip }, () => {
  for (const [who, through] of [
    ['root', []],
    ['an ordinary user', nobody.through],
  ] as const) {
    test(`make the same container for ${who}`, {
      skip: who === 'root' ? process.getuid!() !== 0 : nobody.skip,
    }, async () => {
      const said: string[] = [];
      for (const runtime of RUNTIMES) {
        const flags = [
          '--runtime',
          runtime,
          '--net',
          'none',
          '--name',
          'box',
          '--workdir',
          '/usr',
          '-e',
          'A=a',
          '-e',
          'b.c=d',
        ];
        const { stdout } = await expectCli(9, ['run', ...flags, 'dir:/', '--', 'sh', '-c', LOOK], { through });
        said.push(stdout);
        const none = await expectCli(127, ['run', '--runtime', runtime, '--net', 'none', 'dir:/', '--', '/nosuch'], {
          through,
        });
        assert.match(none.stderr, /not found|no such file/i);
      }
      assert.match(said[0]!, /^0\n0\nbox\n\/usr\nCapInh:\t0+\n/);
      assert.match(said[0]!, /\n0\nclosed\n0\nlo\na b.c=d\nwritable\n$/);
      assert.equal(said[1], said[0], 'runc');
      assert.equal(said[2], said[0], 'crun');
    });
  }

  for (const runtime of RUNTIMES) {
    test(`${runtime}: signals are the workload's; one that knows nothing of them is ended`, async () => {
      const start = (script: string) =>
        startCli(['run', '--runtime', runtime, '--net', 'none', 'dir:/', '--', 'sh', '-c', script]);
      const caught = start('trap "echo caught; exit 3" TERM; echo up >&2; while :; do sleep 0.05; done');
      await caught.stderrHas(/up/);
      caught.child.kill('SIGTERM');
      const { status, stdout } = await caught.done;
      assert.deepEqual([status, stdout], [3, 'caught\n']);
      // tail complains and waits. A shell would not do: it catches SIGINT, and forgets it when it becomes another program.
      const plain = start('exec tail -F /nosuch');
      await plain.stderrHas(/nosuch/);
      plain.child.kill('SIGINT');
      assert.equal((await plain.done).status, 130);
    });
  }

  for (const runtime of RUNTIMES) {
    test(`${runtime} -it: a terminal with job control and the size of the user's, which is as before at the end`, async (t) => {
      const dir = testDir(t);
      const at = (name: string) => join(dir, name);
      mkdirSync(at('tmux'));
      writeFileSync(
        at('session.sh'),
        `stty -g > ${at('before')}
         '${process.execPath}' '${BIN}' run -it --runtime ${runtime} --net none dir:/ -- bash --norc
         echo $? > ${at('status')}; stty -g > ${at('after')}; echo done > ${at('done')}; sleep 100`,
      );
      const tmux = (...args: string[]) =>
        execFileSync('tmux', ['-S', at('tmux/socket'), '-f', '/dev/null', ...args], {
          encoding: 'utf8',
          stdio: 'pipe',
        });
      const shows = async (pattern: RegExp) => {
        for (let n = 0; n < 300; n++) {
          const screen = tmux('capture-pane', '-p');
          if (pattern.test(screen)) return;
          await sleep(100);
        }
        assert.match(tmux('capture-pane', '-p'), pattern);
      };
      tmux('new-session', '-d', '-x', '90', '-y', '25', `sh ${at('session.sh')}`);
      try {
        await shows(/bash-.*#/);
        tmux('send-keys', 'tty; stty size; sleep 100', 'Enter');
        await shows(/^\/dev\/pts\/0\n25 90$/m);
        await sleep(500);
        tmux('send-keys', 'C-c');
        tmux('resize-window', '-x', '70', '-y', '20');
        await sleep(500);
        tmux('send-keys', 'stty size; exit 5', 'Enter');
        await shows(/^20 70$/m);
        for (let n = 0; n < 100; n++) {
          await sleep(100);
          try {
            readFileSync(at('done'));
            break;
          } catch {
            // not yet
          }
        }
        assert.equal(readFileSync(at('status'), 'utf8'), '5\n');
        assert.equal(readFileSync(at('after'), 'utf8'), readFileSync(at('before'), 'utf8'));
      } finally {
        tmux('kill-server');
      }
    });
  }

  test('-i: what comes in is the workload’s; without it there is nothing', async () => {
    const through = ['sh', '-c', 'echo typed | "$@"', 'sh'];
    for (const runtime of RUNTIMES) {
      const args = ['--runtime', runtime, '--net', 'none', 'dir:/', '--', 'cat'];
      assert.equal((await expectCli(0, ['run', '-i', ...args], { through })).stdout, 'typed\n', runtime);
      assert.equal((await expectCli(0, ['run', ...args], { through })).stdout, '', runtime);
      // Some programs open it themselves, also once more when it has ended.
      const again = ['run', '-i', ...args.slice(0, -1), 'sh', '-c', 'cat; cat /dev/stdin; cat </dev/stdin; echo end'];
      assert.equal((await expectCli(0, again, { through })).stdout, 'typed\nend\n', runtime);
    }
  });

  test('-t without a terminal is refused', async () => {
    const refused = async (status: number, pattern: RegExp, ...flags: string[]) =>
      assert.match((await expectCli(status, ['run', ...flags, 'dir:/', '--', 'true'])).stderr, pattern);
    await refused(2, /standard input is not a terminal/, '-it');
  });
});
