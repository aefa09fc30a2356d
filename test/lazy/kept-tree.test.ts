// The tree of an image is kept when a run has ended, and the next one takes it as it lies there: the same in every detail.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fsArgs } from '../../src/lazy/fs-args.js';
import type { LazyFsArgs } from '../../src/lazy/lazy-fs.js';
import { PackedTree } from '../../src/lazy/packed-tree.js';
import type { LayersFs } from '../../src/rootfs/layers-fs.js';
import type { FileTree } from '../../src/rootfs/tree.js';
import { type Caller, FsError } from '../../src/rootfs/types.js';
import { noise } from '../e2e/sample.js';
import { Random, randomImage } from '../rewrite/random-image.js';
import { ofRootFs } from '../rootfs/snapshot.js';
import { charDevice, dir, file, hardlink, symlink, tarOf, whiteout } from '../support/tar.js';
import { testDir } from '../support/temp.js';
import { type Harness, open, stargzImage } from './harness.js';

const NOBODY: Caller = { pid: 0, uid: 0, gid: 0 };
const BIG = noise(300_000, 7);

const LAYERS = [
  tarOf(
    dir('d/'),
    file('d/big', BIG),
    hardlink('d/again', 'd/big'),
    file('d/hidden', 'x'),
    symlink('d/link', 'grüße/日本'),
    file('d/grüße', 'latin1'),
    file('d/日本 😀', 'wider'),
    charDevice('d/null', 1, 3),
    file('d/attributes', 'x', { xattrs: { 'user.a': 'b' } }),
  ),
  tarOf(whiteout('d/hidden'), file('implied/directory/file', 'x'), file('empty', '')),
];

/** All that is seen of a tree, names and attributes; content is read elsewhere. */
function seen({ fs }: Harness): string[] {
  const lines = ofRootFs(fs, { content: false });
  const xattrs = (node: number, path: string): void => {
    for (const { name, node: below, type } of fs.readdir(node, NOBODY)) {
      for (const [key, value] of fs.xattrs(below, NOBODY)) lines.push(`${path}/${name} ${key}=${value}`);
      lines.push(`${fs.pathOf(below)} ${fs.parent(below)}`);
      if (type === 'dir') xattrs(below, `${path}/${name}`);
    }
  };
  xattrs(1, '');
  return [...lines, JSON.stringify(fs.statfs())];
}

const isKept = ({ fs }: Harness) => (fs as LayersFs<FileTree>).tree instanceof PackedTree;
const fileOf = ({ image }: Harness, start?: LazyFsArgs['start']) => fsArgs(image.fs, start).kept!.file;

test('a tree that was kept is the tree that was made', async (t) => {
  const random = Array.from({ length: 8 }, (_, seed) => randomImage(new Random(seed * 131)).layers);
  for (const layers of [LAYERS, ...random]) {
    const reference = await stargzImage(t, layers);
    const directory = testDir(t);
    const first = await open(t, reference, { directory });
    const made = seen(first);
    assert.ok(!isKept(first));
    assert.ok(!existsSync(fileOf(first)), 'a start does not wait for it');
    first.close();
    const second = await open(t, reference, { directory });
    assert.ok(isKept(second));
    assert.deepEqual(seen(second), made);
    second.close();
  }
});

test('what is read through it', async (t) => {
  const reference = await stargzImage(t, LAYERS);
  const directory = testDir(t);
  (await open(t, reference, { directory })).close();
  const h = await open(t, reference, { directory });
  assert.ok(isKept(h));
  assert.deepEqual(await h.read('/d/again'), BIG);
  assert.deepEqual(await h.read('/d/日本 😀'), Buffer.from('wider'));
  assert.deepEqual(await h.read('/empty'), Buffer.alloc(0));
  for (const [name, errno] of [
    ['hidden', 2],
    ['nothing', 2],
  ] as const)
    assert.throws(
      () => h.fs.lookup(h.fs.lookup(1, 'd', NOBODY).ino, name, NOBODY),
      (error) => error instanceof FsError && error.errno === errno,
    );
  assert.throws(() => h.fs.getattr(1_000_000, NOBODY), FsError);
});

test('a start is part of it', async (t) => {
  const reference = await stargzImage(t, LAYERS);
  const directory = testDir(t);
  const start: LazyFsArgs['start'] = { files: [{ path: '/d/big', ranges: [[65_536, 10]] }] };
  const likely = async () => {
    const h = await open(t, reference, { directory, start });
    await h.read('/d/big', 65_536, 10);
    const found = [...h.fs.likely!(h.fs.lookup(h.fs.lookup(1, 'd', NOBODY).ino, 'big', NOBODY).ino)];
    const kept = isKept(h);
    h.close();
    return { kept, found };
  };
  (await open(t, reference, { directory })).close();
  const made = await likely();
  assert.deepEqual([made.kept, made.found.length], [false, 1], 'not that of the run without one');
  assert.deepEqual(await likely(), { kept: true, found: made.found });
});

const DAMAGES: readonly { readonly name: string; damage(bytes: Buffer): Buffer }[] = [
  { name: 'nothing in it', damage: () => Buffer.alloc(0) },
  { name: 'another file', damage: () => Buffer.from('{"version":1,"entries":[]}') },
  { name: 'cut off', damage: (bytes) => bytes.subarray(0, bytes.length - 8) },
  { name: 'cut off in its head', damage: (bytes) => bytes.subarray(0, 100) },
  ...[0, 9, 13, 40, 0.3, 0.6, 0.999].map((place) => ({
    name: `a bit at ${place}`,
    damage(bytes: Buffer) {
      const damaged = Buffer.from(bytes);
      damaged[place < 1 && place > 0 ? Math.floor(place * bytes.length) : place]! ^= 4;
      return damaged;
    },
  })),
];

test('one that is damaged is made again', async (t) => {
  const reference = await stargzImage(t, LAYERS);
  const directory = testDir(t);
  const first = await open(t, reference, { directory });
  const made = seen(first);
  first.close();
  const kept = fileOf(first);
  const good = readFileSync(kept);
  for (const { name, damage } of DAMAGES) {
    writeFileSync(kept, damage(good));
    const again = await open(t, reference, { directory });
    assert.ok(!isKept(again), name);
    assert.deepEqual(seen(again), made, name);
    again.close();
    assert.deepEqual(readFileSync(kept), good, `${name}: it is kept again`);
  }
});

test('a layer that was fetched whole, or a cache that cannot be written: none is kept', async (t) => {
  const reference = await stargzImage(t, LAYERS);
  const h = await open(t, reference);
  const [lower, upper] = h.image.fs;
  assert.equal(fsArgs([{ kind: 'tar', directory: lower!.directory, name: 'layer 0' }, upper!]).kept, undefined);
  assert.equal(fsArgs([]).kept, undefined);
  rmSync(upper!.directory, { recursive: true });
  h.close();
  assert.ok(!existsSync(fileOf(h)));
});
