// What `hotlayer run` and `hotlayer mount` load is bundled (bin/bundle.js): the same program in fewer files.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, readdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeTempDir } from '../../src/temp.js';
import { BIN, PACKAGE } from './cli.js';

const BUNDLE = join(PACKAGE, 'dist/src/start');
const COMPILED = join(PACKAGE, 'dist/src/cli/start.js');

function say(program: readonly string[], args: readonly string[], cwd: string) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...program, ...args], {
    cwd,
    encoding: 'utf8',
    env: { PATH: process.env.PATH, HOME: cwd },
  });
  return { status, stdout, stderr };
}

const CASES: readonly { args: readonly string[]; config?: object; status: number; says: RegExp }[] = [
  { args: ['run', '--help'], status: 0, says: /^Usage: hotlayer run / },
  { args: ['mount', '--help'], status: 0, says: /^Usage: hotlayer mount / },
  { args: ['run', '--offlin', 'x'], status: 2, says: /did you mean --offline/ },
  { args: ['mount', '--offline', 'host.example/app', '.'], status: 4, says: /is not in the cache/ },
  {
    args: ['mount', 'host.example/app', '.'],
    config: { run: { net: 'none' }, mount: { offline: true }, profile: { runs: 2 } },
    status: 4,
    says: /is not in the cache/,
  },
  { args: ['run', 'x'], config: { profile: { run: 2 } }, status: 2, says: /"profile.run" is not a flag of profile/ },
];

for (const { args, config, status, says } of CASES) {
  test(`bundled and compiled say the same: ${args.join(' ')}${config ? ` with ${JSON.stringify(config)}` : ''}`, () => {
    using temp = makeTempDir();
    if (config) writeFileSync(join(temp.path, 'hotlayer.config.json'), JSON.stringify(config));
    const bundled = say(['--', BIN], args, temp.path);
    assert.deepEqual(bundled, say(['--', COMPILED], args, temp.path));
    assert.equal(bundled.status, status, bundled.stderr);
    assert.match(bundled.stdout + bundled.stderr, says);
  });
}

test('started as a program, by its own name or a link’s, and by Node, it is the same', () => {
  using temp = makeTempDir();
  const link = join(temp.path, 'hotlayer');
  symlinkSync(BIN, link);
  for (const args of [
    ['run', '--offlin', 'x'],
    ['mount', '--offlin', 'x', 'y'],
    ['run', '--env-file', '/nowhere', 'x'],
    ['verify', '--offlin'],
  ]) {
    const env = { PATH: process.env.PATH, HOME: temp.path };
    const said = [[BIN], [link], [process.execPath, '--', BIN]].map(([program, ...words]) => {
      const { status, stdout, stderr } = spawnSync(program!, [...words, ...args], { encoding: 'utf8', env });
      return { status, stdout, stderr };
    });
    assert.equal(said[0]!.stdout, '');
    assert.match(said[0]!.stderr, /^error: /);
    assert.deepEqual(said[1], said[0], `${args[0]}: through a link`);
    assert.deepEqual(said[2], said[0], `${args[0]}: by Node`);
  }
});

/** What is loaded with a file of the bundle, at once: its own files, and the names of packages. */
function loaded(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  const text = readFileSync(join(BUNDLE, file), 'utf8');
  for (const [, id] of text.matchAll(/^(?:let \w+ = )?require\("([^"]+)"\)/gm)) {
    if (id!.startsWith('./')) loaded(id!.slice(2), seen);
    else if (!id!.startsWith('node:')) seen.add(id!);
  }
  return seen;
}

test('a start loads few files, and no package but commander', () => {
  const files = readdirSync(BUNDLE);
  const named = (name: string) => files.find((file) => file === `${name}.code.js` || file.startsWith(`${name}-`))!;
  for (const [entry, most] of [
    ['start', 5],
    ['main', 20],
    ['run', 40],
    ['session-main', 10],
    ['session', 20],
    ['raw-worker', 15],
    ['fs-module', 8],
  ] as const) {
    const found = [...loaded(named(entry))];
    const own = found.filter((name) => name.endsWith('.js'));
    assert.ok(own.length <= most, `${entry}: ${own.length} files: ${own.join(' ')}`);
    assert.deepEqual(
      found.filter((name) => !name.endsWith('.js') && name !== 'commander'),
      [],
      entry,
    );
  }
});

/** The compiled package once more, to be changed. */
function copyOf(directory: string): string {
  for (const name of ['bin', 'dist/src', 'package.json'])
    cpSync(join(PACKAGE, name), join(directory, name), { recursive: true });
  symlinkSync(join(PACKAGE, 'node_modules'), join(directory, 'node_modules'));
  return join(directory, 'dist/src/start');
}

const packOf = (start: string) =>
  join(start, readdirSync(start).find((name) => name === `code-${process.version}-${process.arch}.pack`)!);

test('the engine takes the code that was packed for it', () => {
  using temp = makeTempDir();
  const start = copyOf(temp.path);
  const script = `
    const { Script } = require('node:vm');
    const seen = [];
    require('node:vm').Script = class extends Script {
      constructor(source, options) {
        super(source, options);
        seen.push([options.filename, this.cachedDataRejected]);
      }
    };
    process.on('exit', () => process.stderr.write(JSON.stringify(seen)));
    process.argv.splice(1, 0, 'hotlayer');
    require(${JSON.stringify(join(start, 'start.js'))});`;
  const { stderr } = say(['-e', script, '--'], ['run', '--help'], temp.path);
  const seen = JSON.parse(stderr) as [string, boolean][];
  assert.ok(seen.length > 10, `${seen.length} modules`);
  assert.deepEqual(
    seen.filter(([, rejected]) => rejected !== false),
    [],
  );
});

const PACKS: readonly { name: string; change(pack: string): void }[] = [
  { name: 'missing', change: (pack) => rmSync(pack) },
  { name: 'empty', change: (pack) => writeFileSync(pack, '') },
  { name: 'cut off', change: (pack) => truncateSync(pack, 200_000) },
];

for (const { name, change } of PACKS) {
  test(`a pack of code that is ${name}: the modules are loaded without it`, () => {
    using temp = makeTempDir();
    change(packOf(copyOf(temp.path)));
    const args = ['run', '--offlin', 'x'];
    assert.deepEqual(
      say(['--', join(temp.path, 'bin/hotlayer.js')], args, temp.path),
      say(['--', BIN], args, temp.path),
    );
  });
}

test('a clone that is not compiled says what to do', () => {
  using temp = makeTempDir();
  for (const name of ['bin', 'package.json']) cpSync(join(PACKAGE, name), join(temp.path, name), { recursive: true });
  for (const command of ['run', 'doctor']) {
    const { status, stdout, stderr } = say(['--', join(temp.path, 'bin/hotlayer.js')], [command], temp.path);
    assert.deepEqual([status, stdout], [4, '']);
    assert.match(stderr, /^error: hotlayer is not compiled yet; run `npm run build`/);
  }
});
