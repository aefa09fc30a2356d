// A sparse entry's headers made into those of a regular file. A TOC cannot say "sparse": a lazy client would take the
// stored bytes for the content. Everything else in the headers (owner, times, xattrs, unknown records) stays.
import { HotlayerError } from '../../errors.js';
import { pathToBytes, showPath } from '../../paths.js';
import { paxHeader, paxRecord, splitName, withChecksum } from './build.js';
import type { TarEntry } from './entry.js';
import { BLOCK, padded, parseNumber } from './header.js';
import { parsePax } from './pax.js';

/** Records that described the stored form; `path` and `size` are written anew where they are needed. */
const OF_THE_STORED_FORM = /^(GNU\.sparse\..*|path|size)$/;

/** Places in the main header (POSIX pax "ustar Interchange Format", GNU tar "Basic Tar Format"). */
const FIELD = { name: 0, size: 124, typeflag: 156, magic: 257, prefix: 345, gnuTail: 369 };
/** The largest size that eleven octal digits hold, plus one: 8 GiB. */
const OCTAL_SIZE = 8 ** 11;

/**
 * @param raw the entry's headers as they stand in the tar: [headerOffset, payloadOffset)
 * @returns headers of the same file with all its bytes stored
 */
export function headersOfExpanded(raw: Buffer, entry: TarEntry): Buffer {
  const extensions: Buffer[] = [];
  const records = new Map<string, Buffer>();
  let paxName: Buffer | undefined;
  let longName = false;
  let at = 0;
  for (;;) {
    if (at + BLOCK > raw.length) {
      throw new HotlayerError(
        'HL_ERR_BUG',
        `the headers of sparse entry "${showPath(entry.name)}" have no main header`,
      );
    }
    const flag = String.fromCharCode(raw[at + FIELD.typeflag]!);
    if (!'xXgLK'.includes(flag)) break;
    const size = parseNumber(raw, at + FIELD.size, 12, 'size');
    const end = at + BLOCK + padded(size);
    if (flag === 'x' || flag === 'X') {
      parsePax(raw.subarray(at + BLOCK, at + BLOCK + size), { records, pairs: [] });
      paxName = raw.subarray(at, at + 100);
    } else {
      longName ||= flag === 'L';
      extensions.push(raw.subarray(at, end));
    }
    at = end;
  }
  const main = Buffer.from(raw.subarray(at, at + BLOCK));
  const kept = [...records]
    .filter(([key]) => !OF_THE_STORED_FORM.test(key))
    .map(([key, value]) => paxRecord(key, value));
  const isGnu = main.toString('latin1', FIELD.magic, FIELD.magic + 8) === 'ustar  \0';
  main[FIELD.typeflag] = 0x30;
  if (isGnu) main.fill(0, FIELD.gnuTail, BLOCK);
  if (!longName) kept.push(...setName(main, pathToBytes(entry.name), isGnu));
  kept.push(...setSize(main, entry.size, isGnu));
  if (kept.length > 0) extensions.push(paxHeader('x', untilNul(paxName) ?? Buffer.from('PaxHeaders/file'), kept));
  return Buffer.concat([...extensions, withChecksum(main)]);
}

/** Old GNU headers use the prefix field otherwise, so there a name has the 100 bytes of its own field only. */
function setName(main: Buffer, name: Buffer, isGnu: boolean): Buffer[] {
  const place = isGnu && name.length > 100 ? undefined : splitName(name);
  main.fill(0, FIELD.name, FIELD.name + 100);
  (place?.name ?? name).copy(main, FIELD.name, 0, 100);
  if (!isGnu) {
    main.fill(0, FIELD.prefix, FIELD.prefix + 155);
    place?.prefix.copy(main, FIELD.prefix);
  }
  return place ? [] : [paxRecord('path', name)];
}

function setSize(main: Buffer, size: number, isGnu: boolean): Buffer[] {
  if (size < OCTAL_SIZE) {
    main.write(`${size.toString(8).padStart(11, '0')}\0`, FIELD.size, 12, 'latin1');
    return [];
  }
  if (isGnu) {
    // Base 256: the top bit of the first byte, then eleven bytes, most significant first.
    main.fill(0, FIELD.size, FIELD.size + 12);
    main[FIELD.size] = 0x80;
    main.writeBigUInt64BE(BigInt(size), FIELD.size + 4);
    return [];
  }
  main.write('00000000000\0', FIELD.size, 12, 'latin1');
  return [paxRecord('size', String(size))];
}

function untilNul(name: Buffer | undefined): Buffer | undefined {
  if (!name) return undefined;
  const end = name.indexOf(0);
  return end < 0 ? name : name.subarray(0, end);
}
