// `hotlayer run` as a user types it: images in a registry and on disk, which are not here.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { readTrace } from '../../src/trace/trace-file.js';
import { documentOf, expectCli } from './cli.js';
import { type LazyImage, lackingLazy, lazyImage, serve } from './lazy-image.js';
import { DATA, MOTD, PASSWD, SAYS } from './sample.js';

const skip = lackingLazy();

/** Of content, holes not counted. */
function keptBytes(directory: string): number {
  return 512 * (statSync(join(directory, 'data'), { throwIfNoEntry: false })?.blocks ?? 0);
}

test('run', { skip }, async (t) => {
  const image: LazyImage = await lazyImage(t);
  const run = (status: number, reference: string, cache: string, ...args: string[]) =>
    expectCli(status, [
      'run',
      '--plain-http',
      '--cache-dir',
      join(image.dir, cache),
      ...args.slice(0, at(args)),
      reference,
      ...args.slice(at(args)),
    ]);
  /** Flags come before the image, the rest after it. */
  const at = (args: string[]) => (args.includes('--') ? args.indexOf('--') : args.length);

  await t.test('from disk; the second time without it', async () => {
    const first = await run(0, image.optimized, 'disk');
    assert.deepEqual([first.stdout, first.stderr], [SAYS, '']);
    assert.equal((await run(0, image.optimized, 'disk', '--offline')).stdout, SAYS);
  });

  await t.test('exit status, and the flags of the container', async () => {
    const script = `while read -r k v r; do [ "$k" != Uid: ] || echo $v; done </proc/self/status
      cat /etc/hostname; pwd; echo $A; (: >/x) && echo writable; cat /etc/passwd; [ -e old/lazy/oci-layout ] && exit 7`;
    const flags = ['--user', '0', '--name', 'box', '--workdir', '/srv', '-e', 'A=b c', '--net', 'none'];
    const bind = ['-v', `${image.dir}:/srv/old:ro`];
    const { stdout } = await run(7, image.optimized, 'disk', ...flags, ...bind, '--', '-c', script);
    assert.equal(stdout, `0\nbox\n/srv\nb c\nwritable\n${PASSWD}`);
    const closed = await run(
      0,
      image.optimized,
      'disk',
      '--read-only',
      '--',
      '-c',
      '(: >/x) 2>/dev/null || echo closed',
    );
    assert.equal(closed.stdout, 'closed\n');
    assert.match((await run(127, image.optimized, 'disk', '--entrypoint', '/no/such', '--')).stderr, /not found/);
  });

  await t.test('from a registry: footers, TOCs and what is read, nothing else; then nothing at all', async (t) => {
    const { reference, proxy } = await serve(t, image.optimized);
    const first = await run(0, reference, 'registry', '--json');
    const { fetched, exitCode } = documentOf<{ exitCode: number; fetched: { requests: number; bytes: number } }>(first);
    assert.equal(exitCode, 0);
    assert.equal(first.stderr, SAYS, 'with --json the workload’s output is narration');
    assert.ok(fetched.bytes > 0 && fetched.bytes < image.layerBytes, `${fetched.bytes} of ${image.layerBytes} bytes`);
    const blobs = proxy.seen.filter(({ url }) => url.includes('/blobs/'));
    assert.ok(blobs.length > 0 && blobs.every(({ headers }) => headers.range !== undefined), 'ranges only');
    const tails = blobs.filter(({ url }, i) => blobs.findIndex((other) => other.url === url) === i);
    assert.ok(tails.length <= 4, 'three layers and the config');

    const before = proxy.seen.length;
    assert.equal((await run(0, reference, 'registry')).stdout, SAYS);
    assert.equal(proxy.seen.length, before, 'a second start asks for nothing');
    assert.equal((await run(0, reference, 'registry', '--pull', 'always')).stdout, SAYS);
    const asked = proxy.seen.slice(before).filter(({ url }) => url !== '/v2/');
    assert.deepEqual(asked.map(({ method, url }) => `${method} ${url.replace(/sha256:\w+/, 'DIGEST')}`).sort(), [
      'GET /v2/app/blobs/DIGEST',
      'GET /v2/app/manifests/1',
    ]);
    proxy.rule = () => ({ kind: 'answer', status: 404 });
    assert.equal((await run(0, reference, 'registry', '--offline')).stdout, SAYS);
    const empty = await run(4, reference, 'other', '--offline');
    assert.match(empty.stderr, /not in the cache/);
    const never = await run(4, reference, 'other', '--pull', 'never');
    assert.match(never.stderr, /--pull never/);
  });

  await t.test('with a profile: what it says is fetched ahead, and nobody waits for it', async (t) => {
    const { reference } = await serve(t, image.optimized);
    const profile = join(image.dir, 'profile.json');
    await expectCli(0, ['profile', '--runs', '1', '-o', profile, image.original]);
    const { stdout, stderr } = await run(0, reference, 'profile', '--profile', profile, '--json');
    assert.equal(stderr, SAYS);
    const { fetched } = JSON.parse(stdout);
    assert.ok(fetched.onDemand <= fetched.chunks / 2, JSON.stringify(fetched));
  });

  await t.test('a trace of a start from a registry: whole, in order, with the reads that had to wait', async (t) => {
    const { reference } = await serve(t, image.optimized);
    const file = join(image.dir, 'run.trace.gz');
    const args = ['--trace', file, '--precision', 'exact', '--until', 'line:starting'];
    const { stderr } = await run(0, reference, 'traced', ...args);
    assert.match(stderr, /^Wrote .*run\.trace\.gz \(\d+ events\)\n$/);
    const { header, events, end } = await readTrace(file);
    assert.deepEqual([end.complete, end.ready?.by, end.exitCode], [true, 'line:starting', 0]);
    assert.deepEqual(header.workload.args, ['/bin/sh', '/app/run.sh']);
    assert.ok(events.every(({ t }, i) => i === 0 || events[i - 1]!.t <= t));
    const reads = events.filter(({ op, path }) => op === 'read' && path === '/app/data.txt');
    assert.deepEqual(
      reads.map(({ offset, length }) => [offset, length]),
      [[0, DATA.length]],
    );
    assert.ok(reads[0]!.dur > 100_000, `it waited ${reads[0]!.dur} ns`);
    assert.deepEqual(
      readdirSync(image.dir).filter((name) => name.startsWith('run.trace')),
      ['run.trace.gz'],
    );
  });

  await t.test('ready when it is quiet, without a trace, too', async () => {
    const quiet = 'cat /app/data.txt; n=0; while [ $n -lt 1000000 ]; do n=$((n+1)); done; exit 3';
    const args = ['--json', '--until', 'idle:100ms'];
    for (const [reference, words] of [
      [image.optimized, ['-c', quiet]],
      ['dir:/', ['sh', '-c', quiet.replace('/app/data.txt', '/etc/hostname')]],
    ] as const) {
      const { exitCode, ready } = documentOf<{ exitCode: number; ready?: { t: number; by: string } }>(
        await run(3, reference, 'disk', ...args, '--', ...words),
      );
      assert.deepEqual([exitCode, ready?.by], [3, 'idle:100ms'], reference);
    }
  });

  await t.test('--background-fetch: all of the image is here when it ends, though little was read', async (t) => {
    const { reference, proxy } = await serve(t, image.optimized);
    const control = join(image.dir, 'control');
    mkdirSync(control);
    const script = 'while [ ! -e /ctl/go ]; do cat </dev/null; done';
    const flags = ['--background-fetch', '-v', `${control}:/ctl`, '--json', '--until', 'period:1ms'];
    const running = run(0, reference, 'background', ...flags, '--', '-c', script);
    // The layer with the file that nobody reads, to its end.
    const cache = join(image.dir, 'background/v1/layers');
    const whole = async () => {
      for (let tries = 0; tries < 1200; tries++) {
        const kept = existsSync(cache) ? readdirSync(cache).map((name) => keptBytes(join(cache, name))) : [];
        if (kept.some((bytes) => bytes >= 200_000)) return true;
        await sleep(50);
      }
      return false;
    };
    const all = await whole();
    await sleep(200);
    writeFileSync(join(control, 'go'), '');
    const { fetched } = documentOf<{ fetched: { chunks: number; onDemand: number } }>(await running);
    assert.ok(all, 'the big file is in the cache');
    assert.ok(fetched.chunks > fetched.onDemand, JSON.stringify(fetched));
    proxy.rule = () => ({ kind: 'answer', status: 404 });
    const read = 'cat /app/unread.bin >/dev/null && cat /app/data.txt /etc/motd';
    assert.equal((await run(0, reference, 'background', '--offline', '--', '-c', read)).stdout, `${DATA}${MOTD}`);
  });

  await t.test('an image that is not eStargz: whole, with a note, and from the cache the next time', async () => {
    const first = await run(0, image.original, 'whole');
    assert.equal(first.stdout, SAYS);
    assert.match(first.stderr, /layer 0 .* is fetched whole .*hotlayer optimize/);
    const second = await run(0, image.original, 'whole', '--offline');
    assert.deepEqual([second.stdout, second.stderr], [SAYS, '']);
  });

  await t.test('what is kept stays below --cache-size', async () => {
    await run(0, image.optimized, 'disk', '--cache-size', '0B', '--offline');
    assert.deepEqual(readdirSync(join(image.dir, 'disk/v1/layers')), []);
    rmSync(join(image.dir, 'disk'), { recursive: true });
  });

  await t.test('errors', async () => {
    assert.match((await run(3, `oci:${image.dir}/nowhere`, 'disk')).stderr, /HL_ERR_NOT_FOUND/);
    assert.match((await run(2, 'dir:/tmp', 'disk')).stderr, /HL_ERR_USAGE/);
    assert.match((await run(2, image.optimized, 'disk', '--cache-size', 'lots')).stderr, /--cache-size/);
    const file = await expectCli(4, ['run', '--cache-dir', '/dev/null', image.optimized]);
    assert.match(file.stderr, /cannot use the cache .*--cache-dir/s);
  });
});
