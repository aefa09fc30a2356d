// `hotlayer mount` of an ordinary user on a machine that forbids user namespaces: fuse-native through a setuid fusermount.
// And what takes sessions of their own, where both transports can be had.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Profile } from '../../src/analyze/types.js';
import { lackingNamespace, namespaceCommand } from '../support/namespace.js';
import { documentOf, expectCli } from './cli.js';
import { type LazyImage, lackingLazy, lazyImage, serve } from './lazy-image.js';
import { DATA, MOTD, SAYS } from './sample.js';

const denied = lackingLazy() || lackingNamespace('denied');

/** $1: where it mounts; $2: what to do then; then hotlayer's words. */
const SCRIPT = `dir=$1 look=$2; shift 2
# A minute of patience, for a machine that is stuck.
n=0; tick() { sleep 0.05; n=$((n+1)); [ $n -lt 1200 ] || exit 97; }
gone() { while grep -q " $dir " /proc/self/mountinfo; do tick; done; echo gone; }
servers() { for c in /proc/[0-9]*; do grep -q native-main "$c/cmdline" 2>/dev/null && grep -q "MARK=$dir" "$c/environ" 2>/dev/null && basename "$c"; done; }
export MARK=$dir
"$@" & pid=$!
until [ -e "$dir/etc" ]; do tick; kill -0 $pid || exit 98; done; n=0
eval "$look"`;

test('mount without namespaces', { skip: denied }, async (t) => {
  const image = await lazyImage(t);
  const { reference } = await serve(t, image.optimized);
  const { at, cache } = directories(image);
  const through = (what: string) => [...namespaceCommand('denied', []), 'sh', '-c', SCRIPT, 'sh', at, what];
  const look = (what: string, options: readonly string[] = []) =>
    expectCli(0, ['mount', '--plain-http', '--cache-dir', cache, ...options, reference, at], {
      through: through(what),
      cwd: image.dir,
    });

  await t.test('doctor says what can be done and what not', async () => {
    const { stdout } = await expectCli(4, ['doctor'], { through: namespaceCommand('denied', []), cwd: image.dir });
    assert.match(stdout, /FAIL +transport raw/);
    assert.match(stdout, /ok +transport fuse-native +libfuse 2 mounts through \S*fusermount/);
    assert.match(stdout, /cannot trace yet; .* mount \(with --trace\)/);
  });

  await t.test('content and metadata as in the image, read-only; fusermount -u ends it', async () => {
    const { stdout } = await look(
      'cat "$dir/app/data.txt" "$dir/etc/motd"; stat -c "%u %g %a %s %Y" "$dir/app/data.txt"; ls "$dir/srv/old"; touch "$dir/x" 2>&1 | grep -c Read-only; fusermount -u "$dir"; wait $pid; echo "ended with $?"; gone',
    );
    assert.equal(stdout, `${DATA}${MOTD}1000 1001 640 ${DATA.length} 1700000000\nfresh\n1\nended with 0\ngone\n`);
  });

  await t.test(
    'Ctrl-C ends it; SIGKILL of the one, of the other or of both leaves neither mount nor process',
    async () => {
      const quiet = 'while [ -n "$(servers)" ]; do tick; done; gone';
      const ends: readonly [string, RegExp][] = [
        ['kill -INT $pid; wait $pid; echo $?', /^0\n|^130\n/],
        ['kill -KILL $pid; wait $pid; echo', /^\n/],
        ['s=$(servers); kill -KILL $s; wait $pid; echo', /^\n/],
        ['s=$(servers); kill -STOP $s; kill -KILL $pid $s; wait $pid; echo', /^\n/],
      ];
      for (const [end, says] of ends) {
        const { stdout } = await look(`${end}; ${quiet}`);
        assert.match(stdout, says, end);
        assert.match(stdout, /gone\n$/, end);
      }
    },
  );

  await t.test('--trace', async () => {
    const trace = join(cache, 'trace.ndjson');
    await look('cat "$dir/app/data.txt" >/dev/null; fusermount -u "$dir"; wait $pid', ['--trace', trace]);
    const lines = readFileSync(trace, 'utf8').trim().split('\n');
    const events = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.equal(events.at(-1)!.complete, true, JSON.stringify(events.at(-1)));
    const own = events.filter(({ path }) => path === '/app/data.txt').map(({ op }) => op);
    for (const op of ['lookup', 'open', 'read']) assert.ok(own.includes(op), `${op} of ${own}`);
  });

  await t.test('run says what is missing and what can be done instead', async () => {
    const args = ['run', '--plain-http', '--cache-dir', cache, reference];
    const { stderr } = await expectCli(4, args, { through: namespaceCommand('denied', []), cwd: image.dir });
    assert.match(stderr, /cannot start a session in namespaces of its own/);
    assert.match(stderr, /hotlayer mount/);
  });
});

/** A mount point and a cache of the ordinary user's. */
function directories({ dir }: LazyImage): { at: string; cache: string } {
  const [at, cache] = [join(dir, 'root'), join(dir, 'cache')];
  for (const path of [at, cache]) {
    mkdirSync(path);
    chmodSync(path, 0o777);
  }
  chmodSync(dir, 0o755);
  return { at, cache };
}

test('run and profile through fuse-native, where there are namespaces', { skip: lackingLazy() }, async (t) => {
  const image = await lazyImage(t);
  const { reference } = await serve(t, image.optimized);
  const profile = async (transport: string) => {
    const out = join(image.dir, `${transport}.json`);
    const args = ['profile', image.optimized, '-r', '1', '-o', out, '--json', '--transport', transport];
    return documentOf<Profile>(await expectCli(0, args));
  };

  await t.test('profile sees the same files and ranges', async () => {
    const [raw, native] = [await profile('raw'), await profile('fuse-native')];
    const files = (p: Profile) => p.files.map(({ path, ranges, executed }) => [path, ranges, executed]);
    assert.ok(raw.files.length > 3);
    assert.deepEqual(files(native), files(raw));
  });

  await t.test('run', async () => {
    const cache = join(image.dir, 'cache');
    const args = ['run', '--plain-http', '--cache-dir', cache, '--transport', 'fuse-native', reference];
    const { stdout } = await expectCli(0, args);
    assert.match(stdout, new RegExp(SAYS));
  });
});
