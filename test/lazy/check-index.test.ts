// Records of an index: what was written comes back, whatever else is in the file.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type CheckRecord, checksums, decodeRecords, encodeRecord } from '../../src/lazy/check-index.js';
import { CHECK_BLOCK } from '../../src/lazy/chunk-table.js';

const content = Buffer.alloc(2 * CHECK_BLOCK + 5, 'x');
const RECORDS: CheckRecord[] = [0, 1, 2, 7].map((chunk) => ({
  chunk,
  sums: checksums(content.subarray(0, [1, CHECK_BLOCK, CHECK_BLOCK + 1, content.length][chunk % 4])),
}));
const BLOCKS = new Map(RECORDS.map(({ chunk, sums }) => [chunk, sums.length]));
const blocksOf = (chunk: number) => BLOCKS.get(chunk);
const plain = (records: readonly CheckRecord[]) => records.map(({ chunk, sums }) => [chunk, [...sums]]);

test('a checksum for each begun block', () => {
  assert.deepEqual(
    RECORDS.map(({ sums }) => sums.length),
    [1, 1, 2, 3],
  );
});

test('records come back in order', () => {
  assert.deepEqual(plain(decodeRecords(Buffer.concat(RECORDS.map(encodeRecord)), blocksOf)), plain(RECORDS));
});

test('cut off anywhere: the whole records before it, and those appended after it', () => {
  const [first, ...rest] = RECORDS.map(encodeRecord);
  for (let cut = 0; cut < first!.length; cut++) {
    const torn = Buffer.concat([first!.subarray(0, cut), ...rest]);
    // Appends go on at whatever length a torn one left.
    const found = decodeRecords(torn, blocksOf);
    const aligned = cut % 4 === 0;
    assert.deepEqual(plain(found), aligned ? plain(RECORDS.slice(1)) : plain(found.filter(({ chunk }) => chunk > 0)));
    if (!aligned) assert.deepEqual(plain(found), [], `cut at ${cut}`);
  }
});

test('any flipped bit hides its record and no other', () => {
  const parts = RECORDS.map(encodeRecord);
  const start = parts[0]!.length;
  for (let bit = 0; bit < parts[1]!.length * 8; bit += 3) {
    const bytes = Buffer.concat(parts);
    bytes[start + (bit >> 3)]! ^= 1 << (bit & 7);
    assert.deepEqual(plain(decodeRecords(bytes, blocksOf)), plain([RECORDS[0]!, ...RECORDS.slice(2)]), `bit ${bit}`);
  }
});

test('records of chunks that do not exist, or of another size, are none', () => {
  const bytes = Buffer.concat([encodeRecord({ chunk: 99, sums: new Uint32Array(1) }), encodeRecord(RECORDS[0]!)]);
  assert.deepEqual(plain(decodeRecords(bytes, blocksOf)), plain([RECORDS[0]!]));
  assert.deepEqual(decodeRecords(encodeRecord({ chunk: 0, sums: new Uint32Array(2) }), blocksOf), []);
});
