// The flags that say how the workload runs and is watched, each once through the command; dir:PATH; kept traces.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Profile } from '../../src/analyze/types.js';
import { makeTempDir } from '../../src/temp.js';
import { readTrace } from '../../src/trace/trace-file.js';
import { file, tarOf } from '../support/tar.js';
import { type CliOptions, documentOf, expectCli, noFuse } from './cli.js';
import { noise, sampleImage, sampleLayers, writeRoot } from './sample.js';

const temp = makeTempDir(undefined, 'hl-e2e-options');
const at = (name: string) => join(temp.path, name);
after(() => temp.remove());
const cwd = temp.path;

before(() => {
  sampleImage(at('image'));
});

/** What a shell command in the image says and what its profile is; one run unless the flags say otherwise. */
async function run(script: string, flags: readonly string[] = [], options: CliOptions = {}) {
  const fixed = ['profile', 'oci:image', '-r', '1', '-o', 'p.json', '--json', '--entrypoint', '/bin/sh'];
  const result = await expectCli(0, [...fixed, ...flags, '--', '-c', script], { cwd, ...options });
  return {
    profile: documentOf<Profile>(result),
    said: result.stderr
      .split('\n')
      .filter((l) => !/^(oci:| {2}run |$|Wrote|Next|(One run says|\d runs say) little)/.test(l)),
  };
}

const pathsOf = (profile: Profile) => profile.files.map((f) => f.path);

describe('how the workload runs', { skip: noFuse() }, () => {
  test('as the image says: user by name with its groups, directory, variables', async () => {
    const { profile, said } = await run('cat /proc/self/status; pwd; echo $GREETING $HOME');
    assert.ok(said.some((l) => /^Uid:\s+1000\s+1000/.test(l)) || process.getuid!() !== 0, said.join('|'));
    if (process.getuid!() === 0) {
      assert.ok(said.some((l) => /^Gid:\s+1001\s/.test(l)));
      assert.ok(said.some((l) => /^Groups:\s+(1001 )?2000\s*$/.test(l)));
    }
    assert.deepEqual(said.slice(-2), ['/app', 'hello /home/app']);
    assert.ok(pathsOf(profile).includes('/etc/passwd') && pathsOf(profile).includes('/etc/group'));
  });

  test('--user by number needs no look-up of the name; --workdir', async () => {
    const { profile, said } = await run('pwd', ['--user', '0:0', '--workdir', '/srv']);
    assert.deepEqual(said, ['/srv']);
    assert.deepEqual([profile.workload.user, profile.workload.cwd], ['0:0', '/srv']);
  });

  test('-e, -e NAME of the caller, --env-file', async () => {
    writeFileSync(at('some.env'), '# comment\nFROM_FILE=file\nGREETING=from the file\n');
    const flags = ['--env-file', 'some.env', '-e', 'GREETING=moin', '-e', 'CALLER', '-e', 'EMPTY='];
    const dollar = '$';
    const script = `echo "$GREETING|$FROM_FILE|$CALLER|${dollar}{EMPTY-unset}|${dollar}{NOPE-unset}"`;
    const { said } = await run(script, flags, {
      env: { CALLER: 'mine', NOPE: 'not asked for' },
    });
    assert.deepEqual(said, ['moin|file|mine||unset']);
  });

  test('--entrypoint replaces the entrypoint', async () => {
    const args = ['profile', 'oci:image', '-r', '1', '-o', 'p.json', '--entrypoint', '/bin/cat', '--', '/etc/motd'];
    const { stderr } = await expectCli(0, args, { cwd });
    assert.match(stderr, /^new motd$/m);
  });

  test('-v: a file and a directory, read-only and not; what is read there is not in the profile', async () => {
    mkdirSync(at('data'));
    writeFileSync(at('data/in'), 'from the host\n');
    // The image's user is somebody else to the host.
    chmodSync(temp.path, 0o755);
    chmodSync(at('data'), 0o777);
    const script = 'cat /data/in /etc/hostfile; echo out > /data/out; echo no > /ro/no || echo refused';
    const flags = ['-v', './data:/data', '-v', `${at('data/in')}:/etc/hostfile:ro`, '-v', `${at('data')}:/ro:ro`];
    const { profile, said } = await run(script, flags);
    assert.deepEqual(said.slice(0, 2), ['from the host', 'from the host']);
    assert.ok(said.includes('refused'));
    assert.equal(readFileSync(at('data/out'), 'utf8'), 'out\n');
    assert.deepEqual(readdirSync(at('data')).sort(), ['in', 'out']);
    assert.deepEqual(
      pathsOf(profile).filter((path) => /^\/(data|ro|etc\/hostfile)/.test(path) && !/^\/(data|ro)$/.test(path)),
      [],
    );
  });

  test('what it writes is gone in the next run, and not in the profile', async () => {
    const script = '[ -e /tmp/mine ] && exit 9; echo x > /tmp/mine; echo y > $HOME/more; cat /tmp/mine $HOME/more';
    const { profile, said } = await run(script, ['-r', '2']);
    assert.deepEqual(said, ['x', 'y', 'x', 'y']);
    assert.equal(profile.runs.length, 2);
    assert.deepEqual(
      profile.files.filter((f) => f.type === 'reg' && /mine|more/.test(f.path)),
      [],
    );
  });

  test('--net none: only the loopback device', async () => {
    const { said } = await run('cat /proc/net/dev', ['--net', 'none']);
    assert.deepEqual(
      said.flatMap((l) => /^\s*(\S+):/.exec(l)?.[1] ?? []),
      ['lo'],
    );
  });
});

describe('traces', { skip: noFuse() }, () => {
  test('--keep-traces: one file a run, readable, as many events as the profile says', async () => {
    const { profile } = await run('cat /etc/motd /app/data.txt', ['-r', '2', '--keep-traces', 'kept/here']);
    assert.deepEqual(readdirSync(at('kept/here')).sort(), ['run-1.trace.gz', 'run-2.trace.gz']);
    for (const [i, { events }] of profile.runs.entries()) {
      const trace = await readTrace(at(`kept/here/run-${i + 1}.trace.gz`));
      assert.equal(trace.events.length, events);
      assert.equal(trace.end.events, events);
      assert.equal(trace.end.complete, true);
      assert.deepEqual(trace.header.workload.args, ['/bin/sh', '-c', 'cat /etc/motd /app/data.txt']);
      const reads = trace.events.filter((e) => e.op === 'read' && e.path === '/app/data.txt');
      assert.deepEqual(
        reads.filter((e) => e.length! > 0).map((e) => [e.offset, e.length]),
        [[0, 16]],
      );
    }
  });

  test('of a run that fails, too', async () => {
    const args = ['profile', 'oci:image', '-r', '1', '--keep-traces', 'failed', '--entrypoint', '/bin/sh'];
    await expectCli(5, [...args, '--', '-c', 'cat /etc/motd; exit 3'], { cwd });
    const trace = await readTrace(at('failed/run-1.trace.gz'));
    assert.ok(trace.events.some((e) => e.path === '/etc/motd'));
    assert.equal(trace.end.exitCode, 3);
  });

  test('--precision fast reads ahead, exact does not', async () => {
    const [base, ...rest] = sampleLayers();
    sampleImage(at('big'), { layers: [base!, ...rest, tarOf(file('big.bin', noise(1 << 20)))] });
    const first = async (precision: string) => {
      const args = ['profile', 'oci:big', '-r', '1', '-o', 'p.json', '--json', '--precision', precision];
      const script = 'exec < /big.bin; read -r line';
      const result = await expectCli(0, [...args, '--entrypoint', '/bin/sh', '--', '-c', script], { cwd });
      const profile = documentOf<Profile>(result);
      assert.equal(profile.precision, precision);
      return profile.files.find((f) => f.path === '/big.bin')!.bytesRead.median;
    };
    const exact = await first('exact');
    const fast = await first('fast');
    assert.ok(exact <= 8192, `exact: ${exact}`);
    assert.ok(fast > exact, `fast: ${fast}`);
  });
});

describe('dir:PATH', { skip: noFuse() }, () => {
  test('a root file system made of the same programs', async () => {
    writeRoot(at('root'), ['sh', 'cat']);
    writeFileSync(join(at('root'), 'hello'), 'hello\n');
    const args = ['profile', `dir:${at('root')}`, '-r', '2', '-o', 'd.json', '--json'];
    const result = await expectCli(0, [...args, '--', '/bin/sh', '-c', 'cat /hello; echo x > /new; cat /new'], { cwd });
    const profile = documentOf<Profile>(result);
    assert.deepEqual(
      result.stderr.split('\n').filter((l) => /^(hello|x)$/.test(l)),
      ['hello', 'x', 'hello', 'x'],
    );
    assert.equal(profile.image.digest, undefined);
    assert.deepEqual(profile.files.find((f) => f.path === '/hello')?.ranges, [[0, 6, 2]]);
    assert.ok(!readdirSync(at('root')).includes('new'), 'the directory stays as it was');
  });

  test('without a command there is nothing to run', async () => {
    const { stderr } = await expectCli(2, ['profile', `dir:${at('image')}`], { cwd });
    assert.match(stderr, /nothing to run|no command/);
  });

  test('no such directory', async () => {
    const { stderr } = await expectCli(3, ['profile', 'dir:none', '--', 'true'], { cwd });
    assert.match(stderr, /none/);
  });
});
