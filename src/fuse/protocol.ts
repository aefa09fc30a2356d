// The kernel's FUSE protocol as far as a read-only file system needs it: numbers, struct layouts, INIT.
// Source: include/uapi/linux/fuse.h (Linux 6.18, protocol 7.45) and Documentation/filesystems/fuse.
// Everything on the wire is in the host's byte order and every member is aligned to its size, so requests and
// replies are read and written through a Uint32Array over the same memory. Offsets here are bytes.

export const FUSE_MAJOR = 7;
/** Linux 5.4: the oldest protocol whose structs all have the sizes below. */
export const FUSE_MINOR_MIN = 31;
/** Linux 6.18. What later kernels add is off unless INIT asks for it. */
export const FUSE_MINOR_MAX = 45;

/** enum fuse_opcode */
export const OP = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  DESTROY: 38,
  NOTIFY_REPLY: 41,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  TMPFILE: 51,
} as const;

const OP_NAMES = new Map<number, string>(Object.entries(OP).map(([name, code]) => [code, name]));

/** `LOOKUP`, or `opcode 52` for one that is not in the table. */
export function opName(code: number): string {
  return OP_NAMES.get(code) ?? `opcode ${code}`;
}

/** INIT flags, the low 32 bits (`flags`). */
export const INIT_FLAG = {
  ASYNC_READ: 1 << 0,
  DO_READDIRPLUS: 1 << 13,
  READDIRPLUS_AUTO: 1 << 14,
  NO_OPEN_SUPPORT: 1 << 17,
  PARALLEL_DIROPS: 1 << 18,
  /** After an abort the device answers ECONNABORTED; ENODEV then means an orderly unmount. */
  ABORT_ERROR: 1 << 21,
  MAX_PAGES: 1 << 22,
  CACHE_SYMLINKS: 1 << 23,
  NO_OPENDIR_SUPPORT: 1 << 24,
  INIT_EXT: 1 << 30,
} as const;

/** FOPEN_* of struct fuse_open_out: the page cache survives; close(2) sends no FLUSH. */
export const FOPEN_KEEP_CACHE = 1 << 1;
export const FOPEN_CACHE_DIR = 1 << 3;
export const FOPEN_NOFLUSH = 1 << 5;

/** struct fuse_in_header: len 4, opcode 4, unique 8, nodeid 8, uid 4, gid 4, pid 4, total_extlen 2, padding 2 = 40. */
export const IN_HEADER = 40;
/** struct fuse_out_header: len 4, error 4, unique 8 = 16. */
export const OUT_HEADER = 16;
/** struct fuse_attr: 6×8 (ino … ctime) + 3×4 (nsec) + 7×4 (mode … flags) = 88. */
export const ATTR_SIZE = 88;
/** struct fuse_entry_out: nodeid 8, generation 8, two timeouts 8+8+4+4 = 40, then the attr. */
export const ENTRY_OUT = 40 + ATTR_SIZE;
/** struct fuse_attr_out: timeout 8+4, dummy 4 = 16, then the attr. */
export const ATTR_OUT = 16 + ATTR_SIZE;
/** struct fuse_open_out: fh 8, open_flags 4, padding 4. */
export const OPEN_OUT = 16;
/** struct fuse_kstatfs: 5×8 + 4×4 + spare 6×4 = 80. */
export const STATFS_OUT = 80;
/** struct fuse_init_out: 4×4, 2×2, 2×4, 2×2, flags2 4, then 7×4 that later protocols gave names to = 64. */
export const INIT_OUT = 64;
/** enum fuse_notify_code: bytes of a file for the kernel's page cache, unasked for. */
export const NOTIFY_STORE = 4;
/** struct fuse_notify_store_out: nodeid 8, offset 8, size 4, padding 4 */
export const STORE_OUT = 24;
/** struct fuse_dirent before the name: ino 8, off 8, namelen 4, type 4 = 24; records are padded to 8. */
export const DIRENT = 24;

/** NAME_MAX. The kernel itself would let 1024 bytes through to us. */
export const NAME_MAX = 255;

/** max_write: never used on a read-only mount, but it is the floor for the size of our request buffer. */
export const MAX_WRITE = 64 * 1024;
/**
 * Room for one request. The kernel refuses a read with less than header 40 + fuse_write_in 40 + max_write; a
 * bigger one takes more of a BATCH_FORGET at once.
 */
export const REQUEST_BUFFER = 128 * 1024;
/** Pages that one READ may ask for: 256 × 4 KiB = 1 MiB, the kernel's own limit (fuse max_pages_limit). */
export const MAX_PAGES = 256;
/** The biggest READ, also given to mount(8) as max_read because a page may be bigger than 4 KiB. */
export const MAX_READ = 1024 * 1024;

/** Words (4 bytes each) of struct fuse_init_in behind the header. */
export interface InitRequest {
  readonly major: number;
  readonly minor: number;
  /** Bytes of readahead the kernel would do by itself. */
  readonly maxReadahead: number;
  readonly flags: number;
}

export interface InitChoice {
  readonly minor: number;
  readonly maxReadahead: number;
  readonly flags: number;
}

export interface InitWishes {
  /** Bytes; absent: what the kernel offers. It can only be lowered. */
  readonly maxReadahead?: number | undefined;
  readonly readdirplus?: boolean | undefined;
  /** Opens of regular files need not be asked for. */
  readonly stateless?: boolean | undefined;
}

/**
 * What we ask of the kernel, never more than it offered. Not asked for: EXPORT_SUPPORT (no NFS handles), POSIX_ACL
 * (default_permissions checks the mode bits), WRITEBACK and locks.
 */
export function negotiateInit(offer: InitRequest, wishes: InitWishes): InitChoice {
  let wanted =
    INIT_FLAG.ASYNC_READ |
    INIT_FLAG.PARALLEL_DIROPS |
    INIT_FLAG.ABORT_ERROR |
    INIT_FLAG.MAX_PAGES |
    INIT_FLAG.CACHE_SYMLINKS |
    INIT_FLAG.NO_OPENDIR_SUPPORT |
    INIT_FLAG.INIT_EXT;
  if (wishes.stateless) wanted |= INIT_FLAG.NO_OPEN_SUPPORT;
  if (wishes.readdirplus !== false) wanted |= INIT_FLAG.DO_READDIRPLUS | INIT_FLAG.READDIRPLUS_AUTO;
  return {
    minor: Math.min(offer.minor, FUSE_MINOR_MAX),
    maxReadahead: Math.min(offer.maxReadahead, wishes.maxReadahead ?? offer.maxReadahead),
    flags: wanted & offer.flags,
  };
}
