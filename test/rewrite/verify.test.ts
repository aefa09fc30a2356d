// Verification as a whole: what it accepts, what it says of images that are not stargz at all, and how it ends.
// What it says of single changes is in mutations.test.ts.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { HotlayerError } from '../../src/errors.js';
import { openImage } from '../../src/image/open.js';
import { verifyImages } from '../../src/rewrite/verify/verify.js';
import { spoolLayer } from '../../src/stargz/spool.js';
import { dir, file, gnuSparse, hardlink, tarOf, whiteout } from '../support/tar.js';
import { repack, unpack } from './repack.js';
import { CHUNK, complaints, Workbench } from './workbench.js';

const LAYERS = [
  tarOf(dir('a/'), file('a/x', 'x', { mtime: { sec: 5, nsec: 7 } }), file('a/y', Buffer.alloc(3 * CHUNK, 'y'))),
  tarOf(whiteout('a/x'), file('b', 'b')),
];

test('a good image, with plan and without: all checks, with numbers in them', async () => {
  using bench = new Workbench();
  const before = bench.layout({ layers: LAYERS });
  const { reference, plan } = await bench.optimize(before, [['a/y'], []]);
  for (const given of [plan, undefined]) {
    const report = await bench.verify(before, reference, given);
    assert.ok(report.ok);
    assert.deepEqual(
      report.checks.map((check) => [check.id, check.label, check.ok]),
      [
        ['image', 'same image', true],
        ['files', 'same files', true],
        ['content', 'same content', true],
        ['estargz', 'eStargz', true],
        ['order', 'order', true],
        ['tar', 'plain tar.gz', true],
      ],
    );
    const [image, files, content, estargz, order, tar] = report.checks.map((check) => check.detail);
    assert.match(image!, /2 layers/);
    assert.match(files!, /^5 entries in 2 layers, 4 names in the merged tree/);
    assert.match(content!, /^192 KiB hashed/);
    // Three chunks of a/y, one each of a/x, b and the two landmarks.
    assert.match(estargz!, /^2 of 2 blobs: .* 7 chunk digests/);
    assert.match(order!, /^2 entries before the landmarks/);
    assert.match(tar!, /^2 of 2 blobs/);
  }
});

test('an image against itself: same in everything, and no stargz', async () => {
  using bench = new Workbench();
  const before = bench.layout({ layers: LAYERS });
  const report = await bench.verify(before, before);
  assert.deepEqual(
    report.checks.filter((check) => !check.ok).map((check) => check.id),
    ['estargz'],
  );
  const lines = complaints(report);
  for (const what of ['footer', 'exactly one landmark', 'the last entry of the tar is the TOC', 'uncompressed-size']) {
    assert.equal(lines.filter((line) => line.includes(what)).length, 2, `${what}:\n${lines.join('\n')}`);
  }
});

test('a layer that is a plain tar is named, the others are compared all the same', async () => {
  using bench = new Workbench();
  const before = bench.layout({ layers: LAYERS });
  const lines = complaints(await bench.verify(before, bench.layout({ layers: LAYERS, gzip: false })));
  assert.equal(lines.filter((line) => /^tar: layer [01] .*expected a gzip header/.test(line)).length, 2);
});

test('an original that is optimized already, under another plan', async () => {
  using bench = new Workbench();
  const first = await bench.optimize(bench.layout({ layers: LAYERS }), [['a/x'], ['b']]);
  const second = await bench.optimize(first.reference, [['a/y'], []]);
  assert.deepEqual(complaints(await bench.verify(first.reference, second.reference, second.plan)), []);
  const wrong = { ...second.plan, layers: second.plan.layers.map((layer) => ({ ...layer, hot: [] })) };
  assert.deepEqual(
    complaints(await bench.verify(first.reference, second.reference, wrong)).map((line) => line.slice(0, 60)),
    [
      'order: layer 0 undefined: kind of the landmark: expected .no.prefetch.landmark, found .prefetch.landmark',
      'order: layer 0 a: an entry that the plan does not ask for is before the landmark: expected behind it, found before it',
      'order: layer 0 a/y: an entry that the plan does not ask for is before the landmark: expected behind it, found before it',
    ].map((line) => line.slice(0, 60)),
  );
});

test('every mismatch is listed, not the first of each kind', async () => {
  using bench = new Workbench();
  const files = Array.from({ length: 300 }, (_, i) => file(`f${i}`, `${i}`));
  const before = bench.layout({ layers: [tarOf(...files)] });
  const { reference, plan } = await bench.optimize(before, [[]]);
  const state = await unpack(reference);
  for (const part of state.layers[0]!.parts)
    if (/^f\d+$/.test(part.name)) part.payload = Buffer.from(part.payload.map((b) => b ^ 1));
  state.config.author = 'x';
  state.layers[0]!.diffId = `sha256:${'0'.repeat(64)}`;
  const report = await bench.verify(before, repack(state, bench.fresh('m')), plan);
  const count = (id: string) => report.checks.find((check) => check.id === id)!.mismatches.length;
  assert.deepEqual([count('image'), count('files'), count('content'), count('estargz')], [1, 0, 600, 1]);
});

test('a damaged blob does not stop the others from being checked', async () => {
  using bench = new Workbench();
  const before = bench.layout({ layers: LAYERS });
  const { reference, plan } = await bench.optimize(before);
  await using image = await openImage(reference);
  const path = image.layers[0]!.file!;
  const bytes = readFileSync(path);
  bytes.fill(0xff, 200, 300);
  writeFileSync(path, bytes);
  const lines = complaints(await bench.verify(before, reference, plan));
  assert.deepEqual(
    lines.map((line) => line.slice(0, 70)),
    [
      `estargz: layer 0 undefined: digest of the blob: expected ${image.layers[0]!.descriptor.digest}`.slice(0, 70),
      'tar: layer 0 undefined: the blob does not decompress: expected gzip members'.slice(0, 70),
    ],
  );
});

test('a damaged original is an error, not a mismatch', async () => {
  using bench = new Workbench();
  const before = bench.layout({ layers: LAYERS });
  const { reference } = await bench.optimize(before);
  await using image = await openImage(before);
  const path = image.layers[0]!.file!;
  const bytes = readFileSync(path);
  bytes[4] = 9;
  writeFileSync(path, bytes);
  await assert.rejects(bench.verify(before, reference), { code: 'HL_ERR_DIGEST' });
});

test('layers that are spooled already are used, and stay open', async () => {
  using bench = new Workbench();
  const before = bench.layout({ layers: LAYERS });
  await using original = await openImage(before);
  const spooled = await Promise.all(original.layers.map((layer) => spoolLayer(layer, bench.path)));
  try {
    const { reference, plan } = await bench.optimize(before, [['a/x']], { spooled });
    await using optimized = await openImage(reference);
    const report = await verifyImages(original, optimized, { plan, spooled, tempParent: bench.path });
    assert.deepEqual(complaints(report), []);
    const buffer = Buffer.alloc(1);
    const { readSync } = await import('node:fs');
    for (const layer of spooled) assert.equal(readSync(layer.fd, buffer, 0, 1, 0), 1);
  } finally {
    for (const layer of spooled) layer.close();
  }
});

test('holes are compared without being stored; temporary files go, also when it is interrupted', async () => {
  using bench = new Workbench();
  const size = 40 * 1024 * 1024;
  const before = bench.layout({
    layers: [
      tarOf(
        gnuSparse('hole', size, [
          [0, 'start'],
          [size, ''],
        ]),
        hardlink('again', 'hole'),
      ),
    ],
  });
  const { reference, plan } = await bench.optimize(before, [['again']]);
  const kept = readdirSync(bench.path).sort();
  const report = await bench.verify(before, reference, plan);
  assert.deepEqual(complaints(report), []);
  assert.match(report.exceptions[0]!.message, /a sparse file of 41943040 bytes/);
  assert.deepEqual(readdirSync(bench.path).sort(), kept);

  await using original = await openImage(before);
  await using optimized = await openImage(reference);
  const abort = new AbortController();
  const steps: string[] = [];
  await assert.rejects(
    verifyImages(original, optimized, {
      tempParent: bench.path,
      signal: abort.signal,
      onProgress: ({ step }) => {
        steps.push(step);
        if (step === 'read') abort.abort();
      },
    }),
    (error) => error instanceof HotlayerError && error.exitCode === 130,
  );
  assert.ok(steps.includes('spool') && steps.includes('read'));
  assert.deepEqual(readdirSync(bench.path).sort(), kept);
});
