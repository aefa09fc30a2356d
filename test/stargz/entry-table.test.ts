// What is put into the table comes out again, whatever page it is on.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cleanPath } from '../../src/paths.js';
import { EntryTable } from '../../src/stargz/entry-table.js';
import { copyEntry, type TarEntry } from '../../src/stargz/tar/entry.js';

let offset = 0;

function made(index: number, fields: Partial<TarEntry>): TarEntry {
  const { name = `f${index}`, payloadSize = 0, type = 'reg' } = fields;
  const headerOffset = offset;
  const payloadOffset = headerOffset + 512;
  offset = payloadOffset + Math.ceil(payloadSize / 512) * 512;
  const size = type === 'reg' ? payloadSize : 0;
  return {
    index,
    headerOffset,
    payloadOffset,
    payloadSize,
    end: offset,
    type,
    name,
    path: cleanPath(name),
    linkName: '',
    mode: 0o644,
    uid: 0,
    gid: 0,
    uname: 'root',
    gname: 'root',
    size,
    mtime: { sec: 1_700_000_000, nsec: 0 },
    devMajor: 0,
    devMinor: 0,
    ...fields,
  };
}

const ODD: Partial<TarEntry>[] = [
  { type: 'dir', name: './' },
  { type: 'dir', name: 'usr/', payloadSize: 700 },
  { name: '' },
  { name: '/a//b/../c', payloadSize: 2 ** 35 },
  { name: 'ünï/日本 😀', linkName: '' },
  { name: 'caf\udce9/\udc80', type: 'symlink', linkName: '\udcff' },
  { name: 'plain', type: 'symlink', linkName: 'ü' },
  { name: 'ü', type: 'hardlink', linkName: 'plain' },
  { name: 'x'.repeat(70_000), type: 'hardlink', linkName: 'ä'.repeat(40_000) },
  { name: 'null', type: 'char', devMajor: 1, devMinor: 3 },
  { name: 'disk', type: 'block', devMajor: 0, devMinor: 7 },
  { name: 'pipe', type: 'fifo' },
  { mode: -1, uid: -5, gid: 2 ** 40, uname: '', gname: 'ü\udcff' },
  { mode: 0o104755, uid: 1000, uname: 'a', gname: 'b' },
  { mtime: { sec: -62_167_219_200, nsec: 999_999_999 } },
  { mtime: { sec: 2 ** 40, nsec: 1 } },
  { xattrs: new Map([['user.x', Buffer.from([0, 255])]]) },
  { payloadSize: 512, size: 1_000_000, sparse: [{ offset: 5, length: 512, at: 99 }] },
];

for (const count of [1, 64, 65, 100_000]) {
  test(`${count} entries of each kind, in turn`, () => {
    const table = new EntryTable();
    const given = Array.from({ length: Math.max(count, ODD.length) }, (_, i) => {
      // The very long names only once.
      const fields = i < ODD.length ? ODD[i]! : { ...ODD[i % ODD.length], name: `dir/${i}`, linkName: '' };
      return made(i, fields);
    });
    for (const entry of given) table.add(entry);
    const stored = table.finish();
    assert.equal(stored.length, given.length);
    for (const [i, entry] of given.entries()) {
      const one = stored[i]!;
      // assert.deepEqual is too slow for so many.
      const { xattrs, sparse, ...fields } = copyEntry(one);
      for (const [key, value] of Object.entries(fields)) {
        const wanted = entry[key as keyof TarEntry];
        if (value !== wanted && key !== 'mtime') assert.equal(value, wanted, `${key} of entry ${i}`);
      }
      assert.ok(one.mtime.sec === entry.mtime.sec && one.mtime.nsec === entry.mtime.nsec, `time of entry ${i}`);
      assert.ok(xattrs === entry.xattrs && sparse === entry.sparse, `entry ${i}`);
      assert.equal(one.base, entry.path.slice(entry.path.lastIndexOf('/') + 1));
      assert.equal(stored[i], one);
    }
  });
}

test('the last entry may be cut off in its padding', () => {
  const table = new EntryTable();
  table.add(made(0, { payloadSize: 100 }));
  const { payloadOffset } = made(1, {});
  table.add({ ...made(1, { payloadSize: 700, devMajor: 4 }), payloadOffset });
  table.cutAt(payloadOffset + 800);
  const [first, second] = table.finish() as [TarEntry, TarEntry];
  assert.equal(first.end, first.payloadOffset + 512);
  assert.deepEqual([second.end, second.size, second.devMajor], [payloadOffset + 800, 700, 4]);
});
