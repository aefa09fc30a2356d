// The tar format as a state machine that says which bytes it wants next. It never touches files or streams: the two
// drivers in scan.ts (a file descriptor, a push stream) feed it, so that both see exactly the same entries.
//
// Where readers of tar differ, this one follows (in this order) POSIX, GNU tar, and what container runtimes do:
// - Global PAX records rule every entry after them; the entry's own records override them, an empty one cancels them.
//   (containerd and docker ignore global records: a warning names those that change what an entry means.)
// - `0` `7` and unknown letters are regular files; NUL is one, too, unless its name ends in a slash: then a directory.
// - `D` (GNU incremental) is a directory, its list the payload. `V` and `N` are not files: metadata, as `g`.
// - `M` (the rest of a file from another volume) cannot be made whole: an error.
// - A size on an entry that has no content (directory, link, device) is believed only if what follows the header is
//   not itself a header or the end of the archive: writers disagree on whether such a size means bytes.
// - One zero block ends the archive as two do; so does the end of the file after an entry.
import { type ErrorContext, HotlayerError } from '../../errors.js';
import { showPath } from '../../paths.js';
import { EntryTable } from '../entry-table.js';
import {
  type GlobalHeader,
  MAX_ENTRIES,
  MAX_EXTENSION_HEADER,
  MAX_METADATA_BYTES,
  type TarLimits,
  type TarScan,
} from './entry.js';
import { type Draft, EXTENSIONS, Extensions, typeOf } from './extensions.js';
import {
  BLOCK,
  type HeaderBlock,
  headerFlag,
  headerSize,
  isHeaderBlock,
  isZeroBlock,
  padded,
  parseHeader,
  TarProblem,
} from './header.js';
import { parsePax } from './pax.js';
import { extentsOf, gnuRealSize, PayloadMap, parseGnuSparse, type SparsePairs } from './sparse.js';

const MAX_WARNINGS = 50;

type State = 'header' | 'extension' | 'gnuSparse' | 'sparseMap' | 'peek' | 'peekZero' | 'lastZero' | 'trailer';

/** Global records that say nothing about an entry. */
const HARMLESS = /^(comment|hdrcharset|charset|atime|ctime)$|^GNU\.volume\./;
const NOTHING = Buffer.alloc(0);

export class TarMachine {
  /** Where the bytes wanted next begin; never goes back. */
  at = 0;
  /** How many bytes `feed` must be given, contiguous. */
  want = BLOCK;

  readonly #where: ErrorContext;
  readonly #maxEntries: number;
  readonly #maxMetadata: number;
  readonly #table = new EntryTable();
  readonly #globals: GlobalHeader[] = [];
  readonly #warnings: string[] = [];
  #muted = 0;
  #state: State = 'header';
  #end = -1;
  #trailing = 0;
  #metadata = 0;

  // Of the entry being read.
  readonly #extensions = new Extensions();
  #extension = '';
  #extensionAt = 0;
  #draft: Draft | undefined;
  /** Its name, for messages, as soon as it is known. */
  #named: string | undefined;
  /** Bytes that the headers claim as payload. */
  #claimed = 0;
  #pairs: SparsePairs = [];
  #map: PayloadMap | undefined;

  constructor(where: ErrorContext, limits: TarLimits) {
    this.#where = where;
    this.#maxEntries = limits.maxEntries ?? MAX_ENTRIES;
    this.#maxMetadata = limits.maxMetadataBytes ?? MAX_METADATA_BYTES;
  }

  /** True once the end-of-archive blocks were seen: the rest goes to `trailer`. */
  get done(): boolean {
    return this.#state === 'trailer';
  }

  /** `want` bytes of the tar, those from offset `at` on, are in `buffer` from `from` on. They may change afterwards. */
  feed(buffer: Buffer, from: number): void {
    try {
      this.#step(buffer, from);
    } catch (error) {
      throw this.#located(error);
    }
  }

  /** Any bytes after the end of the archive. */
  trailer(bytes: Buffer): void {
    for (let i = 0; i < bytes.length; i += BLOCK) {
      const stop = Math.min(i + BLOCK, bytes.length);
      if (stop - i === BLOCK && isZeroBlock(bytes, i)) continue;
      for (let k = i; k < stop; k++) if (bytes[k] !== 0) this.#trailing += 1;
    }
    this.at += bytes.length;
  }

  /** The tar ends at `size`; `rest` are its bytes from `at` on, fewer than wanted. */
  finish(size: number, rest: Buffer): TarScan {
    try {
      this.#finish(size, rest);
    } catch (error) {
      throw this.#located(error);
    }
    if (this.#trailing > 0)
      this.#warn(`${this.#trailing} bytes that are not zero follow the end of the archive; ignored`);
    if (this.#muted > 0) this.#warnings.push(`${this.#muted} more warnings about this tar are not shown`);
    return {
      entries: this.#table.finish(),
      globals: this.#globals,
      end: this.#end,
      size,
      trailing: this.#trailing,
      warnings: this.#warnings,
    };
  }

  #step(buffer: Buffer, from: number): void {
    switch (this.#state) {
      case 'header':
        this.#header(buffer, from);
        return;
      case 'extension':
        this.#extended(buffer.subarray(from, from + this.want));
        return;
      case 'gnuSparse':
        this.at += BLOCK;
        if (!parseGnuSparse(buffer, from, false, this.#pairs)) this.#completeSparse(0);
        return;
      case 'sparseMap': {
        this.at += BLOCK;
        const map = this.#map!;
        if (map.length + BLOCK > this.#claimed) throw new TarProblem('the sparse map is longer than the payload');
        if (map.add(buffer, from)) {
          this.#pairs = map.pairs;
          this.#completeSparse(map.length);
        }
        return;
      }
      case 'peek':
        if (isHeaderBlock(buffer, from)) {
          this.#complete(0);
          this.#header(buffer, from);
          return;
        }
        if (!isZeroBlock(buffer, from)) {
          this.#complete(this.#claimed);
          return;
        }
        this.at += BLOCK;
        this.#state = 'peekZero';
        return;
      case 'peekZero':
        if (isZeroBlock(buffer, from)) {
          // Two zero blocks are the end of the archive, whatever the header claims.
          this.#complete(0);
          this.#endAt(this.at - BLOCK);
          this.at += BLOCK;
          this.#enter('trailer');
          return;
        }
        this.#complete(this.#claimed);
        if (this.#claimed <= BLOCK) this.#header(buffer, from);
        return;
      case 'lastZero':
        this.#enter('trailer');
        if (isZeroBlock(buffer, from)) this.at += BLOCK;
        else {
          this.#warn(`a single zero block at byte ${this.at - BLOCK} ends the archive`);
          this.trailer(buffer.subarray(from, from + BLOCK));
        }
        return;
      case 'trailer':
        this.trailer(buffer.subarray(from, from + this.want));
        return;
    }
  }

  #enter(state: State): void {
    this.#state = state;
    this.want = BLOCK;
  }

  #endAt(at: number): void {
    if (this.#extensions.start >= 0) {
      throw new TarProblem(`the ${EXTENSIONS[this.#extension]} at byte ${this.#extensionAt} has no entry after it`);
    }
    this.#end = at;
  }

  #header(buffer: Buffer, from: number): void {
    if (isZeroBlock(buffer, from)) {
      this.#endAt(this.at);
      this.at += BLOCK;
      this.#enter('lastZero');
      return;
    }
    const flag = headerFlag(buffer, from);
    const extension = EXTENSIONS[flag];
    if (extension !== undefined) {
      const size = headerSize(buffer, from);
      if (size > MAX_EXTENSION_HEADER) {
        throw new TarProblem(`a ${extension} of ${size} bytes, allowed are ${MAX_EXTENSION_HEADER}`, 'HL_ERR_LIMIT');
      }
      this.#extension = flag;
      this.#extensionAt = this.at;
      this.at += BLOCK;
      this.#state = 'extension';
      this.want = size;
      if (size === 0) this.#extended(NOTHING);
    } else if (flag === 'V' || flag === 'N') {
      if (flag === 'N') this.#warn(`an obsolete list of long names (type N) at byte ${this.at} is ignored`);
      const end = this.at + BLOCK + padded(headerSize(buffer, from));
      this.#addGlobal({
        flag,
        headerOffset: this.at,
        end,
        records: new Map(),
        firstEntry: this.#table.entries.length,
      });
      this.at = end;
    } else {
      this.#entry(parseHeader(buffer, from, flag), buffer, from);
    }
  }

  #extended(payload: Buffer): void {
    const at = this.#extensionAt;
    if (this.#extension === 'g') {
      const records = new Map<string, Buffer>();
      parsePax(Buffer.from(payload), { records, pairs: [] });
      const end = this.at + padded(payload.length);
      this.#addGlobal({ flag: 'g', headerOffset: at, end, records, firstEntry: this.#table.entries.length });
      this.#extensions.addGlobal(records);
      for (const [key, value] of records) {
        if (value.length === 0 || HARMLESS.test(key)) continue;
        this.#warn(
          `global PAX record "${showPath(key)}" at byte ${at} changes the entries after it; container runtimes ignore it`,
        );
      }
    } else {
      this.#extensions.add(this.#extension, at, payload);
    }
    this.at += padded(payload.length);
    this.#enter('header');
  }

  #addGlobal(header: GlobalHeader): void {
    this.#metadata += header.end - header.headerOffset;
    this.#checkLimits();
    if (this.#extensions.start < 0) this.#globals.push(header);
    else this.#warn(`a header of type ${header.flag} at byte ${header.headerOffset} stands between an entry's headers`);
  }

  #entry(header: HeaderBlock, buffer: Buffer, from: number): void {
    const { flag } = header;
    const name = this.#extensions.name(header);
    this.#named = name;
    const size = this.#extensions.payloadSize(header);
    if (size < 0) throw new TarProblem(`the size is negative (${size})`);
    if (!Number.isSafeInteger(this.at + BLOCK + padded(size))) throw new TarProblem(`the size ${size} is absurd`);
    if (flag === 'M') {
      throw new TarProblem('this is the rest of a file from another volume (type M), which cannot be restored');
    }
    if (typeOf(flag, name) === undefined) {
      this.#warn(
        `entry "${showPath(name)}" at byte ${this.at} has the unknown type "${showPath(flag)}"; taken as a regular file`,
      );
    }
    const draft = this.#extensions.draft(header, name, this.at, this.#table.entries.length);
    this.#draft = draft;
    this.#claimed = size;
    this.at += BLOCK;
    if (flag === 'S') this.#gnuSparse(header, draft, buffer, from);
    else if (draft.type === 'reg') this.#regular(draft);
    else if (size === 0 || flag === 'D') this.#complete(size);
    else this.#enter('peek');
  }

  #gnuSparse(header: HeaderBlock, draft: Draft, buffer: Buffer, from: number): void {
    if (header.format !== 'gnu') {
      throw new TarProblem('a sparse file (type S) in a header that is not GNU: its map cannot be found');
    }
    draft.size = gnuRealSize(buffer, from);
    this.#pairs = [];
    if (parseGnuSparse(buffer, from, true, this.#pairs)) this.#enter('gnuSparse');
    else this.#completeSparse(0);
  }

  #regular(draft: Draft): void {
    const sparse = this.#extensions.sparse();
    if (!sparse) {
      draft.size = this.#claimed;
      this.#complete(this.#claimed);
      return;
    }
    draft.size = sparse.realSize;
    if (sparse.pairs) {
      this.#pairs = sparse.pairs;
      this.#completeSparse(0);
    } else {
      this.#map = new PayloadMap();
      this.#enter('sparseMap');
    }
  }

  /** @param mapLength bytes of the payload that are its map */
  #completeSparse(mapLength: number): void {
    const draft = this.#draft!;
    if (draft.size < 0) throw new TarProblem(`the real size is negative (${draft.size})`);
    // Old GNU extension blocks count as headers, a 1.0 map as payload.
    if (mapLength === 0) draft.payloadOffset = this.at;
    const data = draft.payloadOffset + mapLength;
    draft.sparse = extentsOf(this.#pairs, data, this.#claimed - mapLength, draft.size);
    this.#complete(this.#claimed);
  }

  #complete(payloadSize: number): void {
    const draft = this.#draft!;
    draft.payloadSize = payloadSize;
    draft.end = draft.payloadOffset + padded(payloadSize);
    this.#table.add(draft);
    this.#metadata += draft.name.length + draft.linkName.length + 24 * (draft.sparse?.length ?? 0);
    if (draft.xattrs) for (const [name, value] of draft.xattrs) this.#metadata += name.length + value.length;
    this.#checkLimits();
    // The peeking states have gone past bytes that turn out to be payload, but never past the entry's end.
    this.at = Math.max(this.at, draft.end);
    this.#draft = undefined;
    this.#named = undefined;
    this.#map = undefined;
    this.#extensions.clear();
    this.#enter('header');
  }

  #checkLimits(): void {
    if (this.#table.entries.length + this.#globals.length > this.#maxEntries) {
      throw new TarProblem(`the tar has more than ${this.#maxEntries} entries (MAX_ENTRIES)`, 'HL_ERR_LIMIT');
    }
    if (this.#metadata > this.#maxMetadata) {
      throw new TarProblem(
        `names, links and xattrs take more than ${this.#maxMetadata} bytes (MAX_METADATA_BYTES)`,
        'HL_ERR_LIMIT',
      );
    }
  }

  #finish(size: number, rest: Buffer): void {
    switch (this.#state) {
      case 'trailer':
        return;
      case 'lastZero':
        this.#warn(`a single zero block at byte ${this.#end} ends the archive`);
        this.trailer(rest);
        return;
      case 'peek': {
        const draft = this.#draft!;
        const payload = draft.payloadOffset + this.#claimed <= size && !allZero(rest);
        this.#complete(payload ? this.#claimed : 0);
        this.#withoutEnd(size, payload ? NOTHING : rest);
        return;
      }
      case 'peekZero':
        this.#complete(0);
        this.#endAt(this.at - BLOCK);
        this.#warn(`a single zero block at byte ${this.#end} ends the archive`);
        this.trailer(rest);
        return;
      case 'header':
        this.#withoutEnd(size, rest);
        return;
      default: {
        const missing = this.at + this.want - size;
        const what = this.#state === 'extension' ? EXTENSIONS[this.#extension] : 'sparse map';
        throw new TarProblem(`the tar ends inside a ${what}: ${missing} bytes are missing, its size is ${size}`);
      }
    }
  }

  /** The tar ends where a header is expected, or before. */
  #withoutEnd(size: number, rest: Buffer): void {
    const last = this.#table.entries.at(-1);
    const skipped = this.#globals.at(-1);
    const missing = this.at - size;
    if (missing > 0) {
      const inPadding = last !== undefined && last.end === this.at && last.payloadOffset + last.payloadSize <= size;
      if (!inPadding) {
        if (last?.end === this.at) {
          this.#draft = last;
          this.#named = last.name;
          const there = size - last.payloadOffset;
          throw new TarProblem(`the tar ends at byte ${size}, after ${there} of ${last.payloadSize} bytes of content`);
        }
        const missed = `${missing} bytes are missing, its size is ${size}`;
        const kind = skipped?.end === this.at ? `header of type ${skipped.flag}` : EXTENSIONS[this.#extension];
        throw new TarProblem(`the tar ends inside a ${kind}: ${missed}`);
      }
      this.#table.cutAt(size);
    } else if (!allZero(rest)) {
      throw new TarProblem(
        `the tar ends inside a header: ${BLOCK - rest.length} bytes are missing, its size is ${size}`,
      );
    }
    this.#endAt(Math.min(this.at, size));
    this.#warn(`no end-of-archive blocks: the tar ends after ${this.#table.entries.length} entries at byte ${size}`);
    this.#enter('trailer');
  }

  #warn(message: string): void {
    if (this.#warnings.length < MAX_WARNINGS) this.#warnings.push(message);
    else this.#muted += 1;
  }

  #located(error: unknown): unknown {
    if (!(error instanceof TarProblem)) return error;
    const layer = this.#where.layer ?? this.#where.file;
    const name = this.#named === undefined ? undefined : showPath(this.#named);
    const header = this.#state === 'extension' ? this.#extensionAt : this.at;
    const offset = this.#draft?.headerOffset ?? (this.#extensions.start >= 0 ? this.#extensions.start : header);
    const what = name === undefined ? 'tar' : `tar entry "${name}"`;
    return new HotlayerError(
      error.code,
      `${layer ? `layer ${layer}: ` : ''}${what} at byte ${offset}: ${error.message}`,
      {
        cause: error,
        ...(error.hint === undefined ? {} : { hint: error.hint }),
        context: { ...this.#where, offset, ...(name === undefined ? {} : { entry: name }) },
      },
    );
  }
}

function allZero(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0);
}
