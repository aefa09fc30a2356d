// What every transport must do, seen from other processes and from this one through the kernel. Called inside a
// private mount namespace (test/support/namespace.ts).
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  constants,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type FsFault, type FuseTransport, type MountOptions, mayMount } from '../../src/fuse/index.js';
import { pathToBytes } from '../../src/paths.js';
import { ERRNO } from '../../src/rootfs/types.js';
import { type MemoryFsArgs, memoryFsModule, type NodeSpec, patternBytes } from '../support/memory-fs.js';
import { command, errnoFrom, later, mountLines, output, type TestMount, withMount } from '../support/mount.js';

export interface BehaviourOptions {
  readonly transport: FuseTransport;
  /** Owners are kept, device nodes work, ids can be changed: not so in a user namespace. */
  readonly realRoot: boolean;
  /** It is as an ordinary user mounts: theirs alone, whatever the mode bits say. */
  readonly private?: boolean;
  /** What the transport cannot do, each with the reason. Absent: it can do everything. */
  readonly lacks?: Partial<Record<'fineTimes' | 'pid' | 'readdirplus' | 'forget', string>>;
}

const FILE = { type: 'reg' } as const;

/** A program of this machine and what the dynamic linker needs for it, at the same paths. */
export function programNodes(program: string, at = program.slice(1)): NodeSpec[] {
  const libraries = [...output('ldd', [program]).matchAll(/(\/\S+) \(0x/g)].map((match) => match[1]!);
  const files = new Map([[at, program], ...libraries.map((library) => [library.slice(1), library] as const)]);
  return [...files].map(([path, from]) => {
    const host = realpathSync(from);
    return { path, type: 'reg', mode: 0o755, content: { host, size: statSync(host).size } };
  });
}

function merged(...lists: readonly NodeSpec[][]): NodeSpec[] {
  return [...new Map(lists.flat().map((node) => [node.path, node])).values()];
}

export function behaviourSuite(options: BehaviourOptions): void {
  const { transport, realRoot, lacks = {} } = options;
  type Options = Partial<MountOptions>;
  const withFs = (args: MemoryFsArgs, body: (mount: TestMount) => void | Promise<void>, options: Options = {}) =>
    withMount<void>(transport, args, body, options);
  /** What the file system was asked while `body` ran. */
  const observe = (args: MemoryFsArgs, body: (path: string) => void, options: Options = {}) =>
    withMount(
      transport,
      args,
      async (mount) => {
        body(mount.path);
        return (await mount.end()).log;
      },
      options,
    );

  test(`every field of lstat, to the ${lacks.fineTimes ? 'millisecond' : 'nanosecond'}`, () => {
    const owner = realRoot ? { uid: 70_000, gid: 4_000_000_000 } : {};
    const nodes: NodeSpec[] = [
      { path: '', type: 'dir', mode: 0o1755, mtimeSec: 7, mtimeNsec: 8 },
      {
        path: 'file',
        ...FILE,
        mode: 0o4751,
        ...owner,
        mtimeSec: 1_700_000_000,
        mtimeNsec: 123_456_789,
        content: { text: 'abc' },
      },
      { path: 'old', ...FILE, mode: 0o600, mtimeSec: -2, mtimeNsec: 999_999_999 },
      { path: 'late', ...FILE, mtimeSec: 2 ** 33, mtimeNsec: 1 },
      { path: 'dir/sub', type: 'dir', mode: 0o2775, ...owner },
      { path: 'fifo', type: 'fifo', mode: 0o640 },
      { path: 'sock', type: 'socket', mode: 0o700 },
      { path: 'link', type: 'symlink', mode: 0o777, target: 'file' },
      { path: 'chr', type: 'char', mode: 0o666, rdev: [259, 70_000] },
      { path: 'blk', type: 'block', mode: 0o660, rdev: [8, 17] },
    ];
    const bits = {
      reg: 0o100000,
      dir: 0o040000,
      symlink: 0o120000,
      char: 0o020000,
      block: 0o060000,
      fifo: 0o010000,
      socket: 0o140000,
    };
    return withFs({ nodes }, ({ path }) => {
      for (const node of nodes) {
        const stat = lstatSync(join(path, node.path), { bigint: true });
        const exact = BigInt(node.mtimeSec ?? 0) * 1_000_000_000n + BigInt(node.mtimeNsec ?? 0);
        const nanos = lacks.fineTimes ? (exact < 0n ? 0n : exact - (exact % 1_000_000n)) : exact;
        const [major, minor] = (node.rdev ?? [0, 0]).map(BigInt) as [bigint, bigint];
        const size = BigInt(
          node.target?.length ?? (node.content && 'text' in node.content ? node.content.text.length : 0),
        );
        assert.deepEqual(
          {
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            size: stat.size,
            blocks: stat.blocks,
            times: [stat.atimeNs, stat.mtimeNs, stat.ctimeNs],
            rdev: stat.rdev,
            nlink: stat.nlink,
          },
          {
            mode: BigInt(bits[node.type] | (node.mode ?? 0o644)),
            uid: BigInt(node.uid ?? 0),
            gid: BigInt(node.gid ?? 0),
            size,
            blocks: (size + 511n) / 512n,
            times: [nanos, nanos, nanos],
            // gnu_dev_makedev: minor 8 low bits, major 12 bits << 8, minor's rest << 12
            rdev: (minor & 0xffn) | (major << 8n) | ((minor & ~0xffn) << 12n),
            nlink: node.path === '' ? 3n : node.type === 'dir' ? 2n : 1n,
          },
          node.path,
        );
      }
    });
  });

  test('hardlinks are one inode; d_ino and st_ino agree', () =>
    withFs(
      {
        nodes: [
          { path: 'a', ...FILE, content: { text: 'x' } },
          { path: 'd/b', ...FILE, hardlinkTo: 'a' },
        ],
      },
      ({ path }) => {
        const [a, b] = ['a', 'd/b'].map((name) => lstatSync(join(path, name)));
        assert.deepEqual([a!.ino, a!.nlink], [b!.ino, 2]);
        assert.equal(output('ls', ['-i', path]).match(/(\d+) a/)?.[1], String(a!.ino));
        assert.equal(
          output('find', [path, '-samefile', join(path, 'a')])
            .trim()
            .split('\n').length,
          2,
        );
      },
    ));

  test('symlinks: targets as bytes, dangling, 4095 bytes long, loops', () => {
    const long = 'x/'.repeat(2047).concat('y');
    const links = {
      plain: 'dir/file',
      dangling: '/nowhere',
      long,
      umlaut: 'größe',
      self: 'self',
      ping: 'pong',
      pong: 'ping',
    };
    const nodes: NodeSpec[] = Object.entries(links).map(([path, target]) => ({ path, type: 'symlink', target }));
    nodes.push({ path: 'dir/file', ...FILE, content: { text: 'found' } });
    return withFs({ nodes }, ({ path }) => {
      for (const [name, target] of Object.entries(links)) assert.equal(readlinkSync(join(path, name)), target);
      assert.equal(readFileSync(join(path, 'plain'), 'utf8'), 'found');
      assert.equal(
        errnoFrom(() => readFileSync(join(path, 'self'))),
        'ELOOP',
      );
      assert.equal(
        errnoFrom(() => readFileSync(join(path, 'ping'))),
        'ELOOP',
      );
      assert.equal(
        errnoFrom(() => readFileSync(join(path, 'dir/file/x'))),
        'ENOTDIR',
      );
    });
  });

  test('names of 255 bytes, not UTF-8, with line breaks', () => {
    const names = [
      'n'.repeat(255),
      'ü'.repeat(127),
      '\udcff\udcfe.txt',
      'caf\udce9',
      'new\nline',
      ' ',
      '-rf',
      '…\u{1f600}',
    ];
    const nodes = names.map((path, i): NodeSpec => ({ path, ...FILE, content: { text: `content ${i}` } }));
    return withFs({ nodes }, ({ path }) => {
      const listed = readdirSync(path, { encoding: 'buffer' }).map((name) => name.toString('hex'));
      assert.deepEqual(listed.sort(), names.map((name) => pathToBytes(name).toString('hex')).sort());
      names.forEach((name, i) => {
        const file = Buffer.concat([Buffer.from(`${path}/`), pathToBytes(name)]);
        assert.equal(readFileSync(file, 'utf8'), `content ${i}`);
      });
      assert.equal(
        errnoFrom(() => statSync(join(path, 'n'.repeat(256)))),
        'ENAMETOOLONG',
      );
    });
  });

  test('a sparse file of 6 GiB at far offsets', () => {
    const islands = [0, 2 ** 31 - 2, 2 ** 32 - 3, 5 * 2 ** 30 + 1, 6 * 2 ** 30 - 7].map((at) => ({
      at,
      text: `<${at % 1000}>`,
    }));
    const size = 6 * 2 ** 30;
    return withFs({ nodes: [{ path: 'sparse', ...FILE, content: { size, islands } }] }, ({ path }) => {
      const fd = openSync(join(path, 'sparse'), 'r');
      try {
        for (const { at, text } of islands) {
          const got = Buffer.alloc(text.length + 1);
          const expected = Buffer.concat([Buffer.from(text), Buffer.alloc(1)]).subarray(0, size - at);
          assert.deepEqual(got.subarray(0, readSync(fd, got, 0, got.length, at)), expected);
        }
        assert.equal(readSync(fd, Buffer.alloc(10), 0, 10, size), 0);
      } finally {
        closeSync(fd);
      }
      const [{ text }] = [islands[3]!];
      assert.equal(
        output('dd', [`if=${path}/sparse`, 'bs=1', `skip=${islands[3]!.at}`, `count=${text.length}`, 'status=none']),
        text,
      );
    });
  });

  test('whatever writes is EROFS', () =>
    withFs(
      {
        nodes: [
          { path: 'f', ...FILE, mode: 0o666, content: { text: 'x' } },
          { path: 'd', type: 'dir', mode: 0o777 },
        ],
      },
      ({ path }) => {
        const at = (name: string) => join(path, name);
        const writes: Record<string, () => unknown> = {
          create: () => writeFileSync(at('new'), ''),
          'open r+': () => openSync(at('f'), constants.O_RDWR),
          append: () => openSync(at('f'), constants.O_WRONLY | constants.O_APPEND),
          truncate: () => truncateSync(at('f'), 0),
          unlink: () => unlinkSync(at('f')),
          rmdir: () => rmSync(at('d'), { recursive: true }),
          mkdir: () => mkdirSync(at('e')),
          chmod: () => chmodSync(at('f'), 0o600),
          rename: () => renameSync(at('f'), at('g')),
          symlink: () => symlinkSync('f', at('l')),
          link: () => linkSync(at('f'), at('l')),
          utimes: () => utimesSync(at('f'), 1, 1),
        };
        for (const [what, write] of Object.entries(writes)) assert.equal(errnoFrom(write), 'EROFS', what);
        assert.match(command('setfattr', ['-n', 'user.a', '-v', '1', at('f')]).stderr, /Read-only file system/);
        assert.equal(readFileSync(at('f'), 'utf8'), 'x');
      },
    ));

  test('8 readers at once: 1,000 files of all sizes, every byte', async () => {
    const sizes = [0, 1, 4095, 4096, 4097, 70_000, 200_001, 12_345];
    const nodes: NodeSpec[] = Array.from({ length: 1000 }, (_, i) => ({
      path: `d${i % 10}/f${i}`,
      ...FILE,
      content: { size: sizes[i % sizes.length]!, seed: i },
    }));
    const expected = nodes.map(({ path, content }) => {
      const { size, seed } = content as { size: number; seed: number };
      return `${createHash('sha256').update(patternBytes(seed, size)).digest('hex')}  ./${path}`;
    });
    await withFs({ nodes }, (mount) => {
      const sums = output('sh', ['-c', 'find . -type f -print0 | xargs -0 -P 8 -n 25 sha256sum'], mount.path);
      assert.deepEqual(sums.trim().split('\n').sort(), expected.sort());
    });
  });

  test('programs are mapped and executed, in a chroot too', () => {
    const nodes = merged(programNodes('/bin/true', 'true'), programNodes('/bin/ls', 'bin/ls'), [
      { path: 'data/some file', ...FILE, content: { text: 'x' } },
    ]);
    return withFs({ nodes }, ({ path }) => {
      assert.equal(output(join(path, 'true'), []), '');
      if (mayMount()) assert.equal(output('chroot', [path, '/bin/ls', '/data']), 'some file\n');
      assert.equal(
        errnoFrom(() => command(join(path, 'data/some file'), [])),
        'EACCES',
      );
    });
  });

  test('an open for execution is told apart from one for reading', async () => {
    const nodes = programNodes('/bin/true', 'true');
    const log = await observe({ nodes }, (path) => {
      output(join(path, 'true'), []);
      output('cat', [join(path, 'true')]);
    });
    const opens = log.filter((entry) => entry.op === 'open' && entry.path === '/true');
    const FMODE_EXEC = 0x20; // include/linux/fs.h
    assert.deepEqual(
      opens.map(({ flags }) => flags! & FMODE_EXEC),
      [FMODE_EXEC, 0],
    );
  });

  for (const readdirplus of [true, false]) {
    test(`a directory of 100,000 entries, readdirplus ${readdirplus ? 'on' : 'off'}`, () =>
      withFs(
        { nodes: [], many: [{ prefix: 'big/entry-', count: 100_000, size: 1 }] },
        ({ path }) => {
          const names = readdirSync(join(path, 'big'));
          assert.equal(names.length, 100_000);
          assert.equal(new Set(names).size, 100_000);
          assert.ok(names.includes('entry-99999'));
          assert.equal(
            output('ls', ['-fa', join(path, 'big')])
              .trim()
              .split('\n').length,
            100_002,
          );
        },
        { readdirplus },
      ));
  }

  test('extended attributes: list, value, absence, a file capability', async () => {
    // struct vfs_ns_cap_data revision 2, effective: CAP_NET_RAW (13); facts from capabilities(7)
    const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');
    const binary = Buffer.from([0, 0xff, 0x80, 10]);
    const nodes: NodeSpec[] = [
      { path: 'f', ...FILE, xattrs: { 'user.binary': binary, 'user.text': Buffer.from('hello') } },
      { path: 'ping', ...FILE, mode: 0o755, xattrs: { 'security.capability': capability } },
      { path: 'none', ...FILE },
    ];
    await withFs({ nodes }, ({ path }) => {
      const dump = output('getfattr', ['-d', '-m', '-', '-e', 'hex', '--absolute-names', join(path, 'f')]);
      assert.match(dump, /user\.binary=0x00ff800a/);
      assert.match(dump, /user\.text=0x68656c6c6f/);
      assert.equal(output('getfattr', ['-d', '-m', '-', '--absolute-names', join(path, 'none')]), '');
      assert.match(
        command('getfattr', ['-n', 'user.x', '--absolute-names', join(path, 'f')]).stderr,
        /No such attribute/,
      );
      if (realRoot) assert.match(output('getcap', [join(path, 'ping')]), /cap_net_raw[+=]ep/);
    });
  });

  test('statfs', () =>
    withFs({ nodes: [{ path: 'f', ...FILE }] }, ({ path }) => {
      const found = statfsSync(path);
      assert.deepEqual(
        [found.blocks, found.bfree, found.bavail, found.files, found.ffree, found.bsize],
        [4242, 0, 0, 2, 0, 4096],
      );
      assert.equal(
        output('stat', ['-f', '-c', '%l %S %T', path]).trim(),
        '255 512 fuseblk'.replace('fuseblk', 'fuseblk'),
      );
    }));

  if (realRoot)
    test('the kernel checks the mode bits, for owners and others', () => {
      const nodes: NodeSpec[] = [
        { path: 'secret', ...FILE, mode: 0o600, content: { text: 'secret' } },
        { path: 'public', ...FILE, mode: 0o604, content: { text: 'public' } },
        { path: 'theirs', ...FILE, mode: 0o400, uid: 65534, gid: 12, content: { text: 'theirs' } },
        { path: 'group', ...FILE, mode: 0o040, gid: 65534, content: { text: 'group' } },
        { path: 'closed/f', ...FILE, content: { text: 'x' } },
        { path: 'closed', type: 'dir', mode: 0o700 },
      ].sort((a, b) => a.path.length - b.path.length) as NodeSpec[];
      return withFs({ nodes }, ({ path }) => {
        const nobody = (name: string) =>
          command('setpriv', ['--reuid', '65534', '--regid', '65534', '--clear-groups', 'cat', join(path, name)]);
        assert.match(nobody('secret').stderr, /Permission denied/);
        assert.match(nobody('closed/f').stderr, /Permission denied/);
        for (const name of ['public', 'theirs', 'group']) assert.equal(nobody(name).stdout, name);
        for (const name of ['secret', 'theirs']) assert.equal(output('cat', [join(path, name)]), name);
      });
    });

  if (realRoot)
    test('device nodes and setuid programs work for root, as in a container', () => {
      const nodes = merged(
        [
          { path: 'null', type: 'char', mode: 0o666, rdev: [1, 3] },
          { path: 'zero', type: 'char', mode: 0o666, rdev: [1, 5] },
        ],
        programNodes('/usr/bin/id', 'id').map((node) => (node.path === 'id' ? { ...node, mode: 0o4755 } : node)),
      );
      return withFs({ nodes }, ({ path }) => {
        output('sh', ['-c', 'echo x > null && head -c 3 zero | cmp - /dev/zero -n 3'], path);
        const ids = output('setpriv', ['--reuid', '65534', '--clear-groups', join(path, 'id'), '-u']);
        assert.equal(ids, '0\n');
      });
    });

  test('exact: a pread arrives as its pages, fast: as more', async () => {
    const script = `import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
os.pread(fd, 10, 100000); os.pread(fd, 8192, 40960); os.pread(fd, 2, 4095)
m = mmap.mmap(fd, 0, prot=mmap.PROT_READ); assert m[300001] >= 0`;
    const touched = async (options: Options) => {
      const args: MemoryFsArgs = { nodes: [{ path: 'f', ...FILE, content: { size: 400_000, seed: 3 } }] };
      const log = await observe(args, (path) => output('python3', ['-c', script, join(path, 'f')]), options);
      return log.filter((entry) => entry.op === 'read').map((entry) => [entry.offset! / 4096, entry.length! / 4096]);
    };
    const pages = (await touched({ maxReadahead: 0 })).flatMap(([first, count]) =>
      Array.from({ length: count! }, (_, i) => first! + i),
    );
    assert.deepEqual(pages, [24, 10, 11, 0, 1, 73]);
    const fast = (await touched({})).reduce((sum, [, count]) => sum + count!, 0);
    assert.ok(fast > 20, `with readahead ${fast} pages were read`);
  });

  test('the first failed look-up of a name is seen, its repeats are not; who asked is known', async () => {
    const log = await observe({ nodes: [{ path: 'd/f', ...FILE }] }, (path) => {
      for (let i = 0; i < 3; i++)
        assert.equal(
          errnoFrom(() => statSync(join(path, 'd/missing'))),
          'ENOENT',
        );
      output('cat', ['d/f'], path);
    });
    const missing = log.filter((entry) => entry.path === '/d/missing');
    assert.deepEqual(
      missing.map(({ op, errno, pid }) => ({ op, errno, pid })),
      [{ op: 'lookup', errno: ERRNO.ENOENT, pid: lacks.pid ? 0 : process.pid }],
    );
    const opened = log.filter((entry) => entry.op === 'open');
    assert.equal(opened.length, 1);
    assert.ok(lacks.pid ? opened[0]!.pid === 0 : opened[0]!.pid !== process.pid && opened[0]!.pid > 0);
  });

  test('readdirplus looks every entry up, without it only what is asked for', async () => {
    const lookups = async (how: string, readdirplus: boolean) => {
      const args: MemoryFsArgs = { nodes: [], many: [{ prefix: 'd/f', count: 50, size: 1 }] };
      const log = await observe(args, (path) => output('ls', [how, join(path, 'd')]), { readdirplus });
      return log.filter((entry) => entry.op === 'lookup' && entry.path.startsWith('/d/')).length;
    };
    assert.equal(await lookups('-f', true), lacks.readdirplus ? 0 : 50);
    assert.equal(await lookups('-f', false), 0);
    assert.equal(await lookups('-l', false), 50);
  });

  if (!lacks.forget)
    test('the kernel gives back the references of a node it drops, and only those', async () => {
      // A name that is there once: at the second look-up (ttl 0 makes each stat one) the kernel drops the node.
      const code = `import { createFs as make, closeFs } from '${memoryFsModule}';
        import { FsError } from '${new URL('../../src/rootfs/types.js', import.meta.url).href}';
        export { closeFs };
        export function createFs(args) {
          const fs = make(args);
          const lookup = fs.lookup.bind(fs);
          let seen = 0;
          fs.lookup = (parent, name, caller) => {
            if (name === 'gone' && seen++ >= 3) throw new FsError(2);
            return lookup(parent, name, caller);
          };
          return fs;
        }`;
      const module = `data:text/javascript,${encodeURIComponent(code)}`;
      const nodes: NodeSpec[] = ['gone', 'kept'].map((path) => ({ path, ...FILE }));
      await withFs(
        { nodes },
        async (mount) => {
          for (let i = 0; i < 3; i++) for (const name of ['gone', 'kept']) statSync(join(mount.path, name));
          assert.equal(
            errnoFrom(() => statSync(join(mount.path, 'gone'))),
            'ENOENT',
          );
          statSync(join(mount.path, 'kept')); // a FORGET has no reply: whatever is asked next comes after it
          const { forgets, references } = await mount.end();
          assert.deepEqual({ forgets, references }, { forgets: 3, references: 4 });
        },
        { module, ttlSeconds: 0 },
      );
    });

  test('a defect of the file system: EIO for its reader, a report, and the mount goes on', async () => {
    const faults: FsFault[] = [];
    const nodes: NodeSpec[] = [
      { path: 'bad', ...FILE, broken: 'throws', content: { text: 'x' } },
      { path: 'denied', ...FILE, broken: ERRNO.EACCES, content: { text: 'x' } },
      { path: 'good', ...FILE, content: { text: 'good' } },
    ];
    await withFs(
      { nodes },
      async (mount) => {
        assert.equal(
          errnoFrom(() => readFileSync(join(mount.path, 'bad'))),
          'EIO',
        );
        assert.equal(
          errnoFrom(() => readFileSync(join(mount.path, 'bad'))),
          'EIO',
        );
        assert.equal(
          errnoFrom(() => readFileSync(join(mount.path, 'denied'))),
          'EACCES',
        );
        assert.equal(readFileSync(join(mount.path, 'good'), 'utf8'), 'good');
        await mount.end();
        assert.ok(mount.mounted.faults() >= 2);
      },
      { onFault: (fault: FsFault) => faults.push(fault) },
    );
    assert.equal(faults.length, 1, 'the first only');
    assert.equal(faults[0]!.operation, 'READ');
    assert.match(faults[0]!.message, /told to break/);
  });

  test('a read that is put off gets its bytes; the readers of other files do not wait for it', async () => {
    const nodes: NodeSpec[] = [
      { path: 'slow', ...FILE, later: 400, content: { size: 300_001, seed: 5 } },
      { path: 'never', ...FILE, later: 'never', content: { text: 'x' } },
      { path: 'here', ...FILE, content: { text: 'here' } },
    ];
    await withFs({ nodes }, async (mount) => {
      const begin = performance.now();
      const slow = later('sha256sum', ['slow'], mount.path);
      const never = later('cat', ['never'], mount.path);
      assert.equal((await later('cat', ['here'], mount.path)).stdout, 'here');
      const waited = performance.now() - begin;
      assert.ok(waited < 400, `the file that is here took ${waited} ms`);
      const sum = createHash('sha256').update(patternBytes(5, 300_001)).digest('hex');
      assert.equal((await slow).stdout, `${sum}  slow\n`);
      const { log, posts } = await mount.end();
      assert.deepEqual(posts, ['the file system is made']);
      assert.ok(log.some((entry) => entry.path === '/slow' && entry.op === 'read'));
      // The end of the mount is the end of every wait.
      assert.notEqual((await never).status, 0);
    });
  });

  test('64 processes read files whose bytes come later, in any order', async () => {
    const nodes: NodeSpec[] = Array.from({ length: 64 }, (_, i) => ({
      path: `f${i}`,
      ...FILE,
      later: (i * 37) % 50,
      content: { size: 1000 * i + 1, seed: i },
    }));
    const expected = nodes.map(({ path, content }) => {
      const { size, seed } = content as { size: number; seed: number };
      return `${createHash('sha256').update(patternBytes(seed, size)).digest('hex')}  ${path}`;
    });
    await withFs({ nodes }, async ({ path }) => {
      const sums = await later('sh', ['-c', 'ls | xargs -P 64 -n 1 sha256sum'], path);
      assert.deepEqual(sums.stdout.trim().split('\n').sort(), expected.sort());
    });
  });

  test('a late answer may be an error: an errno, or a defect that is reported', async () => {
    const faults: FsFault[] = [];
    const nodes: NodeSpec[] = [
      { path: 'denied', ...FILE, later: 1, broken: ERRNO.EACCES, content: { text: 'x' } },
      { path: 'bad', ...FILE, later: 1, broken: 'throws', content: { text: 'x' } },
    ];
    await withFs(
      { nodes },
      async (mount) => {
        assert.match((await later('cat', ['denied'], mount.path)).stderr, /Permission denied/);
        assert.deepEqual(faults, []);
        assert.match((await later('cat', ['bad'], mount.path)).stderr, /Input\/output error/);
        await mount.end();
        assert.ok(mount.mounted.faults() > 0);
      },
      { onFault: (fault: FsFault) => faults.push(fault) },
    );
    assert.deepEqual([faults.length, faults[0]!.operation], [1, 'READ']);
    assert.match(faults[0]!.message, /told to break/);
  });

  test('a process that is killed while it waits is gone before its bytes are there', async () => {
    const nodes: NodeSpec[] = [
      { path: 'never', ...FILE, later: 'never', content: { size: 10_000_000, seed: 1 } },
      { path: 'here', ...FILE, content: { text: 'here' } },
    ];
    await withFs({ nodes }, async ({ path }) => {
      const killed = await later('timeout', ['-s', 'KILL', '0.2', 'cat', 'never'], path);
      assert.equal(killed.signal ?? killed.status, 'SIGKILL');
      assert.equal((await later('cat', ['here'], path)).stdout, 'here');
    });
  });

  test('the mount table names it, read-only; afterwards it is gone', () =>
    withFs(
      { nodes: [] },
      async (mount) => {
        const [line] = mountLines(mount.path);
        assert.match(line!, /^\S+ \S+ \S+ \/ \S+ ro,.* - fuse hotlayer-test ro,/);
        const shared = /,default_permissions,allow_other/.test(line!);
        assert.equal(shared, options.private !== true);
        await mount.end();
        await mount.mounted.unmount();
        assert.deepEqual(mountLines(mount.path), []);
      },
      { name: 'hotlayer-test' },
    ));
}
