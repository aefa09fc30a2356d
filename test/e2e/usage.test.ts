// Exit status 2: command lines that are wrong, each with what is expected, and nothing done.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { makeTempDir } from '../../src/temp.js';
import { expectCli } from './cli.js';
import { sampleImage } from './sample.js';

const temp = makeTempDir(undefined, 'hl-e2e-usage');
const at = (name: string) => join(temp.path, name);
after(() => temp.remove());
const cwd = temp.path;

before(() => {
  mkdirSync(at('tmp'));
  sampleImage(at('image'));
});

describe('2: a wrong command line', () => {
  const OPTIMIZE = ['optimize', 'oci:image', 'oci:target'];
  const cases: [name: string, args: string[], ...says: RegExp[]][] = [
    ['no command', [], /no command/],
    ['an unknown command', ['optimise', 'a', 'b'], /unknown command 'optimise'/, /did you mean optimize\?/],
    ['an unknown flag', [...OPTIMIZE, '--no-profil'], /'--no-profil'/, /did you mean --no-profile\?/],
    ['too few operands', ['optimize', 'oci:image'], /'target'/, /hotlayer optimize --help/],
    ['too many operands', ['verify', 'a', 'b', 'c'], /too many/],
    ['not a number', [...OPTIMIZE, '--runs', '2.5'], /--runs/, /whole number from 1/],
    ['not a size', [...OPTIMIZE, '--chunk-size', '1 parsec'], /--chunk-size/, /parsec/],
    ['no chunks', [...OPTIMIZE, '--no-profile', '--chunk-size', '0'], /chunk/],
    ['not a duration', [...OPTIMIZE, '--timeout', 'soon'], /--timeout/, /soon/],
    ['not a codec', [...OPTIMIZE, '--codec', 'zstd'], /--codec/, /libdeflate, zlib, pako/],
    [
      'a level that the codec has not',
      [...OPTIMIZE, '--no-profile', '--codec', 'zlib', '--compression-level', '12'],
      /zlib/,
      /9/,
    ],
    [
      'a level that no codec has',
      [...OPTIMIZE, '--no-profile', '--hot-level', '5.5'],
      /--hot-level/,
      /1 to 12 or 4\.5 or 9\.5/,
    ],
    ['not a ready rule', ['profile', 'oci:image', '--until', 'lunch'], /"lunch"/, /tcp:8080/],
    ['not a mount', ['profile', 'oci:image', '-v', 'here'], /--mount here/, /SRC:DST/],
    ['not a platform', ['inspect', 'oci:image', '--platform', 'linux/'], /"linux\/" is not a platform/, /linux\/amd64/],
    ['--plan with --profile', [...OPTIMIZE, '--plan', 'plan.json', '-p', 'p.json'], /--plan and --profile exclude/],
    ['--env-file that is not there', ['profile', 'oci:image', '--env-file', 'none.env'], /none\.env/],
    ['a root file system as target', ['optimize', 'oci:image', 'dir:out', '--no-profile'], /root file system/],
    ['a target that is something else', ['optimize', 'oci:image', 'oci:tmp/..', '--no-profile'], /not an OCI layout/],
  ];
  for (const [name, args, ...says] of cases) {
    test(name, async () => {
      const { stdout, stderr } = await expectCli(2, args, { cwd });
      assert.equal(stdout, '');
      assert.match(stderr, /^error: /m);
      for (const pattern of says) assert.match(stderr, pattern);
      assert.ok(!existsSync(at('target')));
    });
  }
});
