// Exit status 5: the workload fails, never becomes ready, or cannot be started; and 4: this machine cannot trace.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { makeTempDir } from '../../src/temp.js';
import { type CliOptions, documentOf, expectCli, noFuse } from './cli.js';
import { sampleImage } from './sample.js';
import { asNobody, withoutFuse } from './users.js';

const temp = makeTempDir(undefined, 'hl-e2e-workload');
const at = (name: string) => join(temp.path, name);
after(() => temp.remove());
const cwd = temp.path;

before(() => {
  chmodSync(cwd, 0o755);
  mkdirSync(at('tmp'));
  sampleImage(at('image'));
});

/** `profile` of a shell command in the image, once. */
function profile(script: string, ...flags: string[]): string[] {
  const fixed = ['profile', 'oci:image', '-r', '1', '-o', 'p.json', '--tmpdir', 'tmp', '--entrypoint', '/bin/sh'];
  return [...fixed, ...flags, '--', '-c', script];
}

async function fails(status: number, args: string[], options: CliOptions = {}) {
  const result = await expectCli(status, args, { cwd, ...options });
  assert.equal(result.stdout, '');
  assert.ok(!existsSync(at('p.json')), 'no profile is written');
  assert.deepEqual(readdirSync(at('tmp')), [], 'no temporary files');
  return result.stderr;
}

describe('5: the workload', { skip: noFuse() }, () => {
  test('ends with an error: status and last lines', async () => {
    const stderr = await fails(5, profile('echo one; echo two >&2; exit 7'));
    assert.match(stderr, /^error: \/bin\/sh -c .*: exit status 7 after .*; its last 2 lines: \(HL_ERR_WORKLOAD\)$/m);
    assert.match(stderr, /^ {2}\| one$/m);
    assert.match(stderr, /^ {2}\| two$/m);
  });

  test('only the last lines of many', async () => {
    const stderr = await fails(5, profile('i=0; while [ $i -lt 50 ]; do i=$((i+1)); echo line $i; done; exit 1', '-q'));
    assert.match(stderr, /^ {2}\| line 50$/m);
    assert.doesNotMatch(stderr, /^ {2}\| line 30$/m);
  });

  test('is not ready in time: the rule is named', async () => {
    const began = Date.now();
    const stderr = await fails(5, profile('echo up; exec sleep 60', '--until', 'line:listening', '--timeout', '700ms'));
    assert.match(stderr, /not ready \(line:listening\) within 700 ms/);
    assert.match(stderr, /^ {2}\| up$/m);
    assert.match(stderr, /\(HL_ERR_NOT_READY\)/);
    assert.ok(Date.now() - began < 20_000);
  });

  test('ends well before it was ready', async () => {
    const stderr = await fails(5, profile('echo bye', '--until', 'tcp:65000'));
    assert.match(stderr, /before it was ready \(tcp:65000\)/);
  });

  test('cannot be found', async () => {
    const flags = ['profile', 'oci:image', '-o', 'p.json', '--tmpdir', 'tmp', '--entrypoint', ''];
    const stderr = await fails(5, [...flags, '--', 'no-such-program', 'x']);
    assert.match(stderr, /no-such-program/);
    assert.match(stderr, /not found/);
  });

  test('is no program', async () => {
    const flags = ['profile', 'oci:image', '-o', 'p.json', '--tmpdir', 'tmp', '--entrypoint', ''];
    assert.match(await fails(5, [...flags, '--', '/etc/motd']), /\/etc\/motd.*[Pp]ermission denied/);
  });

  test('a user that the image does not have', async () => {
    assert.match(await fails(5, profile('true', '--user', 'nobody-here')), /nobody-here.*passwd/);
  });

  test('a mount whose source does not exist is a missing input', async () => {
    assert.match(await fails(3, profile('true', '-v', './none:/data')), /none/);
  });

  test('with --json the document says it all', async () => {
    const result = await expectCli(5, [...profile('exit 9', '--json')], { cwd });
    const { error } = documentOf<{ error: { code: string; exitCode: number; message: string } }>(result);
    assert.deepEqual([error.code, error.exitCode], ['HL_ERR_WORKLOAD', 5]);
    assert.match(error.message, /exit status 9/);
  });

  test('optimize that profiles first fails the same way and writes nothing', async () => {
    const args = ['optimize', 'oci:image', 'oci:target', '-r', '1', '--tmpdir', 'tmp', '--entrypoint', '/bin/sh'];
    const stderr = await fails(5, [...args, '--', '-c', 'exit 3']);
    assert.match(stderr, /exit status 3/);
    assert.ok(!existsSync(at('target')));
    assert.deepEqual(
      readdirSync(cwd).filter((name) => name.startsWith('.')),
      [],
    );
  });
});

describe('4: this machine', () => {
  const cases: [name: string, through: ReturnType<typeof withoutFuse>, says: RegExp][] = [
    ['has no /dev/fuse', withoutFuse(), /cannot open \/dev\/fuse: .*no such file/],
    ['does not let an ordinary user open /dev/fuse', asNobody(0o600), /\/dev\/fuse.*permission|may not be opened/i],
  ];
  for (const [name, { through, skip }, says] of cases) {
    test(name, { skip }, async () => {
      const result = await expectCli(4, ['profile', `oci:${at('image')}`, '-o', '/tmp/never.json'], {
        through,
        cwd: '/tmp',
      });
      assert.equal(result.stdout, '');
      assert.match(result.stderr, /^error: .*\(HL_ERR_MACHINE\)$/m);
      assert.match(result.stderr, says);
      assert.match(result.stderr, /^ {2}Try: .*(--device \/dev\/fuse|modprobe fuse|chmod|udev)/m);
      const doctor = await expectCli(4, ['doctor'], { through, cwd: '/tmp' });
      assert.match(doctor.stdout, /^ {2}FAIL +transport raw .*\/dev\/fuse/m);
      assert.match(doctor.stdout, /mend: /);
      assert.match(doctor.stdout, /This machine cannot trace yet/);
    });
  }

  test('what needs no mount works all the same', { skip: withoutFuse().skip }, async () => {
    const { through } = withoutFuse();
    await expectCli(0, ['optimize', 'oci:image', 'oci:no-fuse', '--no-profile'], { cwd, through });
    await expectCli(0, ['verify', 'oci:image', 'oci:no-fuse'], { cwd, through });
    await expectCli(0, ['inspect', 'oci:no-fuse'], { cwd, through });
  });

  test('a place that cannot be written to is said before the runs, not after them', async () => {
    mkdirSync(at('dir'), { recursive: true });
    const command = ['--', '-c', 'echo it ran'];
    const args = (...place: string[]) => ['oci:image', ...place, '--entrypoint', '/bin/sh', ...command];
    for (const [place, says] of [
      ['missing/p.json', /cannot write missing\/p\.json: ENOENT/],
      ['dir', /cannot write dir: it is a directory/],
    ] as const) {
      const profiled = await expectCli(4, ['profile', ...args('-o', place)], { cwd });
      assert.match(profiled.stderr, says);
      assert.doesNotMatch(profiled.stderr, /it ran/);
      const planned = await expectCli(4, ['optimize', 'oci:image', 'oci:t', '--no-profile', '--save-plan', place], {
        cwd,
      });
      assert.match(planned.stderr, says);
      assert.ok(!existsSync(at('t')));
    }
  });

  test('a full or forbidden place for temporary files', async () => {
    const result = await expectCli(4, ['verify', 'oci:image', 'oci:image', '--tmpdir', '/proc'], { cwd });
    assert.match(result.stderr, /\/proc.*\n?.*--tmpdir/);
  });
});
