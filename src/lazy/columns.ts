// A file of numbers in columns, to be used as it lies there: reading it is one read(2) and a checksum, whatever its size.
//
//   8 bytes   MAGIC
//   u32       CRC-32 of all that follows
//   u32       length of the head
//   head      JSON, padded with spaces to a multiple of 8 from the start of the file
//   columns   each at a multiple of 8, in the machine's byte order (which is in the head)
import { readFileSync } from 'node:fs';
import { endianness } from 'node:os';
import { crc32 } from 'node:zlib';
import { replaceFile } from './replace-file.js';

export type Column = Uint8Array | Uint16Array | Uint32Array | Int32Array | Float64Array;
export type Columns = Readonly<Record<string, Column>>;

const MAGIC = 'HLcolumn';
const FIXED = 16;
const ALIGN = 8;
const TYPES = { u8: Uint8Array, u16: Uint16Array, u32: Uint32Array, i32: Int32Array, f64: Float64Array } as const;
type TypeName = keyof typeof TYPES;

interface Head<About> {
  readonly about: About;
  readonly bytes: ReturnType<typeof endianness>;
  /** By name; offsets from the end of the head. */
  readonly columns: Readonly<Record<string, readonly [type: TypeName, offset: number, length: number]>>;
}

/** @throws system errors */
export function writeColumns(file: string, about: object, columns: Columns): void {
  const places: Record<string, [TypeName, number, number]> = {};
  const parts: Uint8Array[] = [];
  let end = 0;
  for (const [name, column] of Object.entries(columns)) {
    places[name] = [typeOf(column), end, column.length];
    const padding = -column.byteLength & (ALIGN - 1);
    parts.push(new Uint8Array(column.buffer, column.byteOffset, column.byteLength), new Uint8Array(padding));
    end += column.byteLength + padding;
  }
  const head = Buffer.from(JSON.stringify({ about, bytes: endianness(), columns: places } satisfies Head<object>));
  const filled = Buffer.concat([head, Buffer.alloc(-(FIXED + head.length) & (ALIGN - 1), ' ')]);
  const bytes = Buffer.concat([Buffer.alloc(FIXED), filled, ...parts]);
  bytes.write(MAGIC, 0, 'latin1');
  bytes.writeUInt32LE(filled.length, 12);
  bytes.writeUInt32LE(crc32(bytes.subarray(12)), 8);
  replaceFile(file, bytes);
}

/** @returns undefined when there is no such file, or it is not as it was written */
export function readColumns<About>(file: string): { readonly about: About; readonly columns: Columns } | undefined {
  try {
    const read = readFileSync(file);
    if (read.length < FIXED || read.toString('latin1', 0, MAGIC.length) !== MAGIC) return undefined;
    if (crc32(read.subarray(12)) !== read.readUInt32LE(8)) return undefined;
    // Small files come in a part of a larger buffer.
    const bytes = read.byteOffset % ALIGN === 0 ? read : Buffer.from(Uint8Array.from(read).buffer);
    const start = FIXED + bytes.readUInt32LE(12);
    const head = JSON.parse(bytes.toString('utf8', FIXED, start)) as Head<About>;
    if (head.bytes !== endianness()) return undefined;
    const columns: Record<string, Column> = {};
    for (const [name, [type, offset, length]] of Object.entries(head.columns))
      columns[name] = new TYPES[type](bytes.buffer, bytes.byteOffset + start + offset, length);
    return { about: head.about, columns };
  } catch {
    return undefined;
  }
}

function typeOf(column: Column): TypeName {
  const found = (Object.keys(TYPES) as TypeName[]).find((name) => column.constructor === TYPES[name]);
  if (found === undefined) throw new TypeError(`no column: ${column.constructor.name}`);
  return found;
}
