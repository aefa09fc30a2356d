// Content that an earlier run has kept: every read gives the bytes that were kept or says that they are damaged, whichever
// blocks of a chunk it touches, and whichever were looked at before.
import assert from 'node:assert/strict';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { checksums, encodeRecord } from '../../src/lazy/check-index.js';
import { CHECK_BLOCK, type PlaceTable } from '../../src/lazy/chunk-table.js';
import { LayerReader } from '../../src/lazy/layer-reader.js';
import type { ReadTicket } from '../../src/lazy/messages.js';
import { Later } from '../../src/rootfs/types.js';
import { noise } from '../e2e/sample.js';
import { Random } from '../rewrite/random-image.js';
import { testDir } from '../support/temp.js';

/** A small chunk, one of five blocks and a bit, and one more, of one file. */
const SIZES = [1000, 5 * CHECK_BLOCK + 777, 3000];
const AT = [0, SIZES[0]!, SIZES[0]! + SIZES[1]!, SIZES[0]! + SIZES[1]! + SIZES[2]!];
const CONTENT = noise(AT[3]!, 5);
const TABLE = {
  firstOf: Int32Array.of(0),
  at: Float64Array.from(AT),
  blockOf: Uint32Array.of(0, 1, 7, 8),
} satisfies PlaceTable;

function keep(t: TestContext): { reader: LayerReader; spoil(position: number): void } {
  const directory = testDir(t);
  const data = join(directory, 'data');
  writeFileSync(data, CONTENT);
  const records = SIZES.map((_, chunk) =>
    encodeRecord({ chunk, sums: checksums(CONTENT.subarray(AT[chunk], AT[chunk + 1])) }),
  );
  writeFileSync(join(directory, 'index'), Buffer.concat(records));
  const reader = new LayerReader(0, directory, TABLE, statSync(data, { bigint: true }).ino);
  t.after(() => reader.close());
  const spoil = (position: number) => {
    const damaged = Buffer.from(CONTENT);
    damaged[position]! ^= 1;
    writeFileSync(data, damaged);
  };
  return { reader, spoil };
}

test('random reads, each block for the first time or again', (t) => {
  const random = new Random(3);
  for (let round = 0; round < 20; round++) {
    const { reader } = keep(t);
    for (let i = 0; i < 30; i++) {
      const offset = random.below(CONTENT.length);
      const into = Buffer.alloc(1 + random.below(Math.min(CONTENT.length - offset, 3 * CHECK_BLOCK)));
      assert.equal(reader.read(0, offset, into), into.length);
      assert.ok(into.equals(CONTENT.subarray(offset, offset + into.length)), `${into.length} bytes at ${offset}`);
    }
  }
});

const BAD = AT[1]! + 2 * CHECK_BLOCK + 100;
const READS: readonly [what: string, offset: number, length: number, good: boolean][] = [
  ['the block', AT[1]! + 2 * CHECK_BLOCK, CHECK_BLOCK, false],
  ['another part of the block', AT[1]! + 3 * CHECK_BLOCK - 10, 10, false],
  ['the end of a longer read', AT[1]! + 10, 2 * CHECK_BLOCK, false],
  ['the middle of a longer read', AT[1]!, 4 * CHECK_BLOCK, false],
  ['the beginning of a longer read', AT[1]! + 3 * CHECK_BLOCK - 1, CHECK_BLOCK, false],
  ['the blocks before', AT[1]!, 2 * CHECK_BLOCK, true],
  ['the blocks after, and the next chunk', AT[1]! + 3 * CHECK_BLOCK, AT[3]! - AT[1]! - 3 * CHECK_BLOCK, true],
];

for (const [what, offset, length, good] of READS) {
  test(`a damaged byte in the third block is ${good ? 'not met' : 'found'} by a read of ${what}`, (t) => {
    const { reader, spoil } = keep(t);
    spoil(BAD);
    const into = Buffer.alloc(length);
    const got = reader.read(0, offset, into);
    if (!good) {
      assert.ok(got instanceof Later);
      assert.deepEqual((got.ticket as ReadTicket).damaged, [1]);
      return;
    }
    assert.equal(got, length);
    assert.ok(into.equals(CONTENT.subarray(offset, offset + length)));
  });
}
