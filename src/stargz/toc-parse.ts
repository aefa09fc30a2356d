// Reads a TOC that anybody may have written: every member is checked before it is believed.
import { HotlayerError } from '../errors.js';
import { type Digest, isDigest } from '../image/digest.js';
import { cleanPath, showPath } from '../paths.js';
import type { EntryType } from './tar/entry.js';

/** A stretch of a regular file that is compressed, and verified, on its own. */
export interface Chunk {
  /** Of its first byte in the file. */
  readonly at: number;
  /** Bytes, at least 1. */
  readonly size: number;
  /** Compressed offset of the gzip member that holds it. */
  readonly offset: number;
  /** Decompressed bytes of that member before it; 0 in everything but estargz's --estargz-min-chunk-size. */
  readonly innerOffset: number;
  /** Compressed offset of the next member that the TOC knows, or of the TOC: [offset, nextOffset) is all one needs. */
  readonly nextOffset: number;
  /** Of the chunk's bytes. Absent only where the blob cannot be verified (`Toc.unverifiable`). */
  readonly digest?: Digest;
}

export interface TocEntry {
  /** Position among the entries, chunks not counted. */
  readonly index: number;
  /** As it stands in the TOC. */
  readonly name: string;
  /** `cleanPath(name)`. */
  readonly path: string;
  readonly type: EntryType;
  readonly size: number;
  /** Whole seconds since 1970; absent: not known, or the very first second. */
  readonly mtimeSec?: number;
  readonly linkName: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Carried forward from an earlier entry of the same uid where this one has none. */
  readonly uname: string;
  readonly gname: string;
  readonly devMajor: number;
  readonly devMinor: number;
  readonly xattrs?: ReadonlyMap<string, Buffer>;
  /** Of a regular file's content; absent in old blobs. */
  readonly digest?: Digest;
  /** Of a regular file, in order, without gaps; empty for an empty file and for every other type. */
  readonly chunks: readonly Chunk[];
}

export interface Toc {
  readonly entries: readonly TocEntry[];
  /** By cleaned path; the last entry of a name wins, as in every other reader. */
  readonly byPath: ReadonlyMap<string, TocEntry>;
  /** Why content cannot be verified; absent when each chunk has a digest. */
  readonly unverifiable?: string;
}

export interface TocLimits {
  /** Bytes of one chunk: it is held in memory to be verified. */
  readonly maxChunk: number;
  /** Entries, chunks included. */
  readonly maxEntries: number;
}

const TYPES: readonly string[] = ['reg', 'dir', 'symlink', 'hardlink', 'char', 'block', 'fifo'];

const NO_CHUNKS: readonly Chunk[] = [];

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/**
 * @param blob names the blob in messages
 * @param end compressed offset of the TOC member: all offsets lie before it
 * @throws HL_ERR_STARGZ, HL_ERR_LIMIT
 */
export function parseToc(json: Buffer, blob: string, end: number, limits: TocLimits): Toc {
  const parser = new Parser(blob, end, limits);
  return parser.parse(json);
}

class ParsedToc implements Toc {
  readonly entries: readonly TocEntry[];
  declare readonly unverifiable?: string;
  #byPath: Map<string, TocEntry> | undefined;

  constructor(entries: readonly TocEntry[], unverifiable: string | undefined) {
    this.entries = entries;
    if (unverifiable !== undefined) this.unverifiable = unverifiable;
  }

  /** Made when first asked for: a start that finds everything in its place never does. */
  get byPath(): ReadonlyMap<string, TocEntry> {
    if (this.#byPath) return this.#byPath;
    const byPath = new Map<string, TocEntry>();
    for (const entry of this.entries) byPath.set(entry.path, entry);
    this.#byPath = byPath;
    return byPath;
  }
}

class Parser {
  private readonly entries: Mutable<TocEntry>[] = [];
  private readonly data: Mutable<Chunk>[] = [];
  private readonly userNames = new Map<number, string>();
  private readonly groupNames = new Map<number, string>();
  private unverifiable: string | undefined;
  private hasHardlinks = false;
  /** Many files have the same time. */
  private lastTime = '';
  private lastMillis = Number.NaN;
  /** Of the entry being read; found to be one. */
  private lastDigest: Digest | undefined;
  /** Number of the record being read, for messages. */
  private record = 0;

  constructor(
    private readonly blob: string,
    private readonly end: number,
    private readonly limits: TocLimits,
  ) {}

  parse(json: Buffer): Toc {
    const records = this.recordsOf(json);
    let file: Mutable<TocEntry> | undefined;
    for (this.record = 0; this.record < records.length; this.record++) {
      const record = records[this.record];
      if (typeof record !== 'object' || record === null || Array.isArray(record)) {
        this.fail('an object', record);
      }
      const fields = record as Record<string, unknown>;
      if (fields.type === 'chunk') {
        if (file?.type !== 'reg') this.fail('a "chunk" right after its "reg"', 'none before it');
        this.addChunk(file!, fields);
      } else {
        if (file) this.finishFile(file);
        file = this.addEntry(fields);
      }
    }
    if (file) this.finishFile(file);
    this.setNextOffsets();
    const toc = new ParsedToc(this.entries as TocEntry[], this.unverifiable);
    if (this.hasHardlinks) checkHardlinks(toc, this.blob);
    return toc;
  }

  private recordsOf(json: Buffer): unknown[] {
    let document: unknown;
    try {
      document = JSON.parse(json.toString('utf8'));
    } catch (cause) {
      throw new HotlayerError('HL_ERR_STARGZ', `${this.blob}: the TOC is not JSON: ${(cause as Error).message}`, {
        cause,
      });
    }
    const { version, entries } = (document ?? {}) as { version?: unknown; entries?: unknown };
    if (version !== 1) {
      throw new HotlayerError('HL_ERR_STARGZ', `${this.blob}: TOC version ${JSON.stringify(version)}; expected 1`);
    }
    // Go writes an empty list of entries as null.
    const list = entries ?? [];
    if (!Array.isArray(list)) {
      throw new HotlayerError('HL_ERR_STARGZ', `${this.blob}: the TOC's "entries" is no list`);
    }
    if (list.length > this.limits.maxEntries) {
      throw new HotlayerError(
        'HL_ERR_LIMIT',
        `${this.blob}: the TOC has ${list.length} entries; the limit is ${this.limits.maxEntries}`,
      );
    }
    return list;
  }

  /**
   * A container waits until all entries of its image have been here, and most of them are seen by code that has just
   * begun to run: members that are not there are not looked into, and little is made that is not kept.
   */
  private addEntry(fields: Record<string, unknown>): Mutable<TocEntry> {
    const type = this.text(fields, 'type');
    if (!TYPES.includes(type)) this.fail(`"type" one of ${TYPES.join(', ')}, chunk`, type);
    if (type === 'hardlink') this.hasHardlinks = true;
    const name = this.text(fields, 'name');
    if (name.includes('\0')) this.fail('a "name" without NUL', name);
    const uid = fields.uid === undefined ? 0 : this.integer(fields, 'uid', true);
    const gid = fields.gid === undefined ? 0 : this.integer(fields, 'gid', true);
    const entry: Mutable<TocEntry> = {
      index: this.entries.length,
      name,
      path: cleanPath(name),
      type: type as EntryType,
      size: type === 'reg' ? this.integer(fields, 'size') : 0,
      linkName: fields.linkName === undefined ? '' : this.text(fields, 'linkName'),
      mode: this.integer(fields, 'mode', true),
      uid,
      gid,
      uname: carried(this.userNames, uid, fields.userName === undefined ? '' : this.text(fields, 'userName')),
      gname: carried(this.groupNames, gid, fields.groupName === undefined ? '' : this.text(fields, 'groupName')),
      devMajor: fields.devMajor === undefined ? 0 : this.integer(fields, 'devMajor', true),
      devMinor: fields.devMinor === undefined ? 0 : this.integer(fields, 'devMinor', true),
      chunks: NO_CHUNKS,
    };
    const millis = fields.modtime === undefined ? Number.NaN : this.millis(this.text(fields, 'modtime'));
    if (!Number.isNaN(millis)) entry.mtimeSec = Math.floor(millis / 1000);
    const digest = this.digest(fields, 'digest');
    if (digest && type === 'reg') entry.digest = digest;
    this.lastDigest = digest;
    const xattrs = fields.xattrs === undefined ? undefined : this.xattrs(fields.xattrs);
    if (xattrs) entry.xattrs = xattrs;
    this.entries.push(entry);
    if (type === 'reg' && entry.size > 0) this.addChunk(entry, fields);
    return entry;
  }

  /** A time that cannot be read is "not known", as in estargz: it must not make a layer unusable. */
  private millis(time: string): number {
    if (time === this.lastTime) return this.lastMillis;
    this.lastTime = time;
    this.lastMillis = time === '' ? Number.NaN : Date.parse(time);
    return this.lastMillis;
  }

  private addChunk(file: Mutable<TocEntry>, fields: Record<string, unknown>): void {
    const at = fields.chunkOffset === undefined ? 0 : this.integer(fields, 'chunkOffset');
    const previous = file.chunks.at(-1);
    const expected = previous ? previous.at + previous.size : 0;
    if (at !== expected) this.fail(`"chunkOffset" ${expected}`, at);
    const size = (fields.chunkSize === undefined ? 0 : this.integer(fields, 'chunkSize')) || file.size - at;
    if (size <= 0 || at + size > file.size)
      this.fail(`a chunk inside the file's ${file.size} bytes`, `${size} at ${at}`);
    if (size > this.limits.maxChunk) {
      throw new HotlayerError(
        'HL_ERR_LIMIT',
        `${this.where()}: a chunk of ${size} bytes; the limit is ${this.limits.maxChunk}`,
      );
    }
    const chunk: Mutable<Chunk> = {
      at,
      size,
      offset: this.integer(fields, 'offset'),
      innerOffset: fields.innerOffset === undefined ? 0 : this.integer(fields, 'innerOffset'),
      nextOffset: this.end,
    };
    const digest = this.digest(fields, 'chunkDigest');
    if (digest) chunk.digest = digest;
    this.checkOffset(chunk);
    // An array that grows from nothing takes room for 17.
    if (file.chunks.length === 0) file.chunks = [chunk];
    else (file.chunks as Chunk[]).push(chunk);
    this.data.push(chunk);
  }

  /** Offsets must grow in TOC order: readers take the next one for the end of this one. */
  private checkOffset(chunk: Chunk): void {
    const previous = this.data.at(-1);
    const shared = previous !== undefined && chunk.offset === previous.offset;
    if (shared && chunk.innerOffset > previous.innerOffset) return;
    if (previous && chunk.offset <= previous.offset) this.fail(`"offset" above ${previous.offset}`, chunk.offset);
    if (chunk.offset <= 0 || chunk.offset >= this.end) {
      this.fail(`"offset" between 0 and the TOC's offset ${this.end}`, chunk.offset);
    }
  }

  private finishFile(file: Mutable<TocEntry>): void {
    const { length } = file.chunks;
    if (length === 0 && file.size === 0) return;
    const last = file.chunks[length - 1];
    const covered = last ? last.at + last.size : 0;
    if (covered !== file.size) {
      throw new HotlayerError(
        'HL_ERR_STARGZ',
        `${this.blob}: TOC entry ${showPath(file.name)}: its chunks cover ${covered} bytes; expected its size, ${file.size}`,
        { context: { entry: showPath(file.path) } },
      );
    }
    // Blobs of before chunk digests: the file's own digest does for a file of one chunk.
    const [only] = file.chunks as Mutable<Chunk>[];
    if (only && !only.digest && file.chunks.length === 1 && file.digest) only.digest = file.digest;
    if (this.unverifiable !== undefined) return;
    for (const chunk of file.chunks)
      if (!chunk.digest) this.unverifiable = `${showPath(file.name)} has a chunk without a digest`;
  }

  private setNextOffsets(): void {
    let next = this.end;
    for (let i = this.data.length - 1; i >= 0; i--) {
      const chunk = this.data[i]!;
      chunk.nextOffset = next;
      if (i > 0 && this.data[i - 1]!.offset !== chunk.offset) next = chunk.offset;
    }
  }

  private text(fields: Record<string, unknown>, member: string): string {
    const value = fields[member];
    if (value === undefined || value === null) return '';
    if (typeof value !== 'string') this.fail(`"${member}" a string`, value);
    return value as string;
  }

  private integer(fields: Record<string, unknown>, member: string, signed = false): number {
    const value = fields[member] ?? 0;
    if (!Number.isSafeInteger(value) || (!signed && (value as number) < 0)) {
      this.fail(`"${member}" a whole number ${signed ? 'within' : 'from 0 to'} 2^53`, value);
    }
    return value as number;
  }

  private digest(fields: Record<string, unknown>, member: string): Digest | undefined {
    const text = this.text(fields, member);
    if (text === '') return undefined;
    // That of a file of one chunk stands there twice.
    if (text !== this.lastDigest && !isDigest(text)) this.fail(`"${member}" a sha256 digest`, text);
    return text as Digest;
  }

  private xattrs(value: unknown): Map<string, Buffer> | undefined {
    if (value === undefined || value === null) return undefined;
    if (typeof value !== 'object' || Array.isArray(value)) this.fail('"xattrs" an object', value);
    const map = new Map<string, Buffer>();
    for (const [name, text] of Object.entries(value as object)) {
      // Go writes an empty value as "" or null.
      if (text !== null && typeof text !== 'string') this.fail(`xattr ${showPath(name)} in base64`, text);
      const bytes = Buffer.from((text as string | null) ?? '', 'base64');
      if (bytes.toString('base64') !== (text ?? '')) this.fail(`xattr ${showPath(name)} in base64`, text);
      map.set(name, bytes);
    }
    return map.size > 0 ? map : undefined;
  }

  private where(): string {
    const entry = this.entries.at(-1);
    return `${this.blob}: TOC record ${this.record}${entry ? ` (${showPath(entry.name)})` : ''}`;
  }

  private fail(expected: string, found: unknown): never {
    const shown =
      typeof found === 'string' ? `"${showPath(found.slice(0, 200))}"` : JSON.stringify(found)?.slice(0, 200);
    throw new HotlayerError('HL_ERR_STARGZ', `${this.where()}: expected ${expected}, found ${shown}`);
  }
}

function carried(last: Map<number, string>, id: number, name: string): string {
  if (name === '') return last.get(id) ?? '';
  last.set(id, name);
  return name;
}

/** The entry a hardlink stands for, chains followed; any other entry is its own. Undefined: a loop, or nothing there. */
export function resolveHardlink(byPath: ReadonlyMap<string, TocEntry>, entry: TocEntry): TocEntry | undefined {
  let at: TocEntry | undefined = entry;
  const seen = new Set<TocEntry>();
  while (at?.type === 'hardlink') {
    if (seen.has(at)) return undefined;
    seen.add(at);
    at = byPath.get(cleanPath(at.linkName));
  }
  return at;
}

/** Every hardlink leads to an entry. What is known to lead somewhere is not followed again. */
function checkHardlinks(toc: Toc, blob: string): void {
  const leads = new Set<TocEntry>();
  for (const link of toc.entries) {
    if (link.type !== 'hardlink') continue;
    const passed = new Set<TocEntry>();
    let at: TocEntry | undefined = link;
    while (at?.type === 'hardlink' && !leads.has(at) && !passed.has(at)) {
      passed.add(at);
      at = toc.byPath.get(cleanPath(at.linkName));
    }
    if (!at || passed.has(at)) {
      throw new HotlayerError(
        'HL_ERR_STARGZ',
        `${blob}: ${showPath(link.name)} is a hardlink to "${showPath(link.linkName)}"; expected a file of this TOC, found none`,
        { context: { entry: showPath(link.path) } },
      );
    }
    for (const entry of passed) leads.add(entry);
  }
}
