// The tree a container sees, whatever its bytes come from. All operations are synchronous, because the thread
// that answers the kernel does nothing else; all names are lossless strings (paths.ts). Only a read may put its
// answer off (`Later`): then another thread gives it, and the one that answers the kernel goes on.

/** Identifies a node while the file system is open; the root is 1. A hardlinked file is one node. */
export type NodeId = number;
export const ROOT_NODE: NodeId = 1;

export type NodeType = 'reg' | 'dir' | 'symlink' | 'char' | 'block' | 'fifo' | 'socket';

export interface Attr {
  readonly ino: NodeId;
  readonly type: NodeType;
  /** Permission, setuid, setgid and sticky bits only (0 … 0o7777). */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly nlink: number;
  readonly size: number;
  /** 512-byte blocks allocated. */
  readonly blocks: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
  readonly rdevMajor: number;
  readonly rdevMinor: number;
}

export interface DirEntry {
  readonly name: string;
  /** For d_ino only: a live directory does not know it before `lookup` (UNKNOWN_NODE of dir-fs.ts). */
  readonly node: NodeId;
  readonly type: NodeType;
}

/** Who asks: ids as the mounter's namespaces see them; pid 0 = unknown. */
export interface Caller {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** Thrown by every operation; `errno` is the positive number from errno(3). */
export class FsError extends Error {
  constructor(
    readonly errno: number,
    what = '',
  ) {
    // An answer, not a fault: names that are not there are asked for by the hundred, and a stack costs more than the rest.
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    super(what || `errno ${errno}`);
    Error.stackTraceLimit = stackTraceLimit;
    this.name = 'FsError';
  }
}

export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EIO: 5,
  EBADF: 9,
  EACCES: 13,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENAMETOOLONG: 36,
  EROFS: 30,
  ERANGE: 34,
  ENOSYS: 38,
  ELOOP: 40,
  ENODATA: 61,
  EOPNOTSUPP: 95,
} as const;

/** What `read` returns when the bytes are not here yet: whoever has them, or fails to get them, answers (`Answerer`). */
export class Later {
  /** @param ticket tells the answerer what is wanted; goes through structured clone */
  constructor(readonly ticket: unknown) {}
}

/**
 * Gives the answers that a file system has put off, in another thread than the file system's: the one that mounted it.
 * That thread must therefore not wait for the mount itself (a synchronous read of one of its files).
 */
export interface Answerer {
  /**
   * @param ticket of a `Later` @param length bytes that were asked for: no more may be given, fewer only at the file's end
   * @throws FsError for its errno; anything else is a fault and becomes EIO
   */
  answer(ticket: unknown, length: number): Promise<Uint8Array>;
  /** What the file system posted (FsPort); messages and tickets come in the order in which they were sent. */
  onPost?(message: unknown): void;
  /** Called once after the last request, with what closing the file system gave; what it returns is the mount's result. */
  close?(result: unknown): unknown;
}

/** From the file system to its answerer; goes through structured clone, so shared memory stays shared. */
export interface FsPort {
  post(message: unknown): void;
}

/** Between an answerer and whoever gets the bytes, which may be in another process: plain data in both directions. */
export interface Link {
  send(message: unknown): void;
  /** One listener; what came before it was set is kept for it. */
  listen(listener: (message: unknown) => void): void;
}

/** Any operation may be observed by wrapping this interface: that is how the tracer works. */
export interface RootFs {
  /**
   * True: `open` does nothing and gives 0, `release` does nothing: the kernel may leave both out (and they are not seen).
   * Absent: each open is asked for.
   */
  readonly stateless?: boolean;
  /** @throws ENOENT, ENOTDIR */
  lookup(parent: NodeId, name: string, caller: Caller): Attr;
  getattr(node: NodeId, caller: Caller): Attr;
  /** The link's target as bytes. @throws EINVAL for anything but a symlink */
  readlink(node: NodeId, caller: Caller): Buffer;
  /** Entries without `.` and `..`, in a fixed order. @throws ENOTDIR */
  readdir(node: NodeId, caller: Caller): readonly DirEntry[];
  /** The parent directory, for `..`; the root is its own. */
  parent(node: NodeId): NodeId;
  /** `flags` as open(2); exec sets 0x20 (FMODE_EXEC). Returns a handle for `read`. @throws EROFS for writing */
  open(node: NodeId, flags: number, caller: Caller): number;
  /**
   * Fills `into` from `at`; returns the bytes put there, short only at the end of the file.
   * @param flags as open(2), as they are now; absent: none
   * @throws EIO
   */
  read(
    node: NodeId,
    handle: number,
    into: Buffer,
    at: number,
    length: number,
    offset: number,
    caller: Caller,
    flags?: number,
  ): number | Later;
  release(node: NodeId, handle: number): void;
  /**
   * Ranges of a file, ascending, that `read` gives at once and that will probably be asked for: a mount may hand them to
   * the kernel when the file is first opened. Absent: nothing is known.
   */
  likely?(node: NodeId): Iterable<readonly [offset: number, length: number]>;
  xattrs(node: NodeId, caller: Caller): ReadonlyMap<string, Buffer>;
  /** The kernel has dropped `count` references from lookups. Absent: nodes live as long as the file system. */
  forget?(node: NodeId, count: number): void;
  /** Path from the root with a leading slash ("/" for the root); one of them when a file has several names. */
  pathOf(node: NodeId): string;
  /** `blocks` are of 512 bytes, as in Attr. */
  statfs(): { readonly blocks: number; readonly files: number };
  close(): void;
}
