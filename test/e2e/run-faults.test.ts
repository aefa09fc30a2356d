// What goes wrong while a container runs from an image that is not here: nobody gets wrong bytes, nobody hangs for ever,
// and nothing is left behind.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { namespaceCommand } from '../support/namespace.js';
import { commandOf, descendants, processesWith } from '../support/processes.js';
import { expectCli, startCli } from './cli.js';
import { lackingLazy, lazyImage, serve } from './lazy-image.js';
import { newMarker, SOON } from './leftovers.js';
import { DATA, noise, SAYS } from './sample.js';

const BIG = noise(200_000);

/** Has the two programs fetched; `wait_for` waits for a file of the directory that the test and the container share. */
const WAIT = 'sleep 0; cat </dev/null; wait_for() { while [ ! -e /ctl/$1 ]; do sleep 0.05; done; }; ';

/** For what ends by itself. */
const PATIENCE_MS = 30_000;

test('faults', { skip: lackingLazy() }, async (t) => {
  const image = await lazyImage(t);
  const { reference, proxy } = await serve(t, image.optimized);
  let serial = 0;
  const setUp = (...flags: string[]) => {
    const dir = join(image.dir, `case-${serial++}`);
    mkdirSync(join(dir, 'tmp'), { recursive: true });
    const words = ['run', '--plain-http', '--cache-dir', join(dir, 'cache'), '-v', `${dir}:/ctl`, ...flags];
    const script = (text: string) => [...words, '--user', '0', reference, '--', '-c', WAIT + text];
    return { dir, words: [...words, reference], script, say: (name: string) => writeFileSync(join(dir, name), '') };
  };
  const appears = async (file: string) => {
    for (let tries = 0; tries < 1600; tries++) {
      try {
        return readFileSync(file);
      } catch {
        await sleep(25);
      }
    }
    throw new Error(`${file} does not appear`);
  };

  await t.test(
    'the registry is down for a while: EIO after the retries, and the process goes on when it is back',
    async () => {
      const { dir, script, say } = setUp('--fetch-timeout', '500ms');
      const running = startCli(
        script(`cat /app/data.txt >/dev/null && : >/ctl/one
        wait_for down; cat /app/unread.bin >/dev/null || : >/ctl/failed
        cat /app/data.txt >/ctl/again && : >/ctl/read-again
        wait_for back; cat /app/unread.bin >/ctl/big && exit 3`),
      );
      await appears(join(dir, 'one'));
      proxy.rule = () => ({ kind: 'no-answer' });
      say('down');
      await appears(join(dir, 'failed'));
      await appears(join(dir, 'read-again'));
      assert.equal(readFileSync(join(dir, 'again'), 'utf8'), DATA, 'what was read before can be read');
      proxy.rule = () => undefined;
      say('back');
      const { status, stderr } = await running.done;
      assert.equal(status, 3, stderr);
      assert.deepEqual(readFileSync(join(dir, 'big')), BIG);
      assert.match(stderr, /Input\/output error/);
      assert.match(
        stderr,
        /warning: layer 1 \(sha256:[0-9a-f]{64}\): \/app\/unread.bin: chunk at \d+ .* cannot be read/,
      );
    },
  );

  await t.test('wrong bytes: EIO, a line that names layer and chunk, and not one of them delivered', async () => {
    const { dir, script, say } = setUp();
    const running = startCli(script(`: >/ctl/up; wait_for go; cat /app/unread.bin >/ctl/big; [ $? = 1 ] && exit 3`));
    await appears(join(dir, 'up'));
    proxy.rule = () => ({ kind: 'flip', at: 40_000 });
    say('go');
    const { status, stderr } = await running.done;
    proxy.rule = () => undefined;
    assert.equal(status, 3, stderr);
    assert.match(
      stderr,
      /layer 1 \(sha256:[0-9a-f]{64}\): app\/unread.bin: chunk at \d+, member at .*\(not delivered\)/,
    );
    const got = readFileSync(join(dir, 'big'));
    assert.deepEqual(got, BIG.subarray(0, got.length), 'what was delivered is right');
    assert.ok(got.length < BIG.length);
  });

  for (const who of ['hotlayer', 'the process that reads'] as const) {
    await t.test(`SIGKILL of ${who} while a read waits: nothing is left`, async () => {
      const { dir, script, say } = setUp();
      const marker = newMarker();
      const read =
        who === 'hotlayer'
          ? ': >/ctl/reads; cat /app/unread.bin'
          : 'cat /app/unread.bin & sleep 0.3; kill -9 $!; wait $!; : >/ctl/reads; sleep 60';
      const running = startCli(script(`: >/ctl/up; wait_for go; ${read}`), {
        env: { E2E_MARKER: marker },
        detached: true,
      });
      await appears(join(dir, 'up'));
      let release = () => {};
      const held = new Promise<undefined>((resolve) => {
        release = () => resolve(undefined);
      });
      proxy.rule = () => held;
      say('go');
      await appears(join(dir, 'reads'));
      await sleep(200);
      process.kill(running.pid, 'SIGKILL');
      await running.done;
      for (const end = Date.now() + SOON; processesWith(marker).length > 0 && Date.now() < end; ) await sleep(25);
      assert.deepEqual(processesWith(marker), []);
      release();
      proxy.rule = () => undefined;
    });
  }

  /** Waits for the end of all that has the marker; a busy machine may take long. */
  const nothingWith = async (marker: string, dir: string) => {
    for (const end = Date.now() + PATIENCE_MS; processesWith(marker).length > 0 && Date.now() < end; ) await sleep(25);
    assert.deepEqual(processesWith(marker).map(commandOf), []);
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
    assert.deepEqual(
      mounts.filter((line) => line.includes(dir)),
      [],
    );
    const temporary = () => readdirSync(join(dir, 'tmp'));
    for (const end = Date.now() + PATIENCE_MS; temporary().length > 0 && Date.now() < end; ) await sleep(25);
    assert.deepEqual(temporary(), []);
  };

  await t.test('SIGKILL of hotlayer at any moment of a start: nothing is left, and the cache is good', async () => {
    const { dir, words } = setUp();
    const began = Date.now();
    assert.equal((await expectCli(0, words)).stdout, SAYS);
    const whole = Date.now() - began;
    const moments = 12;
    for (let n = 0; n < moments; n++) {
      const marker = newMarker();
      const running = startCli([...words.slice(0, -1), '--tmpdir', join(dir, 'tmp'), reference], {
        env: { E2E_MARKER: marker },
        detached: true,
      });
      await sleep((whole * n) / moments);
      running.child.kill('SIGKILL');
      await running.done;
      await nothingWith(marker, dir);
      if (n % 2 === 0) rmSync(join(dir, 'cache/v1/layers'), { recursive: true, force: true });
    }
    assert.equal((await expectCli(0, words)).stdout, SAYS);
  });

  await t.test('SIGKILL of the workload: its status says so, and nothing is left', async () => {
    const { dir, script } = setUp();
    const marker = newMarker();
    const args = script('cat /proc/self/stat >/dev/null; : >/ctl/up; while :; do cat </dev/null; done');
    const running = startCli(args, { env: { E2E_MARKER: marker }, detached: true });
    await appears(join(dir, 'up'));
    const workload = descendants(running.pid).find(({ command }) => command.startsWith('/bin/sh -c sleep 0'));
    assert.ok(workload, 'its first process');
    process.kill(workload.pid, 'SIGKILL');
    const { status, stderr } = await running.done;
    assert.equal(status, 137, stderr);
    await nothingWith(marker, dir);
  });

  await t.test(
    'a cache of which every file is damaged: fetched again; without the registry, no wrong byte',
    async () => {
      const { dir, words, script } = setUp();
      const all = script('cat /app/unread.bin >/ctl/big && cat /app/data.txt');
      assert.equal((await expectCli(0, all)).stdout, DATA);
      const damage = (which: RegExp) => {
        let damaged = 0;
        for (const name of readdirSync(join(dir, 'cache'), { recursive: true }) as string[]) {
          const path = join(dir, 'cache', name);
          if (!statSync(path).isFile() || statSync(path).size === 0 || !which.test(name)) continue;
          const bytes = readFileSync(path);
          // Every other kilobyte, the first and the last byte among them.
          for (let at = 0; at < bytes.length; at++)
            if (Math.floor(at / 1024) % 2 === 0 || at === bytes.length - 1) bytes[at]! ^= 0x20;
          writeFileSync(path, bytes);
          damaged += 1;
        }
        return damaged;
      };
      assert.ok(damage(/./) >= 6, 'documents, a name, TOCs and content of the layers');
      assert.equal((await expectCli(0, words)).stdout, SAYS);
      assert.equal((await expectCli(0, all)).stdout, DATA);
      assert.deepEqual(readFileSync(join(dir, 'big')), BIG);
      // Now only what the programs are made of is right.
      const layer = readdirSync(join(dir, 'cache/v1/layers')).find((name) =>
        readFileSync(join(dir, 'cache/v1/layers', name, 'toc'), 'utf8').includes('unread.bin'),
      )!;
      assert.equal(damage(new RegExp(`${layer}/data$`)), 1);
      const [command, ...rest] = all;
      const { status, stdout, stderr } = await startCli([command!, '--offline', ...rest]).done;
      assert.deepEqual([status, stdout], [1, ''], stderr);
      assert.match(stderr, /app\/unread.bin/);
      const got = readFileSync(join(dir, 'big'));
      assert.ok(got.length < BIG.length && got.equals(BIG.subarray(0, got.length)), 'only what is right');
    },
  );

  await t.test('a disk that is full: the container runs all the same', async () => {
    const { dir, words } = setUp();
    mkdirSync(join(dir, 'cache'));
    const small = 'mount -t tmpfs -o size=200k tmpfs "$1" && shift && exec "$@"';
    const through = [...namespaceCommand('mount', []), 'sh', '-c', small, 'sh', join(dir, 'cache')];
    const { stdout, stderr } = await expectCli(0, words, { through });
    assert.equal(stdout, SAYS);
    assert.match(stderr, /warning: the cache cannot be written \(ENOSPC\)/);
  });

  await t.test('64 processes at once read every file, lazily and whole: the same', async () => {
    const at = join(image.dir, 'root');
    mkdirSync(at);
    const script = `dir=$1; shift; "$@" 2>/dev/null & pid=$!
      n=0; until [ -e "$dir/etc" ]; do sleep 0.05; n=$((n+1)); [ $n -lt 400 ] || exit 99; done
      cd "$dir" && find . -type f -print0 | sort -z | xargs -0 -n 1 -P 64 sha256sum | sort; cd /; umount "$dir"; wait $pid`;
    const sums = async (image: string, cache: string) => {
      const through = [...namespaceCommand('mount', []), 'sh', '-c', script, 'sh', at];
      return (await expectCli(0, ['mount', '--plain-http', '--cache-dir', cache, image, at], { through })).stdout;
    };
    const [lazy, whole] = [
      await sums(reference, join(image.dir, 'c1')),
      await sums(image.original, join(image.dir, 'c2')),
    ];
    assert.ok(lazy.split('\n').length > 10, lazy);
    assert.equal(lazy, whole);
  });
});
