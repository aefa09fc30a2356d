// A small tar encoder for tests: each function gives the bytes of one entry, `tarOf` puts them together.
// It knows nothing of src/stargz, so that what reads tar there is tested against other code; odd headers are made
// with `raw`, which overwrites header fields byte by byte.
import { pathToBytes } from '../../src/paths.js';

/** Bytes, or a lossless string (src/paths.ts). */
export type Text = string | Uint8Array;

/** Header fields by name → [offset, length] (POSIX pax, "ustar Interchange Format"). */
const FIELD = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  typeflag: [156, 1],
  linkname: [157, 100],
  /** "ustar\0" and version "00"; GNU writes "ustar  \0". */
  magic: [257, 8],
  uname: [265, 32],
  gname: [297, 32],
  devmajor: [329, 8],
  devminor: [337, 8],
  prefix: [345, 155],
} as const;

export type FieldName = keyof typeof FIELD;

export interface Meta {
  /** Default 0o644, directories 0o755, symlinks 0o777. */
  mode?: number;
  uid?: number;
  gid?: number;
  uname?: Text;
  gname?: Text;
  /** Seconds, or seconds and nanoseconds. Default 0. */
  mtime?: number | { sec: number; nsec: number };
  /** Written as `SCHILY.xattr.NAME` records. */
  xattrs?: Record<string, Text>;
  /** More PAX records, written as given, in this order, after those that the format needs. */
  pax?: Record<string, Text>;
  /** `auto`: ustar, with PAX records for what does not fit. `ustar` and `v7` throw when something does not fit. */
  format?: 'auto' | 'ustar' | 'gnu' | 'v7';
  /** Put into the main header as they are, zero-filled to the field's length; the checksum is made afterwards unless given. */
  raw?: Partial<Record<FieldName, Text>>;
  /** `typeflag` "7", "V" … in place of the usual one. */
  typeflag?: string;
}

export interface EntryFields extends Meta {
  name: Text;
  typeflag: string;
  linkname?: Text;
  devmajor?: number;
  devminor?: number;
  payload?: Text;
  /** The size field, when it is not the payload's length. */
  size?: number;
}

export const BLOCK = 512;
/** The end of an archive: two blocks of zeros. */
export const END = Buffer.alloc(2 * BLOCK);

/** A whole archive. */
export function tarOf(...entries: Uint8Array[]): Buffer {
  return Buffer.concat([...entries, END]);
}

export function file(name: Text, content: Text = '', meta: Meta = {}): Buffer {
  return entry({ typeflag: '0', ...meta, name, payload: content });
}

/** `name` is written as it is: end it with a slash. */
export function dir(name: Text, meta: Meta = {}): Buffer {
  return entry({ mode: 0o755, typeflag: '5', ...meta, name });
}

export function symlink(name: Text, target: Text, meta: Meta = {}): Buffer {
  return entry({ mode: 0o777, typeflag: '2', ...meta, name, linkname: target });
}

export function hardlink(name: Text, target: Text, meta: Meta = {}): Buffer {
  return entry({ typeflag: '1', ...meta, name, linkname: target });
}

export function charDevice(name: Text, devmajor: number, devminor: number, meta: Meta = {}): Buffer {
  return entry({ typeflag: '3', ...meta, name, devmajor, devminor });
}

export function blockDevice(name: Text, devmajor: number, devminor: number, meta: Meta = {}): Buffer {
  return entry({ typeflag: '4', ...meta, name, devmajor, devminor });
}

export function fifo(name: Text, meta: Meta = {}): Buffer {
  return entry({ typeflag: '6', ...meta, name });
}

/** `whiteout('a/b')` → the empty file `a/.wh.b`, which removes `a/b` of lower layers. */
export function whiteout(path: string, meta: Meta = {}): Buffer {
  const at = path.lastIndexOf('/') + 1;
  return file(`${path.slice(0, at)}.wh.${path.slice(at)}`, '', meta);
}

/** `opaque('a')` → `a/.wh..wh..opq`, which hides what lower layers have in `a`. */
export function opaque(path: string, meta: Meta = {}): Buffer {
  return file(`${path === '' ? '' : `${path.replace(/\/$/, '')}/`}.wh..wh..opq`, '', meta);
}

/** A global PAX header: records for all entries after it. */
export function globalPax(records: Record<string, Text>): Buffer {
  return entry({ name: 'pax_global_header', typeflag: 'g', payload: paxRecords(records) });
}

/** A sparse file in the old GNU format (type S), with extension blocks when there are more than four extents. */
export function gnuSparse(name: Text, size: number, extents: [offset: number, data: Text][], meta: Meta = {}): Buffer {
  const data = extents.map(([offset, content]) => ({ offset, bytes: bytesOf(content) }));
  const payload = Buffer.concat(data.map((extent) => extent.bytes));
  const whole = entry({ format: 'gnu', ...meta, typeflag: 'S', name, payload });
  const headerAt = whole.length - padded(payload.length) - BLOCK;
  const header = whole.subarray(headerAt, headerAt + BLOCK);
  const put = (block: Buffer, at: number, extent: { offset: number; bytes: Buffer }) => {
    gnuNumber(extent.offset, 12).copy(block, at);
    gnuNumber(extent.bytes.length, 12).copy(block, at + 12);
  };
  for (const [i, extent] of data.slice(0, 4).entries()) put(header, 386 + 24 * i, extent);
  const extensions: Buffer[] = [];
  for (let i = 4; i < data.length; i += 21) {
    const block = Buffer.alloc(BLOCK);
    for (const [k, extent] of data.slice(i, i + 21).entries()) put(block, 24 * k, extent);
    block[504] = i + 21 < data.length ? 1 : 0;
    extensions.push(block);
  }
  header[482] = extensions.length > 0 ? 1 : 0;
  gnuNumber(size, 12).copy(header, 483);
  writeChecksum(header);
  return Buffer.concat([whole.subarray(0, headerAt + BLOCK), ...extensions, whole.subarray(headerAt + BLOCK)]);
}

/** A sparse file in PAX format 1.0: the map is text at the start of the payload. */
export function paxSparse(name: Text, size: number, extents: [offset: number, data: Text][], meta: Meta = {}): Buffer {
  const data = extents.map(([offset, content]) => ({ offset, bytes: bytesOf(content) }));
  const map = Buffer.from(
    `${data.length}\n${data.map(({ offset, bytes }) => `${offset}\n${bytes.length}\n`).join('')}`,
    'latin1',
  );
  const plain = bytesOf(name);
  return entry({
    typeflag: '0',
    ...meta,
    name: Buffer.concat([Buffer.from('GNUSparseFile.0/'), plain]),
    payload: Buffer.concat([padTo(map), ...data.map((extent) => extent.bytes)]),
    pax: {
      'GNU.sparse.major': '1',
      'GNU.sparse.minor': '0',
      'GNU.sparse.name': plain,
      'GNU.sparse.realsize': String(size),
      ...meta.pax,
    },
  });
}

/** One entry: extension headers, header, payload and padding. */
export function entry(fields: EntryFields): Buffer {
  const format = fields.format ?? 'auto';
  const name = bytesOf(fields.name);
  const link = bytesOf(fields.linkname ?? '');
  const payload = bytesOf(fields.payload ?? '');
  const size = fields.size ?? payload.length;
  const mtime = typeof fields.mtime === 'object' ? fields.mtime : { sec: fields.mtime ?? 0, nsec: 0 };
  const before: Buffer[] = [];
  const records: Record<string, Text> = {};

  /** Where the fixed field is too small: a PAX record, a GNU way, or an error. */
  const tooBig = (what: string, record: string, value: Text): void => {
    if (format !== 'auto') throw new Error(`${what} does not fit a ${format} header`);
    records[record] = value;
  };
  const number = (what: string, record: string, value: number, length: number): Buffer => {
    if (value >= 0 && value < 8 ** (length - 1)) return octal(value, length);
    if (format === 'gnu') return gnuNumber(value, length);
    tooBig(what, record, String(value));
    return octal(0, length);
  };
  const text = (what: string, record: string, bytes: Buffer, length: number): Buffer => {
    if (bytes.length <= length) return bytes;
    if (format === 'gnu' && (record === 'path' || record === 'linkpath')) {
      before.push(gnuLong(record === 'path' ? 'L' : 'K', bytes));
    } else tooBig(what, record, bytes);
    return bytes.subarray(0, length);
  };

  const header = Buffer.alloc(BLOCK);
  const set = (field: FieldName, bytes: Uint8Array) => header.set(bytes.subarray(0, FIELD[field][1]), FIELD[field][0]);

  const split = format === 'gnu' || format === 'v7' || name.length <= 100 ? undefined : splitName(name);
  if (split) {
    set('prefix', split.prefix);
    set('name', split.name);
  } else set('name', text('the name', 'path', name, 100));
  set('linkname', text('the link target', 'linkpath', link, 100));
  set('mode', octal(fields.mode ?? 0o644, 8));
  set('uid', number('the uid', 'uid', fields.uid ?? 0, 8));
  set('gid', number('the gid', 'gid', fields.gid ?? 0, 8));
  set('size', number('the size', 'size', size, 12));
  set('mtime', number('the mtime', 'mtime', mtime.sec, 12));
  if (mtime.nsec !== 0) tooBig('the mtime', 'mtime', paxTime(mtime));
  set('typeflag', Buffer.from(fields.typeflag, 'latin1'));
  if (format !== 'v7') {
    set('magic', Buffer.from(format === 'gnu' ? 'ustar  \0' : 'ustar\x0000', 'latin1'));
    set('uname', text('the uname', 'uname', bytesOf(fields.uname ?? ''), 32));
    set('gname', text('the gname', 'gname', bytesOf(fields.gname ?? ''), 32));
    if (fields.devmajor !== undefined) {
      set('devmajor', number('the device', 'SCHILY.devmajor', fields.devmajor, 8));
      set('devminor', number('the device', 'SCHILY.devminor', fields.devminor ?? 0, 8));
    }
  }
  for (const [attribute, value] of Object.entries(fields.xattrs ?? {})) records[`SCHILY.xattr.${attribute}`] = value;
  Object.assign(records, fields.pax);
  if (Object.keys(records).length > 0) {
    before.push(entry({ name: 'PaxHeaders/0', typeflag: 'x', payload: paxRecords(records) }));
  }
  for (const [field, value] of Object.entries(fields.raw ?? {}) as [FieldName, Text][]) {
    header.fill(0, FIELD[field][0], FIELD[field][0] + FIELD[field][1]);
    set(field, bytesOf(value));
  }
  if (fields.raw?.checksum === undefined) writeChecksum(header);
  return Buffer.concat([...before, header, padTo(payload)]);
}

/** `LENGTH KEY=VALUE\n` for each; LENGTH counts itself (POSIX pax, "pax Extended Header"). */
export function paxRecords(records: Record<string, Text>): Buffer {
  const parts: Buffer[] = [];
  for (const [key, value] of Object.entries(records)) {
    const rest = Buffer.concat([Buffer.from(` ${key}=`, 'utf8'), bytesOf(value), Buffer.from('\n')]);
    let length = rest.length + 1;
    while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
    parts.push(Buffer.from(String(length)), rest);
  }
  return Buffer.concat(parts);
}

/** GNU long name (L) or long link target (K): the text and a zero byte as payload of an entry of its own. */
export function gnuLong(typeflag: 'L' | 'K', text: Text): Buffer {
  return entry({
    name: '././@LongLink',
    typeflag,
    format: 'gnu',
    mode: 0,
    payload: Buffer.concat([bytesOf(text), Buffer.alloc(1)]),
  });
}

/** Base-256 (GNU), two's complement, for what octal cannot say; octal else. */
export function gnuNumber(value: number, length: number): Buffer {
  if (value >= 0 && value < 8 ** (length - 1)) return octal(value, length);
  const out = Buffer.alloc(length, value < 0 ? 0xff : 0);
  let rest = BigInt(value);
  for (let i = length - 1; i > 0; i--) {
    out[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  out[0] = value < 0 ? 0xff : 0x80;
  return out;
}

/** Zeros up to a multiple of 512. */
export function padTo(bytes: Uint8Array): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(padded(bytes.length) - bytes.length)]);
}

function padded(length: number): number {
  return Math.ceil(length / BLOCK) * BLOCK;
}

function octal(value: number, length: number): Buffer {
  return Buffer.from(`${value.toString(8).padStart(length - 1, '0')}\0`, 'latin1');
}

/** The sum of all bytes, the checksum field counted as spaces: six octal digits, NUL, space. */
function writeChecksum(header: Buffer): void {
  header.fill(0x20, 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
}

/** ustar: a name up to 256 bytes is cut at a slash into prefix (≤ 155) and name (1 … 100). */
function splitName(name: Buffer): { prefix: Buffer; name: Buffer } | undefined {
  for (let at = Math.min(155, name.length - 2); at > 0; at--) {
    if (name[at] === 0x2f && name.length - at - 1 <= 100) {
      return { prefix: name.subarray(0, at), name: name.subarray(at + 1) };
    }
  }
  return undefined;
}

/** PAX times are decimal: -1 s and 250 000 000 ns after it is -0.75. */
function paxTime({ sec, nsec }: { sec: number; nsec: number }): string {
  const total = BigInt(sec) * 1_000_000_000n + BigInt(nsec);
  const abs = total < 0n ? -total : total;
  return `${total < 0n ? '-' : ''}${abs / 1_000_000_000n}.${String(abs % 1_000_000_000n).padStart(9, '0')}`;
}

export function bytesOf(text: Text): Buffer {
  return typeof text === 'string' ? pathToBytes(text) : Buffer.from(text.buffer, text.byteOffset, text.byteLength);
}
