// What goes where: one JSON document on stdout, narration on stderr; -q, colours, progress; environment and config file.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { makeTempDir } from '../../src/temp.js';
import { lacking } from '../support/tools.js';
import { BIN, documentOf, expectCli, noFuse } from './cli.js';
import { SAYS, sampleImage } from './sample.js';

const temp = makeTempDir(undefined, 'hl-e2e-output');
const at = (name: string) => join(temp.path, name);
after(() => temp.remove());
const cwd = temp.path;

before(async () => {
  sampleImage(at('image'));
  await expectCli(0, ['optimize', 'oci:image', 'oci:plain:t', '--no-profile'], { cwd });
});

interface ErrorDocument {
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly hint?: string;
    readonly exitCode: number;
  };
}

describe('--json: exactly one document on stdout', () => {
  const isLayer = (path: string) => readFileSync(at(path)).readUInt16BE(0) === 0x1f8b;
  const blob = () =>
    readdirSync(at('plain/blobs/sha256'))
      .map((name) => join('plain/blobs/sha256', name))
      .find(isLayer)!;
  const commands: [name: string, args: () => string[], member: string][] = [
    ['optimize', () => ['optimize', 'oci:image', 'oci:json:t', '--no-profile'], 'result'],
    ['optimize --dry-run', () => ['optimize', 'oci:image', 'oci:x', '--no-profile', '--dry-run'], 'plan'],
    ['verify', () => ['verify', 'oci:image', 'oci:plain'], 'checks'],
    ['verify of another image', () => ['verify', 'oci:plain', 'oci:image'], 'checks'],
    ['inspect', () => ['inspect', 'oci:plain'], 'layers'],
    ['inspect of an image that is not optimized', () => ['inspect', 'oci:image'], 'layers'],
    ['inspect of a blob', () => ['inspect', blob()], 'members'],
    ['doctor', () => ['doctor'], 'checks'],
  ];
  for (const [name, args, member] of commands) {
    test(name, async () => {
      const status = name === 'verify of another image' ? 1 : name === 'doctor' && noFuse() ? 4 : 0;
      const result = await expectCli(status, [...args(), '--json'], { cwd });
      assert.ok(member in documentOf(result), `no "${member}" in ${result.stdout.slice(0, 300)}`);
      assert.ok(result.stdout.endsWith('}\n'));
      assert.doesNotMatch(result.stderr, /^[{}]/m);
    });
  }

  test('profile: the document is the profile; what the workload says is on stderr', { skip: noFuse() }, async () => {
    const args = ['profile', 'oci:image', '-r', '1', '-o', 'p.json', '--json'];
    const result = await expectCli(0, args, { cwd });
    assert.deepEqual(documentOf(result), JSON.parse(readFileSync(at('p.json'), 'utf8')));
    assert.ok(result.stderr.includes(SAYS));
  });

  const errors: [name: string, status: number, args: string[], code: string, message: RegExp][] = [
    ['a missing image', 3, ['inspect', 'oci:nowhere'], 'HL_ERR_NOT_FOUND', /nowhere/],
    ['a bad value', 2, ['profile', 'oci:image', '--runs', 'many'], 'HL_ERR_USAGE', /--runs.*'many'/],
    ['an unknown flag', 2, ['inspect', 'oci:image', '--platfrom', 'x'], 'HL_ERR_USAGE', /--platfrom/],
    ['a missing operand', 2, ['verify', 'oci:image'], 'HL_ERR_USAGE', /optimized/],
    ['an unknown command', 2, ['inspekt', 'oci:image'], 'HL_ERR_USAGE', /inspekt/],
    [
      'flags that exclude each other',
      2,
      ['optimize', 'oci:image', 'oci:x', '--plan', 'a', '-p', 'b'],
      'HL_ERR_USAGE',
      /--plan/,
    ],
  ];
  for (const [name, status, args, code, message] of errors) {
    test(`error: ${name}`, async () => {
      const result = await expectCli(status, [...args, '--json'], { cwd });
      const { error } = documentOf<ErrorDocument>(result);
      assert.deepEqual([error.code, error.exitCode], [code, status]);
      assert.match(error.message, message);
      assert.match(result.stderr, /^error: /m, 'people see it, too');
    });
  }

  test('--json of the workload is not ours', async () => {
    const { stdout } = await expectCli(2, ['profile', 'oci:image', '--runs', '0', '--', 'tool', '--json'], { cwd });
    assert.equal(stdout, '');
  });
});

describe('without --json', () => {
  test('an error leaves stdout empty', async () => {
    const { stdout, stderr } = await expectCli(3, ['inspect', 'oci:nowhere'], { cwd });
    assert.equal(stdout, '');
    assert.match(stderr, /^error: .*nowhere.* \(HL_ERR_NOT_FOUND\)$/m);
  });

  test('--help and --version are answers, on stdout', async () => {
    const help = await expectCli(0, ['--help'], { cwd });
    for (const name of ['profile', 'optimize', 'verify', 'inspect', 'doctor', 'demo'])
      assert.match(help.stdout, new RegExp(`^ {2}${name} `, 'm'));
    assert.equal(help.stderr, '');
    const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));
    assert.equal((await expectCli(0, ['--version'], { cwd })).stdout, `${version}\n`);
    const own = await expectCli(0, ['optimize', '--help'], { cwd });
    for (const name of ['--no-profile', '--max-prefetch', '--until', '--tmpdir']) assert.ok(own.stdout.includes(name));
  });

  test('doctor: a table of checks', async () => {
    const { stdout, stderr } = await expectCli(noFuse() ? 4 : 0, ['doctor'], { cwd });
    for (const label of ['Linux kernel', 'Node.js', 'util-linux', 'transport raw', 'a whole session'])
      assert.match(stdout, new RegExp(`^ {2}(ok|FAIL) +${label} `, 'm'));
    assert.equal(stderr, '');
  });

  test('-q: results stay, narration goes', { skip: noFuse() }, async () => {
    const profile = await expectCli(0, ['profile', 'oci:image', '-r', '1', '-q', '-o', 'q.json'], { cwd });
    assert.match(profile.stdout, /^Files read /m);
    assert.equal(profile.stderr, '');
    const optimized = await expectCli(0, ['optimize', 'oci:plain', 'oci:q', '-p', 'q.json', '-q'], { cwd });
    assert.match(optimized.stdout, /^Wrote oci:q /m);
    assert.match(optimized.stderr, /^warning: .*matched by name$/m, 'warnings stay');
    // So small an image is pulled whole before a lazy client has resolved its layers.
    assert.match(optimized.stderr, /^warning: on edge the result would be ready .* later than pulled whole$/m);
  });
});

describe('on a terminal', { skip: lacking('script') }, () => {
  /** stdout and stderr together, as script(1) shows them. */
  const onTerminal = (args: string, env: Record<string, string> = {}) => {
    const line = `'${process.execPath}' '${BIN}' ${args}`;
    const own = { PATH: process.env.PATH ?? '/usr/bin:/bin', TERM: 'xterm', ...env };
    const { status, stdout } = spawnSync('script', ['-qfec', line, '/dev/null'], { cwd, env: own, encoding: 'utf8' });
    assert.equal(status, 0, stdout);
    return stdout;
  };
  const COLOUR = /\u001b\[\d+m/;
  const ERASE = '\r\u001b[K';

  test('colours, but not with NO_COLOR, --no-color or a dumb terminal', () => {
    assert.match(onTerminal('verify oci:image oci:plain'), /\u001b\[32mPASS\u001b\[39m/);
    assert.doesNotMatch(onTerminal('verify oci:image oci:plain', { NO_COLOR: '1' }), COLOUR);
    assert.doesNotMatch(onTerminal('verify oci:image oci:plain --no-color'), COLOUR);
    assert.doesNotMatch(onTerminal('verify oci:image oci:plain', { TERM: 'dumb' }), COLOUR);
  });

  test('a progress line that is wiped, but not with --no-progress, -q or CI', () => {
    const seen = onTerminal('optimize oci:image oci:tty:1 --no-profile');
    assert.match(seen, /\r\u001b\[K(reading|writing) layer \d\/3 /);
    assert.doesNotMatch(seen.split(ERASE).at(-1)!, /^(reading|writing)/, 'nothing of it is left');
    for (const [flags, env] of [
      ['--no-progress', {}],
      ['-q', {}],
      ['', { CI: 'true' }],
    ] as const)
      assert.ok(!onTerminal(`optimize oci:image oci:tty:1 --no-profile ${flags}`, env).includes(ERASE));
  });
});

describe('settings: flag, environment, file, default', () => {
  const planned = async (where: string, args: string[], env: Record<string, string> = {}) => {
    const all = ['optimize', 'oci:../image', 'oci:x', '--no-profile', '--dry-run', '--json', ...args];
    return documentOf<{ plan: { chunkSize: number } }>(await expectCli(0, all, { cwd: where, env })).plan.chunkSize;
  };

  test('each wins over the next', async () => {
    mkdirSync(at('configured/below'), { recursive: true });
    const where = at('configured');
    assert.equal(await planned(where, []), 4 << 20);
    writeFileSync(at('configured/hotlayer.config.json'), '{ "optimize": { "chunk-size": "1MiB" } }');
    assert.equal(await planned(where, []), 1 << 20);
    const env = { HOTLAYER_CHUNK_SIZE: '2MiB' };
    assert.equal(await planned(where, [], env), 2 << 20);
    assert.equal(await planned(where, ['--chunk-size', '3MiB'], env), 3 << 20);
    writeFileSync(at('other.json'), '{ "chunk-size": "5MiB" }');
    assert.equal(await planned(where, ['--config', '../other.json']), 5 << 20);
  });

  test('HOTLAYER_JSON, HOTLAYER_QUIET: set, and switched off', async () => {
    const json = await expectCli(0, ['inspect', 'oci:plain'], { cwd, env: { HOTLAYER_JSON: '1' } });
    assert.ok('layers' in documentOf(json));
    const off = await expectCli(0, ['inspect', 'oci:plain'], {
      cwd,
      env: { HOTLAYER_JSON: '0', HOTLAYER_QUIET: 'false' },
    });
    assert.match(off.stdout, /^oci:plain /);
    const failed = await expectCli(2, ['inspect'], { cwd, env: { HOTLAYER_JSON: 'true' } });
    assert.equal(documentOf<ErrorDocument>(failed).error.code, 'HL_ERR_USAGE');
  });

  test('HOTLAYER_PROFILE is --profile', async () => {
    const args = ['optimize', 'oci:image', 'oci:x', '--dry-run'];
    const result = await expectCli(3, args, { cwd, env: { HOTLAYER_PROFILE: 'none.json' } });
    assert.match(result.stderr, /none\.json: no such file/);
  });

  test('whoever has read enough may go', () => {
    const line = `'${process.execPath}' '${BIN}' inspect oci:plain --json | head -c 10; echo "\${PIPESTATUS[0]}"`;
    const { stdout, stderr } = spawnSync('bash', ['-c', line], { cwd, encoding: 'utf8' });
    assert.equal(stdout, '{\n  "refer0\n');
    assert.equal(stderr, '');
  });

  test('--tmpdir and HOTLAYER_TMPDIR say where temporary files go', async () => {
    for (const [args, env] of [
      [['--tmpdir', 'no/where'], {}],
      [[], { HOTLAYER_TMPDIR: 'no/where' }],
    ] as const) {
      const result = await expectCli(4, ['verify', 'oci:image', 'oci:plain', ...args], { cwd, env });
      assert.match(result.stderr, /no\/where.*\(HL_ERR_IO\)\n(.*\n)*.*--tmpdir/);
    }
  });

  test('a mistake in the file is named', async () => {
    mkdirSync(at('wrong'));
    for (const [text, message] of [
      [
        '{ "profile": { "rums": 5 } }',
        /config file .*wrong\/hotlayer\.config\.json: "profile\.rums" is not a flag.*\n.*did you mean "runs"/,
      ],
      ['{ "profile": ', /config file .*hotlayer\.config\.json: .*JSON/],
      ['{ "chunk-size": "big" }', /"chunk-size": "big"/],
    ] as const) {
      writeFileSync(at('wrong/hotlayer.config.json'), text);
      const { stdout, stderr } = await expectCli(2, ['inspect', 'oci:../plain'], { cwd: at('wrong') });
      assert.equal(stdout, '');
      assert.match(stderr, message);
    }
    const missing = await expectCli(2, ['inspect', 'oci:plain', '--config', 'none.json'], { cwd });
    assert.match(missing.stderr, /none\.json/);
  });

  test('nothing was left where it should not be', () => {
    assert.ok(!existsSync(at('x')));
    assert.deepEqual(
      readdirSync(cwd).filter((name) => name.startsWith('.')),
      [],
    );
  });
});
