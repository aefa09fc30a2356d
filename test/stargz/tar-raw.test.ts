// Headers made byte by byte: what each dialect and each oddity means.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TarEntry } from '../../src/stargz/tar/entry.js';
import { readPayload } from '../../src/stargz/tar/scan.js';
import {
  charDevice,
  dir,
  END,
  entry,
  fifo,
  file,
  globalPax,
  gnuLong,
  gnuNumber,
  gnuSparse,
  hardlink,
  opaque,
  padTo,
  paxRecords,
  paxSparse,
  symlink,
  tarOf,
  whiteout,
} from '../support/tar.js';
import { random, scanBoth } from './scan-both.js';

const LONG = `${'long-name/'.repeat(30)}end`;
const LATIN1 = Buffer.from([0x66, 0xfc, 0x72]);
const BYTES = Buffer.from(Array.from({ length: 256 }, (_, i) => i));

/** Overwrites bytes of a single-block header and makes its checksum anew. */
function patched(block: Buffer, edits: Record<number, Uint8Array | string>): Buffer {
  const out = Buffer.from(block);
  for (const [at, bytes] of Object.entries(edits)) out.set(Buffer.from(bytes as string, 'latin1'), Number(at));
  out.fill(0x20, 148, 156);
  const sum = out.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  out.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return out;
}

/** The same header with the checksum as historic tars made it: bytes are signed. */
function signed(block: Buffer): Buffer {
  const out = Buffer.from(block);
  out.fill(0x20, 148, 156);
  const sum = out.subarray(0, 512).reduce((total, byte) => total + (byte > 127 ? byte - 256 : byte), 0);
  out.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return out;
}

interface Case {
  readonly title: string;
  readonly tar: Buffer;
  /** Members to compare, an entry each. */
  readonly want: Partial<TarEntry>[];
  /** One expression for each warning. */
  readonly warnings?: RegExp[];
}

const NO_END = /no end-of-archive blocks/;

const cases: Case[] = [
  {
    title: 'v7: a slash at the end makes a directory',
    tar: tarOf(
      dir('d/', { format: 'v7', typeflag: '\0', mode: 0o711 }),
      file('d/f', 'abc', { format: 'v7', typeflag: '\0', uid: 3, gid: 4, mtime: 5 }),
      hardlink('d/h', 'd/f', { format: 'v7' }),
    ),
    want: [
      { type: 'dir', name: 'd/', path: 'd', mode: 0o711, uname: '' },
      { type: 'reg', path: 'd/f', size: 3, uid: 3, gid: 4, mtime: { sec: 5, nsec: 0 } },
      { type: 'hardlink', linkName: 'd/f', size: 0 },
    ],
  },
  {
    title: 'a slash after the name of a file of type 0 is only a name',
    tar: tarOf(file('f/', 'abc')),
    want: [{ type: 'reg', name: 'f/', path: 'f', size: 3 }],
  },
  {
    title: 'ustar: prefix, owners, all types',
    tar: tarOf(
      file(`${'p/'.repeat(70)}name`, 'x', { uname: 'owner', gname: 'group', uid: 11, gid: 12, mode: 0o4755 }),
      symlink('s', '../elsewhere/../x'),
      charDevice('c', 5, 6),
      entry({ name: 'b', typeflag: '4', devmajor: 7, devminor: 8 }),
      fifo('p', { mode: 0o100644 }),
    ),
    want: [
      { name: `${'p/'.repeat(70)}name`, uname: 'owner', gname: 'group', uid: 11, gid: 12, mode: 0o4755 },
      { type: 'symlink', linkName: '../elsewhere/../x', size: 0 },
      { type: 'char', devMajor: 5, devMinor: 6 },
      { type: 'block', devMajor: 7, devMinor: 8 },
      { type: 'fifo', mode: 0o100644 },
    ],
  },
  {
    title: 'star: the prefix has 131 bytes, times follow it',
    tar: tarOf(
      patched(file('n', ''), { 345: 'q'.repeat(131), 476: '14000000000\0', 488: '14000000000\0', 508: 'tar\0' }),
    ),
    want: [{ name: `${'q'.repeat(131)}/n` }],
  },
  {
    title: 'GNU: what ustar calls prefix holds times',
    tar: tarOf(patched(file('n', '', { format: 'gnu' }), { 345: '14000000000\0', 357: '14000000000\0' })),
    want: [{ name: 'n' }],
  },
  {
    title: 'GNU long name and long link, in either order',
    tar: tarOf(
      entry({ name: LONG, linkname: `${LONG}2`, typeflag: '2', format: 'gnu' }),
      Buffer.concat([gnuLong('K', 'target'), gnuLong('L', 'name'), symlink('x', 'y', { format: 'gnu' })]),
      file('after', ''),
    ),
    want: [
      { type: 'symlink', name: LONG, linkName: `${LONG}2`, headerOffset: 0 },
      { name: 'name', linkName: 'target' },
      { name: 'after', linkName: '' },
    ],
  },
  {
    title: 'PAX wins over GNU, GNU over ustar',
    tar: tarOf(Buffer.concat([gnuLong('L', 'gnu'), file('ustar', '', { pax: { path: 'pax', comment: '' } })])),
    want: [{ name: 'pax', headerOffset: 0 }],
  },
  {
    title: 'two PAX headers before one entry, and the Solaris letter for them',
    tar: tarOf(
      Buffer.concat([
        entry({ name: 'x', typeflag: 'x', payload: paxRecords({ path: 'one', uname: 'u' }) }),
        entry({ name: 'X', typeflag: 'X', payload: paxRecords({ path: 'two' }) }),
        file('zero', ''),
      ]),
      file('next', ''),
    ),
    want: [
      { name: 'two', uname: 'u' },
      { name: 'next', uname: '' },
    ],
  },
  {
    title: 'numbers: base-256, spaces before, nothing after, empty',
    tar: tarOf(
      file('a', '', { format: 'gnu', uid: 1_000_000_000, gid: -2, mtime: -1 }),
      file('b', '', { raw: { uid: '   17 \0', gid: '0000021 ', mode: '\0\0  644 ', mtime: '21000000000\0' } }),
      file('c', '', { raw: { uid: '77777777', gid: '', mtime: '' } }),
      file('d', 'xy', {
        raw: {
          size: gnuNumber(2 ** 33, 12)
            .fill(0, 1, 11)
            .fill(2, 11),
        },
      }),
    ),
    want: [
      { uid: 1_000_000_000, gid: -2, mtime: { sec: -1, nsec: 0 } },
      { uid: 0o17, gid: 0o21, mode: 0o644, mtime: { sec: 0o21000000000, nsec: 0 } },
      { uid: 0o77777777, gid: 0, mtime: { sec: 0, nsec: 0 } },
      { size: 2 },
    ],
  },
  {
    title: 'PAX numbers and times',
    tar: tarOf(
      file('a', 'abc', {
        raw: { size: '00000000000' },
        pax: {
          size: '3',
          uid: '1000000',
          gid: '4294967294',
          uname: 'u\u00fc',
          gname: 'g',
          mtime: '2208988800.000000001',
        },
      }),
      file('b', '', { pax: { mtime: '-1' } }),
      file('c', '', { pax: { mtime: '-1.5' } }),
      file('d', '', { pax: { mtime: '-0.25' } }),
      file('e', '', { pax: { mtime: '12.' } }),
      file('f', '', { pax: { mtime: '0.1234567899' } }),
      file('g', '', { mtime: 99, pax: { mtime: '' } }),
      charDevice('h', 0, 0, { pax: { 'SCHILY.devmajor': '259', 'SCHILY.devminor': '1000000' } }),
    ),
    want: [
      { size: 3, uid: 1_000_000, gid: 4_294_967_294, uname: 'uü', gname: 'g', mtime: { sec: 2_208_988_800, nsec: 1 } },
      { mtime: { sec: -1, nsec: 0 } },
      { mtime: { sec: -2, nsec: 500_000_000 } },
      { mtime: { sec: -1, nsec: 750_000_000 } },
      { mtime: { sec: 12, nsec: 0 } },
      { mtime: { sec: 0, nsec: 123_456_789 } },
      { mtime: { sec: 99, nsec: 0 } },
      { devMajor: 259, devMinor: 1_000_000 },
    ],
  },
  {
    title: 'names, links and xattrs are bytes',
    tar: tarOf(
      file(LATIN1, '', { uname: LATIN1 }),
      symlink('l', LATIN1, { pax: { linkpath: Buffer.concat([LATIN1, LATIN1]), path: LATIN1 } }),
      file('x', '', {
        xattrs: { 'security.capability': Buffer.from('010000028000ff', 'hex'), 'user.all': BYTES, 'user.empty': '' },
      }),
      file('y', '', {
        pax: { 'LIBARCHIVE.xattr.user.a%3Db': 'gP8A', 'LIBARCHIVE.xattr.user.c': 'AA==', 'SCHILY.xattr.user.c': 'raw' },
      }),
      file('z', ''),
    ),
    want: [
      { name: 'f\udcfcr', uname: 'f\udcfcr' },
      { name: 'f\udcfcr', linkName: 'f\udcfcrf\udcfcr' },
      {
        xattrs: new Map<string, Buffer>([
          ['security.capability', Buffer.from('010000028000ff', 'hex')],
          ['user.all', BYTES],
          ['user.empty', Buffer.alloc(0)],
        ]),
      },
      {
        xattrs: new Map<string, Buffer>([
          ['user.a=b', Buffer.from('80ff00', 'hex')],
          ['user.c', Buffer.from('raw')],
        ]),
      },
      { name: 'z', xattrs: undefined as never },
    ],
  },
  {
    title: 'a checksum of signed bytes',
    tar: tarOf(signed(file(LATIN1, ''))),
    want: [{ name: 'f\udcfcr' }],
  },
  {
    title: 'a PAX header filled up with NULs',
    tar: tarOf(
      Buffer.concat([entry({ name: 'x', typeflag: 'x', payload: padTo(paxRecords({ path: 'p' })) }), file('u', '')]),
    ),
    want: [{ name: 'p' }],
  },
  {
    title: 'whiteouts are files; paths never leave the tree',
    tar: tarOf(
      whiteout('a/b'),
      opaque('a'),
      file('/abs', ''),
      file('../../up', ''),
      dir('./'),
      file('./a//b/../c', ''),
    ),
    want: [
      { type: 'reg', path: 'a/.wh.b' },
      { path: 'a/.wh..wh..opq' },
      { name: '/abs', path: 'abs' },
      { name: '../../up', path: 'up' },
      { type: 'dir', name: './', path: '' },
      { path: 'a/c' },
    ],
  },
  {
    title: 'global records rule what follows; own records override, empty ones cancel',
    tar: tarOf(
      file('before', '', { uid: 1 }),
      globalPax({ comment: 'from a commit', uid: '77', mtime: '5.5', 'SCHILY.xattr.user.g': 'v' }),
      file('ruled', '', { uid: 2 }),
      file('own', '', { pax: { uid: '3', 'SCHILY.xattr.user.g': 'w' } }),
      file('cancelled', '', { uid: 4, pax: { uid: '' } }),
      globalPax({ uid: '', mtime: '6' }),
      file('later', '', { uid: 5 }),
    ),
    want: [
      { uid: 1, mtime: { sec: 0, nsec: 0 } },
      { uid: 77, mtime: { sec: 5, nsec: 500_000_000 }, xattrs: new Map([['user.g', Buffer.from('v')]]) },
      { uid: 3, xattrs: new Map([['user.g', Buffer.from('w')]]) },
      { uid: 4, mtime: { sec: 5, nsec: 500_000_000 } },
      { uid: 5, mtime: { sec: 6, nsec: 0 }, xattrs: new Map([['user.g', Buffer.from('v')]]) },
    ],
    warnings: [/global PAX record "uid"/, /"mtime"/, /"SCHILY.xattr.user.g"/, /"mtime"/],
  },
  {
    title: 'contiguous files, unknown types, GNU incremental directories',
    tar: tarOf(
      file('seven', 'abc', { typeflag: '7' }),
      file('zett', 'abcd', { typeflag: 'Z' }),
      entry({ name: 'dump/', typeflag: 'D', payload: 'Yfile\0\0' }),
      file('end', 'x'),
    ),
    want: [
      { type: 'reg', size: 3 },
      { type: 'reg', size: 4 },
      { type: 'dir', size: 0, payloadSize: 7 },
      { path: 'end', size: 1 },
    ],
    warnings: [/entry "zett" .*unknown type "Z"/],
  },
  {
    title: 'volume labels and old lists of names are no entries',
    tar: tarOf(
      entry({ name: 'label', typeflag: 'V' }),
      file('a', ''),
      entry({ name: 'names', typeflag: 'N', payload: 'Rename a to b\n' }),
      file('b', ''),
    ),
    want: [{ path: 'a' }, { path: 'b' }],
    warnings: [/type N/],
  },
  {
    title: 'hardlinks with a size: the next header tells whether there is a payload',
    tar: tarOf(
      file('f', 'content'),
      hardlink('bare', 'f', { raw: { size: '00000000007\0' } }),
      entry({ name: 'with', typeflag: '1', linkname: 'f', payload: 'content' }),
      entry({ name: 'zeros', typeflag: '1', linkname: 'f', payload: Buffer.alloc(512) }),
      entry({ name: 'more-zeros', typeflag: '1', linkname: 'f', payload: Buffer.concat([Buffer.alloc(600), BYTES]) }),
      file('after', 'x'),
      hardlink('last', 'f', { raw: { size: '00000000007\0' } }),
    ),
    want: [
      { size: 7 },
      { type: 'hardlink', size: 0, payloadSize: 0 },
      { type: 'hardlink', size: 0, payloadSize: 7 },
      { payloadSize: 512 },
      { payloadSize: 856 },
      { path: 'after', size: 1 },
      { path: 'last', payloadSize: 0 },
    ],
  },
  {
    title: 'directories, links and devices with a size',
    tar: tarOf(
      entry({ name: 'd/', typeflag: '5', payload: 'hi' }),
      dir('e/', { raw: { size: '00000010000\0' } }),
      symlink('s', 't', { raw: { size: '00000000001\0' } }),
      charDevice('c', 1, 3, { raw: { size: '00000000001\0' } }),
      file('f', 'x'),
    ),
    want: [
      { type: 'dir', size: 0, payloadSize: 2 },
      { type: 'dir', size: 0, payloadSize: 0 },
      { type: 'symlink', size: 0, payloadSize: 0 },
      { type: 'char', payloadSize: 0 },
      { path: 'f', size: 1 },
    ],
  },
  { title: 'an empty layer', tar: END, want: [] },
  { title: 'no bytes at all', tar: Buffer.alloc(0), want: [], warnings: [NO_END] },
  { title: 'no end-of-archive blocks', tar: file('a', 'x'), want: [{ path: 'a' }], warnings: [NO_END] },
  {
    title: 'no end-of-archive blocks, no padding',
    tar: file('a', 'xyz').subarray(0, 512 + 3),
    want: [{ path: 'a', size: 3, end: 515 }],
    warnings: [NO_END],
  },
  {
    title: 'a link with a size at the very end',
    tar: hardlink('a', 'b', { raw: { size: '00000000007\0' } }),
    want: [{ type: 'hardlink', payloadSize: 0 }],
    warnings: [NO_END],
  },
  {
    title: 'a link with a short payload at the very end',
    tar: entry({ name: 'a', typeflag: '1', linkname: 'b', payload: 'xyz' }).subarray(0, 515),
    want: [{ type: 'hardlink', payloadSize: 3, end: 515 }],
    warnings: [NO_END],
  },
  {
    title: 'a single zero block ends the archive, as for GNU tar',
    tar: Buffer.concat([file('a', ''), Buffer.alloc(512), file('b', 'x')]),
    want: [{ path: 'a' }],
    warnings: [/single zero block at byte 512/, /bytes that are not zero follow/],
  },
  {
    title: 'a single zero block at the end of the file',
    tar: Buffer.concat([file('a', ''), Buffer.alloc(512)]),
    want: [{ path: 'a' }],
    warnings: [/single zero block/],
  },
  {
    title: 'zeros and rubbish after the end',
    tar: Buffer.concat([tarOf(file('a', '')), Buffer.alloc(10_240), Buffer.from('rubbish')]),
    want: [{ path: 'a' }],
    warnings: [/^7 bytes that are not zero/],
  },
];

for (const { title, tar, want, warnings = [] } of cases) {
  test(title, (t) => {
    const { scan } = scanBoth(t, tar);
    assert.equal(scan.entries.length, want.length);
    for (const [i, expected] of want.entries()) {
      const entry: Partial<TarEntry> = scan.entries[i]!;
      for (const key of Object.keys(expected) as (keyof TarEntry)[]) {
        assert.deepEqual(entry[key], expected[key], `${key} of entry ${i}`);
      }
    }
    assert.equal(scan.warnings.length, warnings.length, scan.warnings.join('\n'));
    for (const [i, expected] of warnings.entries()) assert.match(scan.warnings[i]!, expected);
  });
}

test('trailer: where the archive ends and how much is behind it', (t) => {
  const archive = tarOf(file('a', 'x'));
  const { scan } = scanBoth(t, Buffer.concat([archive, tarOf(file('b', ''))]));
  assert.equal(scan.end, 1024);
  assert.ok(scan.trailing > 20, `${scan.trailing} bytes`);
  assert.equal(scanBoth(t, Buffer.concat([archive, Buffer.alloc(300_000)])).scan.trailing, 0);
});

test('global headers: their bytes, records and the entry they come before', (t) => {
  const first = globalPax({ comment: 'abc' });
  const entry0 = file('a', 'x');
  const second = globalPax({ comment: '' });
  const { scan } = scanBoth(t, tarOf(first, entry0, second));
  assert.deepEqual(scan.globals, [
    { flag: 'g', headerOffset: 0, end: 1024, records: new Map([['comment', Buffer.from('abc')]]), firstEntry: 0 },
    { flag: 'g', headerOffset: 2048, end: 3072, records: new Map([['comment', Buffer.alloc(0)]]), firstEntry: 1 },
  ]);
});

// Sparse files: [offset, data] of each extent → the content with holes.
/** Letters that do not repeat, so that a byte from the wrong place shows. */
const letters = random(3);
const text = (length: number) => Array.from({ length }, () => String.fromCharCode(65 + letters() * 58)).join('');

const EXTENTS: Record<string, [number, string][]> = {
  'nothing but a hole': [],
  'one extent': [[5000, 'abc']],
  'data at both ends': [
    [0, 'start'],
    [99_994, 'finish'],
  ],
  'four extents': [1, 2, 3, 4].map((i) => [i * 1000, text(600)]),
  'five extents': [1, 2, 3, 4, 5].map((i) => [i * 1000, text(600)]),
  'sixty extents, some side by side': Array.from({ length: 60 }, (_, i) => [i * 1000, text(i % 3 === 0 ? 1000 : i)]),
};

function expanded(size: number, extents: [number, string][]): Buffer {
  const out = Buffer.alloc(size);
  for (const [offset, data] of extents) out.write(data, offset);
  return out;
}

/** PAX sparse formats 0.0 and 0.1 with the records that GNU tar writes. */
function paxSparse0(minor: 0 | 1, name: string, size: number, extents: [number, string][]): Buffer {
  const pairs = extents.map(([offset, data]) => [offset, data.length] as const);
  const head = { 'GNU.sparse.size': String(size), 'GNU.sparse.numblocks': String(pairs.length) };
  const records =
    minor === 1
      ? [paxRecords({ ...head, 'GNU.sparse.name': name, 'GNU.sparse.map': pairs.flat().join(',') })]
      : [
          paxRecords(head),
          ...pairs.map(([offset, length]) =>
            paxRecords({ 'GNU.sparse.offset': String(offset), 'GNU.sparse.numbytes': String(length) }),
          ),
        ];
  return Buffer.concat([
    entry({ name: 'PaxHeaders/sp', typeflag: 'x', payload: Buffer.concat(records) }),
    file(minor === 1 ? 'GNUSparseFile.0/sp' : name, extents.map(([, data]) => data).join('')),
  ]);
}

for (const [title, extents] of Object.entries(EXTENTS)) {
  const size = 100_000;
  const forms = {
    'old GNU': gnuSparse('dir/sp', size, extents),
    'PAX 0.0': paxSparse0(0, 'dir/sp', size, extents),
    'PAX 0.1': paxSparse0(1, 'dir/sp', size, extents),
    'PAX 1.0': paxSparse('dir/sp', size, extents),
  };
  for (const [form, bytes] of Object.entries(forms)) {
    test(`sparse, ${form}: ${title}`, (t) => {
      const { scan, at, content, fd } = scanBoth(t, tarOf(file('first', 'a'), bytes, file('last', 'z')));
      const sparse = at('dir/sp');
      const want = expanded(size, extents);
      assert.equal(sparse.type, 'reg');
      assert.equal(sparse.size, size);
      assert.ok(sparse.sparse);
      assert.ok(content(sparse).equals(want));
      assert.equal(content(at('last')).toString(), 'z');
      assert.deepEqual(scan.warnings, []);
      // Random pieces, each overwriting rubbish.
      const next = random(7);
      for (let i = 0; i < 200; i++) {
        const offset = Math.floor(next() * (size + 100));
        const into = Buffer.alloc(Math.floor(next() * 3000), 0xee);
        const got = readPayload(fd, sparse, offset, into);
        assert.equal(got, Math.max(0, Math.min(into.length, size - offset)));
        assert.ok(into.subarray(0, got).equals(want.subarray(offset, offset + got)));
      }
    });
  }
}
