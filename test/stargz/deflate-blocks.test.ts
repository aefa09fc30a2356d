// DEFLATE streams of every kind of block, made by others than who reads them here: joined, they must inflate to what the
// parts were made of, for zlib and for gzip(1).
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { constants, crc32, deflateRawSync, inflateRawSync, type ZlibOptions } from 'node:zlib';
import { memberTrailer } from '../../src/stargz/codec/batch.js';
import { lastBlock, withOpenEnd } from '../../src/stargz/codec/deflate-blocks.js';
import { codecOf, random, sample } from './blob.js';

const noise = (size: number, seed: number): Buffer => {
  const next = random(seed);
  return Buffer.from(Array.from({ length: size }, () => next(256)));
};

const CONTENTS: Record<string, Buffer> = {
  nothing: Buffer.alloc(0),
  'one byte': Buffer.from('x'),
  'a short text': Buffer.from('{"name":"usr/lib/python3"}'),
  zeros: Buffer.alloc(300_000),
  noise: noise(200_000, 3),
  'a program': sample(700_000, 5),
  'noise, then zeros, then a program': Buffer.concat([noise(70_000, 9), Buffer.alloc(70_000), sample(150_000, 7)]),
};

const ZLIB: Record<string, ZlibOptions> = {
  stored: { level: 0 },
  'fixed codes': { level: 6, strategy: constants.Z_FIXED },
  'Huffman codes only': { level: 6, strategy: constants.Z_HUFFMAN_ONLY },
  'level 1': { level: 1 },
  'level 9': { level: 9 },
  'many blocks': { level: 6, memLevel: 1 },
};

for (const [how, options] of Object.entries(ZLIB)) {
  test(`zlib, ${how}`, () => {
    for (const [what, content] of Object.entries(CONTENTS)) joins(content, deflateRawSync(content, options), what);
  });
}

for (const level of [1, 5, 6, 10, 12]) {
  test(`libdeflate, level ${level}`, async () => {
    const codec = await codecOf('libdeflate', level);
    for (const [what, content] of Object.entries(CONTENTS)) joins(content, codec.gzip(content).subarray(10, -8), what);
  });
}

function joins(content: Buffer, stream: Buffer, what: string): void {
  const { start, end } = lastBlock(stream);
  assert.ok(
    start < end && Math.ceil(end / 8) === stream.length,
    `${what}: bits ${start} to ${end} of ${stream.length} bytes`,
  );
  const open = withOpenEnd(stream);
  assert.throws(() => inflateRawSync(open), /unexpected end of file/, `${what}: it goes on`);
  const other = deflateRawSync('the end');
  for (const count of [1, 2]) {
    const joined = Buffer.concat([...Array.from({ length: count }, () => open), other]);
    const whole = Buffer.concat([...Array.from({ length: count }, () => content), Buffer.from('the end')]);
    assert.ok(inflateRawSync(joined).equals(whole), `${what}, ${count} times`);
    const header = Buffer.from('1f8b08000000000000ff', 'hex');
    const gz = Buffer.concat([header, joined, memberTrailer(crc32(whole), whole.length)]);
    assert.ok(
      execFileSync('gzip', ['-dc'], { input: gz, maxBuffer: 4e6 }).equals(whole),
      `${what}: gzip, ${count} times`,
    );
  }
}

test('what is no stream is refused', () => {
  const good = deflateRawSync(sample(5000));
  assert.throws(() => lastBlock(good.subarray(0, 300)), /cut off|no code/);
  assert.throws(() => lastBlock(Buffer.from([0b111])), /unknown type 3/);
  assert.throws(() => lastBlock(Buffer.alloc(0)), /cut off/);
});
