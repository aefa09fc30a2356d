// optimize → verify through real layouts, and the result in the eyes of gzip, GNU tar and bsdtar.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import {
  charDevice,
  dir,
  fifo,
  file,
  globalPax,
  gnuSparse,
  hardlink,
  opaque,
  paxSparse,
  symlink,
  tarOf,
  whiteout,
} from '../support/tar.js';
import { blobsOf, CHUNK, complaints, tarsOf, Workbench } from './workbench.js';

const listed = (tar: Buffer) =>
  execFileSync('tar', ['-tf', '-', '--quoting-style=escape'], { input: tar }).toString().trim().split('\n');

const big = Buffer.from(Array.from({ length: 3 * CHUNK + 100 }, (_, i) => (i * 7919) >> 5));

/** An image with everything in it that layers are known to hold. */
const ODD: Buffer[] = [
  tarOf(
    globalPax({ comment: '0123456789abcdef' }),
    dir('./', { mode: 0o755 }),
    dir('./etc/', { uid: 1, gid: 2, uname: 'one', gname: 'two' }),
    file('./etc/passwd', 'root:x:0:0::/:/bin/sh\n', { mtime: { sec: 1_700_000_000, nsec: 123456789 } }),
    file('./etc/empty'),
    file('./big', big, { uid: 1000000, gid: 2000000, mtime: 2208988800 }),
    file('./caps', 'x', {
      xattrs: { 'security.capability': Buffer.from('0100000280000000000000000000000000000000', 'hex') },
    }),
    hardlink('./big2', './big'),
    symlink('./link', 'etc/passwd'),
    charDevice('./null', 1, 3),
    fifo('./pipe'),
    file('./old', 'before 1970', { mtime: -1, format: 'gnu' }),
    file('./latin\udce9', 'caf\u00e9'),
    gnuSparse('./sparse', 100_000, [
      [5000, 'data'],
      [70_000, 'more'],
      [100_000, ''],
    ]),
    paxSparse('./sparse2', 200_000, [
      [65_536, 'pax'],
      [200_000, ''],
    ]),
  ),
  tarOf(),
  tarOf(
    // No entries for parent directories; replaced, removed, linked across layers.
    file('etc/passwd', 'changed\n'),
    whiteout('big2'),
    hardlink('usr/lib/copy', 'big'),
    hardlink('usr/lib/sparse', 'sparse'),
    opaque('etc'),
    file('usr/bin/tool', 'tool', { mode: 0o4755 }),
    file('usr/bin/tool', 'tool v2', { mode: 0o4755 }),
  ),
];
const HOT = [['big2', 'etc/empty', 'sparse'], [], ['usr/bin/tool', 'usr/lib/copy']];

test('an odd image keeps everything, and verification says so', async () => {
  using bench = new Workbench();
  const before = bench.layout({
    layers: ODD,
    media: 'docker',
    config: {
      config: { Env: ['A=b'] },
      history: [{ created_by: 'x' }, { empty_layer: true }],
      'x-unknown': { a: [1] },
    },
    annotations: { 'org.example.kept': 'yes' },
  });
  const { reference, result, plan } = await bench.optimize(before, HOT);
  const report = await bench.verify(before, reference, plan);
  assert.deepEqual(complaints(report), []);
  assert.ok(report.ok);
  assert.deepEqual(
    report.exceptions.map((e) => [e.layer, e.kind, e.entry]),
    [
      [0, 'sparse-expanded', './sparse'],
      [0, 'sparse-expanded', './sparse2'],
      [2, 'hardlink-copied', 'usr/lib/copy'],
      [2, 'hardlink-copied', 'usr/lib/sparse'],
    ],
  );
  assert.deepEqual(
    result.layers.map((l) => [l.entries, l.hotEntries, l.landmark]),
    [
      [14, 6, 'prefetch'],
      [0, 0, 'no-prefetch'],
      [7, 3, 'prefetch'],
    ],
  );
  const tars = await tarsOf(reference);
  assert.deepEqual(listed(tars[0]!), [
    './',
    './big',
    './big2',
    './etc/',
    './etc/empty',
    './sparse',
    '.prefetch.landmark',
    './etc/passwd',
    './caps',
    './link',
    './null',
    './pipe',
    './old',
    './latin\\351',
    './sparse2',
    'stargz.index.json',
  ]);
  assert.deepEqual(listed(tars[1]!), ['.no.prefetch.landmark', 'stargz.index.json']);
  for (const blob of await blobsOf(reference)) execFileSync('gzip', ['-t'], { input: blob });
  const codes = result.warnings.map((w) => `${w.layer} ${w.code} ${w.entry}`);
  assert.deepEqual(codes, [
    '0 name-not-utf8 latin\\xe9',
    '0 sparse-expanded sparse',
    '0 sparse-expanded sparse2',
    '2 hardlink-copied usr/lib/copy',
    '2 hardlink-copied usr/lib/sparse',
    '2 duplicate-name usr/bin/tool',
  ]);
});
