import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { needsUserNamespace, runSession } from '../../src/container/session/run-session.js';
import { FIRST_INHERITED_FD } from '../../src/container/types.js';
import { HotlayerError } from '../../src/errors.js';
import { lackingSession, mountPoints, run, sessionSpec, shell } from '../support/session.js';
import { lacking } from '../support/tools.js';

const refused = (code: string, text: RegExp) => (e: unknown) =>
  e instanceof HotlayerError && e.code === code && text.test(e.message);

describe('a session', { skip: lackingSession() }, () => {
  const scratch = mkdtempSync(join(tmpdir(), 'hotlayer-session-'));
  after(() => rmSync(scratch, { recursive: true }));
  const rootless = needsUserNamespace();
  const before = mountPoints();

  test('is what a container is: variables, directory, user, groups, host name, processes, devices', async () => {
    const script = `
      echo "args $0 $*"; pwd; hostname; id -u; id -g; id -G; cat /proc/1/comm; echo pid $$
      echo "pids" /proc/[0-9]*; env; echo home ~
      echo lost > /dev/null; head -c 3 /dev/zero | od -An -tx1; head -c 4 /dev/urandom | wc -c
      ls -1 /dev; ls -1 /dev/pts | wc -l; echo to-stdout > /dev/stdout; echo to-stderr > /dev/stderr
      ls -1 /proc/self/fd | head -3 | wc -l; ls -ld /tmp | cut -c1-10; cat /etc/hostname /etc/hosts
      readlink /proc/1/root; cat /proc/self/mountinfo | cut -d' ' -f5 | sort -u; ulimit -c
      grep -c . /proc/net/dev; cat /sys/class/net/lo/flags`;
    const result = await run({
      programs: ['hostname', 'id', 'cat', 'env', 'head', 'od', 'wc', 'ls', 'cut', 'readlink', 'sort', 'grep'],
      config: {
        Entrypoint: ['sh', '-c', script],
        Cmd: ['zero', 'with  space', '', "it's"],
        Env: ['A=1', 'QUOTED=a b\n$c `d` \'e\' "f"', 'LD_PRELOAD=/not/there.so', 'EMPTY=', 'PWD=/odd'],
        WorkingDir: '/made/for/it',
        User: 'app',
      },
    });
    assert.equal(result.exitCode, 0, result.stderr);
    const lines = result.stdout.split('\n');
    const expectedHead = ["args zero with  space  it's", '/made/for/it', 'box', '1000', '1001'];
    assert.deepEqual(lines.slice(0, 5), expectedHead);
    assert.equal(lines[5], rootless ? '1001' : '1001 29 2000');
    assert.deepEqual(lines.slice(6, 8), ['sh', 'pid 1']);
    // Only its own: itself, and at most the shell's helper of the moment.
    assert.match(lines[8]!, /^pids \/proc\/1( \/proc\/\d+)?$/);
    for (const line of [
      'A=1',
      'EMPTY=',
      'LD_PRELOAD=/not/there.so',
      'HOSTNAME=box',
      'HOME=/home/app',
      'home /home/app',
    ]) {
      assert.ok(lines.includes(line), `${line} in ${result.stdout}`);
    }
    assert.ok(result.stdout.includes('QUOTED=a b\n$c `d` \'e\' "f"\n'));
    assert.deepEqual(
      lines.filter((line) => /^(LC_ALL|OLDPWD|NODE_|HOTLAYER)/.test(line)),
      [],
    );
    assert.ok(result.stdout.includes('\n 00 00 00\n4\n'));
    for (const name of ['fd', 'full', 'null', 'ptmx', 'pts', 'random', 'shm', 'stdin', 'tty', 'urandom', 'zero']) {
      assert.ok(lines.includes(name), `/dev/${name}`);
    }
    assert.ok(lines.includes('to-stdout'));
    assert.ok(result.stderr.includes('to-stderr\n'));
    assert.ok(lines.includes('drwxrwxrwt'));
    assert.ok(lines.includes('127.0.0.1\tbox'));
    const mounts = lines.slice(lines.indexOf('/') + 1);
    assert.ok(mounts.includes('/proc') && mounts.includes('/etc/resolv.conf'), mounts.join(' '));
    assert.ok(!mounts.some((line) => line.includes('hotlayer')), 'nothing of this machine is seen');
    // loader.so of LD_PRELOAD was looked for in the image by the workload's programs, and by no helper on this machine.
    assert.match(result.stderr, /LD_PRELOAD/);
    assert.ok(result.fs.log.some((entry) => entry.op === 'lookup' && entry.pid > 1));
    assert.equal(result.rootless, rootless);
    assert.equal(result.writable, 'overlay');
    assert.equal(result.fsFaults, 0);
    assert.equal(result.stopped, false);
    assert.deepEqual(result.ready, { t: result.endedAt, by: 'exit' });
    assert.notEqual(hostname(), 'box');
  });

  test('a variable whose name is none for a shell', { skip: lacking('bash') }, async () => {
    const config = { Cmd: ['env'], Env: ['spring.port=1', 'a-b=c d', 'PLAIN=x', 'LD_PRELOAD=/not/there.so'] };
    const { stdout, warnings } = await run({ programs: ['env'], config });
    for (const line of ['spring.port=1', 'a-b=c d', 'PLAIN=x']) assert.ok(stdout.split('\n').includes(line), stdout);
    assert.deepEqual(warnings, []);
  });

  test('the workload holds nothing of ours: no descriptor, no capability beyond docker’s, no blocked signal', async () => {
    const nameless = join(scratch, 'nameless');
    writeFileSync(nameless, 'spooled\n');
    const fd = openSync(nameless, 'r');
    rmSync(nameless);
    // The file system module gets the descriptor, the workload does not.
    const { stdout } = await run({
      programs: ['cat', 'ls'],
      fds: [fd],
      nodes: [{ path: 'spooled', type: 'reg', content: { host: `/proc/self/fd/${FIRST_INHERITED_FD}`, size: 8 } }],
      config: shell('ls /proc/1/fd; cat /spooled /proc/1/status'),
    }).finally(() => closeSync(fd));
    assert.ok(stdout.startsWith('0\n1\n2\nspooled\nName:'), stdout);
    const field = (name: string) => new RegExp(`^${name}:\\s*(\\S+)$`, 'm').exec(stdout)?.[1];
    assert.equal(field('SigBlk'), '0000000000000000');
    assert.equal(field('SigIgn'), '0000000000000000');
    assert.equal(field('CapInh'), '0000000000000000');
    assert.equal(field('CapAmb'), '0000000000000000');
    // chown … audit_write: bits 0 1 3 4 5 6 7 8 10 13 18 27 29 31 (docker run alpine grep CapBnd /proc/self/status).
    assert.equal(field('CapBnd'), '00000000a80425fb');
  });

  test('no variable of ours reaches it, not even the one that Node itself hands on', async () => {
    const before = process.env.NODE_V8_COVERAGE;
    const coverage = mkdtempSync(join(tmpdir(), 'hotlayer-coverage-'));
    process.env.NODE_V8_COVERAGE = coverage;
    try {
      const { stdout } = await run({ programs: ['env'], config: shell('env') });
      assert.match(stdout, /^HOME=/m);
      assert.doesNotMatch(stdout, /NODE_/);
    } finally {
      if (before === undefined) delete process.env.NODE_V8_COVERAGE;
      else process.env.NODE_V8_COVERAGE = before;
      rmSync(coverage, { recursive: true });
    }
  });

  test('what our caller left open is not handed on', () => {
    // Beyond a gap in the numbers, where Node does not look for what it was started with.
    const stdio: ('ignore' | 'pipe')[] = [
      'ignore',
      'pipe',
      'pipe',
      ...Array.from({ length: 37 }, () => 'ignore' as const),
      'pipe',
    ];
    const plan = JSON.stringify({ programs: ['ls'], config: shell('ls /proc/1/fd') });
    const child = fileURLToPath(new URL('../support/session-child.js', import.meta.url));
    const { stdout, stderr } = spawnSync(process.execPath, [child, plan], { stdio, encoding: 'utf8' });
    assert.equal(stdout, '0\n1\n2\n', stderr);
  });

  test('writes go to the disposable layer, and vanish', async () => {
    const script = `echo changed >> /etc/passwd; echo new > /new; rm /data/gone; mkdir /data/made; chown 5:6 /data/kept 2>/dev/null
      mv /data/dir /data/moved; cat /etc/passwd | tail -1; ls /data; cat /data/moved/inner; ln -s x /link && readlink /link`;
    const plan = {
      programs: ['cat', 'tail', 'ls', 'rm', 'mkdir', 'mv', 'chown', 'ln', 'readlink'],
      nodes: [
        { path: 'data/gone', type: 'reg', content: { text: 'x' } },
        { path: 'data/kept', type: 'reg', content: { text: 'x' } },
        { path: 'data/dir/inner', type: 'reg', content: { text: 'inner\n' } },
      ] as const,
    };
    const first = await run({ ...plan, config: shell(script) });
    const expected = 'changed\nkept\nmade\nmoved\ninner\nx\n';
    assert.equal(first.stdout, expected, first.stderr);
    const second = await run({ ...plan, config: shell(script) });
    assert.equal(second.stdout, expected, 'the second run starts from the same image');
  });

  test('a read-only root on request: scratch directories are writable, the rest is not', async () => {
    const { writable, stdout, stderr, exitCode } = await run({
      config: shell('echo x > /tmp/x && echo y > /run/y && echo ok; echo x > /bin/x; echo end'),
      nodes: [
        { path: 'tmp', type: 'dir' },
        { path: 'run', type: 'dir' },
      ],
      readonlyRoot: true,
    });
    assert.equal(writable, 'readonly');
    assert.equal(stdout, 'ok\nend\n', stderr);
    assert.match(stderr, /Read-only file system/);
    assert.equal(exitCode, 0);
    const nowhere = run({ config: shell('true', { WorkingDir: '/nowhere' }), readonlyRoot: true });
    await assert.rejects(nowhere, refused('HL_ERR_WORKLOAD', /no directory \/nowhere, and the root is read-only/));
  });

  test('binds, also read-only, also one inside the other, also over a symlink that points out of the root', async () => {
    writeFileSync(join(scratch, 'file'), 'of the host\n');
    writeFileSync(join(scratch, 'inner'), 'hidden\n');
    const { stdout, stderr } = await run({
      programs: ['cat', 'ls'],
      nodes: [{ path: 'out', type: 'symlink', target: '/../../new place' }],
      config: shell('cat /out/file; echo more >> /out/file; echo x > /ro/x; cat /out/inner; ls "/new place"'),
      binds: [
        { source: scratch, destination: '/out', readonly: false },
        { source: scratch, destination: '/ro', readonly: true },
        { source: join(scratch, 'file'), destination: '/out/inner', readonly: true },
      ],
    });
    assert.match(stdout, /^of the host\n/, stderr);
    assert.match(stdout, /\nof the host\nmore\nfile\ninner\n$/, 'the bind is where the link points inside the root');
    assert.match(stderr, /\/ro\/x: Read-only file system/);
    assert.equal(readFileSync(join(scratch, 'file'), 'utf8'), 'of the host\nmore\n');
    const missing = run({
      config: shell('true'),
      binds: [{ source: join(scratch, 'no'), destination: '/x', readonly: true }],
    });
    await assert.rejects(missing, refused('HL_ERR_NOT_FOUND', /\/no, to be mounted on \/x, does not exist/));
  });

  test('exit codes, signals, and what cannot be executed', async () => {
    const rows: [config: Parameters<typeof run>[0]['config'], want: object, tail: RegExp][] = [
      [shell('echo said; exit 7'), { exitCode: 7, signal: undefined, ready: undefined, neverRan: undefined }, /^said$/],
      [{ Cmd: ['nosuch'] }, { exitCode: 127, neverRan: true, ready: undefined }, /^hotlayer: .*nosuch: not found$/],
      [shell('nosuch'), { exitCode: 127, neverRan: undefined }, /nosuch: not found$/],
      [{ Cmd: ['/etc/passwd'] }, { exitCode: 126, neverRan: true }, /^hotlayer: .*passwd: Permission denied$/],
    ];
    for (const [config, want, tail] of rows) {
      const result = await run({ config });
      for (const [key, value] of Object.entries(want)) assert.equal(result[key as keyof typeof result], value, key);
      assert.match(result.tail.at(-1) ?? '', tail);
    }
    // Process 1 cannot kill itself (pid_namespaces(7)); a child can, and a shell then says 128 + 9.
    const child = await run({ config: shell('sh -c "kill -9 \\$\\$"; echo $?') });
    assert.equal(child.stdout, '137\n');
  });

  test('large output arrives whole, in order, and is not kept', async () => {
    let bytes = 0;
    const { stdout, tail } = await run(
      { programs: ['seq'], config: shell('seq 1 300000') },
      { onOutput: (c) => (bytes += c.length) },
    );
    assert.equal(bytes, 1_988_895); // 9·2 + 90·3 + 900·4 + 9000·5 + 90000·6 + 200001·7
    assert.ok(stdout.startsWith('1\n2\n3\n') && stdout.endsWith('299999\n300000\n'));
    assert.deepEqual(
      tail,
      Array.from({ length: 20 }, (_, i) => String(299_981 + i)),
    );
  });

  test('output beyond what anybody buffers: all of it, and the workload waits for a slow reader', async () => {
    const MIB = 1024 * 1024;
    const bytes = { stdout: 0, stderr: 0 };
    // No ready rule and no pause: the session ends while the last of it is on its way.
    const script = 'head -c 40m /dev/zero; head -c 24m /dev/zero >&2';
    const spec = sessionSpec({ programs: ['head'], config: shell(script) });
    const ended = await runSession(spec, {
      onOutput: (chunk, stream) => {
        bytes[stream] += chunk.length;
      },
    });
    assert.equal(ended.exitCode, 0);
    assert.deepEqual(bytes, { stdout: 40 * MIB, stderr: 24 * MIB });

    // Whoever reads 0.5 s late keeps the workload from having written it all before.
    let seen = 0;
    const late = new Promise<void>((resolve) => setTimeout(resolve, 500));
    const slow = await runSession(sessionSpec({ programs: ['head'], config: shell('head -c 40m /dev/zero') }), {
      onOutput: (chunk) => {
        seen += chunk.length;
        return late;
      },
    });
    assert.equal(seen, 40 * MIB);
    assert.ok(slow.endedAt! > 250e6, `the workload ended after ${slow.endedAt} ns`);
  });

  test('a reader that never comes back: the session can still be ended', async () => {
    const abort = new AbortController();
    const session = runSession(sessionSpec({ programs: ['head'], config: shell('head -c 40m /dev/zero') }), {
      signal: abort.signal,
      onOutput: () => {
        setTimeout(() => abort.abort(), 50);
        return new Promise(() => {});
      },
    });
    await assert.rejects(session, refused('HL_ERR_INTERRUPTED', /interrupted/));
  });

  test('what is wrong with the user is said before anything runs', async () => {
    await assert.rejects(
      run({ config: shell('true', { User: 'ghost' }) }),
      refused('HL_ERR_WORKLOAD', /user "ghost" is not in/),
    );
    const spec = { ...sessionSpec({ config: shell('true') }), stopSignal: 'SIGWHAT' };
    await assert.rejects(runSession(spec), refused('HL_ERR_USAGE', /SIGWHAT/));
    const broken = { ...sessionSpec({ config: shell('true') }), fs: { module: 'file:///no/such/module.js', args: {} } };
    await assert.rejects(runSession(broken), (e: Error) => /no\/such\/module/.test(e.message));
  });

  test('nothing is left on this machine', () => {
    assert.deepEqual(mountPoints(), before);
    assert.deepEqual(
      readdirSync(tmpdir()).filter((name) => name.startsWith(`.hotlayer-${process.pid}-`)),
      [],
    );
    const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'latin1')
      .trim()
      .split(' ')
      .filter(Boolean);
    const names = children.map((pid) =>
      existsSync(`/proc/${pid}`) ? readFileSync(`/proc/${pid}/cmdline`, 'latin1') : '',
    );
    assert.deepEqual(
      names.filter((name) => /unshare|session-main/.test(name)),
      [],
    );
  });
});
