// One entry of a layer's tar: where its bytes lie, and what its headers mean. Names are strings in the lossless
// form of paths.ts. Offsets count bytes of the uncompressed tar.

export type EntryType = 'reg' | 'dir' | 'symlink' | 'hardlink' | 'char' | 'block' | 'fifo';

/** A time as tar has it: whole seconds (negative before 1970) and 0 … 999 999 999 nanoseconds after them. */
export interface TarTime {
  readonly sec: number;
  readonly nsec: number;
}

/** A stretch of data in a sparse file; what lies between extents is zeros. */
export interface SparseExtent {
  /** In the logical file. */
  readonly offset: number;
  readonly length: number;
  /** In the tar, absolute. */
  readonly at: number;
}

export interface TarEntry {
  /** Position among the entries of this tar, 0 first. Extension headers are part of the entry they describe. */
  readonly index: number;
  /** First byte of the entry's headers, PAX and GNU extension headers included. */
  readonly headerOffset: number;
  /** First byte after the headers = first byte of the payload. */
  readonly payloadOffset: number;
  /** Bytes stored, padding not counted. A directory may have some, too. */
  readonly payloadSize: number;
  /** First byte after payload and padding: the next entry's headerOffset. */
  readonly end: number;
  readonly type: EntryType;
  /** The name as the headers give it (PAX before GNU before ustar). */
  readonly name: string;
  /** `cleanPath(name)`: from the root, no leading or trailing slash, root = "". */
  readonly path: string;
  /** The last part of `path`, as a string that holds on to nothing else; absent where that would be more work than a slice. */
  readonly base?: string;
  /** Target of a symlink or hardlink as written; "" otherwise. */
  readonly linkName: string;
  /** As in the header, file type bits included if they are there. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly uname: string;
  readonly gname: string;
  /** Logical bytes of a regular file (a sparse file's real size); 0 for all others. */
  readonly size: number;
  readonly mtime: TarTime;
  readonly devMajor: number;
  readonly devMinor: number;
  /** Extended attributes (`SCHILY.xattr.*`, `LIBARCHIVE.xattr.*`), absent when there are none. */
  readonly xattrs?: ReadonlyMap<string, Buffer> | undefined;
  /** Sparse files only: their data, in order of offset. */
  readonly sparse?: readonly SparseExtent[] | undefined;
}

/** The entry as an object of its own, under another name and index if they are given. */
export function copyEntry(entry: TarEntry, change: Partial<Pick<TarEntry, 'index' | 'name' | 'path'>> = {}): TarEntry {
  const { index, headerOffset, payloadOffset, payloadSize, end, type, name, path, linkName, mode, uid, gid } = entry;
  const { uname, gname, size, mtime, devMajor, devMinor, xattrs, sparse } = entry;
  return {
    index,
    headerOffset,
    payloadOffset,
    payloadSize,
    end,
    type,
    name,
    path,
    linkName,
    mode,
    uid,
    gid,
    uname,
    gname,
    size,
    mtime,
    devMajor,
    devMinor,
    ...(xattrs && { xattrs }),
    ...(sparse && { sparse }),
    ...change,
  };
}

/** Headers that belong to no entry. */
export interface GlobalHeader {
  /** `g`: global PAX records. `V`: a volume label, `N`: an old list of long names; both without records. */
  readonly flag: 'g' | 'V' | 'N';
  readonly headerOffset: number;
  /** First byte after header, payload and padding. */
  readonly end: number;
  /** Records of this header alone; later ones override earlier ones, an empty value cancels. */
  readonly records: ReadonlyMap<string, Buffer>;
  /** Index of the first entry that comes after it. */
  readonly firstEntry: number;
}

export interface TarScan {
  readonly entries: readonly TarEntry[];
  readonly globals: GlobalHeader[];
  /** First byte of the zero blocks that end the archive; `size` when there are none. */
  readonly end: number;
  /** Bytes of the whole tar. */
  readonly size: number;
  /** Bytes that are not zero after the end-of-archive blocks. */
  readonly trailing: number;
  readonly warnings: string[];
}

export interface TarLimits {
  /** Default MAX_ENTRIES. */
  readonly maxEntries?: number;
  /** Default MAX_METADATA_BYTES. */
  readonly maxMetadataBytes?: number;
}

/** Entries in one layer. The largest images known have a few hundred thousand. */
export const MAX_ENTRIES = 4_000_000;
/** Names, link targets, xattrs and sparse maps of one layer that are kept in memory. */
export const MAX_METADATA_BYTES = 1024 * 1024 * 1024;

/** Longest header value accepted for a name, link or xattr record: a hostile tar must not fill the memory. */
export const MAX_EXTENSION_HEADER = 8 * 1024 * 1024;
