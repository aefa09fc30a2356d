// What the encoder makes is read back with GNU tar and bsdtar, which we did not write.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  charDevice,
  dir,
  fifo,
  file,
  globalPax,
  gnuSparse,
  hardlink,
  type Meta,
  opaque,
  paxSparse,
  symlink,
  tarOf,
  whiteout,
} from './tar.js';
import { lacking } from './tools.js';

const listed = (tar: Buffer) =>
  execFileSync('tar', ['--numeric-owner', '--full-time', '-tvf', '-'], {
    input: tar,
    env: { ...process.env, TZ: 'UTC', LC_ALL: 'C' },
  })
    .toString()
    .trim()
    .split('\n')
    .map((line) => line.replace(/ +/g, ' '));

test('GNU tar lists what was put in', () => {
  const long = `${'d'.repeat(90)}/${'e'.repeat(90)}/${'f'.repeat(120)}`;
  const lines = listed(
    tarOf(
      dir('a/', { uid: 1, gid: 2 }),
      file('a/b', 'xyz', { uid: 1000000, gid: 3000000, mtime: { sec: 2208988800, nsec: 250000000 } }),
      symlink('a/l', 'b'),
      hardlink('a/h', 'a/b'),
      charDevice('null', 1, 3),
      fifo('p', { mode: 0o600 }),
      file(long, '1', { mtime: 1 }),
      file(long, '12', { format: 'gnu', uid: 5000000 }),
      whiteout('a/gone'),
      opaque('a'),
    ),
  );
  assert.deepEqual(lines, [
    'drwxr-xr-x 1/2 0 1970-01-01 00:00:00 a/',
    '-rw-r--r-- 1000000/3000000 3 2040-01-01 00:00:00.25 a/b',
    'lrwxrwxrwx 0/0 0 1970-01-01 00:00:00 a/l -> b',
    'hrw-r--r-- 0/0 0 1970-01-01 00:00:00 a/h link to a/b',
    'crw-r--r-- 0/0 1,3 1970-01-01 00:00:00 null',
    'prw------- 0/0 0 1970-01-01 00:00:00 p',
    `-rw-r--r-- 0/0 1 1970-01-01 00:00:01 ${long}`,
    `-rw-r--r-- 5000000/0 2 1970-01-01 00:00:00 ${long}`,
    '-rw-r--r-- 0/0 0 1970-01-01 00:00:00 a/.wh.gone',
    '-rw-r--r-- 0/0 0 1970-01-01 00:00:00 a/.wh..wh..opq',
  ]);
});

test('sparse files of both kinds extract to the same bytes', () => {
  const work = mkdtempSync(join(tmpdir(), 'hl-tar-'));
  try {
    const extents = Array.from({ length: 30 }, (_, i): [number, string] => [i * 8192, String(i % 10).repeat(512)]);
    const size = 30 * 8192 + 5;
    const want = Buffer.alloc(size);
    for (const [offset, data] of extents) want.write(data, offset);
    const ends: [number, string][] = [...extents, [size, '']];
    execFileSync('tar', ['-xf', '-', '-C', work], {
      input: tarOf(gnuSparse('old', size, ends), paxSparse('new', size, ends)),
    });
    assert.ok(readFileSync(join(work, 'old')).equals(want));
    assert.ok(readFileSync(join(work, 'new')).equals(want));
  } finally {
    rmSync(work, { recursive: true });
  }
});

test('numbers below zero, binary xattrs and raw fields come out as bsdtar reads them', {
  skip: lacking('bsdtar'),
}, () => {
  const work = mkdtempSync(join(tmpdir(), 'hl-tar-'));
  try {
    const meta: Meta = { mtime: -1, format: 'gnu' };
    const tar = tarOf(
      globalPax({ comment: 'c' }),
      file('old', '', meta),
      file('x', 'abc', { xattrs: { 'user.bin': Buffer.from([0xff, 0x00, 0x80]) } }),
      file('latin\udce9', '', { raw: { uname: 'me' } }),
    );
    writeFileSync(join(work, 't.tar'), tar);
    const mtree = execFileSync('bsdtar', ['--format=mtree', '--options=mtree:time,mtree:uname', '-cf', '-', '@t.tar'], {
      cwd: work,
    }).toString('latin1');
    assert.match(mtree, /^\.\/old .*time=-1\.0/m);
    assert.match(mtree, /^\.\/latin\\351 .*uname=me/m);
    execFileSync('tar', ['--xattrs', '--xattrs-include=user.*', '-xf', 't.tar', 'x'], { cwd: work });
    assert.equal(readFileSync(join(work, 'x'), 'utf8'), 'abc');
  } finally {
    rmSync(work, { recursive: true });
  }
});
