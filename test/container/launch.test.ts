import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { mountFlags } from '../../src/container/isolation/root.js';
import { mountScript, quote, script } from '../../src/container/machine/shell.js';
import { findTools, TOOL_NAMES } from '../../src/container/machine/tools.js';
import { probeMachine } from '../../src/container/probe.js';
import { ownNamespace } from '../../src/container/process/identity.js';
import { EXEC_FAILED, identityCommand, variableScript } from '../../src/container/session/launch.js';
import { HotlayerError } from '../../src/errors.js';
import { makeTempDir } from '../../src/temp.js';

const sh = (text: string, env: Record<string, string> = {}) =>
  spawnSync('/bin/sh', ['-c', text], { encoding: 'latin1', env, stdio: ['ignore', 'pipe', 'pipe', 'pipe'] });

describe('text for the shell', () => {
  test('any word comes back as it was', () => {
    const words = [
      '',
      'plain',
      "it's",
      '$(id) `id` "x"',
      'a\nb\n',
      '\\',
      '*',
      '-n',
      '~',
      '!x',
      '#',
      "''",
      'é',
      '\u007f\t',
    ];
    const { stdout } = sh(`printf '[%s]' ${words.map(quote).join(' ')}`);
    assert.equal(Buffer.from(stdout, 'latin1').toString('utf8'), words.map((word) => `[${word}]`).join(''));
  });

  test('any variable comes back as it was; names that are none are reported', () => {
    const env = [
      'A=',
      "B=it's $x `y`\n\n",
      'C==',
      '_d9=\\n',
      'a.b=1',
      '9x=2',
      'é=3',
      'PWD=/x',
      'IFS=x',
      'PATH=/usr/bin:/bin',
    ];
    const { text, unnameable } = variableScript(env);
    assert.deepEqual(unnameable, ['a.b=1', '9x=2', 'é=3']);
    const { stdout } = sh(`${text}\nexec "$@"`.replace('"$@"', 'env -0'), { PATH: '/none' });
    const seen = stdout.split('\0');
    for (const line of env.filter((l) => !unnameable.includes(l) && !l.startsWith('PWD=')))
      assert.ok(seen.includes(line), line);
  });

  test('steps stop at a failure, or warn', () => {
    const steps = [
      { command: ['echo', 'one'] },
      { command: ['false'], orWarn: "can't" },
      { command: ['echo', 'left out'], ifExists: '/no/such/file' },
      { command: ['echo', 'two'], ifExists: '/' },
      { command: ['false'] },
      { command: ['echo', 'never'] },
    ];
    const { stdout, output, status } = sh(script(steps), { PATH: '/usr/bin:/bin' });
    assert.equal(stdout, 'one\ntwo\n');
    assert.equal(output[3], "warn can't\n");
    assert.equal(status, 125);
  });

  test('mounts: by one table; one by one where that fails', () => {
    using temp = makeTempDir();
    const at = (name: string) => `${temp.path}/${name}`;
    const steps = [
      { source: '/dev/null', target: '/a b\\c#d', options: 'bind' },
      { source: 'shm', target: '/none', type: 'tmpfs', options: 'ro', ifExists: '/no/such/file' },
      { source: 'mqueue', target: '/q', type: 'mqueue', options: 'nosuid', orWarn: 'no queues' },
    ];
    const singly = ['-n -o bind /dev/null /a b\\c#d', '-n -t mqueue -o nosuid mqueue /q'];
    for (const [refuses, asked, warned] of [
      ['none', [], ''],
      ['-a', singly, ''],
      ['-a|mqueue', singly, 'warn no queues\n'],
    ] as const) {
      const fake = `case "$*" in *-a*|*mqueue*) case "$*" in *${refuses.split('|').join('*|*')}*) exit 32;; esac;; esac`;
      writeFileSync(at('mount'), `#!/bin/sh\nprintf '%s\\n' "$*" >>${at('log')}\n${fake}\n`, { mode: 0o755 });
      writeFileSync(at('log'), '');
      const tools = { ...findTools(), mount: at('mount') };
      const { status, output } = sh(mountScript(tools, at('table'), steps), { PATH: '/usr/bin:/bin' });
      assert.equal(status, 0, refuses);
      assert.equal(output[3], warned, refuses);
      assert.equal(readFileSync(at('log'), 'utf8'), [`-n -a -T ${at('table')}`, ...asked, ''].join('\n'), refuses);
      const table = '/dev/null /a\\040b\\134c\\043d none bind 0 0\nmqueue /q mqueue nosuid 0 0\n';
      assert.equal(readFileSync(at('table'), 'utf8'), table);
    }
  });

  test('a failed exec is told by its message, in dash and in bash', () => {
    assert.match('hotlayer: 9: exec: nosuch: not found', EXEC_FAILED);
    assert.match('hotlayer: line 9: exec: nosuch: not found', EXEC_FAILED);
    assert.doesNotMatch('sh: 1: nosuch: not found', EXEC_FAILED);
  });
});

describe('ids', () => {
  const tools = Object.fromEntries(TOOL_NAMES.map((name) => [name, name])) as ReturnType<typeof findTools>;
  const identity = { uid: 1000, gid: 1001, groups: [5, 6], home: '/' };

  test('with all ids: groups, gid, uid; the bounding set is docker’s', () => {
    const command = identityCommand({ identity, singleId: false }, tools);
    assert.deepEqual(command.slice(0, 4), ['setpriv', '--reuid=1000', '--regid=1001', '--groups=5,6']);
    assert.match(command.join(' '), /--bounding-set=-all,\+chown,.*\+audit_write --$/);
    const none = identityCommand({ identity: { ...identity, groups: [] }, singleId: false }, tools);
    assert.ok(none.includes('--clear-groups'));
  });

  test('with one id: root keeps its name, everybody else gets one', () => {
    assert.deepEqual(identityCommand({ identity, singleId: true }, tools), [
      'unshare',
      '--map-user=1000',
      '--map-group=1001',
      '--',
    ]);
    const root = identityCommand({ identity: { ...identity, uid: 0, gid: 0 }, singleId: true }, tools);
    assert.ok(root[0] === 'setpriv' && !root.some((arg) => /^--(re[ug]id|groups|clear-groups)/.test(arg)));
    const group = identityCommand({ identity: { ...identity, uid: 0 }, singleId: true }, tools);
    assert.deepEqual(group.slice(0, 5), ['unshare', '--map-user=0', '--map-group=1001', '--', 'setpriv']);
  });

  test('what a user namespace knows', () => {
    const of = (files: Record<string, string>) => ownNamespace((name) => files[name] ?? '');
    const machine = of({
      uid_map: '         0          0 4294967295\n',
      gid_map: '0 0 4294967295',
      setgroups: 'allow',
    });
    assert.deepEqual([machine.inner, machine.canBe(identity)], [false, true]);
    const single = of({ uid_map: '0 1000 1\n', gid_map: '0 1000 1\n', setgroups: 'deny\n' });
    assert.deepEqual(
      [single.inner, single.canBe(identity), single.canBe({ ...identity, uid: 0, gid: 0, groups: [] })],
      [true, false, false],
    );
    const ranges = of({
      uid_map: '0 1000 1\n1 100000 65536\n',
      gid_map: '0 1000 1\n1 100000 65536\n',
      setgroups: 'allow\n',
    });
    assert.deepEqual(
      [ranges.inner, ranges.canBe(identity), ranges.canBe({ ...identity, groups: [70000] })],
      [true, true, false],
    );
    assert.equal(of({}).inner, false, 'a kernel without user namespaces');
  });
});

test('flags of mounts: the topmost of a stack, names unescaped', () => {
  const text = `22 27 0:21 / /proc rw,relatime - proc proc rw
30 22 0:3 / /a\\040b\\134c rw,nosuid,nodev - tmpfs t rw
31 30 0:4 / /proc ro,noexec shared:1 - proc proc rw
`;
  assert.deepEqual(
    [...mountFlags(text)],
    [
      ['/proc', ['ro', 'noexec']],
      ['/a b\\c', ['rw', 'nosuid', 'nodev']],
    ],
  );
});

test('missing tools are all named', () => {
  assert.throws(
    () => findTools('/no/such/dir'),
    (e) =>
      e instanceof HotlayerError && e.code === 'HL_ERR_MACHINE' && TOOL_NAMES.every((name) => e.message.includes(name)),
  );
});

test('the machine is looked at without a failure, and every refusal has a mend', async () => {
  const checks = await probeMachine('/no/such/tmp');
  for (const check of checks) assert.ok(check.ok || check.mend !== undefined, JSON.stringify(check));
  const by = (id: string) => checks.find((check) => check.id === id);
  assert.equal(by('node')?.ok, true);
  assert.equal(by('space')?.ok, false);
  assert.match(by('space')?.detail ?? '', /\/no\/such\/tmp/);
  assert.equal(by('session')?.ok, false);
  assert.match(by('session')?.detail ?? '', /temporary directory/);
});
