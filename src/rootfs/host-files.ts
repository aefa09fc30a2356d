// System calls on a host directory that never leave it: every name is taken relative to a pinned descriptor of its
// directory (`/proc/self/fd/N/name`), and no symlink is followed. All calls throw FsError with the call's errno.
import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  statfsSync,
} from 'node:fs';
import { bytesToPath, comparePaths, pathToBytes } from '../paths.js';
import { ERRNO, FsError, type NodeType } from './types.js';

/** open(2): only a place in the tree, nothing is opened; not in fs.constants. The same on x86, arm, riscv, s390, ppc. */
const O_PATH = 0o10000000;
const SURROGATE = /[\ud800-\udfff]/;

export type Stats = BigIntStats;

/** Runs a system call; its error becomes an FsError. */
function call<T>(what: () => T): T {
  try {
    return what();
  } catch (error) {
    const number = (error as { errno?: unknown }).errno;
    if (typeof number !== 'number') throw error;
    throw new FsError(Math.abs(number), (error as Error).message);
  }
}

function within(dirFd: number, name: string): string | Buffer {
  const path = `/proc/self/fd/${dirFd}/${name}`;
  // Node would write an escaped byte as three.
  return SURROGATE.test(name) ? pathToBytes(path) : path;
}

/** Undefined: no such name. */
export function statIn(dirFd: number, name: string): Stats | undefined {
  return call(() => lstatSync(within(dirFd, name), { bigint: true, throwIfNoEntry: false }));
}

export function statFd(fd: number): Stats {
  return call(() => fstatSync(fd, { bigint: true }));
}

/** A descriptor that pins a directory. @throws ENOTDIR for anything else, symlinks included */
export function pinDirectoryIn(dirFd: number, name: string): number {
  return call(() => openSync(within(dirFd, name), O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW));
}

/** A descriptor that pins the directory at a path of the host; symlinks in the path are followed. */
export function pinDirectory(path: string): number {
  return call(() => openSync(pathToBytes(path), O_PATH | constants.O_DIRECTORY));
}

/**
 * Opens a regular file for reading if it is still the one that `accept` knows.
 * In two steps, because opening a FIFO or device that took the name meanwhile could hang or do something.
 * @throws ESTALE
 */
export function openFileIn(dirFd: number, name: string, accept: (stats: Stats) => boolean): number {
  const pinned = call(() => openSync(within(dirFd, name), O_PATH | constants.O_NOFOLLOW));
  try {
    if (!accept(statFd(pinned))) throw new FsError(ESTALE, `${name} was replaced`);
    return call(() => openSync(`/proc/self/fd/${pinned}`, constants.O_RDONLY | constants.O_NOCTTY));
  } finally {
    closeSync(pinned);
  }
}

/** Whoever holds a node whose file is gone gets this; the kernel then looks the path up again (open(2), stat(2)). */
export const ESTALE = 116;

export function readLinkIn(dirFd: number, name: string): Buffer {
  return call(() => readlinkSync(within(dirFd, name), { encoding: 'buffer' }));
}

/** Names and types in byte order, without `.` and `..`. */
export function listDirectory(dirFd: number): { name: string; type: NodeType }[] {
  const list = call(() => readdirSync(`/proc/self/fd/${dirFd}`, { encoding: 'buffer', withFileTypes: true }));
  const out: { name: string; type: NodeType }[] = [];
  let plain = true;
  for (const entry of list) {
    const name = bytesToPath(entry.name);
    if (plain && SURROGATE.test(name)) plain = false;
    // Some file systems do not say the type in a listing.
    const type = typeOf(entry) ?? typeOfMode(statIn(dirFd, name)?.mode);
    if (type) out.push({ name, type });
  }
  // UTF-16 order is byte order unless surrogates take part.
  return out.sort(plain ? (a, b) => (a.name < b.name ? -1 : 1) : (a, b) => comparePaths(a.name, b.name));
}

/** Fills `into` from `at`, short only at the end of the file. */
export function readFull(fd: number, into: Buffer, at: number, length: number, offset: number): number {
  let done = 0;
  while (done < length) {
    const got = call(() => readSync(fd, into, at + done, length - done, offset + done));
    if (got === 0) break;
    done += got;
  }
  return done;
}

/** Size of the file system, in 512-byte blocks, and how many files it can hold. */
export function capacity(dirFd: number): { blocks: number; files: number } {
  const found = call(() => statfsSync(`/proc/self/fd/${dirFd}`, { bigint: true }));
  return { blocks: Number((found.blocks * found.bsize) / 512n), files: Number(found.files) };
}

interface TypeTests {
  isFile(): boolean;
  isDirectory(): boolean;
  isSymbolicLink(): boolean;
  isCharacterDevice(): boolean;
  isBlockDevice(): boolean;
  isFIFO(): boolean;
  isSocket(): boolean;
}

/** Of a directory entry. Undefined: the file system does not say. */
function typeOf(entry: TypeTests): NodeType | undefined {
  if (entry.isFile()) return 'reg';
  if (entry.isDirectory()) return 'dir';
  if (entry.isSymbolicLink()) return 'symlink';
  if (entry.isCharacterDevice()) return 'char';
  if (entry.isBlockDevice()) return 'block';
  if (entry.isFIFO()) return 'fifo';
  return entry.isSocket() ? 'socket' : undefined;
}

/** Of st_mode (inode(7)): the methods of Node's stats make two big integers each. Undefined: not known, or nothing given. */
export function typeOfMode(mode: bigint | undefined): NodeType | undefined {
  switch (Number(mode ?? 0) & constants.S_IFMT) {
    case constants.S_IFREG:
      return 'reg';
    case constants.S_IFDIR:
      return 'dir';
    case constants.S_IFLNK:
      return 'symlink';
    case constants.S_IFCHR:
      return 'char';
    case constants.S_IFBLK:
      return 'block';
    case constants.S_IFIFO:
      return 'fifo';
    case constants.S_IFSOCK:
      return 'socket';
    default:
      return undefined;
  }
}

/** @throws ENOTDIR */
export function requireDirectory(type: NodeType, what: string): void {
  if (type !== 'dir') throw new FsError(ERRNO.ENOTDIR, `${what}: not a directory`);
}
