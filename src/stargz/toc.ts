// The table of contents: what it says about an entry, and how that is written. Reading is toc-parse.ts.
// One JSON object {"version": 1, "entries": [...]}, entries in tar order; a file of several chunks is one "reg"
// followed by its "chunk" entries. Members are absent where they would be zero, empty or null.
import { createHash } from 'node:crypto';
import { closeSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { HotlayerError } from '../errors.js';
import type { Digest } from '../image/digest.js';
import { openNameless } from '../temp.js';
import { type Bytes, MIB } from '../units.js';
import type { EntryType, TarTime } from './tar/entry.js';

/**
 * Largest TOC that is written or read, in bytes of JSON: about 1.5 million files. A JavaScript string holds 512 Mi
 * characters, so a bigger one could not be read back.
 */
export const MAX_TOC_JSON = 480 * MIB;

/** An entry as it stands in the JSON, in the order in which the members are written (that of estargz's TOCEntry). */
export interface TocRecord {
  name: string;
  type: EntryType | 'chunk';
  /** Of a regular file. */
  size?: number | undefined;
  /** RFC 3339, UTC, whole seconds; absent: 1970-01-01T00:00:00Z or not known. */
  modtime?: string | undefined;
  linkName?: string | undefined;
  mode?: number | undefined;
  uid?: number | undefined;
  gid?: number | undefined;
  /** Absent: the same as the last one written for this uid. */
  userName?: string | undefined;
  groupName?: string | undefined;
  /** Of the gzip member whose first byte is the file's (or chunk's) first. Absent for empty files. */
  offset?: number | undefined;
  /** Bytes to skip in that member; only written by others. */
  innerOffset?: number | undefined;
  devMajor?: number | undefined;
  devMinor?: number | undefined;
  /** Values in base64. */
  xattrs?: Record<string, string> | undefined;
  /** Of the whole file, empty ones included; never on "chunk". */
  digest?: Digest | undefined;
  chunkOffset?: number | undefined;
  /** Absent: to the end of the file. */
  chunkSize?: number | undefined;
  chunkDigest?: Digest | undefined;
}

/** What an entry's headers say, for the TOC. Names are lossless strings (paths.ts). */
export interface TocMeta {
  readonly name: string;
  readonly type: EntryType;
  readonly linkName: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly uname: string;
  readonly gname: string;
  readonly size: number;
  readonly mtime: TarTime;
  readonly devMajor: number;
  readonly devMinor: number;
  readonly xattrs?: ReadonlyMap<string, Buffer> | undefined;
}

/** A chunk as it was written. */
export interface WrittenChunk {
  /** Compressed offset of its member. */
  readonly offset: number;
  /** In the file. */
  readonly at: number;
  readonly size: number;
  readonly digest: Digest;
}

/**
 * Collects entries and gives the JSON. Compact: whitespace would add a fifth to what every client has to download.
 * A name that is not UTF-8 is written with its bytes as lone surrogates (`\udcff`): Go, and with it every lazy client,
 * reads each as U+FFFD, exactly as it would have written the name itself; hotlayer's reader gets the bytes back.
 */
export class TocBuilder {
  private readonly parts: Buffer[] = [];
  private pending = '{"version":1,"entries":[';
  private bytes = 0;
  private first = true;
  private readonly hash = createHash('sha256');
  /** Has everything that was flushed, once that is too much for the memory. */
  private fd = -1;
  private readonly userNames = new Map<number, string>();
  private readonly groupNames = new Map<number, string>();
  /** Entries added, chunks not counted. */
  entries = 0;

  /**
   * @param chunkSize the size at which files are divided where nothing else was asked for
   * @param maxInMemory bytes of JSON; what is longer is in a file
   * @param directory where that is made; absent: the system's temporary directory
   */
  constructor(
    private readonly chunkSize: number,
    private readonly maxInMemory: Bytes,
    private readonly directory: string = process.env.TMPDIR || tmpdir(),
  ) {}

  /**
   * @param chunks of a non-empty regular file, in order; empty for all others
   * @param digest of a regular file's content
   */
  add(meta: TocMeta, chunks: readonly WrittenChunk[], digest?: Digest): void {
    const [head, ...rest] = chunks;
    const last = chunks.length - 1;
    this.entries += 1;
    this.write({
      name: meta.name,
      type: meta.type,
      size: meta.type === 'reg' ? nonZero(meta.size) : undefined,
      modtime: formatModtime(meta.mtime),
      linkName: meta.type === 'symlink' || meta.type === 'hardlink' ? meta.linkName || undefined : undefined,
      mode: nonZero(meta.mode),
      uid: nonZero(meta.uid),
      gid: nonZero(meta.gid),
      userName: changed(this.userNames, meta.uid, meta.uname),
      groupName: changed(this.groupNames, meta.gid, meta.gname),
      offset: head?.offset,
      devMajor: isDevice(meta) ? nonZero(meta.devMajor) : undefined,
      devMinor: isDevice(meta) ? nonZero(meta.devMinor) : undefined,
      xattrs: xattrRecord(meta.xattrs),
      digest: meta.type === 'reg' ? digest : undefined,
      chunkSize: head && this.chunkSizeOf(head, last === 0),
      chunkDigest: head?.digest,
    });
    rest.forEach((chunk, i) => {
      this.write({
        name: meta.name,
        type: 'chunk',
        offset: chunk.offset,
        chunkOffset: chunk.at,
        chunkSize: this.chunkSizeOf(chunk, i + 1 === last),
        chunkDigest: chunk.digest,
      });
    });
  }

  /** The JSON and its digest. Nothing may be added afterwards. @throws HL_ERR_LIMIT when it is too large, HL_ERR_IO */
  finish(): TocJson {
    this.pending += ']}\n';
    this.flush();
    return {
      content: this.fd < 0 ? this.parts.splice(0) : this.fd,
      size: this.bytes,
      digest: `sha256:${this.hash.digest('hex')}`,
    };
  }

  /** Closes the file, if there is one. Idempotent. */
  close(): void {
    if (this.fd >= 0) closeSync(this.fd);
    this.fd = -1;
  }

  /** Absent on a last chunk that is shorter than the chunk size; explicit on every other, as chunks may have any size. */
  private chunkSizeOf(chunk: WrittenChunk, isLast: boolean): number | undefined {
    return isLast && chunk.size !== this.chunkSize ? undefined : chunk.size;
  }

  private write(record: TocRecord): void {
    this.pending += (this.first ? '\n' : ',\n') + JSON.stringify(record);
    this.first = false;
    if (this.pending.length > 256 * 1024) this.flush();
  }

  private flush(): void {
    const part = Buffer.from(this.pending, 'utf8');
    this.pending = '';
    this.parts.push(part);
    this.hash.update(part);
    this.bytes += part.length;
    if (this.bytes > MAX_TOC_JSON) {
      throw new HotlayerError(
        'HL_ERR_LIMIT',
        `the layer's table of contents is larger than ${MAX_TOC_JSON} bytes after ${this.entries} entries`,
        { hint: 'split the layer' },
      );
    }
    if (this.bytes > this.maxInMemory) this.spill();
  }

  private spill(): void {
    const { directory } = this;
    try {
      if (this.fd < 0) this.fd = openNameless(directory, 'toc');
      for (const part of this.parts.splice(0)) {
        for (let done = 0; done < part.length; ) done += writeSync(this.fd, part, done);
      }
    } catch (cause) {
      throw new HotlayerError(
        'HL_ERR_IO',
        `cannot write the table of contents to a file in ${directory}: ${(cause as Error).message}`,
        { hint: 'choose a place with more room with --tmpdir', cause, context: { file: directory } },
      );
    }
  }
}

export interface TocJson {
  /** In memory, or as a file that `TocBuilder.close` closes. */
  readonly content: readonly Buffer[] | number;
  readonly size: Bytes;
  readonly digest: Digest;
}

/**
 * estargz's form of a time: absent when the second is 1970's first (whatever its fraction), else rounded to whole
 * seconds, halves upwards. Years outside 0 … 9999 cannot be written in RFC 3339; `isWritableTime` tells them.
 */
export function formatModtime(time: TarTime): string | undefined {
  if (time.sec === 0 || !isWritableTime(time)) return undefined;
  const seconds = time.sec + (time.nsec >= 500_000_000 ? 1 : 0);
  return new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');
}

/** 0000-01-01 … 9999-12-31T23:59:58, so that rounding stays inside. */
export function isWritableTime(time: TarTime): boolean {
  return time.sec >= -62_167_219_200 && time.sec <= 253_402_300_798;
}

function nonZero(value: number): number | undefined {
  return value === 0 ? undefined : value;
}

function isDevice(meta: TocMeta): boolean {
  return meta.type === 'char' || meta.type === 'block';
}

/** A name that is not yet the last one written for this id; readers carry the last one forward. */
function changed(last: Map<number, string>, id: number, name: string): string | undefined {
  if (name === '' || last.get(id) === name) return undefined;
  last.set(id, name);
  return name;
}

function xattrRecord(xattrs: ReadonlyMap<string, Buffer> | undefined): Record<string, string> | undefined {
  if (!xattrs || xattrs.size === 0) return undefined;
  const names = [...xattrs.keys()].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  return Object.fromEntries(names.map((name) => [name, xattrs.get(name)!.toString('base64')]));
}
