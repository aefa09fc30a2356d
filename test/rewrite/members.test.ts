// Splitting gzip files into members, against zlib and the gzip program.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { crc32, deflateRawSync, gzipSync } from 'node:zlib';
import { HotlayerError } from '../../src/errors.js';
import { type Member, tableCrc, walkMembers } from '../../src/rewrite/inspect/members.js';

async function walk(blob: Buffer, maxOutput = 1 << 30): Promise<{ members: Member[]; out: Buffer }> {
  const work = mkdtempSync(join(tmpdir(), 'hl-members-'));
  writeFileSync(join(work, 'b'), blob);
  const fd = openSync(join(work, 'b'), 'r');
  const pieces: Buffer[] = [];
  try {
    const members = await walkMembers(fd, blob.length, (piece) => pieces.push(Buffer.from(piece)), { maxOutput });
    return { members, out: Buffer.concat(pieces) };
  } finally {
    closeSync(fd);
    rmSync(work, { recursive: true });
  }
}

const refused = async (blob: Buffer, text: RegExp, maxOutput?: number) => {
  await assert.rejects(walk(blob, maxOutput), (error) => {
    assert.ok(error instanceof HotlayerError);
    assert.match(error.message, text);
    assert.equal(error.exitCode, 3);
    return true;
  });
};

test('members of all sizes, quick and slow ways', async () => {
  // Incompressible beyond the window, compressible beyond the output limit, empty, tiny.
  const contents = [
    Buffer.from('hello'),
    randomBytes(6 << 20),
    Buffer.alloc(0),
    Buffer.alloc(40 << 20, 'ab'),
    Buffer.from('x'),
  ];
  const parts = contents.map((c) => gzipSync(c, { level: 1 }));
  const { members, out } = await walk(Buffer.concat(parts));
  assert.ok(out.equals(Buffer.concat(contents)));
  let at = 0;
  let outAt = 0;
  assert.deepEqual(
    members,
    parts.map((part, i) => {
      const member = { start: at, end: at + part.length, outStart: outAt, outLength: contents[i]!.length };
      at += part.length;
      outAt += contents[i]!.length;
      return member;
    }),
  );
});

test('headers with name, comment, extra field and header CRC', async () => {
  const work = mkdtempSync(join(tmpdir(), 'hl-members-'));
  try {
    writeFileSync(join(work, 'a-name'), 'named');
    const named = execFileSync('gzip', ['-c', 'a-name'], { cwd: work });
    const data = Buffer.from('full header');
    const header = Buffer.concat([
      Buffer.from([0x1f, 0x8b, 8, 0x02 | 0x04 | 0x08 | 0x10, 1, 2, 3, 4, 0, 3]),
      Buffer.from([5, 0]),
      Buffer.from('extra'),
      Buffer.from('name\0comment\0'),
    ]);
    const headerCrc = Buffer.alloc(2);
    headerCrc.writeUInt16LE(crc32(header) & 0xffff);
    const trailer = Buffer.alloc(8);
    trailer.writeUInt32LE(crc32(data), 0);
    trailer.writeUInt32LE(data.length, 4);
    const full = Buffer.concat([header, headerCrc, deflateRawSync(data), trailer]);
    const { members, out } = await walk(Buffer.concat([named, full]));
    assert.equal(out.toString(), 'namedfull header');
    assert.deepEqual(
      members.map((m) => m.start),
      [0, named.length],
    );
  } finally {
    rmSync(work, { recursive: true });
  }
});

test('what is broken is named with the offset of its member', async () => {
  const good = gzipSync('first');
  const second = gzipSync('second');
  const at = new RegExp(`member at offset ${good.length}: `);
  const change = (offset: number, value: number) => {
    const bytes = Buffer.from(second);
    bytes[offset < 0 ? bytes.length + offset : offset] = value;
    return Buffer.concat([good, bytes]);
  };
  await refused(Buffer.concat([good, Buffer.from('garbage after')]), at);
  await refused(Buffer.concat([good, Buffer.alloc(20)]), /expected a gzip header/);
  await refused(Buffer.concat([good, second.subarray(0, 12)]), at);
  await refused(Buffer.concat([good, second.subarray(0, second.length - 3)]), /ends before the CRC/);
  await refused(change(2, 7), /method 7/);
  await refused(change(3, 0x80), /reserved flags/);
  await refused(change(-8, 0xff), /CRC of the data/);
  await refused(change(-4, 0xff), /bytes came out/);
  await refused(change(10, 0xff), at);
});

test('a bomb stops at the limit', async () => {
  await refused(gzipSync(Buffer.alloc(64 << 20)), /more than 1000000 bytes/, 1_000_000);
});

test('the CRC table gives what zlib gives', () => {
  const data = randomBytes(10_000);
  assert.equal(tableCrc(data, 0), crc32(data));
  assert.equal(tableCrc(data.subarray(5000), tableCrc(data.subarray(0, 5000), 0)), crc32(data));
});
