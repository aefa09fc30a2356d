import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { crc32 } from '../../src/stargz/gzip-members.js';
import { bufferSource, countMembers, type GzipMember, walkMembers } from '../../src/stargz/index.js';
import { refused } from '../support/refused.js';
import { random, sample, withDir } from './blob.js';

async function all(blob: Buffer, options = {}): Promise<GzipMember[]> {
  const members: GzipMember[] = [];
  for await (const member of walkMembers(bufferSource(blob, 'it'), options)) members.push(member);
  return members;
}

const seed = Number(process.env.HOTLAYER_TEST_SEED ?? Date.now() % 1e9);
test(`random members are found where they were put (seed ${seed})`, async () => {
  const pick = random(seed);
  const parts: Buffer[] = [];
  const want: GzipMember[] = [];
  let offset = 0;
  let uncompressedOffset = 0;
  for (let i = 0; i < 120; i++) {
    const content = pick(3) === 0 ? Buffer.alloc(pick(300_000)) : sample(pick(pick(3) === 0 ? 200_000 : 900), i);
    const member = gzipSync(content, { level: pick(10) });
    parts.push(member);
    want.push({ offset, size: member.length, uncompressedOffset, uncompressedSize: content.length });
    offset += member.length;
    uncompressedOffset += content.length;
  }
  const blob = Buffer.concat(parts);
  const hash = createHash('sha256');
  assert.deepEqual(await all(blob, { onData: (bytes: Buffer) => void hash.update(bytes) }), want);
  assert.equal(hash.digest('hex'), createHash('sha256').update(gunzipSync(blob)).digest('hex'));
  assert.equal(await countMembers(bufferSource(blob)), 120);
  // From one to another.
  const part = await all(blob, { from: want[10]!.offset, to: want[20]!.offset });
  assert.deepEqual(
    part.map((m) => m.size),
    want.slice(10, 20).map((m) => m.size),
  );
});

test('members larger than the window and than what is inflated in one go', async () => {
  const noise = sample(5_000_000, 3);
  const zeros = Buffer.alloc(50 * 1024 * 1024);
  const members = [gzipSync(noise, { level: 1 }), gzipSync(zeros), gzipSync(''), gzipSync(noise, { level: 0 })];
  let total = 0;
  const found = await all(Buffer.concat(members), {
    onData: async (b: Buffer) => {
      total += b.length;
    },
  });
  assert.deepEqual(
    found.map((m) => m.size),
    members.map((m) => m.length),
  );
  assert.deepEqual(
    found.map((m) => m.uncompressedSize),
    [noise.length, zeros.length, 0, noise.length],
  );
  assert.equal(total, 2 * noise.length + zeros.length);
});

test('headers with name, comment, extra field and checksum', async () => {
  const plain = gzipSync('content');
  const flags = Buffer.from(plain.subarray(0, 10));
  flags[3] = 4 | 8 | 16 | 2;
  const fancy = Buffer.concat([flags, Buffer.from('\x03\x00abcname\0comment\0\x12\x34', 'latin1'), plain.subarray(10)]);
  assert.deepEqual(
    (await all(Buffer.concat([fancy, plain]))).map((m) => m.uncompressedSize),
    [7, 7],
  );
  await withDir(async (work) => {
    writeFileSync(join(work, 'file.txt'), sample(10_000));
    const named = execFileSync('gzip', ['-c', 'file.txt'], { cwd: work });
    assert.equal(named[3], 8);
    assert.equal(await countMembers(bufferSource(Buffer.concat([named, named]))), 2);
  });
});

test('what is not a member, or a damaged one, is refused with its offset', async () => {
  const good = gzipSync(sample(3000));
  const cases: [string, Buffer, ...(string | RegExp)[]][] = [
    [
      'garbage behind',
      Buffer.concat([good, Buffer.from('garbage that is no gzip')]),
      `offset ${good.length}`,
      '1f8b08',
      '67617262',
    ],
    ['a few bytes behind', Buffer.concat([good, good.subarray(0, 9)]), `offset ${good.length}`],
    ['cut off in the data', Buffer.concat([good, good.subarray(0, 500)]), `offset ${good.length}`],
    ['cut off in the trailer', Buffer.concat([good, good.subarray(0, -3)]), `offset ${good.length}`, 'trailer'],
    ['unknown flags', Buffer.from(good).fill(0x80, 3, 4), 'flags'],
    ['a name without end', Buffer.from(good).fill(8, 3, 4).fill(1, 10), 'header'],
    ['wrong CRC', Buffer.concat([good.subarray(0, -8), Buffer.alloc(4), good.subarray(-4)]), 'CRC32 00000000'],
    ['wrong length', Buffer.concat([good.subarray(0, -4), Buffer.alloc(4)]), '0 bytes, found 3000'],
    ['broken data', Buffer.from(good).fill(0xff, 10, 60), 'offset 0', 'deflate'],
  ];
  for (const [what, blob, ...mentions] of cases) {
    await assert.rejects(all(blob), refused('HL_ERR_STARGZ', /^it: /, ...mentions), what);
  }
  const large = gzipSync(sample(4_000_000), { level: 1 });
  large[large.length - 8]! ^= 1;
  await assert.rejects(all(large), refused('HL_ERR_STARGZ', 'CRC32'));
});

test('a limit stops a bomb', async () => {
  const bomb = gzipSync(Buffer.alloc(100 * 1024 * 1024));
  let seen = 0;
  await assert.rejects(
    all(bomb, {
      maxUncompressed: 1_000_000,
      onData: (b: Buffer) => {
        seen += b.length;
      },
    }),
    refused('HL_ERR_LIMIT', 'it'),
  );
  assert.ok(seen <= 1_000_000 + 256 * 1024);
  assert.equal((await all(bomb, { maxUncompressed: 100 * 1024 * 1024 })).length, 1);
});

test('an error of the callback passes through', async () => {
  for (const blob of [gzipSync('x'), gzipSync(sample(3_000_000), { level: 0 })]) {
    await assert.rejects(
      all(blob, {
        onData: () => {
          throw new Error('mine');
        },
      }),
      /mine/,
    );
  }
});

test('the CRC of old Nodes agrees', () => {
  for (const bytes of [Buffer.alloc(0), Buffer.from('123456789'), sample(1000)]) {
    assert.equal(crc32(bytes, 0, null), crc32(bytes));
    assert.equal(crc32(bytes, 0, null), gzipSync(bytes).readUInt32LE(gzipSync(bytes).length - 8));
  }
  assert.equal(crc32(sample(500), crc32(sample(100), 0, null), null), crc32(Buffer.concat([sample(100), sample(500)])));
});
