// zstd layers: frames as zstd(1) and pzstd write them, many of them, skippable ones between, cut at every byte, damaged.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { HotlayerError } from '../../src/errors.js';
import { openImage } from '../../src/image/open.js';
import { openSink } from '../../src/image/sink.js';
import { MEDIA } from '../../src/image/types.js';
import { inspectImage } from '../../src/rewrite/inspect/inspect.js';
import { optimizeImage } from '../../src/rewrite/optimize.js';
import { planWithout } from '../../src/rewrite/plan-fit.js';
import { verifyImages } from '../../src/rewrite/verify/verify.js';
import { isZstd, MAX_ZSTD_WINDOW, unzstd } from '../../src/stargz/codec/zstd.js';
import { spoolLayer } from '../../src/stargz/spool.js';
import { addToIndex, buildLayout, digestOf, putBlob, putJson } from '../support/layout.js';
import { refused } from '../support/refused.js';
import { dir, file, tarOf } from '../support/tar.js';
import { testDir } from '../support/temp.js';
import { lacking } from '../support/tools.js';

const WHERE = { layer: 'L' };
const skip = lacking('zstd');

/** Zeros, text, noise: raw, RLE and compressed blocks. */
const CONTENT = Buffer.concat([
  Buffer.alloc(300_000),
  Buffer.from(Array.from({ length: 20_000 }, (_, i) => `line ${i % 997} of ${i}\n`).join('')),
  randomBytes(200_000),
]);

function zstd(bytes: Uint8Array, ...options: string[]): Buffer {
  return execFileSync('zstd', ['-q', '-c', ...options], { input: bytes, maxBuffer: 1 << 28 });
}

function skippable(content: Uint8Array, kind = 0): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32LE(0x184d2a50 + kind, 0);
  header.writeUInt32LE(content.length, 4);
  return Buffer.concat([header, content]);
}

async function decompress(blob: Uint8Array, piece = 65_536): Promise<Buffer> {
  const parts: Buffer[] = [];
  async function* source() {
    // One buffer for all pieces: whoever keeps a view of it sees other bytes.
    const buffer = Buffer.alloc(piece);
    for (let at = 0; at < blob.length; at += piece) {
      const part = blob.subarray(at, at + piece);
      buffer.set(part);
      yield buffer.subarray(0, part.length);
      buffer.fill(0xaa);
    }
  }
  await unzstd(source(), (bytes) => parts.push(Buffer.from(bytes)), WHERE);
  return Buffer.concat(parts);
}

test('frames of every level and shape come back', { skip }, async () => {
  const shapes = [['-1'], ['-3', '--no-check'], ['-19'], ['--ultra', '-22'], ['--long=24'], ['-T2', '-B100KB']];
  for (const options of shapes) {
    assert.ok((await decompress(zstd(CONTENT, ...options))).equals(CONTENT), options.join(' '));
  }
  for (const size of [0, 1, 17, 255, 256, 65_791, 65_792, 131_072, 131_073]) {
    const bytes = CONTENT.subarray(310_000, 310_000 + size);
    assert.ok((await decompress(zstd(bytes))).equals(bytes), `${size}`);
  }
});

test('many frames, skippable ones before, between and after, in pieces of any size', { skip }, async () => {
  const parts = [CONTENT.subarray(0, 5), CONTENT.subarray(5, 400_000), Buffer.alloc(0), CONTENT.subarray(400_000)];
  const blob = Buffer.concat([
    skippable(Buffer.alloc(0), 15),
    ...parts.flatMap((part, i) => [zstd(part), skippable(randomBytes(i * 40_000), i)]),
  ]);
  assert.ok(isZstd(blob));
  for (const piece of [1013, 4096, blob.length]) {
    assert.ok((await decompress(blob, piece)).equals(CONTENT), `pieces of ${piece}`);
  }
  const small = Buffer.concat([skippable(Buffer.from('x')), zstd(Buffer.from('abc')), zstd(Buffer.from('defghi'))]);
  for (const piece of [1, 2, 3, 5, 7]) assert.equal(String(await decompress(small, piece)), 'abcdefghi');
});

test('cut off at any byte, or followed by something else', { skip }, async () => {
  const blob = Buffer.concat([zstd(CONTENT.subarray(310_000, 310_400)), skippable(Buffer.from('toc'))]);
  const frame = blob.length - 11;
  for (let length = 0; length < blob.length; length++) {
    // After a whole frame there may be nothing more.
    if (length === frame) continue;
    await assert.rejects(decompress(blob.subarray(0, length)), (error) => {
      assert.ok(error instanceof HotlayerError && error.code === 'HL_ERR_LAYER', `${length}`);
      assert.match(error.message, /cut off/);
      assert.equal(error.context.offset, length);
      return true;
    });
  }
  await assert.rejects(
    decompress(Buffer.concat([blob, Buffer.from('garbage')])),
    refused(
      'HL_ERR_LAYER',
      /expected a zstd frame \(28b52ffd\), found 67617262 at byte \d+ of the blob, in zstd frame 3/,
    ),
  );
});

test('damaged frames give an error or other bytes, never a crash or a hang', { skip }, async () => {
  const blob = zstd(CONTENT.subarray(300_000, 360_000), '-19');
  let errors = 0;
  for (let at = 4; at < blob.length; at += 37) {
    const bad = Buffer.from(blob);
    bad[at]! ^= 1 << (at % 8);
    try {
      await decompress(bad);
    } catch (error) {
      assert.ok(error instanceof HotlayerError && ['HL_ERR_LAYER', 'HL_ERR_LIMIT'].includes(error.code), `${error}`);
      errors += 1;
    }
  }
  assert.ok(errors > 10, `${errors}`);
});

test('a window that is too large, a dictionary, reserved bits', { skip }, async () => {
  // Header without content size; window descriptor 0x98: 2^29 bytes.
  const huge = Buffer.from('28b52ffd0098010000', 'hex');
  await assert.rejects(decompress(huge), refused('HL_ERR_LIMIT', /needs a window of 512 MiB.*MAX_ZSTD_WINDOW/));
  const edge = Buffer.from('28b52ffd0088010000', 'hex');
  assert.equal(MAX_ZSTD_WINDOW, 2 ** (10 + (0x88 >> 3)));
  assert.equal((await decompress(edge)).length, 0);
  await assert.rejects(decompress(Buffer.from('28b52ffd010007010000', 'hex')), refused('HL_ERR_LAYER', /dictionary/));
  await assert.rejects(decompress(Buffer.from('28b52ffd0800010000', 'hex')), refused('HL_ERR_LAYER', /reserved bit/));
  await assert.rejects(decompress(Buffer.from('28b52ffd0000070000', 'hex')), refused('HL_ERR_LAYER', /reserved type/));
  // A single segment whose header says how many bytes its one raw block has.
  const hello = (size: string) => Buffer.from(`28b52ffd20${size}290000${Buffer.from('hello').toString('hex')}`, 'hex');
  assert.equal(String(await decompress(hello('05'))), 'hello');
  await assert.rejects(decompress(hello('06')), refused('HL_ERR_LAYER', /says that it has 6 bytes, found 5/));
});

test('what the sink throws comes out as it is', { skip }, async () => {
  const bomb = new Error('full');
  const source = async function* () {
    yield zstd(CONTENT);
  };
  await assert.rejects(
    unzstd(
      source(),
      () => {
        throw bomb;
      },
      WHERE,
    ),
    (error) => error === bomb,
  );
});

const TARS = [
  tarOf(dir('bin/'), file('bin/sh', CONTENT), file('etc/conf', 'a=b')),
  tarOf(file('app/main', 'main'), file('app/blob', randomBytes(90_000))),
];

/** A layout whose layers are the given blobs. */
function layoutOf(path: string, blobs: readonly Buffer[], mediaType: string, annotations?: Record<string, string>) {
  const plain = buildLayout(path, { layers: TARS });
  const layers = blobs.map((blob) => ({ ...putBlob(path, blob, mediaType), ...(annotations && { annotations }) }));
  const body = { schemaVersion: 2, mediaType: MEDIA.manifest, config: plain.config, layers };
  addToIndex(path, {
    ...putJson(path, body, MEDIA.manifest),
    platform: plain.manifest.platform!,
    annotations: { 'org.opencontainers.image.ref.name': 'z' },
  });
  return `oci:${path}:z`;
}

test('an image of zstd:chunked layers becomes eStargz with gzip media types', { skip }, async (t: TestContext) => {
  const root = testDir(t);
  // As containers/storage writes it: a frame for each piece, the index of them in a skippable frame.
  const chunked = TARS.map((tar) =>
    Buffer.concat([
      ...[0, 1, 2, 3].map((i) => zstd(tar.subarray((i * tar.length) >> 2, ((i + 1) * tar.length) >> 2))),
      skippable(zstd(Buffer.from('{"version":1,"entries":[]}'))),
      skippable(Buffer.from('GNUlInUx'.repeat(8))),
    ]),
  );
  const source = layoutOf(join(root, 'src'), chunked, MEDIA.layerZstd, {
    'io.github.containers.zstd-chunked.manifest-checksum': digestOf(Buffer.from('x')),
    'io.github.containers.zstd-chunked.manifest-position': '1:2:3:1',
    'io.containers.zstd-chunked.manifest-position': '1:2:3:1',
    'org.example': 'kept',
  });
  await using before = await openImage(source);
  assert.deepEqual(
    before.layers.map((layer) => layer.compression),
    ['zstd', 'zstd'],
  );
  const sink = await openSink(`oci:${root}/out:o`, { fsync: false });
  const plan = planWithout(before, { chunkSize: 65_536, tool: 'test' });
  await optimizeImage(before, sink, plan, { chunkSize: 65_536, codec: 'zlib', level: 1, tempParent: root });
  await using after = await openImage(`oci:${root}/out:o`);
  for (const { descriptor } of after.layers) {
    assert.equal(descriptor.mediaType, MEDIA.layerGzip);
    assert.deepEqual(Object.keys(descriptor.annotations!).sort(), [
      'containerd.io/snapshot/stargz/toc.digest',
      'io.containers.estargz.uncompressed-size',
      'org.example',
    ]);
  }
  const seen = await inspectImage(before, { tempParent: root });
  assert.deepEqual(
    seen.layers.map((layer) => [layer.compression, layer.entries, layer.diffId]),
    before.layers.map((layer, i) => ['zstd', i === 0 ? 3 : 2, layer.diffId]),
  );
  const report = await verifyImages(before, after, { tempParent: root });
  assert.ok(report.ok, JSON.stringify(report.checks));
});

test('what is not zstd under a zstd media type is read by its bytes', { skip }, async (t) => {
  const root = testDir(t);
  const source = layoutOf(join(root, 'src'), [TARS[0]!, zstd(TARS[1]!)], MEDIA.layerZstd);
  await using image = await openImage(source);
  assert.deepEqual(
    image.layers.map((layer) => layer.compression),
    ['none', 'zstd'],
  );
  using spooled = await spoolLayer(image.layers[0]!, root);
  assert.equal(spooled.scan.entries.length, 3);
  const damaged = zstd(TARS[1]!);
  damaged[damaged.length >> 1]! ^= 0xff;
  writeFileSync(join(root, 'src/blobs/sha256', image.layers[1]!.descriptor.digest.slice(7)), damaged);
  await assert.rejects(spoolLayer(image.layers[1]!, root), refused('HL_ERR_DIGEST', /damaged|digest/));
});

test('layers that skopeo compressed with zstd', { skip: lacking('zstd', 'skopeo') }, async (t) => {
  const root = testDir(t);
  const { reference } = buildLayout(join(root, 'src'), { layers: TARS });
  const flags = ['--insecure-policy', 'copy', '-q', '--dest-compress-format'];
  execFileSync('skopeo', [...flags, 'zstd', '--dest-compress', reference, `oci:${root}/z:t`], { stdio: 'pipe' });
  await using image = await openImage(`oci:${root}/z:t`);
  assert.deepEqual(
    image.layers.map((layer) => layer.descriptor.mediaType),
    [MEDIA.layerZstd, MEDIA.layerZstd],
  );
  for (const [i, layer] of image.layers.entries()) {
    using spooled = await spoolLayer(layer, root);
    assert.equal(spooled.size, TARS[i]!.length);
    assert.deepEqual(spooled.warnings, []);
  }
});
