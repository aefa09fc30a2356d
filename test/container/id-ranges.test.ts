// An ordinary user with ranges of ids in /etc/subuid and /etc/subgid: owners and users in the container are the image's.
// The real newuidmap and newgidmap hand them out; root gives the ranges, in a mount namespace that ends with the test.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { idMap } from '../../src/container/isolation/id-ranges.js';
import type { SessionResult } from '../../src/container/types.js';
import { strangersAsRoot } from '../../src/rootfs/strangers.js';
import { expectCli } from '../e2e/cli.js';
import { lackingRanges, ordinaryUserCommand, SUB_ID, userWithRangesCommand } from '../support/namespace.js';
import { descendants, gone } from '../support/processes.js';
import { lackingSession, mountPoints, type SessionPlan, shell } from '../support/session.js';
import { testDir } from '../support/temp.js';
import { lacking } from '../support/tools.js';

const CHILD = fileURLToPath(new URL('../support/session-child.js', import.meta.url));

describe('the map of ids', () => {
  for (const [what, text, want] of [
    ['no file', '', [[0, 1000, 1]]],
    ['somebody else', 'b:100:5\n', [[0, 1000, 1]]],
    [
      'by name',
      'a:100000:65536\n',
      [
        [0, 1000, 1],
        [1, 100_000, 65_536],
      ],
    ],
    [
      'by number',
      '1000:100000:65536',
      [
        [0, 1000, 1],
        [1, 100_000, 65_536],
      ],
    ],
    [
      'several, others in between',
      'a:5:2\nb:9:9\n1000:70:3',
      [
        [0, 1000, 1],
        [1, 5, 2],
        [3, 70, 3],
      ],
    ],
    ['what is no range', 'a:x:2\na:5\na:5:0\na::3\na:5:2:7\n# a:1:1', [[0, 1000, 1]]],
    [
      'more than there can be',
      'a:5:4294967295\na:7:1',
      [
        [0, 1000, 1],
        [1, 7, 1],
      ],
    ],
  ] as const)
    test(what, () => assert.deepEqual(idMap(text, ['1000', 'a'], 1000), want));

  test('files of this machine whose owner has no id there are root’s', () => {
    const inside: Record<string, string> = {
      'self/uid_map': '0 1000 1\n1 100000 65536\n',
      'self/gid_map': '         0          0 4294967295\n',
      'sys/kernel/overflowuid': '65534\n',
    };
    const { uid, gid } = strangersAsRoot((name) => inside[name] ?? '');
    assert.deepEqual([0, 33, 65_534].map(uid), [0, 33, 0]);
    assert.deepEqual([0, 33, 65_534].map(gid), [0, 33, 65_534]);
  });
});

function startAs(command: (argv: readonly string[]) => string[], plan: SessionPlan, env: Record<string, string> = {}) {
  const [program, ...args] = command([process.execPath, CHILD, JSON.stringify(plan)]);
  const child = spawn(program!, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: '/',
    env: { ...process.env, TMPDIR: '/tmp', ...env },
  });
  const text = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (chunk: string) => {
      text[stream] += chunk;
    });
  }
  const ended = new Promise<SessionResult & { stdout: string }>((resolve, reject) => {
    child.on('close', (status) => {
      if (status === 0) resolve({ ...(JSON.parse(text.stderr) as SessionResult), stdout: text.stdout });
      else reject(new Error(`status ${status}: ${text.stderr}`));
    });
  });
  return { child, ended };
}

describe('an ordinary user with ranges of ids', { skip: lackingSession() || lackingRanges() }, () => {
  const nodes = [
    { path: 'srv/www', type: 'reg', mode: 0o600, uid: 33, gid: 44, content: { text: 'page\n' } },
    { path: 'srv/high', type: 'reg', mode: 0o600, uid: 65_534, gid: 65_537, content: { text: 'high\n' } },
  ] as const;
  const programs = ['id', 'cat', 'stat', 'chown', 'touch', 'grep'];
  const LOOK = `id -u; id -g; id -G; cat /proc/self/uid_map
    stat -c '%u %g' /srv/www /srv/high /bin/cat; cat /srv/www 2>/dev/null; (touch /srv/www && echo written) 2>&1 | grep -o written`;

  for (const runtime of ['builtin', 'runc', 'crun'] as const) {
    const skip = runtime === 'builtin' ? false : lacking(runtime);

    test(`${runtime}: owners and users are the image's`, { skip }, async () => {
      const as = (user: string) =>
        startAs(userWithRangesCommand, { programs, nodes, runtime, config: shell(LOOK, { User: user }) }).ended;
      const root = await as('');
      assert.deepEqual(root.warnings, []);
      const MAP = `         0      65534          1\n         1     ${SUB_ID}       1000\n      1001     300000      64536\n`;
      // 65 537 ids: the last gid is one too many, and shown as root.
      const OWNERS = '33 44\n65534 0\n0 0\n';
      assert.equal(root.stdout, `0\n0\n0 29\n${MAP}${OWNERS}page\nwritten\n`);
      const www = await as('33:44');
      assert.deepEqual(www.warnings, []);
      assert.equal(www.stdout, `33\n44\n44\n${MAP}${OWNERS}page\nwritten\n`);
      const app = await as('app');
      assert.equal(app.stdout, `1000\n1001\n1001 29 2000\n${MAP}${OWNERS}`, 'closed to everybody else');
    });
  }

  test('files that are written belong to whom they were given to', async () => {
    const script = 'touch /new && chown 33:44 /new && stat -c "%u %g" /new; cat /srv/high';
    const { stdout } = await startAs(userWithRangesCommand, { programs, nodes, config: shell(script) }).ended;
    assert.equal(stdout, '33 44\nhigh\n');
  });

  test('files of this machine that are its root’s are root’s', async () => {
    const { PATH = '' } = process.env;
    const args = ['run', '--net', 'none', 'dir:/', '--', 'stat', '-c', '%u:%g', '/etc/passwd', '/'];
    const { stdout } = await expectCli(0, args, { through: userWithRangesCommand([]), env: { PATH } });
    assert.equal(stdout, '0:0\n0:0\n');
  });

  test('without the ranges there is one id, as ever', async () => {
    const { stdout } = await startAs(ordinaryUserCommand, { programs, nodes, config: shell(LOOK) }).ended;
    const MAP = '         0      65534          1\n';
    assert.equal(stdout, `0\n0\n0\n${MAP}0 0\n0 0\n0 0\npage\nwritten\n`);
  });

  test('programs that refuse leave one id, and a warning', async (t) => {
    const dir = testDir(t);
    chmodSync(dir, 0o755);
    for (const name of ['newuidmap', 'newgidmap'])
      writeFileSync(join(dir, name), `#!/bin/sh\necho "${name}: not today" >&2\nexit 1\n`, { mode: 0o755 });
    const env = { PATH: `${dir}:${process.env.PATH}` };
    const { stdout, warnings } = await startAs(userWithRangesCommand, { programs, nodes, config: shell(LOOK) }, env)
      .ended;
    assert.match(stdout, /^0\n0\n0\n +0 +65534 +1\n0 0\n0 0\n0 0\n/);
    assert.deepEqual(warnings, [
      'only one user id, not those of /etc/subuid: newuidmap: not today; newgidmap: not today',
      'without root, the supplementary groups 29 are missing',
    ]);
  });

  test('SIGKILL leaves nothing, and a directory to mount on can be removed', async (t) => {
    const before = mountPoints();
    const tmp = join(testDir(t), 'tmp');
    chmodSync(join(tmp, '..'), 0o755);
    mkdirSync(tmp);
    chownSync(tmp, 65_534, 65_534);
    const plan = { programs: ['sleep'], config: shell('echo up; sleep 1000', { User: 'app' }), timeoutNanos: 60e9 };
    const { child, ended } = startAs(userWithRangesCommand, plan, { TMPDIR: tmp });
    await Promise.race([new Promise((resolve) => child.stdout!.once('data', resolve)), ended]);
    const tree = descendants(child.pid ?? 0).filter((p) => !p.command.includes('while IFS= read -r p'));
    assert.ok(tree.length >= 4, tree.map((p) => p.command).join('\n'));
    child.kill('SIGKILL');
    assert.deepEqual(await gone(tree, 10_000), []);
    await ended.catch(() => {});
    assert.deepEqual(mountPoints(), before);
  });
});
