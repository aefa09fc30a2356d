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
  readonly xattrs?: ReadonlyMap<string, Buffer>;
  /** Sparse files only: their data, in order of offset. */
  readonly sparse?: readonly SparseExtent[];
}

/** Longest header value accepted for a name, link or xattr record: a hostile tar must not fill the memory. */
export const MAX_EXTENSION_HEADER = 8 * 1024 * 1024;
