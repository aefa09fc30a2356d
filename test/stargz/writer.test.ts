// Layers in, blobs out, as a table: what was put in, what was wanted first, what must be there. Members, digests and
// the tar are taken from the bytes by other means than the writer's.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { bufferSource, CODECS, countMembers, type TocEntry } from '../../src/stargz/index.js';
import {
  blockDevice,
  charDevice,
  dir,
  entry,
  fifo,
  file,
  gnuSparse,
  hardlink,
  opaque,
  paxSparse,
  symlink,
  tarOf,
  whiteout,
} from '../support/tar.js';
import { lacking } from '../support/tools.js';
import { type Built, build, sample, sha256Of, withDir, withTar } from './blob.js';
import { holds } from './holds.js';

type Check = (built: Built) => void | Promise<void>;

const P = '.prefetch.landmark';
const N = '.no.prefetch.landmark';

/** Names of the TOC, in order. */
const names =
  (...want: string[]): Check =>
  ({ opened }) =>
    assert.deepEqual(
      opened.entries.map((e) => e.name),
      want,
    );

const members =
  (count: number): Check =>
  async ({ blob, result }) => {
    assert.equal(await countMembers(bufferSource(blob)), count);
    assert.equal(result.members, count);
  };

const fileIs =
  (path: string, content: Buffer | string): Check =>
  async ({ opened }) => {
    const found = opened.byPath.get(path);
    assert.ok(found, path);
    const want = Buffer.from(content);
    assert.ok((await opened.readFile(found)).equals(want), path);
    assert.equal(opened.resolve(found).digest, sha256Of(want));
  };

const has =
  (path: string, want: Partial<TocEntry>): Check =>
  ({ opened }) => {
    const found = opened.byPath.get(path);
    assert.ok(found, path);
    for (const [key, value] of Object.entries(want))
      assert.deepEqual(found[key as keyof TocEntry], value, `${path} ${key}`);
  };

const chunks =
  (path: string, ...sizes: number[]): Check =>
  ({ opened }) =>
    assert.deepEqual(
      opened.chunksOf(opened.byPath.get(path)!).map((c) => c.size),
      sizes,
    );

const warns =
  (...codes: string[]): Check =>
  ({ result }) =>
    assert.deepEqual(
      result.warnings.map((w) => w.code),
      codes,
    );

/** All compressed bytes before the landmark, and nothing else, hold these files. */
const prefetched =
  (...paths: string[]): Check =>
  ({ opened, result }) => {
    assert.equal(opened.landmark?.offset, result.landmarkOffset);
    const before = opened.entries.filter((e) => e.chunks.some((c) => c.offset < opened.prefetchSize));
    assert.deepEqual(
      before.map((e) => e.path),
      paths,
    );
  };

const big = sample(100_000, 7);
const K8 = 8192;

const TABLE: Record<
  string,
  { in: Buffer; hot?: string[]; chunkSize?: number; cuts?: Record<string, number[]>; want: Check[] }
> = {
  'an empty layer': {
    in: tarOf(),
    want: [names(N), members(4), prefetched(), has(N, { mode: 0, size: 1, uid: 0 })],
  },
  'headers ride in the member before': {
    in: tarOf(
      dir('foo/'),
      file('foo/bar.txt', 'content'),
      symlink('l', 'foo'),
      dir('d/'),
      file('empty'),
      file('z', 'zz'),
    ),
    // headers up to the landmark | landmark … | bar.txt, l, d, empty, z's header | z | TOC | footer
    want: [
      names(N, 'foo/', 'foo/bar.txt', 'l', 'd/', 'empty', 'z'),
      members(6),
      fileIs('foo/bar.txt', 'content'),
      fileIs('empty', ''),
    ],
  },
  'hot files before the landmark, with their directories': {
    in: tarOf(
      dir('a/'),
      file('a/cold', 'cold'),
      file('b', 'b'),
      dir('c/'),
      file('c/hot', 'hot!'),
      file('a/warm', 'warm'),
    ),
    hot: ['c/hot', './a/warm'],
    want: [
      names('c/', 'c/hot', 'a/', 'a/warm', P, 'a/cold', 'b'),
      members(8),
      prefetched('c/hot', 'a/warm'),
      fileIs('c/hot', 'hot!'),
    ],
  },
  'hot entries without content still get their landmark': {
    in: tarOf(dir('d/'), file('d/empty'), file('x', 'x')),
    hot: ['d/empty'],
    want: [names('d/', 'd/empty', P, 'x'), prefetched(), ({ result }) => assert.ok(result.landmarkOffset > 0)],
  },
  'a hardlink brings its target, and its content is the target’s': {
    in: tarOf(dir('d/'), file('x', 'x'), file('d/t', 'target'), hardlink('l', 'd/t')),
    hot: ['l'],
    want: [
      names('d/', 'd/t', 'l', P, 'x'),
      fileIs('l', 'target'),
      has('l', { type: 'hardlink', linkName: 'd/t', size: 0 }),
    ],
  },
  'an optimized layer’s landmarks and TOC are dropped': {
    in: tarOf(
      file('.prefetch.landmark', 'x'),
      file('./.no.prefetch.landmark', 'y'),
      file('a', 'a'),
      file('stargz.index.json', '{}'),
      file('b', 'b'),
    ),
    hot: ['b'],
    want: [
      names('b', P, 'a'),
      fileIs(P, '\x0f'),
      ({ tar }) => assert.equal(tar.indexOf('stargz.index.json'), tar.lastIndexOf('stargz.index.json')),
    ],
  },
  'landmark names below the root are files like any other': {
    in: tarOf(dir('d/'), file(`d/${P}`, 'mine'), file('d/stargz.index.json', '{}')),
    want: [names(N, 'd/', `d/${P}`, 'd/stargz.index.json'), fileIs(`d/${P}`, 'mine')],
  },
  'chunks: one short, one exact, several, with and without a rest': {
    in: tarOf(
      file('short', big.subarray(0, 5)),
      file('exact', big.subarray(0, K8)),
      file('two', big.subarray(0, 2 * K8)),
      file('rest', big.subarray(0, 2 * K8 + 1)),
    ),
    chunkSize: K8,
    want: [
      chunks('short', 5),
      chunks('exact', K8),
      chunks('two', K8, K8),
      chunks('rest', K8, K8, 1),
      fileIs('rest', big.subarray(0, 2 * K8 + 1)),
      members(1 + 1 + 7 + 2),
      ({ tar }) => {
        const json = JSON.parse(tar.subarray(tar.lastIndexOf('{"version"')).toString().split('\0')[0]!);
        const sizes = json.entries.slice(1).map((e: { chunkSize?: number }) => e.chunkSize);
        // Absent only on a last chunk that is shorter than the chunk size.
        assert.deepEqual(sizes, [undefined, K8, K8, K8, K8, K8, undefined]);
      },
    ],
  },
  'chunks of different sizes inside one file': {
    in: tarOf(file('f', big), file('g', 'g')),
    hot: ['f'],
    chunkSize: 32_768,
    cuts: { f: [100, 4096, 90_000] },
    want: [
      chunks('f', 100, 3996, 32_768, 32_768, 20_368, 10_000),
      fileIs('f', big),
      async ({ opened }) => {
        const f = opened.byPath.get('f')!;
        for (const [at, length] of [
          [0, 1],
          [99, 2],
          [100, 3996],
          [4095, 60_000],
          [89_999, 99_999],
          [100_000, 5],
          [50_000, 0],
        ]) {
          const want = big.subarray(at!, Math.min(big.length, at! + length!));
          assert.ok((await opened.readFile(f, at, length)).equals(want), `${length} at ${at}`);
        }
      },
    ],
  },
  'what the headers say reaches the TOC': {
    in: tarOf(
      dir('./'),
      file('./f', 'f', {
        mode: 0o104755,
        uid: 1_000_000,
        gid: 3_000_000,
        uname: 'me',
        gname: 'us',
        mtime: { sec: 2_208_988_800, nsec: 500_000_000 },
        xattrs: { 'security.capability': Buffer.from('0100000280ff', 'hex'), 'user.e': '' },
      }),
      file('./g', '', { uid: 1_000_000, gid: 7, uname: 'me', gname: 'others', mtime: { sec: 5, nsec: 499_999_999 } }),
      file('./old', '', { mtime: { sec: -2, nsec: 500_000_000 } }),
      file('./half', '', { mtime: { sec: 0, nsec: 700_000_000 } }),
      symlink('./s', '../../x'),
      charDevice('c', 1, 3),
      blockDevice('b', 259, 70_000),
      fifo('p', { mode: 0o600 }),
      whiteout('gone'),
      opaque('o'),
    ),
    want: [
      names(N, './', './f', './g', './old', './half', './s', 'c', 'b', 'p', '.wh.gone', 'o/.wh..wh..opq'),
      has('f', { mode: 0o104755, uid: 1_000_000, gid: 3_000_000, uname: 'me', gname: 'us', mtimeSec: 2_208_988_801 }),
      has('f', {
        xattrs: new Map([
          ['security.capability', Buffer.from('0100000280ff', 'hex')],
          ['user.e', Buffer.alloc(0)],
        ]),
      }),
      has('g', { uname: 'me', gname: 'others', mtimeSec: 5 }),
      has('old', { mtimeSec: -1 }),
      ({ opened }) => assert.equal(opened.byPath.get('half')!.mtimeSec, undefined),
      has('s', { type: 'symlink', linkName: '../../x' }),
      has('c', { type: 'char', devMajor: 1, devMinor: 3 }),
      has('b', { type: 'block', devMajor: 259, devMinor: 70_000 }),
      has('p', { type: 'fifo', mode: 0o600 }),
      ({ tar }) => {
        const json = tar.subarray(tar.lastIndexOf('{"version"')).toString();
        // The user's name is written once, the groups' both.
        assert.equal(json.split('"userName":"me"').length, 2);
        assert.equal(json.split('"groupName"').length, 3);
      },
    ],
  },
  'of entries with one name the last counts, and the tar has all': {
    in: tarOf(
      file('f', 'first'),
      dir('d/', { mode: 0o700 }),
      file('g', 'g'),
      file('f', 'second!'),
      dir('d/', { mode: 0o711 }),
    ),
    hot: ['f'],
    want: [
      names('f', P, 'g', 'd/'),
      fileIs('f', 'second!'),
      has('d', { mode: 0o711 }),
      warns('duplicate-name', 'duplicate-name'),
      ({ tar }) => assert.ok(tar.indexOf('first') < tar.indexOf('second!')),
    ],
  },
  'a hardlink to itself is the file it names': {
    in: tarOf(file('f', 'data'), hardlink('f', 'f')),
    want: [names(N, 'f'), fileIs('f', 'data'), has('f', { type: 'reg' }), warns('duplicate-name')],
  },
  'sparse files are expanded': {
    in: tarOf(
      gnuSparse(
        'old',
        300_000,
        [
          [0, 'head'],
          [131_072, 'middle'],
          [300_000, ''],
        ],
        { uid: 5, mtime: 77 },
      ),
      paxSparse(
        'dir/new',
        262_144,
        [
          [4096, 'data'],
          [262_144, ''],
        ],
        { pax: { 'SCHILY.xattr.user.k': 'v' }, mtime: { sec: 9, nsec: 5 } },
      ),
      gnuSparse(`${'n'.repeat(120)}/old`, 1_000_000, [[999_000, 'x'.repeat(1000)]]),
      file('after', 'after'),
    ),
    chunkSize: 65_536,
    want: [
      warns('sparse-expanded', 'sparse-expanded', 'sparse-expanded'),
      has('old', { size: 300_000, type: 'reg', uid: 5, mtimeSec: 77 }),
      has('dir/new', { size: 262_144, mtimeSec: 9, xattrs: new Map([['user.k', Buffer.from('v')]]) }),
      async ({ opened }) => {
        const old = await opened.readFile(opened.byPath.get('old')!);
        assert.equal(old.toString('latin1', 131_072, 131_078), 'middle');
        assert.equal(
          old.reduce((n, b) => n + (b === 0 ? 0 : 1), 0),
          10,
        );
        const fresh = await opened.readFile(opened.byPath.get('dir/new')!, 4090, 12);
        assert.equal(fresh.toString('latin1'), '\0\0\0\0\0\0data\0\0');
      },
      fileIs('after', 'after'),
    ],
  },
  'names that are not UTF-8': {
    in: tarOf(file('caf\udce9', '1'), file('caf\udce8', '22'), symlink('l', 'x\udcff'), file('café', '333')),
    want: [
      names(N, 'caf\udce9', 'caf\udce8', 'l', 'café'),
      warns('name-not-utf8', 'name-not-utf8', 'name-collision', 'name-not-utf8'),
      has('l', { linkName: 'x\udcff' }),
      fileIs('caf\udce8', '22'),
    ],
  },
  'directories and links with a payload keep it': {
    in: tarOf(
      entry({ name: 'd/', typeflag: 'D', payload: 'Yfile\0' }),
      entry({ name: 'd2/', typeflag: '5', payload: sample(700) }),
      file('f', 'f'),
    ),
    want: [names(N, 'd/', 'd2/', 'f'), ({ tar }) => assert.ok(tar.includes(sample(700)))],
  },
  'times that RFC 3339 cannot say': {
    in: tarOf(file('far', '', { mtime: 300_000_000_000, format: 'gnu' })),
    want: [warns('time-out-of-range'), ({ opened }) => assert.equal(opened.byPath.get('far')!.mtimeSec, undefined)],
  },
};

for (const [name, row] of Object.entries(TABLE)) {
  test(name, async () => {
    const built = await build(row.in, {
      ...(row.hot ? { hot: row.hot } : {}),
      ...(row.cuts ? { cuts: row.cuts } : {}),
      ...(row.chunkSize ? { chunkSize: row.chunkSize } : {}),
    });
    for (const check of row.want) await check(built);
    await holds(built, row.in);
  });
}

test('GNU tar and bsdtar see the same tree as in the input', { skip: lacking('bsdtar') }, async () => {
  const input = tarOf(
    dir('d/', { mtime: 11 }),
    file('d/f', sample(9000), { mtime: 12, uid: 4, gid: 5 }),
    hardlink('d/h', 'd/f'),
    symlink('d/s', 'f', { mtime: 13 }),
    fifo('p', { mtime: 14 }),
    file(`${'long'.repeat(40)}`, 'x', { mtime: 15 }),
    file('n', 'y', { mtime: 16, xattrs: { 'user.a': 'b' } }),
  );
  const { blob } = await build(input, { hot: ['n', 'd/h'], chunkSize: 4096 });
  await withDir((work) => {
    writeFileSync(join(work, 'in.tar'), input);
    writeFileSync(join(work, 'out.tar.gz'), blob);
    execFileSync('gzip', ['-t', 'out.tar.gz'], { cwd: work });
    const list = (tool: string, path: string) =>
      execFileSync(tool, ['-tvf', path], { cwd: work, env: { ...process.env, TZ: 'UTC', LC_ALL: 'C' } })
        .toString()
        .trim()
        .split('\n');
    for (const tool of ['tar', 'bsdtar']) {
      const before = list(tool, 'in.tar').sort();
      const after = list(tool, 'out.tar.gz');
      assert.match(after.at(-1)!, /stargz\.index\.json$/);
      const own = /(prefetch\.landmark|stargz\.index\.json)$/;
      const squeeze = (line: string) => line.replace(/ +/g, ' ');
      assert.deepEqual(
        after
          .filter((l) => !own.test(l))
          .map(squeeze)
          .sort(),
        before.map(squeeze),
      );
      assert.equal(after.filter((l) => own.test(l)).length, 2);
    }
  });
});

test('expanded sparse files extract to the same bytes, owners and times', async () => {
  const pairs: [number, string][] = Array.from({ length: 30 }, (_, i) => [i * 8192, `${i}`.padEnd(512, '.')]);
  const long = `${'s'.repeat(130)}/pax`;
  const input = tarOf(
    gnuSparse('old', 250_000, [...pairs, [250_000, '']], { mtime: 100, mode: 0o640 }),
    paxSparse('new', 250_000, [...pairs, [250_000, '']], { mtime: { sec: 200, nsec: 250_000_000 } }),
    paxSparse(long, 250_000, [...pairs, [250_000, '']], { mtime: 300 }),
  );
  const { blob } = await build(input, { hot: [long] });
  await withDir((work) => {
    const extract = (bytes: Buffer, name: string) => {
      execFileSync('mkdir', [name], { cwd: work });
      execFileSync(
        'tar',
        [name === 'out' ? '-xzf' : '-xf', '-', '-C', name, '--exclude=*landmark', '--exclude=*.json'],
        {
          input: bytes,
          cwd: work,
        },
      );
      return execFileSync(
        'sh',
        ['-c', `cd ${name} && find . -type f -printf '%p %s %m %T@\\n' -exec sha256sum {} + | sort`],
        {
          cwd: work,
        },
      ).toString();
    };
    assert.equal(extract(blob, 'out'), extract(input, 'in'));
  });
});

test('a sparse file above 8 GiB keeps a size that tar can read', async () => {
  const { headersOfExpanded } = await import('../../src/stargz/tar/sparse-header.js');
  const size = 9 * 2 ** 30 + 1;
  for (const input of [
    tarOf(gnuSparse('old', size, [[size - 3, 'end']], { uid: 3 })),
    tarOf(paxSparse('new', size, [[size - 3, 'end']], { uid: 3 })),
  ]) {
    await withTar(input, async (_, scan) => {
      const e = scan.entries[0]!;
      const headers = headersOfExpanded(input.subarray(e.headerOffset, e.payloadOffset), e);
      // GNU tar stops at the missing content; it has listed the header by then.
      const { stdout } = await import('node:child_process').then((c) =>
        c.spawnSync('tar', ['--numeric-owner', '-tvf', '-'], { input: headers, env: { ...process.env, LC_ALL: 'C' } }),
      );
      assert.match(stdout.toString(), new RegExp(`^-rw-r--r-- 3/0 +${size} .* ${e.name}\n$`));
    });
  }
});

test('very many directories do not make one huge member', async () => {
  const dirs = Array.from({ length: 12_000 }, (_, i) => dir(`d${i}/`));
  const { result, opened } = await build(tarOf(...dirs), { chunkSize: 65_536 });
  assert.equal(opened.entries.length, 12_001);
  // 6.1 MB of headers, at most 64 KiB + 1 MiB a member.
  assert.ok(result.members >= 4 + 5, `${result.members} members`);
});

test('a hardlink without its target is refused; a copy before it, or in its place, mends that', async () => {
  const lower = tarOf(file('usr/bin/tool', 'tool', { mode: 0o755, uid: 12, mtime: { sec: 50, nsec: 7 } }));
  const upper = tarOf(hardlink('usr/bin/alias', './usr/bin/tool'), file('x', 'x'));
  await assert.rejects(build(upper), (error: Error) => {
    assert.match(error.message, /"usr\/bin\/alias" is a hardlink to "\.\/usr\/bin\/tool".*expected.*found none/);
    return (error as { code?: string }).code === 'HL_ERR_LAYER';
  });
  const { copyOfEntry, danglingHardlinks } = await import('../../src/stargz/index.js');
  await withTar(lower, async (fd, scan) => {
    await withTar(upper, async (_, upperScan) =>
      assert.deepEqual(
        danglingHardlinks(upperScan.entries).map((e) => e.path),
        ['usr/bin/alias'],
      ),
    );
    const source = scan.entries[0]!;
    const kept = await build(upper, { before: new Map([[0, [copyOfEntry(fd, source, 'usr/bin/tool')]]]) });
    await names(N, 'usr/bin/tool', 'usr/bin/alias', 'x')(kept);
    await fileIs('usr/bin/alias', 'tool')(kept);
    await has('usr/bin/tool', { mode: 0o755, uid: 12, mtimeSec: 50 })(kept);
    await holds(kept, upper);
    const replaced = await build(upper, { replace: new Map([[0, copyOfEntry(fd, source, 'usr/bin/alias')]]) });
    await names(N, 'usr/bin/alias', 'x')(replaced);
    await has('usr/bin/alias', { type: 'reg', uid: 12 })(replaced);
  });
});

test('loops of hardlinks are refused, too', async () => {
  await assert.rejects(build(tarOf(hardlink('a', 'b'), hardlink('b', 'a'))), { code: 'HL_ERR_LAYER' });
  await assert.rejects(build(tarOf(hardlink('a', 'a'))), { code: 'HL_ERR_LAYER' });
});

test('an order that is not a permutation is a bug, and nothing is written', async () => {
  const input = tarOf(file('a', 'a'), file('b', 'b'), file('a', 'c'));
  for (const order of [
    { hot: [], rest: [0, 1] },
    { hot: [0], rest: [0, 1, 2] },
    { hot: [7], rest: [0, 1, 2] },
    { hot: [2], rest: [0, 1] },
  ]) {
    await assert.rejects(build(input, { order }), { code: 'HL_ERR_BUG' });
  }
});

test('an aborted write stops', async () => {
  const input = tarOf(file('a', sample(50_000)), file('b', sample(50_000)));
  const controller = new AbortController();
  await assert.rejects(
    build(input, {
      signal: controller.signal,
      chunkSize: 4096,
      onProgress: (done) => done > 20_000 && controller.abort(),
    }),
    { name: 'AbortError' },
  );
});

test('optimizing an optimized layer changes nothing', async () => {
  const input = tarOf(
    dir('d/'),
    file('d/a', sample(20_000)),
    file('b', 'b'),
    symlink('s', 'b'),
    file('c', sample(5000, 4)),
  );
  const once = await build(input, { hot: ['c', 'd/a'], chunkSize: 8192 });
  const twice = await build(once.tar, { hot: ['c', 'd/a'], chunkSize: 8192 });
  assert.equal(twice.result.digest, once.result.digest);
});

const ZLIB_PAIR = 'sha256:8bdcb6d323a96ebce6dd470579e7e6ca619360c52bde594790b305bf830d6dfb';
const GOLDEN = {
  libdeflate: 'sha256:875776008e25df3efa2dc31743e7d8e7642f0f9db6fbcc3bca46430e917256f6',
  zlib: ZLIB_PAIR,
  pako: ZLIB_PAIR,
};

test('golden digests: the same input gives the same blob, everywhere; zlib and pako agree', async () => {
  const input = tarOf(
    dir('d/'),
    file('d/hot', sample(30_000, 3), { mtime: 1_700_000_000, uid: 1, gid: 2, uname: 'u', gname: 'g' }),
    file('cold', sample(9000, 9)),
    symlink('s', 'd/hot'),
    file('empty'),
  );
  const digests: Record<string, string> = {};
  for (const codec of CODECS) {
    const { result } = await build(input, { codec, level: 6, hot: ['d/hot'], chunkSize: 16_384 });
    digests[codec] = result.digest;
  }
  assert.equal(digests.zlib, digests.pako);
  assert.deepEqual(digests, GOLDEN);
  const again = await build(input, { codec: 'libdeflate', level: 6, hot: ['d/hot'], chunkSize: 16_384, hotLevel: 6 });
  assert.equal(again.result.digest, digests.libdeflate);
  const better = await build(input, { codec: 'libdeflate', level: 6, hot: ['d/hot'], chunkSize: 16_384, hotLevel: 12 });
  assert.ok(better.result.landmarkOffset < again.result.landmarkOffset);
});
