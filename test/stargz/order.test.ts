import assert from 'node:assert/strict';
import { test } from 'node:test';
import { danglingHardlinks, prioritize } from '../../src/stargz/index.js';
import { dir, file, hardlink, opaque, symlink, tarOf } from '../support/tar.js';
import { build, withTar } from './blob.js';

const TREE = tarOf(
  dir('./'),
  dir('./a/'),
  dir('./a/b/'),
  file('./a/b/f', 'f'),
  file('./g', 'g'),
  hardlink('./a/l', './g'),
  hardlink('./ll', 'a/l'),
  symlink('./s', 'a'),
  opaque('./a/b'),
  file('no/parent/x', 'x'),
);

const CASES: { name: string; tar: Buffer; wanted: string[]; hot: string[]; rest?: string[]; missed?: string[] }[] = [
  { name: 'nothing wanted', tar: TREE, wanted: [], hot: [] },
  {
    name: 'directories first, from the root down, each with its opaque marker',
    tar: TREE,
    wanted: ['a/b/f'],
    hot: ['', 'a', 'a/b', 'a/b/.wh..wh..opq', 'a/b/f'],
    rest: ['g', 'a/l', 'll', 's', 'no/parent/x'],
  },
  { name: 'a chain of hardlinks, end first', tar: TREE, wanted: ['/ll'], hot: ['', 'a', 'g', 'a/l', 'll'] },
  {
    name: 'directories without an entry are no obstacle',
    tar: TREE,
    wanted: ['no/parent/x'],
    hot: ['', 'no/parent/x'],
  },
  { name: 'a symlink is moved, not followed', tar: TREE, wanted: ['s', 's/b/f'], hot: ['', 's'], missed: ['s/b/f'] },
  {
    name: 'what is missed moves nothing, not even its directory',
    tar: TREE,
    wanted: ['a/none', '../g'],
    hot: ['', 'g'],
    missed: ['a/none'],
  },
  { name: 'a directory moves alone', tar: TREE, wanted: ['a', 'a', './a/'], hot: ['', 'a'] },
  {
    name: 'a loop of hardlinks ends',
    tar: tarOf(hardlink('x', 'y'), hardlink('y', 'x')),
    wanted: ['x'],
    hot: ['y', 'x'],
  },
  { name: 'a hardlink out of the layer', tar: tarOf(hardlink('x', 'elsewhere')), wanted: ['x'], hot: ['x'] },
  {
    name: 'the last of a name, with the earlier ones before it',
    tar: tarOf(file('f', '1'), file('g', '1'), file('f', '2'), file('f', '3')),
    wanted: ['f'],
    hot: ['f', 'f', 'f'],
    rest: ['g'],
  },
  {
    name: 'entries of the format are in neither list',
    tar: tarOf(file('.no.prefetch.landmark', 'x'), file('f', '1'), file('stargz.index.json', '{}'), file('g', '1')),
    wanted: ['stargz.index.json', 'g'],
    hot: ['g'],
    rest: ['f'],
    missed: ['stargz.index.json'],
  },
];

for (const row of CASES) {
  test(row.name, () =>
    withTar(row.tar, async (_, scan) => {
      const order = prioritize(scan.entries, row.wanted);
      const paths = (indexes: readonly number[]) => indexes.map((i) => scan.entries[i]!.path);
      assert.deepEqual(paths(order.hot), row.hot);
      if (row.rest) assert.deepEqual(paths(order.rest), row.rest);
      assert.deepEqual(order.missed, row.missed ?? []);
      assert.deepEqual(
        [...order.rest],
        [...order.rest].sort((a, b) => a - b),
      );
      assert.equal(new Set([...order.hot, ...order.rest]).size, order.hot.length + order.rest.length);
    }),
  );
}

test('thirty thousand hardlinks in one chain take no time, from either end', { timeout: 20_000 }, async () => {
  const count = 30_000;
  const links = Array.from({ length: count }, (_, i) => hardlink(`l${i}`, i + 1 < count ? `l${i + 1}` : 'file'));
  await withTar(tarOf(...links, file('file', 'x')), async (_, scan) => {
    assert.deepEqual(danglingHardlinks(scan.entries), []);
    assert.equal(prioritize(scan.entries, ['l0']).hot.length, count + 1);
  });
  await withTar(tarOf(...links), async (_, scan) => assert.equal(danglingHardlinks(scan.entries).length, count));
  const { opened } = await build(tarOf(...links, file('file', 'x')), { level: 1 });
  assert.equal(opened.resolve(opened.byPath.get('l0')!).path, 'file');
});
