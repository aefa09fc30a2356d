// PAX extended header records: `LENGTH KEY=VALUE\n`, values any bytes (POSIX.1-2017 pax "pax Extended Header").
// Values stay bytes until their key says what they are: capabilities and foreign names are not UTF-8.
import { bytesToPath } from '../../paths.js';
import type { TarTime } from './entry.js';
import { TarProblem } from './header.js';

/** Key → value. An empty value means "as if the record and any global one of that name were not there". */
export type PaxRecords = Map<string, Buffer>;

/** Records in order, the repeated pairs of sparse format 0.0 apart. */
export interface PaxHeader {
  readonly records: PaxRecords;
  /** `GNU.sparse.offset`, `GNU.sparse.numbytes` alternating; empty for every other format. */
  readonly pairs: number[];
}

/**
 * Adds the records of one extended header; of repeated keys the last one counts. Values are views of `payload`.
 * @throws TarProblem when the records are not well-formed
 */
export function parsePax(payload: Buffer, into: PaxHeader): void {
  for (let at = 0; at < payload.length; ) {
    // Some writers round the size up to a block with NULs.
    if (payload[at] === 0 && payload.subarray(at).every((byte) => byte === 0)) return;
    let length = 0;
    let i = at;
    for (; i < payload.length && payload[i]! >= 0x30 && payload[i]! <= 0x39 && i < at + 10; i++) {
      length = length * 10 + payload[i]! - 0x30;
    }
    const end = at + length;
    if (i === at || payload[i] !== 0x20 || end > payload.length || end < i + 3 || payload[end - 1] !== 0x0a) {
      throw new TarProblem(`the PAX record at byte ${at} of its extended header is malformed`);
    }
    const equals = payload.indexOf(0x3d, i + 1);
    if (equals <= i + 1 || equals >= end) throw new TarProblem(`the PAX record at byte ${at} has no key`);
    const key = keyOf(payload, i + 1, equals);
    const value = payload.subarray(equals + 1, end - 1);
    if (key.includes('\0')) throw new TarProblem(`the key of the PAX record at byte ${at} contains a NUL byte`);
    if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') {
      const wanted = into.pairs.length % 2 === 0 ? 'GNU.sparse.offset' : 'GNU.sparse.numbytes';
      if (key !== wanted) throw new TarProblem(`PAX record ${key} stands where ${wanted} is expected`);
      into.pairs.push(parseDecimal(value, key));
    } else {
      into.records.set(key, value);
    }
    at = end;
  }
}

/** Keys that most records have, so that they need not be decoded. */
const USUAL = ['mtime', 'atime', 'ctime', 'path', 'linkpath', 'size', 'uid', 'gid', 'uname', 'gname'].map((key) => ({
  key,
  bytes: Buffer.from(key),
}));

function keyOf(payload: Buffer, from: number, to: number): string {
  usual: for (const { key, bytes } of USUAL) {
    if (bytes.length !== to - from) continue;
    for (let i = 0; i < bytes.length; i++) if (bytes[i] !== payload[from + i]) continue usual;
    return key;
  }
  return bytesToPath(payload.subarray(from, to));
}

/** A whole number, sign allowed. @throws TarProblem */
export function parseDecimal(value: Uint8Array, key: string): number {
  const text = Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('latin1');
  const number = /^[+-]?\d{1,20}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(number)) {
    throw new TarProblem(`PAX record ${key} is ${JSON.stringify(text.slice(0, 40))}, which is not a whole number`);
  }
  // No negative zero: it would not compare equal.
  return number === 0 ? 0 : number;
}

/** `-1.5` is half a second before -1: sec -2, nsec 500 000 000. Digits after the ninth are cut. @throws TarProblem */
export function parsePaxTime(value: Buffer, key: string): TarTime {
  const text = value.toString('latin1');
  const match = /^([+-]?)(\d{0,16})(?:\.(\d*))?$/.exec(text);
  const whole = match ? Number(match[2]) : Number.NaN;
  if (!match || !Number.isSafeInteger(whole) || !/\d/.test(text)) {
    throw new TarProblem(`PAX record ${key} is ${JSON.stringify(text.slice(0, 40))}, which is not a time in seconds`);
  }
  const nsec = Number((match[3] ?? '').slice(0, 9).padEnd(9, '0'));
  if (match[1] !== '-') return { sec: whole, nsec };
  if (nsec === 0) return { sec: whole === 0 ? 0 : -whole, nsec: 0 };
  return { sec: -whole - 1, nsec: 1_000_000_000 - nsec };
}

/** A name or link target. A NUL in it cannot be meant, and no file system could hold it. @throws TarProblem */
export function parsePaxText(value: Buffer, key: string): string {
  if (value.includes(0)) throw new TarProblem(`PAX record ${key} contains a NUL byte`);
  return bytesToPath(value);
}

const SCHILY = 'SCHILY.xattr.';
const LIBARCHIVE = 'LIBARCHIVE.xattr.';

/**
 * Extended attributes among the records: `SCHILY.xattr.NAME` has the raw value, libarchive's form has the name
 * percent-encoded and the value in base64 (it writes both; SCHILY wins). Names are taken as container runtimes take
 * them: GNU tar's `%3D` for `=` is not undone. Undefined when there are none.
 */
export function xattrsOf(records: ReadonlyMap<string, Buffer>): Map<string, Buffer> | undefined {
  let found: Map<string, Buffer> | undefined;
  for (const [key, value] of records) {
    if (key.startsWith(SCHILY) && key.length > SCHILY.length) {
      found ??= new Map();
      found.set(key.slice(SCHILY.length), Buffer.from(value));
    } else if (key.startsWith(LIBARCHIVE) && key.length > LIBARCHIVE.length) {
      // bsdtar writes the encoded name after SCHILY, too.
      const encoded = key.slice(LIBARCHIVE.length);
      const name = percentDecode(encoded);
      if (records.has(SCHILY + encoded) || records.has(SCHILY + name) || name.includes('\0')) continue;
      found ??= new Map();
      found.set(name, Buffer.from(value.toString('latin1'), 'base64'));
    }
  }
  return found;
}

function percentDecode(text: string): string {
  if (!text.includes('%')) return text;
  const bytes = text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return bytesToPath(Buffer.from(bytes, 'latin1'));
}
