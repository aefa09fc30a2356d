// Rows of one table of an SQLite file, for rpm's database. Node has a reader from version 22 on only, and the npm ones
// bring megabytes of WebAssembly for what is, to list a table, a walk over a tree. (sqlite.org/fileformat2.html)

/** Integers beyond 2^53 and floating-point numbers are not needed and come as undefined. */
export type Value = number | string | Buffer | undefined;

const MAGIC = 'SQLite format 3\0';
const INTERIOR = 0x05;
const LEAF = 0x0d;
/** Sizes of integers by serial type (section 2.1). */
const INTEGER_BYTES = [0, 1, 2, 3, 4, 6, 8];

/**
 * Values of each row, in order of their rowids. An INTEGER PRIMARY KEY column is undefined: it is the rowid.
 * @throws Error when the file is not SQLite, is damaged or has no such table
 */
export function* tableRows(file: Buffer, table: string): Generator<Value[]> {
  const db = openFile(file);
  // The schema is a table itself, at page 1: type, name, tbl_name, rootpage, sql (section 2.6).
  for (const [type, name, , root] of walk(db, 1)) {
    if (type !== 'table' || name !== table || typeof root !== 'number') continue;
    yield* walk(db, root);
    return;
  }
  throw new Error(`no table ${table}`);
}

interface Database {
  readonly file: Buffer;
  readonly pageSize: number;
  /** Bytes of a page that hold content: reserved ones at its end do not. */
  readonly usable: number;
}

/** Section 1.3. */
function openFile(file: Buffer): Database {
  if (file.toString('latin1', 0, 16) !== MAGIC) throw new Error('not an SQLite file');
  const stored = file.readUInt16BE(16);
  const pageSize = stored === 1 ? 65536 : stored;
  const usable = pageSize - file[20]!;
  if (pageSize < 512 || (pageSize & (pageSize - 1)) !== 0 || usable < 480) throw new Error(`pages of ${pageSize}`);
  const encoding = file.readUInt32BE(56);
  if (encoding !== 1 && encoding !== 0) throw new Error('text that is not UTF-8');
  return { file, pageSize, usable };
}

/** Section 1.6, table b-trees only. */
function* walk(db: Database, root: number): Generator<Value[]> {
  const open = [root];
  const met = new Set<number>();
  for (let number = open.pop(); number !== undefined; number = open.pop()) {
    if (met.has(number)) throw new Error(`page ${number} is in the tree twice`);
    met.add(number);
    const page = pageOf(db, number);
    const header = number === 1 ? 100 : 0;
    const kind = page[header];
    const cells = page.readUInt16BE(header + 3);
    if (kind === INTERIOR) {
      const children = [page.readUInt32BE(header + 8)];
      for (let i = cells - 1; i >= 0; i--) children.push(page.readUInt32BE(page.readUInt16BE(header + 12 + 2 * i)));
      open.push(...children);
    } else if (kind === LEAF) {
      for (let i = 0; i < cells; i++) yield record(payloadOf(db, page, page.readUInt16BE(header + 8 + 2 * i)));
    } else {
      throw new Error(`page ${number} is not of a table`);
    }
  }
}

function pageOf({ file, pageSize }: Database, number: number): Buffer {
  const page = file.subarray((number - 1) * pageSize, number * pageSize);
  if (number < 1 || page.length < pageSize) throw new Error(`page ${number} is not in the file`);
  return page;
}

/** The cell's content, with what lies on overflow pages (sections 1.6 and 1.7). */
function payloadOf(db: Database, page: Buffer, at: number): Buffer {
  const size = varint(page, at);
  const rowid = varint(page, size.next);
  const { usable } = db;
  const most = usable - 35;
  const least = Math.floor(((usable - 12) * 32) / 255) - 23;
  const spilled = least + ((size.value - least) % (usable - 4));
  const local = size.value <= most ? size.value : spilled <= most ? spilled : least;
  const parts = [page.subarray(rowid.next, rowid.next + local)];
  let left = size.value - local;
  if (left > db.file.length) throw new Error('content longer than the file');
  for (let next = left > 0 ? page.readUInt32BE(rowid.next + local) : 0; left > 0; ) {
    const overflow = pageOf(db, next);
    const part = overflow.subarray(4, 4 + Math.min(left, usable - 4));
    parts.push(part);
    left -= part.length;
    next = overflow.readUInt32BE(0);
  }
  return Buffer.concat(parts);
}

/** Section 2.1. */
function record(payload: Buffer): Value[] {
  const header = varint(payload, 0);
  const values: Value[] = [];
  let body = header.value;
  for (let at = header.next; at < header.value; ) {
    const type = varint(payload, at);
    at = type.next;
    const size = type.value >= 12 ? (type.value - 12) >> 1 : (INTEGER_BYTES[type.value] ?? (type.value === 7 ? 8 : 0));
    if (body + size > payload.length) throw new Error('a value longer than its row');
    const bytes = payload.subarray(body, body + size);
    body += size;
    if (type.value >= 12) values.push(type.value % 2 === 0 ? bytes : bytes.toString('utf8'));
    else if (type.value === 8 || type.value === 9) values.push(type.value - 8);
    else if (size > 0 && size <= 6) values.push(bytes.readIntBE(0, size));
    else values.push(undefined);
  }
  return values;
}

/** Up to nine bytes, high ones first; values here are sizes and stay far below 2^53. */
function varint(bytes: Buffer, from: number): { value: number; next: number } {
  let value = 0;
  for (let i = 0; i < 9; i++) {
    const byte = bytes[from + i];
    if (byte === undefined) break;
    if (i === 8) return { value: value * 256 + byte, next: from + 9 };
    value = value * 128 + (byte & 0x7f);
    if (byte < 0x80) return { value, next: from + i + 1 };
  }
  throw new Error('the data ends in the middle');
}
