// What inspect says of a layer, against numbers counted in other ways.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { Profile, ProfileFile } from '../../src/analyze/types.js';
import { openImage } from '../../src/image/open.js';
import { inspectBlob, inspectImage } from '../../src/rewrite/inspect/inspect.js';
import { digestOf } from '../support/layout.js';
import { dir, file, hardlink, symlink, tarOf } from '../support/tar.js';
import { blobsOf, CHUNK, tarsOf, Workbench } from './workbench.js';

const big = Buffer.alloc(2 * CHUNK + 1, 'some bytes');
const LAYERS = [
  tarOf(
    dir('d/'),
    file('d/hot', 'hot!', {}),
    file('d/big', big),
    hardlink('d/link', 'd/hot'),
    symlink('s', 'd/big'),
    file('cold', 'c'),
  ),
  tarOf(file('d/hot', 'newer'), file('e', '')),
];

/** Members of a blob as the magic bytes suggest them and gunzip confirms: counted without our code. */
function countMembers(blob: Buffer): number {
  let count = 0;
  for (let at = 0; at < blob.length; ) {
    let next = blob.indexOf(Buffer.from([0x1f, 0x8b, 8]), at + 1);
    for (;;) {
      const end = next < 0 ? blob.length : next;
      try {
        execFileSync('gzip', ['-t'], { input: blob.subarray(at, end), stdio: ['pipe', 'ignore', 'ignore'] });
        at = end;
        count += 1;
        break;
      } catch {
        assert.ok(next >= 0, 'the last member is broken');
        next = blob.indexOf(Buffer.from([0x1f, 0x8b, 8]), next + 1);
      }
    }
  }
  return count;
}

test('an optimized image', async () => {
  using bench = new Workbench();
  const { reference, result } = await bench.optimize(bench.layout({ layers: LAYERS }), [['d/big', 'd/link']]);
  await using image = await openImage(reference);
  const seen = await inspectImage(image);
  const blobs = await blobsOf(reference);
  const tars = await tarsOf(reference);
  assert.equal(seen.digest, result.manifest.digest);
  seen.layers.forEach((layer, i) => {
    assert.equal(layer.digest, digestOf(blobs[i]!));
    assert.equal(layer.size, blobs[i]!.length);
    assert.equal(layer.diffId, digestOf(tars[i]!));
    assert.equal(layer.uncompressedSize, tars[i]!.length);
    assert.equal(layer.members, countMembers(blobs[i]!));
    assert.equal(layer.members, result.layers[i]!.members);
    assert.equal(layer.stargz!.annotated, true);
    assert.equal(layer.stargz!.prefetchBytes, result.layers[i]!.prefetchBytes);
    assert.equal(layer.stargz!.tocDigest, result.layers[i]!.tocDigest);
    assert.equal(layer.touched, undefined);
  });
  const [one, two] = seen.layers;
  assert.deepEqual(one!.entriesByType, { dir: 1, reg: 3, hardlink: 1, symlink: 1 });
  assert.equal(one!.entries, 6);
  assert.equal(one!.fileBytes, big.length + 5);
  assert.deepEqual({ ...one!.stargz!.landmark, offset: 0 }, { kind: 'prefetch', offset: 0, entry: 4 });
  // The landmark's member begins where the prefetched part ends.
  const { offset } = one!.stargz!.landmark!;
  assert.deepEqual([...blobs[0]!.subarray(offset, offset + 3)], [0x1f, 0x8b, 8]);
  assert.equal(countMembers(blobs[0]!.subarray(0, offset)), 5);
  assert.deepEqual([one!.stargz!.hotEntries, one!.stargz!.hotBytes, one!.stargz!.coldBytes], [4, big.length + 4, 1]);
  assert.deepEqual(
    one!.stargz!.largestHot.map((e) => [e.path, e.size]),
    [
      ['d/big', big.length],
      ['d/hot', 4],
    ],
  );
  const compressed = one!.stargz!.largestHot.reduce((sum, e) => sum + e.compressedSize!, 0);
  assert.ok(compressed < offset && compressed > 0);
  assert.deepEqual(two!.stargz!.landmark!.kind, 'no-prefetch');
  assert.deepEqual([two!.stargz!.prefetchBytes, two!.stargz!.hotBytes, two!.stargz!.coldBytes], [0, 0, 5]);
});

test('with a profile: what was read, and where it lies', async () => {
  using bench = new Workbench();
  const { reference } = await bench.optimize(bench.layout({ layers: LAYERS }), [['d/big', 'd/link']]);
  const read = (path: string, bytes: number, type: ProfileFile['type'] = 'reg') =>
    ({ path, type, bytesRead: { median: bytes, mad: 0, min: bytes, max: bytes } }) as unknown as ProfileFile;
  const files = [
    read('/d/link', 4),
    read('/s', 0, 'symlink'),
    read('/d/hot', 3),
    read('/cold', 1),
    read('/gone', 9),
    read('/e', 0),
  ];
  await using image = await openImage(reference);
  const seen = await inspectImage(image, { profile: { files } as unknown as Profile });
  assert.equal(seen.profiledElsewhere, 1);
  assert.deepEqual(
    seen.layers.map((layer) => layer.touched),
    [
      {
        files: 2,
        bytesRead: 5,
        bytes: 5,
        prefetchedFiles: 1,
        prefetchedBytes: 4,
        unusedFiles: 1,
        unusedBytes: big.length,
      },
      { files: 1, bytesRead: 3, bytes: 5, prefetchedFiles: 0, prefetchedBytes: 0, unusedFiles: 0, unusedBytes: 0 },
    ],
  );
});

test('plain layers and lone blobs', async () => {
  using bench = new Workbench();
  await using image = await openImage(bench.layout({ layers: LAYERS }));
  const plain = await inspectImage(image);
  assert.deepEqual(
    plain.layers.map((layer) => [layer.compression, layer.members, layer.stargz, layer.entries]),
    [
      ['gzip', 1, undefined, 6],
      ['gzip', 1, undefined, 2],
    ],
  );
  const path = bench.fresh('blob');
  writeFileSync(path, LAYERS[0]!);
  const raw = await inspectBlob(path);
  assert.deepEqual([raw.compression, raw.members, raw.diffId], ['none', 0, digestOf(LAYERS[0]!)]);
  writeFileSync(path, Buffer.concat([gzipSync(LAYERS[0]!.subarray(0, 700)), gzipSync(LAYERS[0]!.subarray(700))]));
  assert.equal((await inspectBlob(path)).members, 2);

  const { reference } = await bench.optimize(bench.layout({ layers: LAYERS }), [['cold']]);
  const [blob] = await blobsOf(reference);
  writeFileSync(path, blob!);
  const lazy = await inspectBlob(path);
  assert.equal(lazy.stargz!.annotated, undefined);
  assert.equal(lazy.stargz!.footer, 'estargz');

  // A footer that leads nowhere is a problem to be told, not a reason to say nothing of the rest.
  const bent = Buffer.from(blob!.toString('latin1').replace(/[0-9a-f]{16}STARGZ/, '0000000000000001STARGZ'), 'latin1');
  writeFileSync(path, bent);
  const problem = await inspectBlob(path);
  assert.equal(problem.stargz, undefined);
  assert.match(problem.problem!, /blob-\d+/);
  assert.equal(problem.entries, 6);
});

test('damage is named', async () => {
  using bench = new Workbench();
  const path = bench.fresh('blob');
  await assert.rejects(inspectBlob(path), { code: 'HL_ERR_NOT_FOUND' });
  await assert.rejects(inspectBlob(bench.path), { code: 'HL_ERR_LAYER' });
  writeFileSync(path, gzipSync(LAYERS[0]!).subarray(0, 100));
  await assert.rejects(inspectBlob(path), { code: 'HL_ERR_LAYER' });
  writeFileSync(path, 'this is no layer at all, but it is longer than a header block is'.repeat(10));
  await assert.rejects(inspectBlob(path), { code: 'HL_ERR_LAYER' });
  const before = bench.layout({ layers: LAYERS });
  await using image = await openImage(before);
  const file0 = image.layers[0]!.file!;
  const bytes = readFileSync(file0);
  bytes[4] = 1; // the time in the gzip header
  writeFileSync(file0, bytes);
  await assert.rejects(inspectImage(image), { code: 'HL_ERR_DIGEST', message: /layer 0/ });
});
