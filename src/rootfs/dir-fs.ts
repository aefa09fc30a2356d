// A host directory as a RootFs (`dir:PATH`). Live: it shows what is on disk when the kernel asks. Nothing that
// changes on disk meanwhile leads outside the directory, and no symlink is ever followed here (host-files.ts).
// Extended attributes are not shown: Node has no call for them, and a helper process per file is too slow.
import { closeSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { HotlayerError } from '../errors.js';
import { showPath } from '../paths.js';
import * as host from './host-files.js';
import { strangersAsRoot } from './strangers.js';
import {
  type Attr,
  type Caller,
  type DirEntry,
  ERRNO,
  FsError,
  type NodeId,
  type NodeType,
  ROOT_NODE,
  type RootFs,
} from './types.js';

/** Directories kept open. Node raises the soft limit of descriptors to the hard one, 4096 at the very least. */
const OPEN_DIRECTORIES = 256;
/** Node of a name that was listed but not looked up, as libfuse's FUSE_UNKNOWN_INO. */
export const UNKNOWN_NODE: NodeId = 0xffff_ffff;
/** O_ACCMODE and O_TRUNC of open(2). */
const WRITING = 0o3 | 0o1000;
const NO_XATTRS: ReadonlyMap<string, Buffer> = new Map();
const SECOND = 1_000_000_000n;

export interface DirFsOptions {
  /** Absolute host paths that are shown as empty directories and never touched: the mount's own place, /proc, /sys, … */
  readonly exclude?: readonly string[];
  /** Owner shown for everything, where a user namespace knows only one. */
  readonly squash?: { readonly uid: number; readonly gid: number };
}

/** A class: making a node is most of what a look-up takes, apart from lstat(2). */
class HostNode {
  /** Where it was last found. The root is its own parent. */
  parent: HostNode;
  /** References the kernel holds. */
  refs = 0;
  /** Nodes whose parent this is: they are found through it. */
  pins = 0;
  /** Open regular file, shared by its handles. */
  file: { readonly fd: number; users: number } | undefined = undefined;

  constructor(
    readonly id: NodeId,
    readonly type: NodeType,
    /** `dev:ino`; for an excluded directory the place it stands in. */
    readonly key: string,
    /** Under which it is found again: the key, unless a bind mount shows the same directory twice. */
    readonly slot: string,
    /** Nanoseconds; tells a reused inode number from the file that had it before. */
    readonly birth: bigint,
    readonly excluded: boolean,
    public name: string,
    /** Absent: it is the root. */
    parent?: HostNode,
  ) {
    this.parent = parent ?? this;
  }
}

export class DirFs implements RootFs {
  readonly #nodes = new Map<NodeId, HostNode>();
  readonly #byKey = new Map<string, HostNode>();
  /** Excluded names by the key of their directory, so that neither renames nor bind mounts reveal them. */
  readonly #excluded = new Map<string, Set<string>>();
  /** Least recently used first. The root's is apart. */
  readonly #dirFds = new Map<HostNode, number>();
  readonly #handles = new Map<number, HostNode>();
  readonly #rootFd: number;
  readonly #root: HostNode;
  readonly #squash: DirFsOptions['squash'];
  readonly #strangers = strangersAsRoot();
  #lastId: NodeId = ROOT_NODE;
  #lastHandle = 0;
  #closed = false;

  /**
   * @param path lossless string (paths.ts); stays the same directory whatever is mounted over it later
   * @throws HL_ERR_NOT_FOUND when it is no directory, HL_ERR_MACHINE without /proc
   */
  constructor(path: string, options: DirFsOptions = {}) {
    this.#squash = options.squash;
    this.#rootFd = openRoot(path);
    try {
      const stats = host.statFd(this.#rootFd);
      const key = keyOf(stats);
      const root = new HostNode(ROOT_NODE, 'dir', key, key, stats.birthtimeNs, false, '/');
      this.#root = root;
      this.#nodes.set(ROOT_NODE, root);
      this.#byKey.set(root.key, root);
      for (const place of options.exclude ?? []) this.#exclude(place);
    } catch (error) {
      closeSync(this.#rootFd);
      throw error;
    }
  }

  /** Nodes held now; for tests and statistics. */
  get nodeCount(): number {
    return this.#nodes.size;
  }

  lookup(parent: NodeId, name: string, _caller: Caller): Attr {
    const dir = this.#node(parent);
    host.requireDirectory(dir.type, dir.name);
    if (dir.excluded || name === '' || name === '.' || name === '..' || /[/\0]/.test(name)) {
      throw new FsError(ERRNO.ENOENT, name);
    }
    if (this.#excluded.get(dir.key)?.has(name)) {
      const node = this.#intern('dir', `excluded:${dir.key}/${name}`, 0n, dir, name, true);
      node.refs += 1;
      return this.#excludedAttr(node);
    }
    const stats = host.statIn(this.#dirFd(dir), name);
    const type = stats && host.typeOfMode(stats.mode);
    if (!stats || !type) throw new FsError(ERRNO.ENOENT, name);
    const node = this.#intern(type, keyOf(stats), stats.birthtimeNs, dir, name, false);
    node.refs += 1;
    return this.#attr(node, stats);
  }

  getattr(id: NodeId, _caller: Caller): Attr {
    const node = this.#node(id);
    return node.excluded ? this.#excludedAttr(node) : this.#attr(node, this.#stat(node));
  }

  readlink(id: NodeId, _caller: Caller): Buffer {
    const node = this.#node(id);
    if (node.type !== 'symlink') throw new FsError(ERRNO.EINVAL, `${node.name}: not a symbolic link`);
    this.#stat(node);
    return host.readLinkIn(this.#dirFd(node.parent), node.name);
  }

  readdir(id: NodeId, _caller: Caller): readonly DirEntry[] {
    const node = this.#node(id);
    host.requireDirectory(node.type, node.name);
    if (node.excluded) return [];
    const hidden = this.#excluded.get(node.key);
    return host.listDirectory(this.#dirFd(node)).map(({ name, type }) => ({
      name,
      type: hidden?.has(name) ? 'dir' : type,
      node: UNKNOWN_NODE,
    }));
  }

  parent(id: NodeId): NodeId {
    return this.#node(id).parent.id;
  }

  /** @throws EROFS, ELOOP for a symlink, EINVAL for what the kernel opens itself (devices, FIFOs, sockets) */
  open(id: NodeId, flags: number, _caller: Caller): number {
    const node = this.#node(id);
    if (flags & WRITING) throw new FsError(ERRNO.EROFS, node.name);
    if (node.type === 'symlink') throw new FsError(ERRNO.ELOOP, node.name);
    if (node.type !== 'dir' && node.type !== 'reg') throw new FsError(ERRNO.EINVAL, node.name);
    if (node.type === 'reg') {
      node.file ??= { fd: this.#openFile(node), users: 0 };
      node.file.users += 1;
    }
    this.#lastHandle += 1;
    this.#handles.set(this.#lastHandle, node);
    return this.#lastHandle;
  }

  read(id: NodeId, handle: number, into: Buffer, at: number, length: number, offset: number, _caller: Caller): number {
    const node = this.#handles.get(handle);
    if (!node || node.id !== id) throw new FsError(ERRNO.EBADF, `handle ${handle}`);
    if (!node.file) throw new FsError(ERRNO.EISDIR, node.name);
    return host.readFull(node.file.fd, into, at, length, offset);
  }

  release(_id: NodeId, handle: number): void {
    const node = this.#handles.get(handle);
    if (!node) return;
    this.#handles.delete(handle);
    if (!node.file) return;
    node.file.users -= 1;
    if (node.file.users > 0) return;
    closeSync(node.file.fd);
    node.file = undefined;
    this.#dropUnused(node);
  }

  /** Always empty; see the top of this file. */
  xattrs(_id: NodeId, _caller: Caller): ReadonlyMap<string, Buffer> {
    return NO_XATTRS;
  }

  forget(id: NodeId, count: number): void {
    const node = this.#nodes.get(id);
    if (!node || node === this.#root) return;
    node.refs = Math.max(0, node.refs - count);
    this.#dropUnused(node);
  }

  pathOf(id: NodeId): string {
    const parts: string[] = [];
    for (let node = this.#node(id); node !== this.#root; node = node.parent) parts.push(node.name);
    return `/${parts.reverse().join('/')}`;
  }

  statfs(): { blocks: number; files: number } {
    return host.capacity(this.#rootFd);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const fd of this.#dirFds.values()) closeSync(fd);
    for (const node of this.#nodes.values()) if (node.file) closeSync(node.file.fd);
    this.#dirFds.clear();
    this.#nodes.clear();
    this.#byKey.clear();
    this.#handles.clear();
    closeSync(this.#rootFd);
  }

  /** By the directory's identity; the excluded place itself is not touched, it may be a mount that we serve. */
  #exclude(place: string): void {
    const absolute = resolve(place);
    if (absolute === '/') return;
    let fd: number;
    try {
      fd = host.pinDirectory(dirname(absolute));
    } catch {
      return; // without its directory there is nothing to hide
    }
    try {
      const key = keyOf(host.statFd(fd));
      const names = this.#excluded.get(key) ?? new Set();
      this.#excluded.set(key, names.add(basename(absolute)));
    } finally {
      closeSync(fd);
    }
  }

  #node(id: NodeId): HostNode {
    const node = this.#nodes.get(id);
    if (!node) throw new FsError(host.ESTALE, `no node ${id}`);
    return node;
  }

  #intern(type: NodeType, key: string, birth: bigint, parent: HostNode, name: string, excluded: boolean): HostNode {
    let slot = key;
    let known = this.#byKey.get(slot);
    if (known && type === 'dir' && !(known.parent === parent && known.name === name) && this.#isStillThere(known)) {
      // The same directory in two places: a bind mount. The kernel allows a directory node one place only.
      slot = `${key}@${parent.id}/${name}`;
      known = this.#byKey.get(slot);
    }
    if (known && known.type === type && known.birth === birth) {
      if (known.parent !== parent || known.name !== name) this.#move(known, parent, name);
      return known;
    }
    // Another node of that slot keeps its id until it is forgotten, but is found by it no more.
    this.#lastId += 1;
    const node = new HostNode(this.#lastId, type, key, slot, birth, excluded, name, parent);
    parent.pins += 1;
    this.#nodes.set(node.id, node);
    this.#byKey.set(slot, node);
    return node;
  }

  #isStillThere(node: HostNode): boolean {
    if (node === this.#root || node.excluded) return true;
    try {
      const stats = host.statIn(this.#dirFd(node.parent), node.name);
      return stats !== undefined && isSame(node, stats);
    } catch {
      return false;
    }
  }

  /** A rename, or another name of a hardlinked file. */
  #move(node: HostNode, parent: HostNode, name: string): void {
    if (node === this.#root) return;
    // A directory is never inside itself, but renames seen halfway can look like it.
    for (let up = parent; up !== this.#root; up = up.parent) if (up === node) return;
    const old = node.parent;
    node.parent = parent;
    node.name = name;
    parent.pins += 1;
    old.pins -= 1;
    this.#dropUnused(old);
  }

  #dropUnused(start: HostNode): void {
    let node = start;
    while (node !== this.#root && node.refs === 0 && node.pins === 0 && !node.file && this.#nodes.delete(node.id)) {
      if (this.#byKey.get(node.slot) === node) this.#byKey.delete(node.slot);
      const fd = this.#dirFds.get(node);
      if (fd !== undefined) {
        this.#dirFds.delete(node);
        closeSync(fd);
      }
      node = node.parent;
      node.pins -= 1;
    }
  }

  /** A pinned descriptor of a directory; valid until the next call. @throws ESTALE when another took its place */
  #dirFd(node: HostNode): number {
    if (node === this.#root) return this.#rootFd;
    const known = this.#dirFds.get(node);
    if (known !== undefined) {
      this.#dirFds.delete(node);
      this.#dirFds.set(node, known);
      return known;
    }
    const fd = this.#pin(node);
    this.#dirFds.set(node, fd);
    if (this.#dirFds.size > OPEN_DIRECTORIES) {
      for (const [oldest, oldFd] of this.#dirFds) {
        this.#dirFds.delete(oldest);
        closeSync(oldFd);
        break;
      }
    }
    return fd;
  }

  #pin(node: HostNode): number {
    const fd = stale(() => host.pinDirectoryIn(this.#dirFd(node.parent), node.name));
    try {
      if (!isSame(node, host.statFd(fd))) throw new FsError(host.ESTALE, `${node.name} was replaced`);
      return fd;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  #openFile(node: HostNode): number {
    const accept = (stats: host.Stats) => isSame(node, stats); // a regular file, as the node is
    return stale(() => host.openFileIn(this.#dirFd(node.parent), node.name, accept));
  }

  #stat(node: HostNode): host.Stats {
    if (node === this.#root) return host.statFd(this.#rootFd);
    const fd = node.file?.fd ?? this.#dirFds.get(node);
    if (fd !== undefined) return host.statFd(fd);
    const stats = host.statIn(this.#dirFd(node.parent), node.name);
    if (!stats || !isSame(node, stats)) throw new FsError(host.ESTALE, `${node.name} is gone or was replaced`);
    return stats;
  }

  #attr(node: HostNode, stats: host.Stats): Attr {
    let nsec = Number(stats.mtimeNs % SECOND);
    let sec = Number(stats.mtimeNs / SECOND);
    // Before 1970 both are rounded towards it.
    if (nsec < 0) {
      nsec += 1e9;
      sec -= 1;
    }
    const hasDevice = node.type === 'char' || node.type === 'block';
    return {
      ino: node.id,
      type: node.type,
      mode: Number(stats.mode) & 0o7777,
      uid: this.#squash?.uid ?? this.#strangers.uid(Number(stats.uid)),
      gid: this.#squash?.gid ?? this.#strangers.gid(Number(stats.gid)),
      nlink: Number(stats.nlink),
      size: Number(stats.size),
      blocks: Number(stats.blocks),
      mtimeSec: sec,
      mtimeNsec: nsec,
      // gnu_dev_major and gnu_dev_minor of glibc's sys/sysmacros.h
      rdevMajor: hasDevice ? Number(((stats.rdev >> 8n) & 0xfffn) | ((stats.rdev >> 32n) & 0xfffff000n)) : 0,
      rdevMinor: hasDevice ? Number((stats.rdev & 0xffn) | ((stats.rdev >> 12n) & 0xffffff00n)) : 0,
    };
  }

  #excludedAttr(node: HostNode): Attr {
    return {
      ino: node.id,
      type: 'dir',
      mode: 0o755,
      uid: this.#squash?.uid ?? 0,
      gid: this.#squash?.gid ?? 0,
      nlink: 2,
      size: 0,
      blocks: 0,
      mtimeSec: 0,
      mtimeNsec: 0,
      rdevMajor: 0,
      rdevMinor: 0,
    };
  }
}

function keyOf({ dev, ino }: host.Stats): string {
  // Numbers are written many times faster.
  return ino <= MAX_SAFE && dev <= MAX_SAFE ? `${Number(dev)}:${Number(ino)}` : `${dev}:${ino}`;
}

const MAX_SAFE = BigInt(Number.MAX_SAFE_INTEGER);

function isSame(node: HostNode, stats: host.Stats): boolean {
  return node.birth === stats.birthtimeNs && node.type === host.typeOfMode(stats.mode) && node.key === keyOf(stats);
}

/** A name that a node was found under and that is gone, or is no directory any more, makes the node stale. */
function stale<T>(what: () => T): T {
  try {
    return what();
  } catch (error) {
    if (error instanceof FsError && (error.errno === ERRNO.ENOENT || error.errno === ERRNO.ENOTDIR)) {
      throw new FsError(host.ESTALE, error.message);
    }
    throw error;
  }
}

function openRoot(path: string): number {
  let fd: number;
  try {
    fd = host.pinDirectory(path);
  } catch (cause) {
    throw new HotlayerError('HL_ERR_NOT_FOUND', `root directory ${showPath(path)}: ${(cause as Error).message}`, {
      hint: 'dir: needs an existing directory',
      cause,
      context: { file: path },
    });
  }
  try {
    host.statIn(fd, '.');
    host.listDirectory(fd);
    return fd;
  } catch (cause) {
    closeSync(fd);
    throw new HotlayerError('HL_ERR_MACHINE', `cannot read ${showPath(path)} through /proc/self/fd`, {
      hint: 'hotlayer needs /proc mounted and the directory readable',
      cause,
      context: { file: path },
    });
  }
}
