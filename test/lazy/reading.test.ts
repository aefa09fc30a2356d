// Content that is fetched when it is read: the same bytes as in the tar, each chunk once, none that was not verified.
import assert from 'node:assert/strict';
import { openSync, readdirSync, readFileSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { wishesFor } from '../../src/lazy/prefetch.js';
import { openLayersFs } from '../../src/rootfs/layers-fs.js';
import { type Caller, Later } from '../../src/rootfs/types.js';
import { TarScanner } from '../../src/stargz/tar/scan.js';
import { noise } from '../e2e/sample.js';
import { Random, randomImage } from '../rewrite/random-image.js';
import { tarsOf } from '../rewrite/workbench.js';
import { ofRootFs, readAll } from '../rootfs/snapshot.js';
import { dir, file, hardlink, symlink, tarOf, whiteout } from '../support/tar.js';
import { testDir } from '../support/temp.js';
import { keptData, open, stargzImage } from './harness.js';

const BIG = noise(300_000, 7);
const SMALL = Buffer.from('small\n');
const NOBODY: Caller = { pid: 0, uid: 0, gid: 0 };

/** A big file in chunks, small ones before and after, links, things of the lower layer that are hidden. */
const LOWER = tarOf(
  dir('d/'),
  file('d/first', SMALL),
  file('d/big', BIG),
  hardlink('d/again', 'd/big'),
  file('d/hidden', 'x'),
  ...Array.from({ length: 40 }, (_, i) => file(`d/f${i}`, noise(1000 + i, i))),
);
const UPPER = tarOf(
  dir('d/'),
  whiteout('d/hidden'),
  symlink('link', 'd/first'),
  file('d/first', 'newer\n'),
  file('empty', ''),
);
const LAYERS = [LOWER, UPPER];

test('bytes are those of the tar; each chunk is fetched once', async (t) => {
  const h = await open(t, await stargzImage(t, LAYERS));
  assert.deepEqual(await h.read('/d/big'), BIG);
  assert.deepEqual(await h.read('/d/first'), Buffer.from('newer\n'));
  assert.deepEqual(await h.read('/empty'), Buffer.alloc(0));
  const before = h.requests.length;
  assert.deepEqual(await h.read('/d/again'), BIG, 'a hardlink has the same chunks');
  assert.deepEqual(await h.read('/d/big', 99_999, 5), BIG.subarray(99_999, 100_004));
  assert.equal(h.requests.length, before);
  assert.throws(() => h.fs.lookup(2, 'hidden', { pid: 0, uid: 0, gid: 0 }));
  assert.deepEqual(h.warnings, []);
});

test('a few bytes of a big file cost one chunk', async (t) => {
  const h = await open(t, await stargzImage(t, LAYERS));
  assert.deepEqual(await h.read('/d/big', 150_000, 10), BIG.subarray(150_000, 150_010));
  assert.equal(h.requests.length, 1);
  assert.ok(h.requests[0]![2] < 70_000, `${h.requests[0]![2]} bytes were asked for`);
});

test('many readers of the same and of neighbouring files share requests', async (t) => {
  const h = await open(t, await stargzImage(t, LAYERS), { connections: 2 });
  const names = Array.from({ length: 40 }, (_, i) => `/d/f${i}`);
  const read = await Promise.all([...names, ...names].map((name) => h.read(name)));
  for (const [i, bytes] of read.entries()) assert.deepEqual(bytes, noise(1000 + (i % 40), i % 40));
  assert.ok(h.requests.length < 10, `${h.requests.length} requests for 40 small files`);
});

test('random images, whole and lazy: the same tree, the same bytes', async (t) => {
  // Not those in which an entry replaces another type of its own layer: a TOC does not tell what the first one took away.
  const images = Array.from({ length: 30 }, (_, seed) => randomImage(new Random(seed * 977)).layers).filter(
    (layers) => !layers.some(replacesItself),
  );
  assert.ok(images.length >= 6, `only ${images.length} images`);
  for (const [seed, layers] of images.entries()) {
    const reference = await stargzImage(t, layers);
    const h = await open(t, reference);
    // Not the tars it was made from: a hardlink to a lower layer has become a copy.
    const tars = (await tarsOf(reference)).map((bytes, i) => {
      const path = join(testDir(t), `${i}.tar`);
      writeFileSync(path, bytes);
      return { fd: openSync(path, 'r'), size: bytes.length };
    });
    const original = openLayersFs(tars);
    // A TOC knows whole seconds only.
    const options = { content: false } as const;
    assert.deepEqual(wholeSeconds(ofRootFs(h.fs, options)), wholeSeconds(ofRootFs(original, options)), `seed ${seed}`);
    for (const { path, node } of original.tree.files())
      assert.deepEqual(await h.read(path), readAll(original, node.id), `seed ${seed}: ${path}`);
    h.close();
  }
});

function replacesItself(tar: Buffer): boolean {
  const types = new Map<string, string>();
  const scanner = new TarScanner();
  scanner.push(tar);
  return scanner.end().entries.some(({ path, type }) => {
    const earlier = types.get(path);
    types.set(path, type);
    return earlier !== undefined && earlier !== type;
  });
}

/** The snapshot's lines with times rounded as the TOC has them. */
function wholeSeconds(lines: readonly string[]): string[] {
  return lines.map((line) =>
    line.replace(/ (-?\d+)\.(\d{9}) /, (_, sec, nsec) => ` ${Number(sec) + (Number(nsec) >= 5e8 ? 1 : 0)} `),
  );
}

test('a second start finds all in the cache, checked; damage is found and fetched again', async (t) => {
  const reference = await stargzImage(t, LAYERS);
  const directory = testDir(t);
  const first = await open(t, reference, { directory });
  assert.deepEqual(await first.read('/d/big'), BIG);
  first.close();

  const second = await open(t, reference, { directory, offline: true });
  assert.deepEqual(await second.read('/d/big'), BIG);
  await assert.rejects(second.read('/d/f1'), { errno: 5 });
  assert.match(second.warnings.join('\n'), /\/d\/f1: chunk at 0 .* cannot be read: .*--offline/);
  const data = keptData(second);
  second.close();

  // One byte of the big file's third chunk.
  const at = readFileSync(data).indexOf(BIG.subarray(150_000, 150_020));
  assert.ok(at > 0);
  writeSync(openSync(data, 'r+'), Buffer.from([BIG[150_000]! ^ 1]), 0, 1, at);
  const third = await open(t, reference, { directory });
  assert.deepEqual(await third.read('/d/big'), BIG);
  assert.equal(third.requests.length, 1);
  assert.match(third.warnings.join('\n'), /layer 0 .*\/d\/big: chunk at \d+.*damaged; it is fetched again/);
  third.close();

  truncateSync(data, 1000);
  const fourth = await open(t, reference, { directory });
  assert.deepEqual(await fourth.read('/d/big'), BIG);
  fourth.close();

  // A damaged TOC is fetched again, too.
  writeFileSync(join(dirname(data), 'toc'), '{"schemaVersion":1,"tocOffset":5}\n{"version":1,"entries":[]}');
  const fifth = await open(t, reference, { directory });
  assert.deepEqual(await fifth.read('/d/big'), BIG);
});

test('wrong bytes never arrive: a second attempt, then EIO, and a log line with layer and chunk', async (t) => {
  const h = await open(t, await stargzImage(t, LAYERS));
  let flips = 1;
  h.disturb = ({ bytes }) => {
    // Not in the middle: there, a stored block of deflate has bits that mean nothing.
    if (flips-- > 0) bytes[Math.floor(bytes.length / 3)]! ^= 0x10;
  };
  assert.deepEqual(await h.read('/d/big', 0, 10), BIG.subarray(0, 10), 'damaged on the way, once');
  assert.match(
    h.warnings.join('\n'),
    /^layer 0 \(sha256:[0-9a-f]{64}\): d\/big: chunk at 0, member at offset \d+: .*not delivered/,
  );
  flips = Number.POSITIVE_INFINITY;
  await assert.rejects(h.read('/d/big', 200_000, 10), { errno: 5 });
  flips = 0;
  assert.deepEqual(await h.read('/d/big', 200_000, 10), BIG.subarray(200_000, 200_010), 'it can be read later');
  assert.ok(!readFileSync(keptData(h)).includes(Buffer.alloc(64, BIG[0]! ^ 0x10)));
});

test('a place that fails: the read waits, then fails, and succeeds when it is back', async (t) => {
  const h = await open(t, await stargzImage(t, LAYERS), { patienceMs: 2000 });
  let down = 2;
  h.disturb = () => {
    if (down-- > 0) throw new Error('connection refused');
  };
  assert.deepEqual(await h.read('/d/big', 0, 10), BIG.subarray(0, 10), 'two failures are waited out');
  down = Number.POSITIVE_INFINITY;
  const begin = performance.now();
  await assert.rejects(h.read('/d/big', 100_000, 10), { errno: 5 });
  const waited = performance.now() - begin;
  assert.ok(waited >= 2000 && waited < 60_000, `${waited} ms`);
  assert.match(h.warnings.join('\n'), /connection refused/);
  assert.deepEqual(await h.read('/d/big', 0, 10), BIG.subarray(0, 10), 'what is here can be read meanwhile');
  down = 0;
  assert.deepEqual(await h.read('/d/big', 100_000, 10), BIG.subarray(100_000, 100_010));
});

test('a place that says nothing is given up after a while', async (t) => {
  const h = await open(t, await stargzImage(t, LAYERS), { stallMs: 500, patienceMs: 3000 });
  h.disturb = () => new Promise((resolve) => setTimeout(resolve, 1500));
  await assert.rejects(h.read('/d/big', 0, 10), { errno: 5 });
  assert.match(h.warnings.join('\n'), /no byte for 0.5 s/);
  h.disturb = undefined;
  assert.deepEqual(await h.read('/d/big', 0, 10), BIG.subarray(0, 10));
});

test('a blob that is shorter than its TOC says', async (t) => {
  const h = await open(t, await stargzImage(t, LAYERS));
  h.disturb = ({ bytes }) => {
    bytes.fill(0);
  };
  await assert.rejects(h.read('/d/f3'), { errno: 5 });
  assert.match(h.warnings.join('\n'), /does not decompress/);
});

test('a cache that cannot be written: the bytes arrive all the same, with one warning', async (t) => {
  const h = await open(t, await stargzImage(t, LAYERS));
  h.layers[0]!.store.put = () => {
    throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
  };
  assert.deepEqual(await h.read('/d/big'), BIG);
  assert.deepEqual(await h.read('/d/f5'), noise(1005, 5));
  assert.equal(h.warnings.length, 1);
  assert.match(h.warnings[0]!, /ENOSPC/);
});

test('prefetch: in order of need, few requests, and reads that are waited for go first', async (t) => {
  const h = await open(t, await stargzImage(t, LAYERS));
  const hot = [
    { path: '/d/f7', ranges: [[0, 10]] },
    { path: '/d/f8', ranges: [[0, 1008]] },
    { path: '/d/big', ranges: [[70_000, 10]] },
    { path: '/nowhere', ranges: [[0, 10]] },
    { path: '/d/again', ranges: [[280_000, 1e9]] },
  ] as const;
  await h.service.prefetch(wishesFor(hot, h.image.layers));
  const before = h.requests.length;
  assert.equal(before, 1, 'one request, for several pieces');
  const bytes = h.requests[0]![2];
  // Two small files, two chunks of 64 KiB at most, and nothing of what lies between.
  assert.ok(bytes > 90_000 && bytes < 110_000, `${bytes} bytes`);
  await Promise.all([h.read('/d/f7'), h.read('/d/f8'), h.read('/d/big', 70_000, 10), h.read('/d/big', 290_000, 100)]);
  assert.equal(h.requests.length, before, 'all of it was here');
});

test('the rest is fetched in the background, and is then all here', async (t) => {
  const reference = await stargzImage(t, LAYERS);
  const directory = testDir(t);
  const h = await open(t, reference, { directory });
  h.service.fetchRest();
  for (let tries = 0; tries < 200; tries++) {
    if (h.layers.every((layer) => layer!.store.count === layer!.table.chunks.length)) break;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  h.close();
  const offline = await open(t, reference, { directory, offline: true });
  assert.deepEqual(await offline.read('/d/big'), BIG);
  for (let i = 0; i < 40; i++) assert.deepEqual(await offline.read(`/d/f${i}`), noise(1000 + i, i));
});

test('two processes fill the same cache; each uses what the other fetched', async (t) => {
  const reference = await stargzImage(t, LAYERS);
  const directory = testDir(t);
  const a = await open(t, reference, { directory });
  const b = await open(t, reference, { directory });
  assert.deepEqual(await a.read('/d/big'), BIG);
  assert.deepEqual(await b.read('/d/big'), BIG);
  assert.equal(b.requests.length, 0);
  assert.deepEqual(await b.read('/d/f1'), noise(1001, 1));
  assert.deepEqual(await a.read('/d/f1'), noise(1001, 1));
  assert.ok(readdirSync(join(directory, 'v1/layers')).length === 2);
});

test('a start that is known: the kernel does not get what lies around it, and what is here is told', async (t) => {
  const reference = await stargzImage(t, LAYERS);
  const directory = testDir(t);
  const first = await open(t, reference, { directory });
  await first.read('/d/big', 0, 1);
  first.close();
  const big = {
    path: '/d/big',
    ranges: [
      [0, 65_536],
      [131_072, 1],
    ],
  } as const;
  const h = await open(t, reference, { directory, start: { files: [big] } });
  const node = ['d', 'big'].reduce((at, name) => h.fs.lookup(at, name, NOBODY).ino, 1);
  assert.deepEqual([...h.fs.likely!(node)], [[0, 65_536]], 'of two chunks that a start needs, one is here');
  const read = (offset: number, length: number) => h.fs.read(node, 0, Buffer.alloc(length), 0, length, offset, NOBODY);
  assert.equal(read(0, 65_536), 65_536);
  // The second chunk is not needed: a read of more than a page that touches it fails, the page itself does not.
  assert.throws(() => read(61_440, 16_384), { errno: 5 });
  assert.equal(read(61_440, 4096), 4096);
  assert.ok(read(65_536, 4096) instanceof Later);
  // The third is: whoever reads in it alone waits for it.
  assert.ok(read(131_072, 16_384) instanceof Later);
  // Who asks again for the same wants it.
  assert.ok(read(61_440, 16_384) instanceof Later);
});
