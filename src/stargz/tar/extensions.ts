// What the headers of one entry mean together: PAX over GNU over the block's own fields, the entry's own records over
// global ones. Collects extension headers until the entry's header comes, then makes the entry out of them.
import { cleanPath, showPath } from '../../paths.js';
import type { EntryType, TarEntry, TarTime } from './entry.js';
import { BLOCK, type HeaderBlock, TarProblem } from './header.js';
import { type PaxRecords, parseDecimal, parsePax, parsePaxText, parsePaxTime, xattrsOf } from './pax.js';
import { parseMapRecord, type SparsePairs } from './sparse.js';

/** An entry while it is made. */
export type Draft = { -readonly [K in keyof TarEntry]: TarEntry[K] };

/** Type flags of headers that describe another one, by the name that messages give them. */
export const EXTENSIONS: Readonly<Record<string, string>> = {
  x: 'PAX header',
  X: 'PAX header',
  g: 'global PAX header',
  L: 'GNU long name',
  K: 'GNU long link',
};

const TYPES: Readonly<Record<string, EntryType>> = {
  '0': 'reg',
  '7': 'reg',
  S: 'reg',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'char',
  '4': 'block',
  '5': 'dir',
  D: 'dir',
  '6': 'fifo',
};

/** Undefined for letters that no dialect defines. */
export function typeOf(flag: string, name: string): EntryType | undefined {
  if (flag === '\0') return name.endsWith('/') ? 'dir' : 'reg';
  return TYPES[flag];
}

export class Extensions {
  /** Offset of the entry's first extension header; -1: there is none. */
  start = -1;
  #local: PaxRecords = new Map();
  #pairs: SparsePairs = [];
  #longName: string | undefined;
  #longLink: string | undefined;
  /** Global records in force. */
  #ruling: PaxRecords = new Map();
  /** Memory for the records of one entry after the other. */
  #scratch = Buffer.allocUnsafeSlow(4 * BLOCK);

  /** @param payload may change afterwards. @throws TarProblem */
  add(flag: string, at: number, payload: Buffer): void {
    if (this.start < 0) this.start = at;
    if (flag === 'L') this.#longName = longText(payload);
    else if (flag === 'K') this.#longLink = longText(payload);
    else parsePax(this.#kept(payload), { records: this.#local, pairs: this.#pairs });
  }

  /** Records of a global header: from now on they rule. */
  addGlobal(records: PaxRecords): void {
    for (const [key, value] of records) {
      if (value.length === 0) this.#ruling.delete(key);
      else this.#ruling.set(key, value);
    }
  }

  /** Forgets everything but the global records: the entry is complete. */
  clear(): void {
    this.start = -1;
    if (this.#local.size > 0) this.#local.clear();
    if (this.#pairs.length > 0) this.#pairs = [];
    this.#longName = undefined;
    this.#longLink = undefined;
  }

  /** @throws TarProblem */
  name(header: HeaderBlock): string {
    return this.#text('GNU.sparse.name', this.#text('path', this.#longName ?? header.name));
  }

  /** Bytes of payload that the headers claim. @throws TarProblem */
  payloadSize(header: HeaderBlock): number {
    return this.#number('size', header.size);
  }

  /**
   * The entry, but for its payload: sizes are 0.
   * @param at offset of `header`
   * @throws TarProblem when a record's value is not what its key says
   */
  draft(header: HeaderBlock, name: string, at: number, index: number): Draft {
    const type = typeOf(header.flag, name) ?? 'reg';
    const isLink = type === 'symlink' || type === 'hardlink';
    const isDevice = type === 'char' || type === 'block';
    const time = this.#record('mtime');
    const mtime: TarTime = time === undefined ? { sec: header.mtime, nsec: 0 } : parsePaxTime(time, 'mtime');
    const draft: Draft = {
      index,
      headerOffset: this.start < 0 ? at : this.start,
      payloadOffset: at + BLOCK,
      payloadSize: 0,
      end: 0,
      type,
      name,
      path: cleanPath(name),
      linkName: isLink ? this.#text('linkpath', this.#longLink ?? header.linkName) : '',
      mode: header.mode,
      uid: this.#number('uid', header.uid),
      gid: this.#number('gid', header.gid),
      uname: this.#text('uname', header.uname),
      gname: this.#text('gname', header.gname),
      size: 0,
      mtime,
      devMajor: isDevice ? this.#number('SCHILY.devmajor', header.devMajor) : 0,
      devMinor: isDevice ? this.#number('SCHILY.devminor', header.devMinor) : 0,
    };
    const xattrs = this.#empty() ? undefined : xattrsOf(this.#inForce());
    if (xattrs) draft.xattrs = xattrs;
    return draft;
  }

  /**
   * PAX sparse formats 0.0, 0.1 and 1.0; undefined for an ordinary file. Without `pairs` the map is in the payload.
   * @throws TarProblem for an unknown version or a map without a size
   */
  sparse(): { realSize: number; pairs?: SparsePairs } | undefined {
    if (this.#empty()) return undefined;
    const major = this.#record('GNU.sparse.major');
    const minor = this.#record('GNU.sparse.minor');
    const map = this.#record('GNU.sparse.map');
    const real = this.#record('GNU.sparse.realsize') ?? this.#record('GNU.sparse.size');
    if (!major && !minor && !map && this.#pairs.length === 0) {
      // With a size and a count of blocks it is a file of format 0.0 or 0.1 that is nothing but a hole.
      if (this.#record('GNU.sparse.numblocks') === undefined || real === undefined) return undefined;
    }
    const version = major || minor ? `${major ?? 0}.${minor ?? 0}` : '0';
    if (!['0', '0.0', '0.1', '1.0'].includes(version)) {
      throw new TarProblem(`sparse format ${showPath(version)} is not known; expected 0.0, 0.1 or 1.0`);
    }
    if (real === undefined) throw new TarProblem('a sparse file without the record of its real size');
    const realSize = parseDecimal(real, 'GNU.sparse.realsize');
    if (version === '1.0') return { realSize };
    return { realSize, pairs: map ? parseMapRecord(map) : this.#pairs };
  }

  #empty(): boolean {
    return this.#local.size === 0 && this.#ruling.size === 0 && this.#pairs.length === 0;
  }

  /** The value in force: the entry's own, else the global one; an empty one cancels. */
  #record(key: string): Buffer | undefined {
    const own = this.#local.get(key);
    if (own !== undefined) return own.length === 0 ? undefined : own;
    return this.#ruling.get(key);
  }

  #number(key: string, otherwise: number): number {
    const value = this.#record(key);
    return value === undefined ? otherwise : parseDecimal(value, key);
  }

  #text(key: string, otherwise: string): string {
    const value = this.#record(key);
    return value === undefined ? otherwise : parsePaxText(value, key);
  }

  #inForce(): PaxRecords {
    return this.#ruling.size === 0 ? this.#local : new Map([...this.#ruling, ...this.#local]);
  }

  /** A copy that lasts until `clear`. */
  #kept(payload: Buffer): Buffer {
    if (this.#local.size > 0) return Buffer.from(payload);
    if (this.#scratch.length < payload.length) this.#scratch = Buffer.allocUnsafeSlow(2 * payload.length);
    payload.copy(this.#scratch);
    return this.#scratch.subarray(0, payload.length);
  }
}

/** The payload of a GNU long name or link: up to the first NUL. */
function longText(payload: Buffer): string {
  const end = payload.indexOf(0);
  return parsePaxText(end < 0 ? payload : payload.subarray(0, end), 'long name');
}
