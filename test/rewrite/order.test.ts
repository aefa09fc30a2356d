// Which entries go before the landmark, and in what order: one row per rule.
import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { linkTargets, orderEntries } from '../../src/rewrite/order.js';
import { copyEntry, type TarEntry } from '../../src/stargz/tar/entry.js';
import { scanTarFd } from '../../src/stargz/tar/scan.js';
import { dir, file, hardlink, opaque, symlink, tarOf, whiteout } from '../support/tar.js';

function entriesOf(...entries: Buffer[]): readonly TarEntry[] {
  const work = mkdtempSync(join(tmpdir(), 'hl-order-'));
  const tar = tarOf(...entries);
  writeFileSync(join(work, 't'), tar);
  const fd = openSync(join(work, 't'), 'r');
  try {
    return scanTarFd(fd, tar.length).entries;
  } finally {
    closeSync(fd);
    rmSync(work, { recursive: true });
  }
}

interface Row {
  name: string;
  in: Buffer[];
  hot: string[];
  /** Entries before the landmark, then those behind it, as `name` or `name#index` where a name occurs twice. */
  want: [before: string[], behind: string[]];
  missed?: string[];
}

const ROWS: Row[] = [
  {
    name: 'nothing planned leaves everything where it was',
    in: [dir('a/'), file('a/x', '1')],
    hot: [],
    want: [[], ['a/', 'a/x']],
  },
  {
    name: 'parents first, then plan order',
    in: [dir('./'), dir('a/'), file('a/x', '1'), dir('b/'), dir('b/c/'), file('b/c/y', '1'), file('z', '1')],
    hot: ['b/c/y', 'a/x'],
    want: [['./', 'b/', 'b/c/', 'b/c/y', 'a/', 'a/x'], ['z']],
  },
  {
    name: 'a parent that comes after its child in the tar',
    in: [file('a/b/x', '1'), dir('a/b/'), dir('a/')],
    hot: ['a/b/x'],
    want: [['a/', 'a/b/', 'a/b/x'], []],
  },
  {
    name: 'parents without entries do not matter',
    in: [file('a/b/x', '1'), file('a/y', '1')],
    hot: ['a/y'],
    want: [['a/y'], ['a/b/x']],
  },
  {
    name: 'the target of a hardlink, of a chain of them, with their parents',
    in: [dir('t/'), file('t/x', '1'), hardlink('l1', 't/x'), dir('d/'), hardlink('d/l2', 'l1')],
    hot: ['d/l2'],
    want: [['d/', 't/', 't/x', 'l1', 'd/l2'], []],
  },
  {
    name: 'symlinks move alone',
    in: [dir('usr/'), file('usr/x', '1'), symlink('x', 'usr/x')],
    hot: ['x'],
    want: [['x'], ['usr/', 'usr/x']],
  },
  {
    name: 'a directory moves without its children',
    in: [dir('a/'), file('a/x', '1')],
    hot: ['a'],
    want: [['a/'], ['a/x']],
  },
  {
    name: 'spellings of a name, repeated names and missing ones',
    in: [file('./a', '1'), file('/b', '1'), file('../c', '1')],
    hot: ['c', 'a', 'a', '/b', 'nope', 'n/o'],
    want: [['../c', './a', '/b'], []],
    missed: ['nope', 'n/o'],
  },
  {
    name: 'entries of one name keep their order: the last one counts',
    in: [file('a', 'old'), file('b', '1'), file('a', 'new')],
    hot: ['a'],
    want: [['a#0', 'a#2'], ['b']],
  },
  {
    name: 'a file that takes the place of a directory with children',
    in: [dir('a/'), file('a/x', '1'), file('q', '1'), file('a', 'now a file')],
    hot: ['a'],
    want: [['a/#0', 'a/x', 'a#3'], ['q']],
  },
  {
    name: 'a child written through a symlink of this layer comes after the symlink',
    in: [dir('usr/'), symlink('lib', 'usr'), file('lib/x', '1'), file('q', '1')],
    hot: ['lib/x'],
    want: [
      ['lib', 'lib/x'],
      ['usr/', 'q'],
    ],
  },
  {
    name: 'a whiteout and the file that replaces what it hides keep their order',
    in: [whiteout('d/x'), file('d/x', 'new'), opaque('e'), file('e/y', '1')],
    hot: ['d/x', 'e/y'],
    want: [['d/.wh.x', 'd/x', 'e/.wh..wh..opq', 'e/y'], []],
  },
  {
    name: 'a file that tar was given twice: the second entry is a link to itself',
    in: [file('q', '1'), file('a', '1'), hardlink('a', 'a'), hardlink('b', 'a')],
    hot: ['b'],
    want: [
      ['a#1', 'b'],
      ['q', 'a#2'],
    ],
  },
  {
    name: 'a hardlink to itself and a ring do not hang',
    in: [hardlink('a', 'a'), hardlink('b', 'c'), hardlink('c', 'b')],
    hot: ['c', 'a'],
    want: [['b', 'c', 'a'], []],
  },
];

for (const row of ROWS) {
  test(row.name, () => {
    const entries = entriesOf(...row.in);
    const order = orderEntries(entries, row.hot);
    const paths = entries.map((e) => e.path);
    const show = (e: TarEntry) =>
      paths.indexOf(e.path) === paths.lastIndexOf(e.path) ? e.name : `${e.name}#${e.index}`;
    assert.deepEqual([order.hot.map(show), order.rest.map(show)], row.want);
    assert.deepEqual(order.missed, row.missed ?? []);
    assert.equal(order.hot.length + order.rest.length, entries.length);
  });
}

test('a link resolves only to an entry that a TOC would show in its place', () => {
  const entries = entriesOf(
    hardlink('forward', 't'),
    file('t', '1'),
    hardlink('good', './t'),
    file('twice', '1'),
    hardlink('stale', 'twice'),
    file('twice', '2'),
    hardlink('elsewhere', 'lower/x'),
    hardlink('t', 't'),
    hardlink('good too', 't'),
  );
  assert.deepEqual([...linkTargets(entries)], [-1, -1, 1, -1, -1, -1, -1, 1, 1]);
});

test('a hundred thousand hardlinks in a chain, and as many entries of one name', () => {
  const entries: TarEntry[] = [];
  const template = entriesOf(file('f0', 'x'), hardlink('f1', 'f0'), file('same', '1'));
  const [link, same] = [copyEntry(template[1]!), copyEntry(template[2]!)];
  const n = 100_000;
  for (let i = 0; i < n; i++) {
    entries.push(i === 0 ? template[0]! : { ...link, index: i, name: `f${i}`, path: `f${i}`, linkName: `f${i - 1}` });
  }
  for (let i = 0; i < n; i++) entries.push({ ...same, index: n + i });
  const started = Date.now();
  const order = orderEntries(entries, [`f${n - 1}`, 'same']);
  assert.equal(order.hot.length, 2 * n);
  assert.deepEqual(
    order.hot.map((e) => e.index),
    entries.map((_, i) => i),
  );
  assert.ok(Date.now() - started < 5000, 'this must not be quadratic');
});
