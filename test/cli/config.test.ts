import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { Command } from 'commander';
import { applyConfigFile } from '../../src/cli/config.js';
import { addGlobalOptions, addWorkloadOptions, readBinds, readEnvFiles } from '../../src/cli/flags.js';
import { HotlayerError } from '../../src/errors.js';
import { editDistance } from '../../src/report/budgets/suggest.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hl-config-test-'));
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

/** Parses a command line for a program with `profile`, with this config file; returns the flags. */
function parse(config: unknown, argv: string[], where = dir): Record<string, unknown> {
  writeFileSync(join(where, 'hotlayer.config.json'), typeof config === 'string' ? config : JSON.stringify(config));
  const program = new Command('hotlayer');
  const profile = program
    .command('profile')
    .exitOverride()
    .action(() => {});
  addWorkloadOptions(profile);
  addGlobalOptions(profile);
  applyConfigFile(program, argv, dir);
  program.parse(argv, { from: 'user' });
  return profile.opts();
}

describe('precedence: flag, environment, file, default', () => {
  for (const [name, config, env, argv, want] of [
    ['default', {}, undefined, [], 3],
    ['file', { profile: { runs: 5 } }, undefined, [], 5],
    ['file, for every command', { runs: 4 }, undefined, [], 4],
    ['the own key beats the common one', { runs: 4, profile: { runs: 6 } }, undefined, [], 6],
    ['environment', { profile: { runs: 5 } }, '7', [], 7],
    ['flag', { profile: { runs: 5 } }, '7', ['--runs', '9'], 9],
  ] as const) {
    test(name, () => {
      if (env === undefined) delete process.env.HOTLAYER_RUNS;
      else process.env.HOTLAYER_RUNS = env;
      try {
        assert.equal(parse(config, ['profile', ...argv]).runs, want);
      } finally {
        delete process.env.HOTLAYER_RUNS;
      }
    });
  }
});

test('values are parsed as on the command line', () => {
  const flags = parse({ profile: { timeout: '10s', until: ['tcp:80', 'exit'], color: false } }, ['profile']);
  assert.deepEqual([flags.timeout, flags.until, flags.color], [10e9, ['tcp:80', 'exit'], false]);
});

test('no-NAME says the opposite of NAME', () => {
  assert.equal(parse({ profile: { 'no-color': true } }, ['profile']).color, false);
  assert.equal(parse({ profile: { 'no-color': false } }, ['profile']).color, true);
});

test('is found in a directory above', () => {
  const inner = join(dir, 'a/b');
  mkdirSync(inner, { recursive: true });
  writeFileSync(join(dir, 'hotlayer.config.json'), '{"runs": 8}');
  const program = new Command();
  const profile = program.command('profile');
  addWorkloadOptions(profile);
  applyConfigFile(program, [], inner);
  assert.equal(profile.opts().runs, 8);
});

for (const [name, config, message] of [
  ['not JSON', '{', /config file .*hotlayer\.config\.json/],
  ['unknown flag', { profile: { rums: 5 } }, /"profile\.rums" is not a flag/],
  ['unknown key', { profle: {} }, /"profle" is neither a command nor a flag/],
  ['bad value', { profile: { runs: 0 } }, /whole number from 1 to 1000/],
  ['bad choice', { profile: { net: 'bridge' } }, /expected one of host, none/],
  ['wrong kind', { profile: { json: 'yes' } }, /expected true or false/],
] as const) {
  test(`refuses: ${name}`, () => {
    assert.throws(
      () => parse(config, ['profile']),
      (e) => e instanceof HotlayerError && e.code === 'HL_ERR_USAGE' && message.test(e.message),
    );
  });
}

test('says what was probably meant', () => {
  assert.throws(
    () => parse({ profile: { rums: 5 } }, ['profile']),
    (e) => e instanceof HotlayerError && e.hint === 'did you mean "runs"?',
  );
  assert.equal(editDistance('kitten', 'sitting'), 3);
});

test('environment files, one after the other', () => {
  writeFileSync(join(dir, 'a.env'), '# comment\nA=1\n\nB=two words\n');
  writeFileSync(join(dir, 'b.env'), 'A=3\n');
  assert.deepEqual(readEnvFiles([join(dir, 'a.env'), join(dir, 'b.env')]), ['A=1', 'B=two words', 'A=3']);
  assert.throws(
    () => readEnvFiles([join(dir, 'missing')]),
    (e) => e instanceof HotlayerError && e.code === 'HL_ERR_USAGE',
  );
});

test('binds', () => {
  assert.deepEqual(readBinds(['./a:/b', '/c:/d:ro']), [
    { source: resolve('a'), destination: '/b', readonly: false },
    { source: '/c', destination: '/d', readonly: true },
  ]);
  for (const bad of ['a', 'a:b', 'a:/b:rx']) assert.throws(() => readBinds([bad]), HotlayerError);
});

describe('paths in the file are seen from where it lies', () => {
  for (const [flag, value, want] of [
    ['--budgets <file>', 'limits.json', '../../limits.json'],
    ['--budgets <file>', '/limits.json', '/limits.json'],
    ['--output <file>', '-', '-'],
    ['--tmpdir <dir>', 'a', '..'],
    ['--tmpdir <dir>', 'a/b', '.'],
    ['--image <image>', 'oci:app:1', 'oci:../../app:1'],
    ['--image <image>', 'dir:/', 'dir:/'],
    ['--image <image>', './app', '../../app'],
    ['--image <image>', 'a', '..'],
    ['--image <image>', 'debian:12', 'debian:12'],
    ['--name <name>', 'a', 'a'],
  ] as const) {
    test(`${flag} ${value}`, () => {
      const inner = join(dir, 'a/b');
      mkdirSync(inner, { recursive: true });
      const key = flag.slice(2, flag.indexOf(' '));
      const file = join(dir, 'hotlayer.config.json');
      for (const [cwd, expected] of [
        [inner, want],
        [dir, value],
      ] as const) {
        writeFileSync(file, JSON.stringify({ work: { [key]: value } }));
        const program = new Command();
        const command = program.command('work').option(flag);
        applyConfigFile(program, [], cwd);
        assert.equal(command.opts()[key], expected);
      }
    });
  }
});
