// A TOC that is too large to be compressed at once: the blob has other bytes then, but means the same, is as many
// members, and has one form whoever compresses it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { HotlayerError } from '../../src/errors.js';
import { bufferSource, CODECS, CompressionPool, countMembers, openCodec } from '../../src/stargz/index.js';
import { noise } from '../e2e/sample.js';
import { dir, file, symlink, tarOf } from '../support/tar.js';
import { build, codecOf, sample, sha256Of, withDir } from './blob.js';

const TAR = tarOf(
  dir('usr/'),
  ...Array.from({ length: 400 }, (_, i) => file(`usr/f${i}`, sample((i * 31) % 300, i + 1), { mtime: i })),
  symlink('usr/ünï', 'f1'),
  // So that no TOC lies across a boundary of the client's pieces: only one that is made at once is moved.
  file('usr/noise', noise(8000)),
);
/** The TOC has some 130 KB. */
const IN_PIECES = { above: 50_000, size: 20_000 };

const lastMember = (blob: Buffer, tocOffset: number): Buffer => gunzipSync(blob.subarray(tocOffset));

describe('the same as in one piece, but for the compressed bytes', () => {
  for (const codec of CODECS) {
    for (const size of [7, 20_000, 49_999, 1_000_000]) {
      if (size === 7 && codec !== 'libdeflate') continue;
      test(`${codec}, pieces of ${size} bytes`, async () => {
        const hot = ['usr/f7'];
        const whole = await build(TAR, { codec, level: 1, hot });
        const tocInPieces = { ...IN_PIECES, size };
        const built = await build(TAR, { codec, level: 1, hot, tocInPieces, keepToc: true });
        assert.equal(built.result.tocDigest, whole.result.tocDigest);
        assert.equal(built.result.diffId, whole.result.diffId);
        assert.equal(built.result.tocOffset, whole.result.tocOffset);
        assert.equal(sha256Of(built.result.toc!), built.result.tocDigest);
        assert.equal(built.result.members, whole.result.members);
        assert.equal(await countMembers(bufferSource(built.blob)), built.result.members);
        assert.equal(built.result.digest, sha256Of(built.blob));
        assert.ok(built.tar.equals(whole.tar));
        assert.equal(
          built.result.diffId,
          sha256Of(execFileSync('gzip', ['-dc'], { input: built.blob, maxBuffer: 1e8 })),
        );
        const { tocOffset } = built.result;
        assert.ok(lastMember(built.blob, tocOffset).equals(lastMember(whole.blob, tocOffset)));
        // A million bytes hold all of it: nothing is joined then.
        assert.equal(built.blob.equals(whole.blob), size === 1_000_000);
      });
    }
  }
});

test('a TOC that just fits is what it always was', async () => {
  const whole = await build(TAR);
  const size = (await build(TAR, { keepToc: true })).result.toc!.length;
  assert.ok((await build(TAR, { tocInPieces: { above: size, size: 1000 } })).blob.equals(whole.blob));
  assert.ok(!(await build(TAR, { tocInPieces: { above: size - 1, size: 1000 } })).blob.equals(whole.blob));
});

for (const jobs of [1, 2, 8]) {
  test(`${jobs} threads make the same bytes`, async () => {
    const alone = await build(TAR, { tocInPieces: IN_PIECES });
    await using compressor = new CompressionPool(await openCodec('libdeflate'), { jobs });
    const built = await build(TAR, { tocInPieces: IN_PIECES, compressor });
    assert.ok(built.blob.equals(alone.blob));
    assert.deepEqual(built.result, alone.result);
  });
}

test('the file it waits in has no name, and is closed whatever happens', async () => {
  const open = () => readdirSync('/proc/self/fd').length;
  await codecOf();
  const before = open();
  await withDir(async (tempDir) => {
    let seen = 0;
    await build(TAR, { tocInPieces: IN_PIECES, tempDir, onLaidOut: () => (seen = readdirSync(tempDir).length) });
    assert.equal(seen, 0);
    const stop = new AbortController();
    const fails = build(TAR, { tocInPieces: IN_PIECES, tempDir, signal: stop.signal, onProgress: () => stop.abort() });
    await assert.rejects(fails, /abort/i);
    assert.deepEqual(readdirSync(tempDir), []);
  });
  assert.equal(open(), before);
  await assert.rejects(build(TAR, { tocInPieces: IN_PIECES, tempDir: '/proc/self' }), (error) => {
    assert.ok(error instanceof HotlayerError && error.code === 'HL_ERR_IO');
    assert.match(error.message, /table of contents.*\/proc\/self/);
    return true;
  });
});
