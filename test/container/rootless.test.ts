// The same sessions for an ordinary user. As root, the tests become one (with a /dev/fuse that everybody may open).
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { SessionResult } from '../../src/container/types.js';
import { ordinaryUserCommand } from '../support/namespace.js';
import { descendants, gone } from '../support/processes.js';
import { lackingSession, mountPoints, type SessionPlan, shell } from '../support/session.js';

const CHILD = fileURLToPath(new URL('../support/session-child.js', import.meta.url));
const PROBE = fileURLToPath(new URL('../../src/container/probe.js', import.meta.url));

function startAsUser(argv: readonly string[]) {
  const [program, ...args] = ordinaryUserCommand(argv);
  const child = spawn(program!, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: '/',
    env: { ...process.env, TMPDIR: '/tmp' },
  });
  const text = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (chunk: string) => {
      text[stream] += chunk;
    });
  }
  const ended = new Promise<{ status: number | null; stdout: string; stderr: string }>((resolve) => {
    child.on('close', (status) => resolve({ status, ...text }));
  });
  return { child, ended };
}

async function runAsUser(plan: SessionPlan): Promise<SessionResult & { stdout: string }> {
  const { status, stdout, stderr } = await startAsUser([process.execPath, CHILD, JSON.stringify(plan)]).ended;
  assert.equal(status, 0, stderr);
  return { ...(JSON.parse(stderr) as SessionResult), stdout };
}

describe('an ordinary user', { skip: lackingSession() }, () => {
  const before = mountPoints();

  const WHO =
    'id -u; id -g; echo $HOME; pwd; echo x > /bin/new && echo wrote; cat /etc/passwd | wc -l; hostname; ls -ln /bin/cat | cut -d" " -f3,4; cat /sys/class/net/lo/operstate';
  const programs = ['id', 'cat', 'wc', 'hostname', 'ls', 'cut'];

  test('is root in the container when the image says nothing', async () => {
    const result = await runAsUser({ programs, config: shell(WHO) });
    assert.equal(result.rootless, true);
    assert.equal(result.writable, 'overlay');
    assert.equal(result.stdout, '0\n0\n/root\n/\nwrote\n2\nbox\n0 0\nunknown\n');
  });

  test('is the user that the image names, though only one id exists', async () => {
    const nodes = [
      { path: 'secret', type: 'reg', mode: 0o600, uid: 77, gid: 78, content: { text: 'readable' } },
    ] as const;
    const script = `${WHO}; cat /secret; grep -h Cap /proc/self/status`;
    const result = await runAsUser({
      programs: [...programs, 'grep'],
      nodes,
      config: shell(script, { User: 'app', WorkingDir: '/new/dir' }),
    });
    const lines = result.stdout.split('\n');
    assert.deepEqual(lines.slice(0, 6), ['1000', '1001', '/home/app', '/new/dir', 'wrote', '2']);
    assert.equal(lines[7], '1000 1001', 'every file is the one id’s');
    assert.ok(
      result.stdout.includes(
        'readableCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n',
      ),
      result.stdout,
    );
    assert.deepEqual(result.warnings, ['without root, the supplementary groups 29, 2000 are missing']);
    const numbers = await runAsUser({ programs: ['id'], config: shell('id -u; id -g', { User: '0:33' }) });
    assert.equal(numbers.stdout, '0\n33\n');
  });

  test('has the ready rules and read-only binds too', async () => {
    const result = await runAsUser({
      programs: ['sleep'],
      config: shell('echo x > /mine/x; echo up; sleep 100'),
      binds: [{ source: '/usr', destination: '/mine', readonly: true }],
      until: [{ kind: 'line', text: 'up' }],
      net: 'host',
    });
    assert.equal(result.ready?.by, 'line:up');
    assert.match(result.tail.join('\n'), /Read-only file system/);
  });

  test('SIGKILL leaves nothing', async () => {
    const plan: SessionPlan = {
      programs: ['sleep'],
      config: shell('echo up; sleep 1000', { User: 'app' }),
      timeoutNanos: 60e9,
    };
    const { child, ended } = startAsUser([process.execPath, CHILD, JSON.stringify(plan)]);
    await Promise.race([new Promise((resolve) => child.stdout.once('data', resolve)), ended]);
    const tree = descendants(child.pid ?? 0).filter((p) => !p.command.includes('while IFS= read -r p'));
    assert.ok(tree.length >= 4, tree.map((p) => p.command).join('\n'));
    child.kill('SIGKILL');
    assert.deepEqual(await gone(tree, 1500), []);
    await ended;
    assert.deepEqual(mountPoints(), before);
  });

  test('doctor has nothing to mend', async () => {
    const script = `console.log(JSON.stringify(await (await import(process.argv[1])).probeMachine()))`;
    const { stdout, stderr } = await startAsUser([process.execPath, '--input-type=module', '-e', script, PROBE]).ended;
    const checks = JSON.parse(stdout || `"${stderr}"`) as {
      id: string;
      ok: boolean;
      optional?: boolean;
      detail: string;
      mend?: string;
    }[];
    assert.deepEqual(
      checks.map((c) => c.id),
      ['kernel', 'node', 'util-linux', 'fuse', 'fuse-native', 'namespaces', 'session', 'space'],
    );
    assert.deepEqual(
      checks.filter((c) => !c.ok && c.id !== 'space' && !c.optional),
      [],
    );
    assert.match(
      checks.find((c) => c.id === 'session')?.detail ?? '',
      /FUSE root with a disposable overlayfs layer; one user id/,
    );
  });
});
