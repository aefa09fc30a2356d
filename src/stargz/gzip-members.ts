// Splits any gzip file into its members by inflating it, without a look at a TOC: the independent witness for what
// a writer or a TOC says. Each member's CRC and length are checked.
import * as zlib from 'node:zlib';
import { HotlayerError } from '../errors.js';
import { KIB, MIB } from '../units.js';
import { type BlobSource, nameOf, readExactly } from './blob-source.js';

export interface GzipMember {
  /** Of the first header byte. */
  readonly offset: number;
  /** Compressed bytes, header and trailer included. */
  readonly size: number;
  /** Of its first byte in the decompressed whole (counted from where the walk began). */
  readonly uncompressedOffset: number;
  readonly uncompressedSize: number;
}

export interface WalkOptions {
  /** Where the first member begins. Absent: 0. */
  readonly from?: number;
  /** Where the last one ends. Absent: the blob's end. */
  readonly to?: number;
  /** Gets all decompressed bytes in order; they are only valid during the call. */
  readonly onData?: (bytes: Buffer) => void | Promise<void>;
  /** Refuse to decompress more than this, a guard against bombs. Absent: no limit (memory use is bounded anyhow). */
  readonly maxUncompressed?: number;
}

const WINDOW = MIB;
/** A member is inflated in one go while it stays below this; a bigger one goes through a stream. */
const IN_ONE_GO = 16 * MIB;
/** ID1 ID2 CM FLG MTIME XFL OS. */
const FIXED_HEADER = 10;
/** CRC32 and ISIZE. */
const TRAILER = 8;

/**
 * The members from `from` to `to`, one after the other.
 * @throws HL_ERR_STARGZ where something else than a member begins, or one is cut off or damaged
 * @throws HL_ERR_LIMIT above `maxUncompressed`
 */
export async function* walkMembers(source: BlobSource, options: WalkOptions = {}): AsyncGenerator<GzipMember> {
  const { from = 0, to = source.size, onData, maxUncompressed = Number.POSITIVE_INFINITY } = options;
  const window = new Window(source, to);
  let uncompressedOffset = 0;
  for (let offset = from; offset < to; ) {
    const header = headerLength(await window.at(offset, Math.min(to - offset, WINDOW / 2)), source, offset);
    const start = offset + header;
    const room = maxUncompressed - uncompressedOffset;
    const rest = await window.at(start, Math.min(to - start, WINDOW / 2));
    const member = (await inOneGo(rest, room, onData)) ?? (await streamed(source, offset, start, to, room, onData));
    const trailerAt = start + member.consumed;
    const trailer = await window.at(trailerAt, TRAILER);
    if (trailer.length < TRAILER) throw damaged(source, offset, `a trailer at ${trailerAt}, found the end at ${to}`);
    const crc = trailer.readUInt32LE(0);
    const length = trailer.readUInt32LE(4);
    if (crc !== member.crc) throw damaged(source, offset, `CRC32 ${hex(crc)}, found ${hex(member.crc)}`);
    if (length !== member.produced % 2 ** 32)
      throw damaged(source, offset, `${length} bytes, found ${member.produced}`);
    const size = trailerAt + TRAILER - offset;
    yield { offset, size, uncompressedOffset, uncompressedSize: member.produced };
    uncompressedOffset += member.produced;
    offset += size;
  }
}

export async function countMembers(source: BlobSource): Promise<number> {
  let count = 0;
  for await (const _ of walkMembers(source)) count += 1;
  return count;
}

/** A part of the blob kept in memory, moved on as the walk goes. */
class Window {
  private bytes: Buffer = Buffer.alloc(0);
  private start = 0;

  constructor(
    private readonly source: BlobSource,
    private readonly end: number,
  ) {}

  /** Bytes from `offset` to wherever the window ends, at least `least` of them unless the blob ends before. */
  async at(offset: number, least: number): Promise<Buffer> {
    const have = this.start + this.bytes.length - offset;
    const possible = Math.max(0, this.end - offset);
    if (offset < this.start || have < Math.min(least, possible)) {
      this.bytes = await readExactly(this.source, offset, Math.min(WINDOW, possible), 'gzip data');
      this.start = offset;
    }
    return this.bytes.subarray(offset - this.start);
  }
}

/** RFC 1952 section 2.3: fixed part, then FEXTRA, FNAME, FCOMMENT and FHCRC as the flags say. */
function headerLength(bytes: Buffer, source: BlobSource, offset: number): number {
  const found = bytes.toString('hex', 0, 4);
  if (bytes.length < FIXED_HEADER + TRAILER || !found.startsWith('1f8b08')) {
    throw damaged(source, offset, `a gzip member (1f8b08), found ${found || 'the end'}`);
  }
  const flags = bytes[3]!;
  if (flags & 0xe0) throw damaged(source, offset, `flags below 0x20, found 0x${flags.toString(16)}`);
  let at = FIXED_HEADER;
  if (flags & 4) at += 2 + (bytes.length >= at + 2 ? bytes.readUInt16LE(at) : bytes.length);
  for (const flag of [8, 16]) {
    if (!(flags & flag)) continue;
    const nul = bytes.indexOf(0, at);
    at = nul < 0 ? Number.POSITIVE_INFINITY : nul + 1;
  }
  if (flags & 2) at += 2;
  if (at + TRAILER > bytes.length) throw damaged(source, offset, 'the end of the gzip header, found none');
  return at;
}

interface Inflated {
  readonly consumed: number;
  readonly produced: number;
  readonly crc: number;
}

/** Undefined: not all of the member is in `bytes`, or it is large, or broken; a stream finds out. */
async function inOneGo(bytes: Buffer, room: number, onData: WalkOptions['onData']): Promise<Inflated | undefined> {
  let result: { buffer: Buffer; engine: { bytesWritten: number } };
  try {
    const options = { info: true, maxOutputLength: Math.max(1, Math.min(IN_ONE_GO, room)) };
    result = zlib.inflateRawSync(bytes, options) as unknown as typeof result;
  } catch {
    return undefined;
  }
  await onData?.(result.buffer);
  return { consumed: result.engine.bytesWritten, produced: result.buffer.length, crc: crc32(result.buffer) };
}

async function streamed(
  source: BlobSource,
  offset: number,
  start: number,
  to: number,
  room: number,
  onData: WalkOptions['onData'],
): Promise<Inflated> {
  const inflate = zlib.createInflateRaw({ chunkSize: 256 * KIB });
  let failed: unknown;
  let crc = 0;
  let produced = 0;
  const feed = async () => {
    for (let at = start; at < to && !inflate.destroyed; at += WINDOW) {
      const bytes = await readExactly(source, at, Math.min(WINDOW, to - at), 'gzip data');
      // The callback never comes when the member ends inside `bytes`: 'close' tells that.
      await new Promise<void>((resolve) => {
        inflate.once('close', resolve);
        inflate.write(bytes, () => {
          inflate.removeListener('close', resolve);
          resolve();
        });
      });
    }
    if (!inflate.destroyed) inflate.end();
  };
  const feeding = feed().catch((error: unknown) => {
    failed = error;
    inflate.destroy();
  });
  try {
    for await (const part of inflate as AsyncIterable<Buffer>) {
      produced += part.length;
      if (produced > room) {
        throw new HotlayerError('HL_ERR_LIMIT', `${nameOf(source)}: decompresses to more than the limit allows`, {
          context: { offset },
        });
      }
      crc = crc32(part, crc);
      await onData?.(part);
    }
  } catch (error) {
    if (failed === undefined && (error as NodeJS.ErrnoException).code?.startsWith('Z_')) {
      throw damaged(source, offset, `deflate data, found: ${(error as Error).message}`);
    }
    throw failed ?? error;
  } finally {
    inflate.destroy();
    await feeding;
  }
  return { consumed: inflate.bytesWritten, produced, crc };
}

function damaged(source: BlobSource, offset: number, expectedAndFound: string): HotlayerError {
  return new HotlayerError(
    'HL_ERR_STARGZ',
    `${nameOf(source)}: gzip member at offset ${offset}: expected ${expectedAndFound}`,
    { context: { offset } },
  );
}

function hex(value: number): string {
  return value.toString(16).padStart(8, '0');
}

let table: Uint32Array | undefined;

type Crc32 = (bytes: Uint8Array, seed?: number) => number;

/** CRC-32 of RFC 1952 section 8. Node has it since 20.15; before that (and with `native` null), byte by byte. */
export function crc32(
  bytes: Uint8Array,
  seed = 0,
  native: Crc32 | null | undefined = (zlib as { crc32?: Crc32 }).crc32,
): number {
  if (native) return native(bytes, seed);
  table ??= Uint32Array.from({ length: 256 }, (_, n) => {
    let c = n;
    for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
    return c;
  });
  let crc = ~seed;
  for (const byte of bytes) crc = table[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}
