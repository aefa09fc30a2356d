// What is true of every blob that the writer makes, whatever went in. Taken from the bytes, not from the writer.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { gunzipSync } from 'node:zlib';
import { bufferSource, walkMembers } from '../../src/stargz/index.js';
import { type Built, sha256Of, withTar } from './blob.js';

/** What is true of every blob. */
export async function holds({ blob, result, tar, opened }: Built, input: Buffer): Promise<void> {
  assert.equal(result.digest, sha256Of(blob));
  assert.equal(result.size, blob.length);
  assert.equal(result.diffId, sha256Of(tar));
  assert.equal(result.uncompressedSize, tar.length);
  assert.equal(result.tocDigest, opened.tocDigest);
  assert.equal(result.entries, opened.entries.length);
  assert.ok(execFileSync('gzip', ['-dc'], { input: blob, maxBuffer: 1 << 28 }).equals(tar));
  // A member begins wherever the TOC says so, and its first byte is the chunk's.
  const starts = new Map<number, number>();
  for await (const member of walkMembers(bufferSource(blob))) starts.set(member.offset, member.uncompressedOffset);
  for (const offset of opened.memberOffsets()) assert.ok(starts.has(offset), `member at ${offset}`);
  for (const e of opened.entries) {
    for (const c of e.chunks) {
      const at = starts.get(c.offset)!;
      assert.equal(sha256Of(tar.subarray(at, at + c.size)), c.digest, e.name);
      assert.equal(gunzipSync(blob.subarray(c.offset, c.nextOffset)).compare(tar, at, at + c.size, 0, c.size), 0);
    }
  }
  // Each of the input's entries is there with its very bytes (sparse ones excepted, and what the format makes anew).
  await withTar(input, async (_, scan) => {
    await withTar(tar, async (_fd, again) => {
      const pool = again.entries.map((e) => tar.subarray(e.headerOffset, e.payloadOffset + e.payloadSize));
      for (const e of scan.entries) {
        if (e.sparse || /^(\.no)?\.?prefetch\.landmark$|^stargz\.index\.json$|^\.prefetch\.landmark$/.test(e.path))
          continue;
        const bytes = input.subarray(e.headerOffset, e.payloadOffset + e.payloadSize);
        const at = pool.findIndex((candidate) => candidate.equals(bytes));
        assert.ok(at >= 0, `${e.name} is there unchanged`);
        pool.splice(at, 1);
      }
      assert.equal(again.trailing, 0);
      assert.equal(again.entries.at(-1)!.path, 'stargz.index.json');
      assert.equal(again.warnings.filter((w) => /end-of-archive|single zero/.test(w)).length, 0);
    });
  });
}
