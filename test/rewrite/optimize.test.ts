// optimize → verify through real layouts, and the result in the eyes of gzip, GNU tar and bsdtar.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { HotlayerError } from '../../src/errors.js';
import { openImage } from '../../src/image/open.js';
import { openSink } from '../../src/image/sink.js';
import { checkExpansion } from '../../src/rewrite/expansion.js';
import { resolveLinks } from '../../src/rewrite/links.js';
import { optimizeImage } from '../../src/rewrite/optimize.js';
import type { TarEntry } from '../../src/stargz/tar/entry.js';
import { scanTarFd } from '../../src/stargz/tar/scan.js';
import { digestOf } from '../support/layout.js';
import { refused } from '../support/refused.js';
import {
  blockDevice,
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
import { lacking } from '../support/tools.js';
import { blobsOf, CHUNK, complaints, tarsOf, Workbench } from './workbench.js';

const listed = (tar: Buffer) =>
  execFileSync('tar', ['-tf', '-', '--quoting-style=escape'], { input: tar }).toString().trim().split('\n');

function entriesOf(bench: Workbench, tar: Buffer): readonly TarEntry[] {
  const path = bench.fresh('tar');
  writeFileSync(path, tar);
  const fd = openSync(path, 'r');
  try {
    return scanTarFd(fd, tar.length).entries;
  } finally {
    closeSync(fd);
  }
}

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

test('links to symlinks and devices of another layer become what they named', async () => {
  using bench = new Workbench();
  const before = bench.layout({
    layers: [
      tarOf(
        symlink('l', 'x'.repeat(150), { uid: 5, mtime: 9 }),
        charDevice('null', 1, 3, { mode: 0o666 }),
        fifo('p'),
        blockDevice('disk', 3_000_000, 5, { pax: { 'SCHILY.devmajor': '3000000' } }),
        dir('usr/'),
        file('usr/f', 'through a symlinked directory'),
        symlink('lib', 'usr'),
      ),
      tarOf(
        hardlink('a', 'l'),
        hardlink('b', 'null'),
        hardlink('c', './p'),
        hardlink('d', 'disk'),
        hardlink('e', 'lib/f'),
      ),
    ],
  });
  const { reference, plan, result } = await bench.optimize(before, [[], ['e', 'a']]);
  const report = await bench.verify(before, reference, plan);
  assert.deepEqual(complaints(report), []);
  assert.deepEqual(
    report.exceptions.map((e) => e.entry),
    ['a', 'b', 'c', 'd', 'e'],
  );
  assert.match(result.warnings[0]!.message, /"l", which is in layer 0: stored as a copy/);
  const long = execFileSync('tar', ['--numeric-owner', '-tvf', '-'], { input: (await tarsOf(reference))[1]! });
  const lines = long.toString().replace(/ +/g, ' ').trim().split('\n');
  assert.match(lines[0]!, /^-rw-r--r-- 0\/0 29 .* e$/);
  assert.match(lines[1]!, /^lrwxrwxrwx 5\/0 0 .* a -> x{150}$/);
  assert.match(lines[3]!, /^crw-rw-rw- 0\/0 1,3 .* b$/);
  assert.match(lines[4]!, /^prw-r--r-- .* c$/);
});

test('links that only this layer could explain', async () => {
  using bench = new Workbench();
  const before = bench.layout({
    layers: [
      tarOf(
        file('t', 'first'),
        hardlink('kept', 't'),
        file('t', 'second'),
        hardlink('ok', 't'),
        hardlink('t', 't'),
        hardlink('early', 'late'),
        file('late', 'L'),
      ),
    ],
  });
  const { reference, plan, result } = await bench.optimize(before, [['ok', 'early', 'kept']]);
  assert.deepEqual(complaints(await bench.verify(before, reference, plan)), []);
  // `kept` is the file that `t` was before it was replaced; `early` names a later entry, which a TOC can say.
  assert.deepEqual(
    result.warnings.filter((w) => w.code === 'hardlink-copied').map((w) => w.entry),
    ['kept'],
  );
  assert.match(result.warnings[0]!.message, /which was replaced later in this layer/);
  const tar = (await tarsOf(reference))[0]!;
  assert.deepEqual(listed(tar).slice(0, 6), ['t', 't', 'ok', 'late', 'early', 'kept']);
});

test('a hardlink to nowhere, or to a directory, is an error that names it', async () => {
  using bench = new Workbench();
  for (const [layers, message] of [
    [[tarOf(file('x', '1')), tarOf(hardlink('l', 'gone'))], /"l" is a hardlink to "gone", which is in no layer/],
    [
      [tarOf(file('x', '1')), tarOf(whiteout('x')), tarOf(hardlink('l', 'x'))],
      /"l" is a hardlink to "x", which is in no/,
    ],
    [[tarOf(dir('d/')), tarOf(hardlink('l', 'd'))], /"l" is a hardlink to "d", which is a directory/],
    [[tarOf(dir('d/'), hardlink('l', 'd'))], /"l" is a hardlink to "d", which is a directory/],
  ] as const) {
    const before = bench.layout({ layers });
    await assert.rejects(bench.optimize(before), (error) => {
      assert.ok(error instanceof HotlayerError);
      assert.match(error.message, message);
      assert.equal(error.exitCode, 3);
      assert.equal(error.context.image, before);
      assert.match(error.context.layer ?? '', /^sha256:/);
      return true;
    });
  }
});

test('a few bytes that ask for petabytes meet a named limit, before anything is written or hashed', {
  timeout: 10_000,
}, async () => {
  using bench = new Workbench();
  const PIB = 2 ** 50;
  const holes = paxSparse('small', 2 ** 20, [[2 ** 20, '']]);
  const links = Array.from({ length: 3 }, (_, i) => hardlink(`l${i}`, 'holes'));
  for (const [layers, layer, message] of [
    [
      [tarOf(file('x'), holes, gnuSparse('huge', PIB, [[PIB, '']]))],
      0,
      /TiB.*MAX_LAYER_BYTES.*"huge" alone, a sparse file/,
    ],
    [[tarOf(paxSparse('huge', PIB, [[PIB, '']]))], 0, /"huge" alone/],
    // Each of them is allowed by itself.
    [
      [tarOf(paxSparse('holes', 30 * 2 ** 30, [])), tarOf(...links)],
      1,
      /90\.0 GiB.*"l0" alone, a hardlink that has to become a copy/,
    ],
  ] as const) {
    const before = bench.layout({ layers });
    if (layer === 0) {
      await assert.rejects(bench.optimize(before), refused('HL_ERR_LIMIT', message));
      await assert.rejects(bench.verify(before, before), refused('HL_ERR_LIMIT', message));
    } else {
      const scans = layers.map((tar) => entriesOf(bench, tar));
      const resolved = resolveLinks(scans, 1);
      assert.throws(
        () => checkExpansion('1', layers[1]!.length, scans[1]!, resolved),
        refused('HL_ERR_LIMIT', message),
      );
    }
  }
});

test('without a plan there is a no-prefetch landmark, and a whole copy of nothing else', async () => {
  using bench = new Workbench();
  const before = bench.layout({ layers: [tarOf(file('a', 'a'))], gzip: false });
  const { reference, result } = await bench.optimize(before);
  assert.deepEqual([result.layers[0]!.landmark, result.layers[0]!.prefetchBytes], ['no-prefetch', 0]);
  assert.deepEqual(listed((await tarsOf(reference))[0]!), ['.no.prefetch.landmark', 'a', 'stargz.index.json']);
  await using image = await openImage(reference);
  assert.equal(image.layers[0]!.descriptor.mediaType, 'application/vnd.oci.image.layer.v1.tar+gzip');
});

test('equal layers with equal plans are written once; with different plans twice', async () => {
  using bench = new Workbench();
  const same = tarOf(file('a', 'a'), file('b', 'b'));
  const before = bench.layout({ layers: [same, same, same] });
  const { reference, result, plan } = await bench.optimize(before, [['b'], ['b'], ['a']]);
  assert.deepEqual(
    result.layers.map((layer) => layer.sameAs),
    [undefined, 0, undefined],
  );
  const [a, b, c] = result.layers.map((layer) => layer.digest);
  assert.equal(a, b);
  assert.notEqual(a, c);
  assert.deepEqual(complaints(await bench.verify(before, reference, plan)), []);
});

test('annotations: what spoke of the old blob goes, the rest stays, the DiffID follows', async () => {
  using bench = new Workbench();
  const before = bench.layout({
    layers: [tarOf(file('a', 'a'))],
    layerAnnotations: [
      {
        'org.example.x': '1',
        'io.github.containers.zstd-chunked.manifest-checksum': 'sha256:00',
        'containerd.io/snapshot/stargz/toc.digest': 'sha256:00',
        'containerd.io/uncompressed': digestOf(tarOf(file('a', 'a'))),
      },
    ],
  });
  const { reference, result, plan } = await bench.optimize(before, [['a']]);
  await using image = await openImage(reference);
  const [layer] = result.layers;
  assert.deepEqual(image.layers[0]!.descriptor.annotations, {
    'org.example.x': '1',
    'containerd.io/uncompressed': layer!.diffId,
    'containerd.io/snapshot/stargz/toc.digest': layer!.tocDigest,
    'io.containers.estargz.uncompressed-size': String(layer!.uncompressedSize),
  });
  assert.deepEqual(complaints(await bench.verify(before, reference, plan)), []);
});

test('planned chunk boundaries are where the members begin', async () => {
  using bench = new Workbench();
  const before = bench.layout({ layers: [tarOf(file('big', big), file('small', 'x'))] });
  const { reference, plan } = await bench.optimize(before, [['big']], { chunks: [{ big: [100, CHUNK + 100] }] });
  assert.deepEqual(complaints(await bench.verify(before, reference, plan)), []);
  const tar = (await tarsOf(reference))[0]!;
  const json = tar.subarray(tar.indexOf('{"version"'), tar.lastIndexOf('}') + 1).toString();
  const entries = (JSON.parse(json) as { entries: { name: string; chunkOffset?: number }[] }).entries;
  assert.deepEqual(
    entries.filter((e) => e.name === 'big').map((e) => e.chunkOffset ?? 0),
    [0, 100, CHUNK + 100, 2 * CHUNK + 100],
  );
  for (const bad of [[0], [5, 5], [big.length], [1.5]]) {
    await assert.rejects(bench.optimize(before, [['big']], { chunks: [{ big: bad }] }), {
      code: 'HL_ERR_DATA',
      message: /chunk boundaries of "big" are \[/,
    });
  }
});

test('strict refuses names that lazy clients would change, and leaves nothing behind', async () => {
  using bench = new Workbench();
  const before = bench.layout({ layers: [tarOf(file('caf\udce9', '1'), symlink('l', '\udcff'))] });
  const kept = readdirSync(bench.path).sort();
  await assert.rejects(bench.optimize(before, [], { strict: true }), (error) => {
    assert.ok(error instanceof HotlayerError);
    assert.equal(error.exitCode, 1);
    assert.match(error.message, /"caf\\xe9": the name is not UTF-8.*\(and 1 more\)/);
    return true;
  });
  assert.deepEqual(readdirSync(bench.path).sort(), kept);
  const { result } = await bench.optimize(before);
  assert.deepEqual(
    result.warnings.map((w) => w.code),
    ['name-not-utf8', 'name-not-utf8'],
  );
});

test('a plan for another image, and paths that are not there', async () => {
  using bench = new Workbench();
  const one = bench.layout({ layers: [tarOf(file('a', '1'))] });
  const two = bench.layout({ layers: [tarOf(file('a', '2'))] });
  const { plan, result } = await bench.optimize(one, [['a', 'nope']]);
  assert.deepEqual(
    result.warnings.map((w) => [w.code, w.entry]),
    [['planned-missing', 'nope']],
  );
  await assert.rejects(bench.verify(two, two, plan), { code: 'HL_ERR_DATA', message: /layer 0 of the plan/ });
  await using image = await openImage(two);
  const sink = await openSink(`oci:${bench.fresh('x')}:t`, { fsync: false });
  await assert.rejects(optimizeImage(image, sink, plan, { chunkSize: CHUNK, codec: 'zlib' }), {
    code: 'HL_ERR_DATA',
    message: /expected sha256:/,
  });
  const short = { ...plan, layers: [] };
  await assert.rejects(optimizeImage(image, sink, short, { chunkSize: CHUNK, codec: 'zlib' }), /the plan has 0 layers/);
});

test('interrupted, it leaves neither a target nor temporary files; progress adds up', async () => {
  using bench = new Workbench();
  const before = bench.layout({ layers: [tarOf(file('a', big), file('b', big)), tarOf(file('c', 'c'))] });
  const kept = readdirSync(bench.path).sort();
  for (const step of ['spool', 'write'] as const) {
    const abort = new AbortController();
    await assert.rejects(
      bench.optimize(before, [], {
        signal: abort.signal,
        onProgress: (p) => p.step === step && abort.abort(new HotlayerError('HL_ERR_INTERRUPTED', 'SIGINT')),
      }),
      { code: 'HL_ERR_INTERRUPTED' },
    );
    assert.deepEqual(readdirSync(bench.path).sort(), kept);
  }
  const seen: string[] = [];
  await bench.optimize(before, [], {
    onProgress: ({ step, layer, layers, bytes, total }) => {
      assert.ok(bytes <= total && layer < layers && layers === 2);
      if (bytes === total) seen.push(`${step} ${layer}`);
    },
  });
  // Layers overlap: one may be read while another is written.
  const order = [...new Set(seen)];
  assert.deepEqual(order.toSorted(), ['spool 0', 'spool 1', 'write 0', 'write 1']);
  for (const layer of [0, 1]) assert.ok(order.indexOf(`spool ${layer}`) < order.indexOf(`write ${layer}`), `${order}`);
});

test('archives in and out', async () => {
  using bench = new Workbench();
  const before = bench.layout({ layers: ODD });
  const { reference, plan } = await bench.optimize(before, HOT);
  for (const kind of ['oci-archive', 'docker-archive']) {
    if (lacking('skopeo')) continue;
    const path = bench.fresh('archive');
    execFileSync('skopeo', ['copy', '-q', '--insecure-policy', before, `${kind}:${path}:n:t`]);
    // skopeo compresses differently, so the archive is an image of its own.
    const archive = await bench.optimize(`${kind}:${path}`, HOT);
    assert.deepEqual(complaints(await bench.verify(`${kind}:${path}`, archive.reference, archive.plan)), []);
  }
  const path = bench.fresh('archive');
  await using image = await openImage(before);
  const sink = await openSink(`oci-archive:${path}:t`, { fsync: false });
  const result = await optimizeImage(image, sink, plan, {
    chunkSize: CHUNK,
    codec: 'zlib',
    level: 1,
    tempParent: bench.path,
  });
  await using first = await openImage(reference);
  assert.equal(result.manifest.digest, first.descriptor.digest);
  assert.deepEqual(complaints(await bench.verify(before, `oci-archive:${path}`, plan)), []);
});
