// LayersFs over tars that GNU tar made of real trees, compared with those trees; and the numbers that only odd
// headers have.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { pathToBytes } from '../../src/paths.js';
import { type LayersFs, type LayersFsOptions, openLayersFs } from '../../src/rootfs/layers-fs.js';
import { ERRNO, FsError, ROOT_NODE } from '../../src/rootfs/types.js';
import { makeTempDir } from '../../src/temp.js';
import * as tar from '../support/tar.js';
import { lacking } from '../support/tools.js';
import { NOBODY, ofDirectory, ofRootFs, random, readAll } from './snapshot.js';

const temp = makeTempDir(undefined, 'layers-fs-test');
const fds: number[] = [];
after(() => {
  for (const fd of fds) closeSync(fd);
  temp.remove();
});

function openTars(files: string[], options: LayersFsOptions = {}): LayersFs {
  const layers = files.map((file) => {
    const fd = openSync(file, 'r');
    fds.push(fd);
    return { fd, size: lstatSync(file).size };
  });
  return openLayersFs(layers, options);
}

let written = 0;
function fsOf(layers: Buffer[], options: LayersFsOptions = {}): LayersFs {
  return openTars(
    layers.map((bytes) => {
      const file = join(temp.path, `layer-${written++}.tar`);
      writeFileSync(file, bytes);
      return file;
    }),
    options,
  );
}

function gnuTar(dir: string, ...args: string[]): string {
  const file = join(temp.path, `gnu-${written++}.tar`);
  execFileSync('tar', [...args, '-cf', file, '-C', dir, '.']);
  return file;
}

const at = (fs: LayersFs, path: string) => fs.tree.resolve(path).id;
const attr = (fs: LayersFs, path: string) => fs.getattr(at(fs, path), NOBODY);
const errno = (fn: () => unknown): number => {
  try {
    fn();
  } catch (error) {
    if (error instanceof FsError) return error.errno;
    throw error;
  }
  return 0;
};

/** A tree with what file systems have: links, times, modes, odd names, an empty and a sparse file. */
function makeTree(dir: string): void {
  const next = random(7);
  mkdirSync(join(dir, 'deep', 'er', 'still'), { recursive: true });
  for (let i = 0; i < 40; i++) {
    const bytes = Buffer.from(Array.from({ length: Math.floor(next() * 9000) }, () => Math.floor(next() * 256)));
    const file = join(dir, i % 3 ? 'deep' : 'deep/er', `file-${i}`);
    writeFileSync(file, bytes);
    chmodSync(file, [0o644, 0o4755, 0o600, 0o2711][i % 4]!);
    utimesSync(file, i, 1_700_000_000.25 + i);
  }
  writeFileSync(join(dir, 'empty'), '');
  linkSync(join(dir, 'deep/file-1'), join(dir, 'hard-1'));
  linkSync(join(dir, 'deep/file-1'), join(dir, 'deep/er/hard-2'));
  symlinkSync('../deep/./er', join(dir, 'deep/link'));
  symlinkSync('/nowhere/\u00e9', join(dir, 'dangling'));
  writeFileSync(Buffer.concat([Buffer.from(`${dir}/latin1-`), Buffer.from([0xe9, 0xff])]), 'x');
  writeFileSync(join(dir, 'n'.repeat(255)), 'long');
  execFileSync('mkfifo', [join(dir, 'deep/fifo')]);
  chmodSync(join(dir, 'deep/er/still'), 0o1777);
  utimesSync(join(dir, 'deep/er/still'), 1, 2);
}

describe('one layer from GNU tar', { skip: lacking('tar', 'mkfifo') }, () => {
  const dir = join(temp.path, 'tree');
  mkdirSync(dir);
  makeTree(dir);
  for (const format of ['posix', 'gnu']) {
    test(`${format}: types, modes, owners, links, times and contents are those on disk`, () => {
      const fs = openTars([gnuTar(dir, `--format=${format}`)]);
      // The GNU format has whole seconds.
      const whole = (lines: string[]) => (format === 'gnu' ? lines.map((l) => l.replace(/\.\d{9} /, ' ')) : lines);
      assert.deepEqual(whole(ofRootFs(fs)), whole(ofDirectory(dir)));
      assert.deepEqual(fs.tree.warnings, []);
    });
  }

  test('reads at random offsets, into the middle of a buffer', () => {
    const fs = openTars([gnuTar(dir)]);
    const next = random(11);
    const files = [...fs.tree.files()].filter((file) => file.size > 0);
    assert.ok(files.length > 40);
    for (let i = 0; i < 500; i++) {
      const { path, node, size } = files[Math.floor(next() * files.length)]!;
      const offset = Math.floor(next() * (size + 20));
      const length = Math.floor(next() * 5000);
      const got = Buffer.alloc(length + 20, 0xaa);
      const want = Buffer.alloc(length + 20, 0xaa);
      const n = fs.read(node.id, 0, got, 7, length, offset, NOBODY);
      const fd = openSync(pathToBytes(dir + path), 'r');
      try {
        assert.equal(n, readSync(fd, want, 7, length, offset), `${path} ${offset}+${length}`);
      } finally {
        closeSync(fd);
      }
      assert.ok(got.equals(want), `${path} ${offset}+${length}`);
    }
  });

  test('sparse files of 6 GiB: GNU and all PAX formats', () => {
    const sparse = join(temp.path, 'sparse');
    mkdirSync(sparse);
    const file = join(sparse, 'big');
    const size = 6 * 2 ** 30 + 123;
    const spots: [number, string][] = [
      [0, 'start'],
      [2 ** 32 - 3, 'across 4 GiB'],
      [5 * 2 ** 30, 'x'.repeat(70_000)],
      [size - 3, 'end'],
    ];
    writeFileSync(file, '');
    truncateSync(file, size);
    const fd = openSync(file, 'r+');
    for (const [offset, text] of spots) writeSync(fd, text, offset);
    closeSync(fd);
    const formats = ['--format=gnu', ...['0.0', '0.1', '1.0'].map((v) => `--sparse-version=${v}`)];
    for (const format of formats) {
      const args = format.startsWith('--sparse') ? ['--format=posix', format] : [format];
      const fs = openTars([gnuTar(sparse, '-S', ...args)]);
      const { ino, size: shown, blocks } = attr(fs, '/big');
      assert.equal(shown, size, format);
      assert.ok(blocks * 512 < 2 ** 20, `${format}: ${blocks} blocks`);
      const into = Buffer.alloc(100_000);
      for (const [offset, text] of spots) {
        const before = Math.min(offset, 50);
        const n = fs.read(ino, 0, into, 0, into.length, offset - before, NOBODY);
        const whole = Buffer.concat([Buffer.alloc(before), Buffer.from(text), Buffer.alloc(100_000)]);
        assert.equal(n, Math.min(into.length, size - offset + before), format);
        assert.ok(into.subarray(0, before + text.length).equals(whole.subarray(0, before + text.length)), format);
      }
      assert.equal(fs.read(ino, 0, into, 0, 10, size, NOBODY), 0);
      assert.equal(fs.read(ino, 0, into, 0, 10, size - 3, NOBODY), 3);
    }
  });
});

describe('LayersFs', () => {
  const fs = fsOf([
    tar.tarOf(
      tar.dir('./', { mode: 0o1750, uid: 9, gid: 8, mtime: { sec: -1, nsec: 250_000_000 } }),
      tar.dir('d/', { mode: 0o2755, uid: 1_000_000, gid: 3, mtime: { sec: 2_208_988_800, nsec: 1 } }),
      tar.file('d/f', 'lower', { uid: 1, gid: 2, xattrs: { 'security.capability': Buffer.from([1, 0, 0x80, 0xff]) } }),
      tar.symlink('s', 'd/\udce9', { uid: 5, gid: 6 }),
      tar.charDevice('c', 259, 1_000_000, { mode: 0o660 }),
      tar.blockDevice('b', 8, 1),
      tar.fifo('p'),
      tar.file('.prefetch.landmark', '\x0f'),
    ),
    tar.tarOf(
      tar.file('d/g', 'upper', { xattrs: { 'trusted.overlay.opaque': 'y', 'user.overlay.x': '1', 'user.kept': 'v' } }),
      tar.hardlink('h', 'd/f'),
      tar.file('huge-id', '', { uid: 2 ** 40, gid: 7 }),
    ),
  ]);

  test('the root, owners, times before 1970 and after 2038, devices', () => {
    const { mode, uid, gid, mtimeSec, mtimeNsec, type } = fs.getattr(ROOT_NODE, NOBODY);
    assert.deepEqual([type, mode, uid, gid, mtimeSec, mtimeNsec], ['dir', 0o1750, 9, 8, -1, 250_000_000]);
    const d = attr(fs, '/d');
    assert.deepEqual([d.mode, d.uid, d.gid, d.mtimeSec, d.mtimeNsec], [0o2755, 1_000_000, 3, 2_208_988_800, 1]);
    const c = attr(fs, '/c');
    assert.deepEqual([c.type, c.rdevMajor, c.rdevMinor, c.mode], ['char', 259, 1_000_000, 0o660]);
    assert.deepEqual([attr(fs, '/b').type, attr(fs, '/b').rdevMajor, attr(fs, '/p').type], ['block', 8, 'fifo']);
    assert.equal(attr(fs, '/huge-id').uid, 65534);
    assert.equal(fs.tree.resolve('/huge-id').uid, 2 ** 40);
  });

  test('look-ups, listings and parents', () => {
    assert.deepEqual(
      fs.readdir(ROOT_NODE, NOBODY).map(({ name, type }) => `${name} ${type}`),
      ['b block', 'c char', 'd dir', 'h reg', 'huge-id reg', 'p fifo', 's symlink'],
    );
    for (const { name, node } of fs.readdir(ROOT_NODE, NOBODY)) {
      assert.equal(fs.lookup(ROOT_NODE, name, NOBODY).ino, node);
      assert.equal(fs.parent(node), node === at(fs, '/h') ? at(fs, '/d') : ROOT_NODE);
    }
    assert.equal(fs.parent(ROOT_NODE), ROOT_NODE);
    assert.equal(fs.pathOf(ROOT_NODE), '/');
    assert.equal(fs.pathOf(at(fs, '/h')), '/d/f');
    assert.equal(
      errno(() => fs.lookup(ROOT_NODE, 'nope', NOBODY)),
      ERRNO.ENOENT,
    );
    assert.equal(
      errno(() => fs.lookup(at(fs, '/h'), 'x', NOBODY)),
      ERRNO.ENOTDIR,
    );
    assert.equal(
      errno(() => fs.readdir(at(fs, '/h'), NOBODY)),
      ERRNO.ENOTDIR,
    );
    assert.equal(
      errno(() => fs.getattr(12345, NOBODY)),
      ERRNO.ENOENT,
    );
  });

  test('a hardlink into a lower layer is one node that reads from there', () => {
    assert.equal(at(fs, '/h'), at(fs, '/d/f'));
    assert.equal(attr(fs, '/h').nlink, 2);
    assert.equal(readAll(fs, at(fs, '/h')).toString(), 'lower');
    assert.equal(readAll(fs, at(fs, '/d/g')).toString(), 'upper');
  });

  test('symlinks keep their bytes', () => {
    const s = fs.lookup(ROOT_NODE, 's', NOBODY);
    assert.deepEqual([...fs.readlink(s.ino, NOBODY)], [0x64, 0x2f, 0xe9]);
    assert.equal(s.size, 3);
    assert.equal(
      errno(() => fs.readlink(ROOT_NODE, NOBODY)),
      ERRNO.EINVAL,
    );
  });

  test('opening: nothing for writing, no symlinks, no devices', () => {
    const f = at(fs, '/d/f');
    assert.equal(
      errno(() => fs.open(f, 0x8020, NOBODY)),
      0,
    );
    for (const flags of [1, 2, 0o1000])
      assert.equal(
        errno(() => fs.open(f, flags, NOBODY)),
        ERRNO.EROFS,
      );
    assert.equal(
      errno(() => fs.open(fs.lookup(ROOT_NODE, 's', NOBODY).ino, 0, NOBODY)),
      ERRNO.ELOOP,
    );
    assert.equal(
      errno(() => fs.open(at(fs, '/p'), 0, NOBODY)),
      ERRNO.EINVAL,
    );
    assert.equal(
      errno(() => fs.read(ROOT_NODE, 0, Buffer.alloc(1), 0, 1, 0, NOBODY)),
      ERRNO.EISDIR,
    );
  });

  test('xattrs: bytes kept, overlayfs’s own hidden but still in the tree', () => {
    assert.deepEqual(fs.xattrs(at(fs, '/h'), NOBODY).get('security.capability'), Buffer.from([1, 0, 0x80, 0xff]));
    assert.deepEqual([...fs.xattrs(at(fs, '/d/g'), NOBODY).keys()], ['user.kept']);
    assert.equal(fs.tree.resolve('/d/g').xattrs?.size, 3);
    assert.equal(fs.xattrs(ROOT_NODE, NOBODY).size, 0);
  });

  test('squash shows one owner and leaves the image’s reachable', () => {
    const squashed = fsOf([tar.tarOf(tar.file('f', '', { uid: 12, gid: 13 }))], { squash: { uid: 0, gid: 4 } });
    assert.deepEqual([attr(squashed, '/f').uid, attr(squashed, '/f').gid], [0, 4]);
    assert.deepEqual([attr(squashed, '/').uid, attr(squashed, '/').gid], [0, 4]);
    assert.deepEqual([squashed.tree.resolve('/f').uid, squashed.tree.resolve('/f').gid], [12, 13]);
  });

  test('statfs counts what is there', () => {
    assert.deepEqual(fs.statfs(), { blocks: 1, files: 9 });
  });

  test('a directory of 100 000 names: look-up and listing in time', () => {
    const entries: Buffer[] = [];
    for (let i = 0; i < 100_000; i++) entries.push(tar.file(`d/${String(i).padStart(6, '0')}`));
    const many = fsOf([tar.tarOf(...entries)]);
    const d = at(many, '/d');
    const started = process.cpuUsage();
    assert.equal(many.readdir(d, NOBODY).length, 100_000);
    for (let i = 0; i < 100_000; i++) many.lookup(d, String(i).padStart(6, '0'), NOBODY);
    assert.ok(process.cpuUsage(started).user < 2_000_000, 'not quadratic');
  });

  test('a tar that is shorter than its entry is an error, not silence', () => {
    const file = join(temp.path, 'cut.tar');
    writeFileSync(file, tar.tarOf(tar.file('f', 'x'.repeat(2000))));
    const cut = openTars([file]);
    truncateSync(file, 1000);
    assert.throws(() => readAll(cut, at(cut, '/f')), { code: 'HL_ERR_IO' });
  });
});
