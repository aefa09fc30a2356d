// Which chunks a cache has, and a checksum of each of their blocks: a file of records, only ever appended to, each a
// single write(2) after the content is written. A crash at any moment leaves records that are whole or that do not
// check; what a record says of content that never reached the disk shows when the content is checked.
//
// A record, little-endian 32-bit words: MAGIC, chunk number, block count n, n × CRC-32 of a block, CRC-32 of all words
// between MAGIC and this one.
import { crc32 } from 'node:zlib';
import { CHECK_BLOCK } from './chunk-table.js';

/** "HLc1" */
const MAGIC = 0x31634c48;
const WORD = 4;
const FIXED_WORDS = 4;

export interface CheckRecord {
  readonly chunk: number;
  /** CRC-32 of each block of its content. */
  readonly sums: Uint32Array;
}

/** The checksums of a chunk's content. */
export function checksums(content: Uint8Array): Uint32Array {
  const sums = new Uint32Array(Math.ceil(content.length / CHECK_BLOCK));
  for (let i = 0; i < sums.length; i++) sums[i] = crc32(content.subarray(i * CHECK_BLOCK, (i + 1) * CHECK_BLOCK));
  return sums;
}

export function encodeRecord({ chunk, sums }: CheckRecord): Buffer {
  const bytes = Buffer.alloc((FIXED_WORDS + sums.length) * WORD);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt32LE(chunk, 4);
  bytes.writeUInt32LE(sums.length, 8);
  for (const [i, sum] of sums.entries()) bytes.writeUInt32LE(sum, 12 + i * WORD);
  bytes.writeUInt32LE(crc32(bytes.subarray(WORD, bytes.length - WORD)), bytes.length - WORD);
  return bytes;
}

/**
 * The records in a file's bytes. What is no whole record is skipped, word by word: a write that was cut off hides only
 * itself.
 * @param blocksOf how many blocks a chunk has; undefined: there is no such chunk. A record that says otherwise is none
 */
export function decodeRecords(bytes: Buffer, blocksOf: (chunk: number) => number | undefined): CheckRecord[] {
  const records: CheckRecord[] = [];
  for (let at = 0; at + FIXED_WORDS * WORD <= bytes.length; ) {
    const chunk = bytes.readUInt32LE(at + 4);
    const blocks = bytes.readUInt32LE(at + 8);
    const end = at + (FIXED_WORDS + blocks) * WORD;
    const good =
      bytes.readUInt32LE(at) === MAGIC &&
      blocks === blocksOf(chunk) &&
      end <= bytes.length &&
      crc32(bytes.subarray(at + WORD, end - WORD)) === bytes.readUInt32LE(end - WORD);
    if (!good) {
      at += WORD;
      continue;
    }
    const sums = new Uint32Array(blocks);
    for (let i = 0; i < blocks; i++) sums[i] = bytes.readUInt32LE(at + 12 + i * WORD);
    records.push({ chunk, sums });
    at = end;
  }
  return records;
}
