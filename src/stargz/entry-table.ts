// The entries of a tar in columns: a layer may have a million of them, and as objects with their names as strings they
// would take some 500 bytes each; so it is about 150. What is handed out are small objects that look things up: they
// last, so they can be compared and be keys, but what they give (names, times) is made anew each time it is asked for.
import { bytesToPath, cleanPath, pathToBytes } from '../paths.js';
import type { EntryType, SparseExtent, TarEntry, TarTime } from './tar/entry.js';
import { padded } from './tar/header.js';

const TYPES: readonly EntryType[] = ['reg', 'dir', 'symlink', 'hardlink', 'char', 'block', 'fifo'];

/** Bits of a column of bytes; the lowest three are the type. */
const TYPE = 0b111;
/** The name, or the link's target, has other characters than ASCII's. */
const WIDE = 1 << 3;
/** The path is not the name. */
const UNCLEAN = 1 << 4;
/** There is more in `Page.odd`. */
const ODD = 1 << 5;

const SLASH = 0x2f;

/** Entries of the first page, and of the largest one: each is twice as large as the one before it. */
const PAGE = { first: 64, most: 32_768 };

/** What many entries have in common. */
interface Owner {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly uname: string;
  readonly gname: string;
}

/** What few entries have. */
interface Odd {
  /** Where it is not that of the payload. */
  readonly size: number;
  readonly devMajor: number;
  readonly devMinor: number;
  readonly xattrs: ReadonlyMap<string, Buffer> | undefined;
  readonly sparse: readonly SparseExtent[] | undefined;
  /** Where it is not the next block. */
  readonly end?: number;
}

export class EntryTable {
  /** In the order in which they were added. */
  readonly entries: TarEntry[] = [];
  private readonly owners: Owner[] = [];
  private readonly ownerIds = new Map<string, number>();
  /** The one that was asked for last. */
  private ownerId = 0;
  private page: Page | undefined;

  /** @param entry its index is the number of entries before it; it is not kept */
  add(entry: TarEntry): void {
    if (this.page?.full ?? true) this.page = this.nextPage();
    const at = this.page!.add(entry, this.ownerOf(entry));
    this.entries.push(new StoredEntry(this.page!, at));
  }

  /** The last entry ends here, in its padding: the tar is cut off. */
  cutAt(end: number): void {
    this.page?.cutAt(end);
  }

  /** After the last one: gives back what was set aside for more. */
  finish(): readonly TarEntry[] {
    this.page?.finish();
    return this.entries;
  }

  private nextPage(): Page {
    const { page } = this;
    page?.finish();
    return new Page(this.entries.length, page ? Math.min(2 * page.room, PAGE.most) : PAGE.first, this.owners);
  }

  private ownerOf({ mode, uid, gid, uname, gname }: Owner): number {
    const last = this.owners[this.ownerId];
    if (last?.mode === mode && last.uid === uid && last.gid === gid && last.uname === uname && last.gname === gname) {
      return this.ownerId;
    }
    const key = `${mode} ${uid} ${gid} ${uname}\0${gname}`;
    let id = this.ownerIds.get(key);
    if (id === undefined) {
      id = this.owners.push({ mode, uid, gid, uname, gname }) - 1;
      this.ownerIds.set(key, id);
    }
    this.ownerId = id;
    return id;
  }
}

/** Columns of some entries. Positions count from 0 in each page. */
class Page {
  readonly flags: Uint8Array;
  readonly headerOffset: Float64Array;
  readonly payloadOffset: Float64Array;
  readonly payloadSize: Float64Array;
  readonly seconds: Float64Array;
  readonly nanos: Uint32Array;
  private readonly ownerIds: Uint32Array;
  /** Two numbers an entry: where its name ends in `text`, and where the link's target behind it does. */
  private readonly ends: Uint32Array;
  private readonly odd = new Map<number, Odd>();
  private text: Buffer;
  private used = 0;
  private count = 0;

  constructor(
    /** Index of the first entry. */
    readonly first: number,
    /** Entries at most. */
    readonly room: number,
    private readonly owners: readonly Owner[],
  ) {
    this.flags = new Uint8Array(room);
    this.headerOffset = new Float64Array(room);
    this.payloadOffset = new Float64Array(room);
    this.payloadSize = new Float64Array(room);
    this.seconds = new Float64Array(room);
    this.nanos = new Uint32Array(room);
    this.ownerIds = new Uint32Array(room);
    this.ends = new Uint32Array(2 * room);
    this.text = Buffer.allocUnsafeSlow(48 * room);
  }

  get full(): boolean {
    return this.count === this.room;
  }

  /** @returns its position */
  add(entry: TarEntry, ownerId: number): number {
    const at = this.count;
    this.count += 1;
    this.headerOffset[at] = entry.headerOffset;
    this.payloadOffset[at] = entry.payloadOffset;
    this.payloadSize[at] = entry.payloadSize;
    this.seconds[at] = entry.mtime.sec;
    this.nanos[at] = entry.mtime.nsec;
    this.ownerIds[at] = ownerId;
    const from = this.used;
    const wide = !(this.writeAscii(entry.name, 2 * at) && this.writeAscii(entry.linkName, 2 * at + 1));
    if (wide) {
      this.used = from;
      this.write(pathToBytes(entry.name), 2 * at);
      this.write(pathToBytes(entry.linkName), 2 * at + 1);
    }
    const { type, size, payloadSize, devMajor, devMinor, xattrs, sparse } = entry;
    const isOdd = size !== (type === 'reg' ? payloadSize : 0) || devMajor !== 0 || devMinor !== 0 || xattrs || sparse;
    if (isOdd) this.odd.set(at, { size, devMajor, devMinor, xattrs, sparse });
    const isClean = entry.path === entry.name;
    this.flags[at] = TYPES.indexOf(type) | (wide ? WIDE : 0) | (isClean ? 0 : UNCLEAN) | (isOdd ? ODD : 0);
    return at;
  }

  cutAt(end: number): void {
    const at = this.count - 1;
    const { size, devMajor, devMinor, xattrs, sparse } = new StoredEntry(this, at);
    this.odd.set(at, { size, devMajor, devMinor, xattrs, sparse, end });
    this.flags[at]! |= ODD;
  }

  /** No more entries will come. */
  finish(): void {
    // A copy: a part of a buffer would keep all of it.
    if (this.used < this.text.length) {
      const exact = Buffer.allocUnsafeSlow(this.used);
      this.text.copy(exact);
      this.text = exact;
    }
  }

  ownerOf(at: number): Owner {
    return this.owners[this.ownerIds[at]!]!;
  }

  oddOf(at: number): Odd | undefined {
    return (this.flags[at]! & ODD) === 0 ? undefined : this.odd.get(at);
  }

  name(at: number): string {
    return this.read(at, 2 * at);
  }

  linkName(at: number): string {
    return this.read(at, 2 * at + 1);
  }

  /** The name from behind its last slash on. */
  base(at: number): string {
    const start = at === 0 ? 0 : this.ends[2 * at - 1]!;
    const end = this.ends[2 * at]!;
    let from = end;
    while (from > start && this.text[from - 1] !== SLASH) from -= 1;
    return this.read(at, 2 * at, from);
  }

  private read(at: number, i: number, start = i === 0 ? 0 : this.ends[i - 1]!): string {
    const end = this.ends[i]!;
    if (start === end) return '';
    if ((this.flags[at]! & WIDE) === 0) return this.text.toString('latin1', start, end);
    return bytesToPath(this.text.subarray(start, end));
  }

  /** @returns false when there are other characters than ASCII's: then it has to be written as bytes */
  private writeAscii(text: string, i: number): boolean {
    if (text !== '') {
      // Room for any: what takes one byte a unit is ASCII.
      this.makeRoom(3 * text.length);
      const written = this.text.write(text, this.used, 'utf8');
      if (written !== text.length) return false;
      this.used += written;
    }
    this.ends[i] = this.used;
    return true;
  }

  private write(bytes: Buffer, i: number): void {
    this.makeRoom(bytes.length);
    bytes.copy(this.text, this.used);
    this.used += bytes.length;
    this.ends[i] = this.used;
  }

  private makeRoom(length: number): void {
    if (this.used + length <= this.text.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(this.used + length, 2 * this.text.length));
    this.text.copy(larger, 0, 0, this.used);
    this.text = larger;
  }
}

/** One entry of a page. */
class StoredEntry implements TarEntry {
  constructor(
    private readonly page: Page,
    private readonly at: number,
  ) {}

  get index(): number {
    return this.page.first + this.at;
  }
  get headerOffset(): number {
    return this.page.headerOffset[this.at]!;
  }
  get payloadOffset(): number {
    return this.page.payloadOffset[this.at]!;
  }
  get payloadSize(): number {
    return this.page.payloadSize[this.at]!;
  }
  get end(): number {
    return this.page.oddOf(this.at)?.end ?? this.payloadOffset + padded(this.payloadSize);
  }
  get type(): EntryType {
    return TYPES[this.page.flags[this.at]! & TYPE]!;
  }
  get name(): string {
    return this.page.name(this.at);
  }
  get path(): string {
    const { name } = this;
    return (this.page.flags[this.at]! & UNCLEAN) === 0 ? name : cleanPath(name);
  }
  get base(): string {
    const isClean = (this.page.flags[this.at]! & UNCLEAN) === 0;
    return isClean ? this.page.base(this.at) : this.path.slice(this.path.lastIndexOf('/') + 1);
  }
  get linkName(): string {
    return this.page.linkName(this.at);
  }
  get mode(): number {
    return this.page.ownerOf(this.at).mode;
  }
  get uid(): number {
    return this.page.ownerOf(this.at).uid;
  }
  get gid(): number {
    return this.page.ownerOf(this.at).gid;
  }
  get uname(): string {
    return this.page.ownerOf(this.at).uname;
  }
  get gname(): string {
    return this.page.ownerOf(this.at).gname;
  }
  get size(): number {
    return this.page.oddOf(this.at)?.size ?? (this.type === 'reg' ? this.payloadSize : 0);
  }
  get mtime(): TarTime {
    return { sec: this.page.seconds[this.at]!, nsec: this.page.nanos[this.at]! };
  }
  get devMajor(): number {
    return this.page.oddOf(this.at)?.devMajor ?? 0;
  }
  get devMinor(): number {
    return this.page.oddOf(this.at)?.devMinor ?? 0;
  }
  get xattrs(): ReadonlyMap<string, Buffer> | undefined {
    return this.page.oddOf(this.at)?.xattrs;
  }
  get sparse(): readonly SparseExtent[] | undefined {
    return this.page.oddOf(this.at)?.sparse;
  }
}
