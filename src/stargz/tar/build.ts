// Makes tar headers: for the entries that the format adds, for files that were sparse, and for files that take the
// place of a hardlink. Headers of an input are never rebuilt otherwise; they pass byte by byte.
import { pathToBytes } from '../../paths.js';
import type { TocMeta } from '../toc.js';
import type { EntryType, TarTime } from './entry.js';
import { BLOCK, padded } from './header.js';

/** The end of an archive: two blocks of zeros (POSIX pax, "ustar Interchange Format"). */
export const END_OF_ARCHIVE: Buffer = Buffer.alloc(2 * BLOCK);

/** Bytes from `size` to the next whole block. */
export function paddingOf(size: number): number {
  return padded(size) - size;
}

/** One `LENGTH KEY=VALUE\n` of a PAX extended header. */
export function paxRecord(key: string, value: Uint8Array | string): Buffer {
  const body = Buffer.concat([
    pathToBytes(` ${key}=`),
    typeof value === 'string' ? pathToBytes(value) : value,
    Buffer.from('\n'),
  ]);
  // The length counts its own digits.
  let length = body.length;
  while (String(length).length + body.length !== length) length = String(length).length + body.length;
  return Buffer.concat([Buffer.from(String(length)), body]);
}

/** An extended header entry, `x` (for the next entry) or `g` (from here on), as blocks. */
export function paxHeader(typeflag: 'x' | 'g', name: Buffer, records: readonly Buffer[]): Buffer {
  const body = Buffer.concat(records);
  const header = ustarHeader({ name: name.subarray(0, 100), typeflag, mode: 0o644, size: body.length });
  return Buffer.concat([header, body, Buffer.alloc(paddingOf(body.length))]);
}

export interface UstarFields {
  /** At most 100 bytes, or with `prefix` before it 255. */
  readonly name: Buffer;
  readonly prefix?: Buffer;
  readonly typeflag: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly size?: number;
  readonly mtime?: number;
  readonly uname?: Buffer;
  readonly gname?: Buffer;
  /** At most 100 bytes. */
  readonly linkName?: Buffer;
  readonly devMajor?: number;
  readonly devMinor?: number;
}

/** One ustar block. Numbers must fit their octal fields; `madeHeader` puts those that do not into PAX records. */
export function ustarHeader(fields: UstarFields): Buffer {
  const block = Buffer.alloc(BLOCK);
  fields.name.copy(block, 0, 0, 100);
  octal(block, 100, 8, fields.mode ?? 0);
  octal(block, 108, 8, fields.uid ?? 0);
  octal(block, 116, 8, fields.gid ?? 0);
  octal(block, 124, 12, fields.size ?? 0);
  octal(block, 136, 12, fields.mtime ?? 0);
  block.write(fields.typeflag, 156, 1, 'latin1');
  fields.linkName?.copy(block, 157, 0, 100);
  block.write('ustar\x0000', 257, 8, 'latin1');
  fields.uname?.copy(block, 265, 0, 31);
  fields.gname?.copy(block, 297, 0, 31);
  octal(block, 329, 8, fields.devMajor ?? 0);
  octal(block, 337, 8, fields.devMinor ?? 0);
  fields.prefix?.copy(block, 345, 0, 155);
  return withChecksum(block);
}

/** Sets the checksum: the sum of all bytes with the checksum's own eight counted as spaces, six octal digits, NUL, space. */
export function withChecksum(block: Buffer): Buffer {
  block.fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 8, 'latin1');
  return block;
}

/** What the headers of a made entry say. Directories and hardlinks are never made. */
export type MadeMeta = Omit<TocMeta, 'type' | 'linkName' | 'devMajor' | 'devMinor'> & {
  /** Absent: a regular file. */
  readonly type?: Exclude<EntryType, 'dir' | 'hardlink'>;
  readonly linkName?: string;
  readonly devMajor?: number;
  readonly devMinor?: number;
};

const TYPEFLAG = { reg: '0', symlink: '2', char: '3', block: '4', fifo: '6' } as const;

/**
 * Headers of an entry with this metadata: ustar, and a PAX header before it for what ustar cannot hold
 * (long names, big numbers, fractions of a second, extended attributes).
 */
export function madeHeader(meta: MadeMeta): Buffer {
  const records: Buffer[] = [];
  const name = pathToBytes(meta.name);
  const place = splitName(name);
  if (!place) records.push(paxRecord('path', name));
  const fits = (value: number, digits: number) => value >= 0 && value < 8 ** digits;
  const number = (key: string, value: number, digits: number) => {
    if (fits(value, digits)) return value;
    records.push(paxRecord(key, String(value)));
    return 0;
  };
  const text = (key: string, value: string) => {
    const bytes = pathToBytes(value);
    if (bytes.length > 31) records.push(paxRecord(key, bytes));
    return bytes;
  };
  const link = pathToBytes(meta.linkName ?? '');
  if (link.length > 100) records.push(paxRecord('linkpath', link));
  const header: UstarFields = {
    name: place?.name ?? name.subarray(0, 100),
    prefix: place?.prefix ?? Buffer.alloc(0),
    typeflag: TYPEFLAG[meta.type ?? 'reg'],
    linkName: link,
    devMajor: number('SCHILY.devmajor', meta.devMajor ?? 0, 7),
    devMinor: number('SCHILY.devminor', meta.devMinor ?? 0, 7),
    mode: meta.mode & 0o7777777,
    uid: number('uid', meta.uid, 7),
    gid: number('gid', meta.gid, 7),
    size: number('size', meta.size, 11),
    mtime: fits(meta.mtime.sec, 11) ? meta.mtime.sec : 0,
    uname: text('uname', meta.uname),
    gname: text('gname', meta.gname),
  };
  if (meta.mtime.nsec !== 0 || !fits(meta.mtime.sec, 11)) records.push(paxRecord('mtime', formatPaxTime(meta.mtime)));
  for (const [key, value] of meta.xattrs ?? []) records.push(paxRecord(`SCHILY.xattr.${key}`, value));
  const block = ustarHeader(header);
  return records.length === 0 ? block : Buffer.concat([paxHeader('x', Buffer.from('PaxHeaders/file'), records), block]);
}

/** Decimal seconds with as many digits as needed: `-1.5` for {sec: -2, nsec: 500000000}. */
export function formatPaxTime(time: TarTime): string {
  const nanos = BigInt(time.sec) * 1_000_000_000n + BigInt(time.nsec);
  const abs = nanos < 0n ? -nanos : nanos;
  const fraction = String(abs % 1_000_000_000n)
    .padStart(9, '0')
    .replace(/0+$/, '');
  return `${nanos < 0n ? '-' : ''}${abs / 1_000_000_000n}${fraction === '' ? '' : `.${fraction}`}`;
}

/** Where a name fits in ustar: 100 bytes, or up to 155 more before a slash. */
export function splitName(name: Buffer): { name: Buffer; prefix: Buffer } | undefined {
  if (name.length <= 100) return { name, prefix: Buffer.alloc(0) };
  for (let slash = Math.min(155, name.length - 2); slash > 0 && name.length - slash - 1 <= 100; slash--) {
    if (name[slash] === 0x2f) return { name: name.subarray(slash + 1), prefix: name.subarray(0, slash) };
  }
  return undefined;
}

function octal(block: Buffer, at: number, width: number, value: number): void {
  block.write(`${value.toString(8).padStart(width - 1, '0')}\0`, at, width, 'latin1');
}
