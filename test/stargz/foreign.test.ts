// Both ways between hotlayer and containerd's own estargz library (see test/foreign/esgz-check.go): it opens,
// verifies and reads what we write; we open and read what it writes; and both put entries in the same order.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { bufferSource, openStargz, type TocEntry, walkMembers } from '../../src/stargz/index.js';
import { noise } from '../e2e/sample.js';
import {
  blockDevice,
  charDevice,
  dir,
  fifo,
  file,
  gnuSparse,
  hardlink,
  opaque,
  symlink,
  tarOf,
  whiteout,
} from '../support/tar.js';
import { type BuildOptions, build, sample, sha256Of, withDir } from './blob.js';
import { foreignBuild, foreignOpen, lackingChecker } from './esgz-check.js';

const skip = lackingChecker();
const MIB = 1024 * 1024;

const RICH = tarOf(
  dir('./'),
  dir('./bin/', { mode: 0o755, uid: 1, gid: 2, uname: 'u1', gname: 'g2', mtime: 100 }),
  file('./bin/small', 'small', {
    mode: 0o4755,
    uid: 3,
    gid: 4,
    uname: 'u3',
    mtime: { sec: 1_700_000_000, nsec: 600_000_000 },
  }),
  file('./bin/big', sample(5 * MIB + 5, 3), { uid: 3, gid: 4, uname: 'u3', mtime: 2 ** 31 + 5 }),
  file('./bin/exact', sample(4 * MIB, 4), { uid: 1_000_000 }),
  file('./empty', '', { mtime: { sec: 0, nsec: 900_000_000 } }),
  hardlink('./bin/link', './bin/small'),
  symlink('./lib', 'usr/lib'),
  charDevice('./null', 1, 3, { mode: 0o666 }),
  blockDevice('./disk', 8, 1),
  fifo('./pipe'),
  whiteout('bin/gone'),
  opaque('var'),
  file('no/parent/here', 'x', {
    xattrs: { 'security.capability': Buffer.from('010000028000ff', 'hex'), 'user.x': 'y' },
  }),
  file('quotes "&<>\u2028 ünï', 'q'),
);

/** How Go shows a name. */
const seen = (name: string) => name.replace(/(?<![\ud800-\udbff])[\udc80-\udcff]/g, '\ufffd');

/** What the library says of a blob, checked against what our reader says of it. */
async function agree(tar: Buffer, options: BuildOptions): Promise<void> {
  const { blob, result, opened } = await build(tar, options);
  await withDir(async (work) => {
    writeFileSync(join(work, 'blob'), blob);
    const nodes = await foreignOpen(join(work, 'blob'), result.tocDigest);
    const byPath = new Map(nodes.map((node) => [node.path, node]));
    for (const entry of opened.entries) {
      const node = byPath.get(seen(entry.path));
      assert.ok(node, `${entry.path} is there`);
      const real = opened.resolve(entry);
      const mtime = node.modtime === '' ? undefined : Date.parse(node.modtime) / 1000;
      assert.deepEqual(
        [node.type, node.size, node.mode, node.uid, node.gid, node.uname, mtime, node.devMajor, node.devMinor],
        [real.type, real.size, real.mode, real.uid, real.gid, real.uname, real.mtimeSec, real.devMajor, real.devMinor],
        entry.path,
      );
      assert.equal(node.linkName, seen(real.linkName));
      assert.deepEqual(
        new Map(Object.entries(node.xattrs ?? {}).map(([k, v]) => [k, Buffer.from(v ?? '', 'base64')])),
        real.xattrs ?? new Map(),
      );
      if (real.type !== 'reg') continue;
      const content = await opened.readFile(entry);
      assert.equal(node.digest, sha256Of(content));
      assert.equal(`sha256:${node.sha256}`, node.digest);
      assert.deepEqual(
        (node.chunks ?? []).map((c) => [
          c.offset,
          c.nextOffset === blob.length ? opened.tocOffset : c.nextOffset,
          c.chunkOffset,
          c.chunkSize,
          c.chunkDigest,
          c.verified,
        ]),
        real.chunks.map((c) => [c.offset, c.nextOffset, c.at, c.size, c.digest, true]),
        entry.path,
      );
    }
    // Nothing but made-up directories beyond our entries.
    const ours = new Set(opened.entries.map((e) => e.path));
    for (const node of nodes)
      if (!ours.has(node.path) && !node.path.includes('\ufffd')) assert.equal(node.type, 'dir', node.path);
  });
}

test('the library verifies and reads what we write', { skip }, async () => {
  await agree(RICH, { hot: ['bin/link', 'no/parent/here'], level: 1 });
});

test('… without prefetch, through zlib', { skip }, async () => {
  await agree(RICH, { codec: 'zlib', level: 1 });
});

test('… chunks of different sizes, and of every remainder', { skip }, async () => {
  const k = 8192;
  const tar = tarOf(
    file('cut', sample(100_000)),
    ...[1, k - 1, k, k + 1, 2 * k, 3 * k - 1].map((n) => file(`f${n}`, sample(n, n))),
    gnuSparse('sparse', 200_000, [[100_000, 'data']]),
  );
  await agree(tar, { hot: ['cut', 'sparse'], chunkSize: k, cuts: { cut: [100, 101, 50_000] } });
});

test('… a TOC in pieces', { skip }, async () => {
  await agree(RICH, { hot: ['bin/link', 'no/parent/here'], level: 1, tocInPieces: { above: 500, size: 700 } });
});

test('… a TOC that is moved to a boundary of the client’s pieces', { skip }, async () => {
  // The TOC has some thousand bytes: one of these sizes puts it across a boundary.
  const moved = [];
  for (let size = 1_990_000; size < 2_040_000 && moved.length === 0; size += 500) {
    const tar = tarOf(...Array.from({ length: 40 }, (_, i) => file(`f${i}`, `${i}`)), file('noise', noise(size, 7)));
    const { result, blob } = await build(tar, { level: 1 });
    if (result.tocOffset % 50_000 === 0 && blob.length % 50_000 > 100) moved.push(tar);
  }
  assert.equal(moved.length, 1);
  await agree(moved[0]!, { level: 1 });
});

test('… names that are not UTF-8, duplicates, an empty layer', { skip }, async () => {
  await agree(tarOf(file('caf\udce9/x', 'x'), symlink('s', '\udc80'), file('😀\udcff', 'y')), { hot: ['caf\udce9/x'] });
  const twice = sample(20_000);
  await agree(tarOf(file('f', twice), file('g', 'g'), file('f', 'short'), hardlink('h', 'f')), { chunkSize: 4096 });
  await agree(tarOf(), {});
});

test('the library refuses another TOC digest, so the check above is one', { skip }, async () => {
  const { blob } = await build(tarOf(file('f', 'f')));
  await withDir(async (work) => {
    writeFileSync(join(work, 'blob'), blob);
    await assert.rejects(foreignOpen(join(work, 'blob'), sha256Of(blob)), /invalid TOC JSON/);
  });
});

test('we read what the library writes, and the TOC says the same as ours', { skip }, async () => {
  await withDir(async (work) => {
    writeFileSync(join(work, 'in.tar'), RICH);
    const { tocDigest, diffId } = await foreignBuild(join(work, 'in.tar'), join(work, 'blob'), ['bin/small', './lib']);
    const blob = readFileSync(join(work, 'blob'));
    const theirs = await openStargz(bufferSource(blob), { tocDigest });
    assert.equal(sha256Of(gunzipSync(blob)), diffId);
    const ours = (await build(RICH, { hot: ['bin/small', './lib'], level: 1 })).opened;
    const facts = (e: TocEntry) => ({ ...e, chunks: e.chunks.map(({ at, size, digest }) => ({ at, size, digest })) });
    assert.deepEqual(theirs.entries.map(facts), ours.entries.map(facts));
    for (const e of theirs.entries) {
      if (theirs.resolve(e).type !== 'reg') continue;
      assert.ok((await theirs.readFile(e)).equals(await ours.readFile(ours.byPath.get(e.path)!)), e.path);
    }
    const members = [];
    for await (const member of walkMembers(bufferSource(blob))) members.push(member.offset);
    for (const offset of theirs.memberOffsets()) assert.ok(members.includes(offset));
    assert.equal(theirs.landmark?.kind, 'prefetch');
    // The JSON itself: the same records but for the offsets.
    const raw = (bytes: Buffer) => {
      const text = gunzipSync(bytes).toString('utf8');
      const from = Math.max(text.lastIndexOf('{"version"'), text.lastIndexOf('{\n\t"version"'));
      const toc = JSON.parse(text.slice(from).split('\0')[0]!) as { entries: Record<string, unknown>[] };
      return toc.entries.map(({ offset, ...rest }) => JSON.stringify({ ...rest, hasOffset: offset !== undefined }));
    };
    assert.deepEqual(raw(blob), raw((await build(RICH, { hot: ['bin/small', './lib'], level: 1 })).blob));
  });
});

const long1 = 'l'.repeat(120);
const long2 = 'm'.repeat(150);
const ORDERS: { name: string; tar: (prefix: string) => Buffer[]; wanted: string[] }[] = [
  { name: 'nothing wanted', tar: (p) => [file(`${p}a`, 'a'), dir(`${p}d/`), file(`${p}d/b`, 'b')], wanted: [] },
  {
    name: 'files in another order',
    tar: (p) => ['a', 'b', 'c', 'd'].map((n) => file(p + n, n)),
    wanted: ['d', 'c', 'b'],
  },
  {
    name: 'directories',
    tar: (p) => [
      file(`${p}f`, 'f'),
      dir(`${p}x/`),
      file(`${p}x/1`, '1'),
      dir(`${p}y/`),
      file(`${p}y/1`, '1'),
      dir(`${p}y/z/`),
      file(`${p}y/z/b`, 'b'),
      file(`${p}y/z/a`, 'a'),
    ],
    wanted: ['y/z/a', 'y/1', 'f', 'x'],
  },
  {
    name: 'a link’s target alone',
    tar: (p) => [file(`${p}a`, 'a'), hardlink(`${p}l`, `${p}a`), file(`${p}b`, 'b')],
    wanted: ['a'],
  },
  {
    name: 'links before their targets, chained',
    tar: (p) => [
      dir(`${p}d/`),
      dir(`${p}e/`),
      file(`${p}d/t`, 't'),
      file(`${p}b`, 'b'),
      hardlink(`${p}e/l`, `${p}d/t`),
      hardlink(`${p}ll`, `${p}e/l`),
    ],
    wanted: ['ll', 'b'],
  },
  {
    name: 'long names',
    tar: (p) => [file(`${p}f`, 'f'), file(p + long1, '1'), dir(`${p}d/`), file(`${p}d/${long2}`, '2')],
    wanted: [`d/${long2}`, long1],
  },
  {
    name: 'every type',
    tar: (p) => [
      file(`${p}f`, 'f'),
      symlink(`${p}s`, 'f'),
      charDevice(`${p}c`, 10, 50),
      blockDevice(`${p}b`, 15, 20),
      fifo(`${p}p`),
    ],
    wanted: ['p', 's', 'f', 'b'],
  },
  {
    name: 'missed ones',
    tar: (p) => [file(`${p}a`, 'a'), dir(`${p}d/`), file(`${p}b`, 'b')],
    wanted: ['b', 'no', 'd/no', 'a', 'b'],
  },
  {
    name: 'a prefetch landmark in the input',
    tar: (p) => [file(`${p}a`, 'a'), file(`${p}.prefetch.landmark`, 'x'), file(`${p}b`, 'b')],
    wanted: ['b'],
  },
  {
    name: 'the other landmark in the input',
    tar: (p) => [file(`${p}.no.prefetch.landmark`, 'x'), file(`${p}a`, 'a'), file(`${p}b`, 'b')],
    wanted: [],
  },
  {
    name: 'a root directory',
    tar: (p) => [...(p === '' ? [] : [dir(p)]), file(`${p}a`, 'a'), file(`${p}b`, 'b')],
    wanted: ['b'],
  },
];

/** Before the names in the tar, and before those in the list: they do not have to be the same. */
const PREFIXES = [
  ['', ''],
  ['./', '/'],
  ['/', './'],
  ['./', '../'],
] as const;

for (const { name, tar, wanted } of ORDERS) {
  test(`the same order as estargz.Build: ${name}`, { skip }, async () => {
    for (const [tarPrefix, listPrefix] of PREFIXES) {
      const input = tarOf(...tar(tarPrefix));
      const list = wanted.map((path) => listPrefix + path);
      await withDir(async (work) => {
        writeFileSync(join(work, 'in.tar'), input);
        await foreignBuild(join(work, 'in.tar'), join(work, 'blob'), list);
        const theirs = await openStargz(bufferSource(readFileSync(join(work, 'blob'))));
        const { opened } = await build(input, wanted.length > 0 ? { hot: list } : {});
        assert.deepEqual(
          opened.entries.map((e) => e.name),
          theirs.entries.map((e) => e.name),
        );
      });
    }
  });
}
