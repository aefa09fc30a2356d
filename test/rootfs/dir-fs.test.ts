// DirFs against lstat of the same directory, and against a directory that changes while it is served.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  linkSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { bytesToPath, pathToBytes } from '../../src/paths.js';
import { DirFs, type DirFsOptions, UNKNOWN_NODE } from '../../src/rootfs/dir-fs.js';
import { ESTALE } from '../../src/rootfs/host-files.js';
import { type Attr, ERRNO, FsError, ROOT_NODE } from '../../src/rootfs/types.js';
import { makeTempDir } from '../../src/temp.js';
import { lacking } from '../support/tools.js';
import { NOBODY, ofDirectory, ofRootFs, readAll } from './snapshot.js';

const temp = makeTempDir(undefined, 'dir-fs-test');
const opened: DirFs[] = [];
after(() => {
  for (const fs of opened) fs.close();
  // Deeper than a path can be long: only a tool that goes down step by step removes it.
  execFileSync('rm', ['-rf', temp.path]);
  temp.remove();
});

const NAMESPACES = process.getuid?.() === 0 ? ['--mount'] : ['--user', '--map-root-user', '--mount'];

/** Why nothing can be mounted here, false when it can. */
function noMounts(): string | false {
  const tried = spawnSync('unshare', [...NAMESPACES, 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'], { encoding: 'utf8' });
  if (tried.status === 0) return false;
  const reason = `no private mounts: ${tried.stderr?.trim() || tried.error?.message}`;
  if (process.env.HOTLAYER_REQUIRE_E2E === '1') throw new Error(reason);
  return reason;
}

let made = 0;
function makeDir(): string {
  const path = join(temp.path, `d${made++}`);
  mkdirSync(path);
  return path;
}

function open(path: string, options: DirFsOptions = {}): DirFs {
  const fs = new DirFs(path, options);
  opened.push(fs);
  return fs;
}

function walkTo(fs: DirFs, path: string): Attr {
  let attr = fs.getattr(ROOT_NODE, NOBODY);
  for (const name of path.split('/')) attr = fs.lookup(attr.ino, name, NOBODY);
  return attr;
}

const errno = (fn: () => unknown): number => {
  try {
    fn();
  } catch (error) {
    if (error instanceof FsError) return error.errno;
    throw error;
  }
  return 0;
};

/** Makes the directories' descriptors go out of the cache. */
function evict(fs: DirFs): void {
  for (let i = 0; i < 300; i++) fs.readdir(walkTo(fs, `filler/${i}`).ino, NOBODY);
}
function addFiller(dir: string): void {
  for (let i = 0; i < 300; i++) mkdirSync(join(dir, 'filler', String(i)), { recursive: true });
}

describe('the same tree as lstat sees', { skip: lacking('mkfifo', 'touch', 'rm') }, () => {
  const dir = makeDir();
  mkdirSync(join(dir, 'a/b/c'), { recursive: true });
  writeFileSync(join(dir, 'a/f'), 'content');
  chmodSync(join(dir, 'a/f'), 0o4750);
  utimesSync(join(dir, 'a/f'), 5, 1_234_567_890.5);
  linkSync(join(dir, 'a/f'), join(dir, 'a/b/hard'));
  symlinkSync('../../etc', join(dir, 'a/out'));
  symlinkSync(pathToBytes('/\udce9'), join(dir, 'latin1-link'));
  writeFileSync(pathToBytes(`${dir}/a/\udcff\udcfe😀`), 'odd');
  writeFileSync(join(dir, 'n'.repeat(255)), '');
  writeFileSync(join(dir, 'sparse'), '');
  truncateSync(join(dir, 'sparse'), 3_000_000);
  execFileSync('mkfifo', [join(dir, 'fifo')]);
  execFileSync('touch', ['-d', '@-1.5', join(dir, 'a/b/c')]);
  chmodSync(join(dir, 'a/b/c'), 0o1777);

  test('types, modes, owners, links, times, contents', () => {
    assert.deepEqual(ofRootFs(open(dir)), ofDirectory(dir));
  });

  test('names that are not UTF-8, in byte order', () => {
    const fs = open(dir);
    const names = fs.readdir(walkTo(fs, 'a').ino, NOBODY).map((entry) => entry.name);
    assert.deepEqual(names, ['b', 'f', 'out', '\udcff\udcfe😀']);
    assert.equal(readAll(fs, walkTo(fs, 'a/\udcff\udcfe😀').ino).toString(), 'odd');
    assert.deepEqual([...fs.readlink(walkTo(fs, 'latin1-link').ino, NOBODY)], [0x2f, 0xe9]);
  });

  test('hardlinks are one node', () => {
    const fs = open(dir);
    assert.equal(walkTo(fs, 'a/f').ino, walkTo(fs, 'a/b/hard').ino);
    assert.equal(walkTo(fs, 'a/f').nlink, 2);
  });

  test('squash', () => {
    const fs = open(dir, { squash: { uid: 7, gid: 8 } });
    for (const attr of [walkTo(fs, 'a/f'), fs.getattr(ROOT_NODE, NOBODY)]) {
      assert.deepEqual([attr.uid, attr.gid], [7, 8]);
    }
  });

  test('errors', () => {
    const fs = open(dir);
    const f = walkTo(fs, 'a/f').ino;
    assert.equal(
      errno(() => fs.lookup(ROOT_NODE, 'nope', NOBODY)),
      ERRNO.ENOENT,
    );
    assert.equal(
      errno(() => fs.lookup(f, 'x', NOBODY)),
      ERRNO.ENOTDIR,
    );
    assert.equal(
      errno(() => fs.readdir(f, NOBODY)),
      ERRNO.ENOTDIR,
    );
    assert.equal(
      errno(() => fs.readlink(f, NOBODY)),
      ERRNO.EINVAL,
    );
    assert.equal(
      errno(() => fs.lookup(ROOT_NODE, 'x'.repeat(256), NOBODY)),
      ERRNO.ENAMETOOLONG,
    );
    for (const name of ['', '.', '..', 'a/f', 'a\0']) {
      assert.equal(
        errno(() => fs.lookup(ROOT_NODE, name, NOBODY)),
        ERRNO.ENOENT,
        name,
      );
    }
    for (const flags of [1, 2, 0o1000])
      assert.equal(
        errno(() => fs.open(f, flags, NOBODY)),
        ERRNO.EROFS,
      );
    assert.equal(
      errno(() => fs.open(walkTo(fs, 'a/out').ino, 0, NOBODY)),
      ERRNO.ELOOP,
    );
    assert.equal(
      errno(() => fs.open(walkTo(fs, 'fifo').ino, 0, NOBODY)),
      ERRNO.EINVAL,
    );
    assert.equal(
      errno(() => fs.read(f, 99, Buffer.alloc(1), 0, 1, 0, NOBODY)),
      ERRNO.EBADF,
    );
    assert.equal(
      errno(() => fs.getattr(99_999, NOBODY)),
      ESTALE,
    );
    assert.throws(() => new DirFs(join(dir, 'nope')), { code: 'HL_ERR_NOT_FOUND' });
    assert.throws(() => new DirFs(join(dir, 'a/f')), { code: 'HL_ERR_NOT_FOUND' });
  });

  test('reading in pieces, past the end, by two handles', () => {
    const fs = open(dir);
    const { ino } = walkTo(fs, 'a/f');
    const first = fs.open(ino, 0, NOBODY);
    const second = fs.open(ino, 0x8020, NOBODY);
    assert.notEqual(first, second);
    fs.release(ino, first);
    const into = Buffer.alloc(20, 0x2e);
    assert.equal(fs.read(ino, second, into, 2, 10, 3, NOBODY), 4);
    assert.equal(into.toString(), '..tent..............');
    assert.equal(fs.read(ino, second, into, 0, 10, 7, NOBODY), 0);
    fs.release(ino, second);
    assert.equal(
      errno(() => fs.read(ino, second, into, 0, 1, 0, NOBODY)),
      ERRNO.EBADF,
    );
  });

  test('device numbers', () => {
    const fs = open('/dev');
    const { type, rdevMajor, rdevMinor } = walkTo(fs, 'null');
    assert.deepEqual([type, rdevMajor, rdevMinor], ['char', 1, 3]);
  });

  test('deeper than the longest path', () => {
    const deep = makeDir();
    const script =
      'cd "$1"; i=0; while [ $i -lt 600 ]; do mkdir directory; cd -P directory; i=$((i+1)); done; echo end > f';
    execFileSync('sh', ['-ec', script, 'sh', deep]);
    const fs = open(deep);
    const path = `${'directory/'.repeat(600)}f`;
    assert.equal(readAll(fs, walkTo(fs, path).ino).toString(), 'end\n');
    // Once more after all descriptors on the way have been closed.
    addFiller(deep);
    evict(fs);
    const { ino } = walkTo(fs, path);
    assert.equal(fs.getattr(ino, NOBODY).size, 4);
    assert.equal(fs.pathOf(ino), `/${path}`);
  });
});

describe('the table of nodes', () => {
  const dir = makeDir();
  for (let i = 0; i < 20; i++) {
    mkdirSync(join(dir, `p${i}/q/r`), { recursive: true });
    for (let k = 0; k < 50; k++) writeFileSync(join(dir, `p${i}/q/r/${k}`), '');
  }
  /** ids in the order in which they were found. */
  const lookAll = (fs: DirFs): number[] => {
    const ids: number[] = [];
    const visit = (node: number) => {
      for (const { name, type, node: listed } of fs.readdir(node, NOBODY)) {
        assert.equal(listed, UNKNOWN_NODE);
        const { ino } = fs.lookup(node, name, NOBODY);
        ids.push(ino);
        if (type === 'dir') visit(ino);
      }
    };
    visit(ROOT_NODE);
    return ids;
  };

  for (const order of ['parents first', 'children first']) {
    test(`is empty again when all is forgotten, ${order}`, () => {
      const fs = open(dir);
      const once = lookAll(fs);
      const twice = lookAll(fs);
      assert.deepEqual(once, twice);
      assert.equal(once.length, 20 * 53);
      assert.equal(fs.nodeCount, 1 + once.length);
      if (order === 'children first') once.reverse();
      for (const id of once) fs.forget(id, 1);
      assert.equal(fs.nodeCount, 1 + once.length);
      for (const id of once) fs.forget(id, 1);
      assert.equal(fs.nodeCount, 1);
      fs.forget(ROOT_NODE, 1);
      const again = lookAll(fs);
      assert.ok(Math.min(...again) > Math.max(...once), 'ids are never given twice');
    });
  }

  test('files and directories that moved do not keep their old parents', () => {
    const moving = makeDir();
    mkdirSync(join(moving, 'from/d'), { recursive: true });
    mkdirSync(join(moving, 'to'));
    writeFileSync(join(moving, 'from/f'), '');
    const fs = open(moving);
    const ids = ['from', 'from/f', 'from/d'].map((path) => walkTo(fs, path).ino);
    renameSync(join(moving, 'from/f'), join(moving, 'to/f'));
    renameSync(join(moving, 'from/d'), join(moving, 'to/d'));
    ids.push(...['to', 'to/f', 'to/d'].map((path) => walkTo(fs, path).ino));
    assert.deepEqual(ids.slice(1, 3), ids.slice(4));
    for (const id of ids) fs.forget(id, 3);
    assert.equal(fs.nodeCount, 1);
  });

  test('listing alone adds nothing', () => {
    const fs = open(dir);
    fs.readdir(ROOT_NODE, NOBODY);
    assert.equal(fs.nodeCount, 1);
  });

  test('close gives all descriptors back', () => {
    const fds = () => readdirSync('/proc/self/fd').length;
    const before = fds();
    const fs = new DirFs(dir);
    lookAll(fs);
    fs.open(walkTo(fs, 'p0/q/r/1').ino, 0, NOBODY);
    assert.ok(fds() > before + 10);
    fs.close();
    fs.close();
    assert.equal(fds(), before);
  });
});

describe('a directory that changes while it is served', () => {
  test('a renamed directory: through its descriptor, then stale, then found again as the same node', () => {
    const dir = makeDir();
    addFiller(dir);
    mkdirSync(join(dir, 'old/in'), { recursive: true });
    writeFileSync(join(dir, 'old/in/f'), 'text');
    const fs = open(dir);
    const before = walkTo(fs, 'old/in/f').ino;
    renameSync(join(dir, 'old'), join(dir, 'new'));
    assert.equal(readAll(fs, before).toString(), 'text');
    evict(fs);
    assert.equal(
      errno(() => fs.getattr(before, NOBODY)),
      ESTALE,
    );
    assert.equal(
      errno(() => fs.open(before, 0, NOBODY)),
      ESTALE,
    );
    assert.equal(walkTo(fs, 'new/in/f').ino, before);
    assert.equal(fs.pathOf(before), '/new/in/f');
    assert.equal(readAll(fs, before).toString(), 'text');
  });

  for (const cached of [true, false]) {
    test(`a directory swapped for a symlink never leads outside (${cached ? 'pinned' : 'not pinned any more'})`, () => {
      const outside = makeDir();
      mkdirSync(join(outside, 'in'));
      writeFileSync(join(outside, 'in/secret'), 'secret');
      const dir = makeDir();
      addFiller(dir);
      mkdirSync(join(dir, 'd/in'), { recursive: true });
      writeFileSync(join(dir, 'd/in/kept'), 'kept');
      const fs = open(dir);
      const inner = walkTo(fs, 'd/in').ino;
      fs.readdir(inner, NOBODY);
      renameSync(join(dir, 'd'), join(dir, 'elsewhere'));
      symlinkSync(outside, join(dir, 'd'));
      if (!cached) evict(fs);
      assert.equal(
        errno(() => fs.lookup(inner, 'secret', NOBODY)),
        cached ? ERRNO.ENOENT : ESTALE,
      );
      const names = () => fs.readdir(inner, NOBODY).map(({ name }) => name);
      if (cached) assert.deepEqual(names(), ['kept']);
      else assert.equal(errno(names), ESTALE);
      assert.equal(walkTo(fs, 'd').type, 'symlink');
    });
  }

  test('a file swapped for a symlink, a FIFO, another file: stale, and opening does not hang', () => {
    const dir = makeDir();
    const file = join(dir, 'f');
    const replace: (() => void)[] = [
      () => symlinkSync('/etc/passwd', file),
      () => execFileSync('mkfifo', [file]),
      () => writeFileSync(file, 'other'),
    ];
    for (const put of replace) {
      rmSync(file, { force: true });
      writeFileSync(file, 'mine');
      const fs = open(dir);
      const { ino } = walkTo(fs, 'f');
      // The old file stays alive, so that its inode number cannot come back at once.
      renameSync(file, join(dir, 'aside'));
      put();
      assert.equal(
        errno(() => fs.open(ino, 0, NOBODY)),
        ESTALE,
      );
      assert.equal(
        errno(() => fs.getattr(ino, NOBODY)),
        ESTALE,
      );
      assert.notEqual(walkTo(fs, 'f').ino, ino);
      assert.equal(walkTo(fs, 'aside').ino, ino);
    }
  });

  test('an open file stays readable after it was removed', () => {
    const dir = makeDir();
    writeFileSync(join(dir, 'f'), 'still here');
    const fs = open(dir);
    const { ino } = walkTo(fs, 'f');
    const handle = fs.open(ino, 0, NOBODY);
    unlinkSync(join(dir, 'f'));
    const into = Buffer.alloc(20);
    assert.equal(into.toString('utf8', 0, fs.read(ino, handle, into, 0, 20, 0, NOBODY)), 'still here');
    assert.equal(fs.getattr(ino, NOBODY).nlink, 0);
    fs.forget(ino, 1);
    assert.equal(fs.nodeCount, 2);
    fs.release(ino, handle);
    assert.equal(fs.nodeCount, 1);
  });

  test('new files show up', () => {
    const dir = makeDir();
    const fs = open(dir);
    assert.deepEqual(fs.readdir(ROOT_NODE, NOBODY), []);
    writeFileSync(join(dir, 'f'), 'x');
    assert.equal(fs.lookup(ROOT_NODE, 'f', NOBODY).size, 1);
    assert.equal(fs.readdir(ROOT_NODE, NOBODY).length, 1);
  });
});

describe('excluded places', () => {
  test('are empty directories that are never touched, also when their parents are renamed', () => {
    const dir = makeDir();
    mkdirSync(join(dir, 'run/mnt/inside'), { recursive: true });
    chmodSync(join(dir, 'run/mnt'), 0o700);
    writeFileSync(join(dir, 'file'), 'x');
    mkdirSync(join(dir, 'run/seen'));
    const fs = open(dir, { exclude: [join(dir, 'run/mnt'), join(dir, 'file'), join(dir, 'no/such'), '/'] });
    const check = (parent: string) => {
      const mnt = walkTo(fs, `${parent}/mnt`);
      assert.deepEqual([mnt.type, mnt.mode, mnt.size], ['dir', 0o755, 0]);
      assert.deepEqual(fs.readdir(mnt.ino, NOBODY), []);
      assert.equal(
        errno(() => fs.lookup(mnt.ino, 'inside', NOBODY)),
        ERRNO.ENOENT,
      );
      assert.deepEqual(fs.getattr(mnt.ino, NOBODY), mnt);
      assert.equal(fs.pathOf(mnt.ino), `/${parent}/mnt`);
      const { ino } = walkTo(fs, parent);
      assert.deepEqual(
        fs.readdir(ino, NOBODY).map(({ name, type }) => `${name} ${type}`),
        ['mnt dir', 'seen dir'],
      );
    };
    check('run');
    assert.equal(walkTo(fs, 'file').type, 'dir');
    renameSync(join(dir, 'run'), join(dir, 'moved'));
    check('moved');
  });
});

test('mounts over the source, inside it and bound into it', { skip: lacking('unshare', 'mount') || noMounts() }, () => {
  const dir = makeDir();
  mkdirSync(join(dir, 'a/b'), { recursive: true });
  mkdirSync(join(dir, 'bound'));
  mkdirSync(join(dir, 'tmp'));
  writeFileSync(join(dir, 'a/f'), 'below the mount');
  const script = `
    import { execFileSync } from 'node:child_process';
    import { writeFileSync } from 'node:fs';
    import { DirFs } from ${JSON.stringify(new URL('../../src/rootfs/dir-fs.js', import.meta.url).href)};
    const who = { pid: 0, uid: 0, gid: 0 };
    const dir = ${JSON.stringify(dir)};
    const mount = (...args) => execFileSync('mount', args);
    mount('--bind', dir + '/a', dir + '/bound');
    mount('-t', 'tmpfs', 'tmpfs', dir + '/tmp');
    writeFileSync(dir + '/tmp/in-tmpfs', '');
    const fs = new DirFs(dir);
    mount('-t', 'tmpfs', 'tmpfs', dir);
    writeFileSync(dir + '/above', '');
    const a = fs.lookup(1, 'a', who);
    const bound = fs.lookup(1, 'bound', who);
    const tmp = fs.lookup(1, 'tmp', who);
    console.log(JSON.stringify({
      root: fs.readdir(1, who).map((e) => e.name),
      a: fs.readdir(a.ino, who).map((e) => e.name),
      bound: fs.readdir(bound.ino, who).map((e) => e.name),
      tmp: fs.readdir(tmp.ino, who).map((e) => e.name),
      separate: a.ino !== bound.ino && fs.lookup(1, 'a', who).ino === a.ino && fs.lookup(1, 'bound', who).ino === bound.ino,
      oneFile: fs.lookup(a.ino, 'f', who).ino === fs.lookup(bound.ino, 'f', who).ino,
    }));
    fs.close();
  `;
  const out = execFileSync('unshare', [...NAMESPACES, process.execPath, '--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  assert.deepEqual(JSON.parse(out), {
    root: ['a', 'bound', 'tmp'],
    a: ['b', 'f'],
    bound: ['b', 'f'],
    tmp: ['in-tmpfs'],
    separate: true,
    oneFile: true,
  });
});

test('the root may be a lossless name and a symlink', () => {
  const dir = makeDir();
  const odd = bytesToPath(Buffer.concat([Buffer.from(`${dir}/`), Buffer.from([0xe9])]));
  mkdirSync(pathToBytes(odd));
  writeFileSync(pathToBytes(`${odd}/f`), '1');
  symlinkSync(pathToBytes(odd), join(dir, 'link'));
  for (const path of [odd, join(dir, 'link')]) assert.equal(walkTo(open(path), 'f').size, 1);
});
