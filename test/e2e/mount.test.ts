// `hotlayer mount` as a user types it.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { namespaceCommand } from '../support/namespace.js';
import { expectCli, startCli } from './cli.js';
import { lackingLazy, lazyImage, serve } from './lazy-image.js';
import { DATA, MOTD } from './sample.js';

/** $1: hotlayer's words; $2: where it mounts; then shell. Everything in a mount namespace that ends with it. */
const SCRIPT = `dir=$1 look=$2; shift 2
"$@" & pid=$!
n=0; until [ -e "$dir/etc" ]; do sleep 0.05; n=$((n+1)); [ $n -lt 400 ] || exit 99; kill -0 $pid || exit 98; done
eval "$look"`;

test('mount', { skip: lackingLazy() }, async (t) => {
  const image = await lazyImage(t);
  const { reference } = await serve(t, image.optimized);
  const at = join(image.dir, 'root');
  mkdirSync(at);
  const words = [process.execPath, '--', 'bin/hotlayer.js'];
  const look = (what: string, status = 0) =>
    expectCli(status, ['mount', '--plain-http', '--cache-dir', join(image.dir, 'cache'), reference, at], {
      through: [...namespaceCommand('mount', []), 'sh', '-c', SCRIPT, 'sh', at, what],
    });
  assert.ok(words.length > 0);

  await t.test('content, metadata, and the end by umount', async () => {
    const { stdout, stderr } = await look(
      'cat "$dir/app/data.txt" "$dir/etc/motd"; stat -c "%a %s %Y" "$dir/app/data.txt"; ls "$dir/srv/old"; touch "$dir/x" 2>&1 | grep -c Read-only; umount "$dir"; wait $pid; echo "ended with $?"; grep -c "$dir" /proc/self/mountinfo',
      1,
    );
    assert.equal(stdout, `${DATA}${MOTD}640 ${DATA.length} 1700000000\nfresh\n1\nended with 0\n0\n`);
    assert.match(stderr, /is mounted on .*; umount .*, or Ctrl-C here, ends it/);
  });

  await t.test('Ctrl-C ends it; SIGKILL leaves no mount', async () => {
    const gone =
      'n=0; while grep -q "$dir" /proc/self/mountinfo; do sleep 0.05; n=$((n+1)); [ $n -lt 100 ] || exit 97; done; echo gone';
    assert.match((await look(`kill -INT $pid; wait $pid; echo $?; ${gone}`)).stdout, /gone/);
    assert.equal((await look(`kill -KILL $pid; wait $pid; ${gone}`)).stdout, 'gone\n');
  });

  await t.test('SIGKILL in the moment in which the mount appears leaves none either', async () => {
    const script = `dir=$1; shift
"$@" & pid=$!
n=0; until grep -q "$dir" /proc/self/mountinfo; do kill -0 $pid || exit 98; done; kill -KILL $pid
while grep -q "$dir" /proc/self/mountinfo; do sleep 0.05; n=$((n+1)); [ $n -lt 100 ] || exit 97; done; echo gone`;
    for (let round = 0; round < 4; round++) {
      const through = [...namespaceCommand('mount', []), 'sh', '-c', script, 'sh', at];
      const args = ['mount', '--plain-http', '--cache-dir', join(image.dir, 'cache'), reference, at];
      assert.equal((await expectCli(0, args, { through })).stdout, 'gone\n');
    }
  });

  await t.test('errors', async () => {
    const through = namespaceCommand('mount', []);
    const args = ['mount', '--plain-http', '--cache-dir', join(image.dir, 'cache'), reference];
    const missing = await expectCli(3, [...args, join(image.dir, 'nowhere')], { through });
    assert.match(missing.stderr, /mount point .* is missing/);
    const running = startCli([...args], { through });
    assert.equal((await running.done).status, 2);
  });
});
