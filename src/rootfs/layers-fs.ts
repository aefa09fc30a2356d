// The union of an image's layers as a RootFs. Metadata comes from the tar headers, content by offset from the spooled
// uncompressed tars: nothing is extracted, so owners, devices and xattrs are the image's whoever runs this.
import type { ErrorContext } from '../errors.js';
import { pathToBytes } from '../paths.js';
import type { TarEntry } from '../stargz/tar/entry.js';
import { readPayload, scanTarFd } from '../stargz/tar/scan.js';
import { mergeLayers } from './merge.js';
import type { FileNode, FileTree, Tree } from './tree.js';
import {
  type Attr,
  type Caller,
  type DirEntry,
  ERRNO,
  FsError,
  type Later,
  type NodeId,
  type RootFs,
} from './types.js';

/** What stat says of a directory, which has no size of its own in a tar: one block of the usual file system. */
const DIRECTORY_SIZE = 4096;
/** linux/uidgid.h: shown for owners that do not fit 32 bits; 2^32 - 1 means "none" to chown(2). */
const OVERFLOW_ID = 65534;
const MAX_ID = 0xffff_fffe;
/** O_ACCMODE and O_TRUNC of open(2). */
const WRITING = 0o3 | 0o1000;
const NO_XATTRS: ReadonlyMap<string, Buffer> = new Map();
/** Instructions to an overlayfs that lies above (fs/overlayfs/overlayfs.h); as content they would change what it shows. */
const OVERLAY_XATTR = /^(trusted|user)\.overlay\./;

export interface LayersFsOptions {
  /**
   * Owner shown for everything, where a user namespace knows only one id: files of unknown owners could be neither
   * read nor copied up. The image's owners stay in `tree`.
   */
  readonly squash?: { readonly uid: number; readonly gid: number };
  /** RootFs.likely, of the content of an entry. */
  readonly likely?:
    | ((layer: number, entry: TarEntry) => Iterable<readonly [offset: number, length: number]>)
    | undefined;
  /** Called by `close`. Absent: whoever opened the layers closes them. */
  readonly onClose?: () => void;
}

/**
 * Puts content of a regular file into `into` from its start: all of it, less only at the end of the file.
 * `layer` counts from 0 = the lowest; `flags` as in RootFs.read. May put the answer off, for exactly the bytes of `into`.
 * May throw HotlayerError besides FsError; both mean EIO to a reader.
 */
export type ContentReader = (
  layer: number,
  entry: TarEntry,
  offset: number,
  into: Buffer,
  flags: number,
) => number | Later;

export class LayersFs<T extends FileTree = Tree> implements RootFs {
  constructor(
    readonly tree: T,
    private readonly content: ContentReader,
    private readonly options: LayersFsOptions = {},
  ) {}

  /** An open is the moment in which `likely` content is handed over. */
  get stateless(): boolean {
    return this.options.likely === undefined;
  }

  lookup(parent: NodeId, name: string, _caller: Caller): Attr {
    const child = this.#directory(parent).get(name);
    if (!child) throw new FsError(ERRNO.ENOENT, name);
    return this.#attr(child);
  }

  getattr(id: NodeId, _caller: Caller): Attr {
    return this.#attr(this.tree.node(id));
  }

  readlink(id: NodeId, _caller: Caller): Buffer {
    const node = this.tree.node(id);
    if (node.type !== 'symlink') throw new FsError(ERRNO.EINVAL, `${node.name}: not a symbolic link`);
    return pathToBytes(node.linkTarget);
  }

  readdir(id: NodeId, _caller: Caller): readonly DirEntry[] {
    const list: DirEntry[] = [];
    for (const [name, node] of this.#directory(id)) list.push({ name, node: node.id, type: node.type });
    return list;
  }

  parent(id: NodeId): NodeId {
    return this.tree.node(id).parent?.id ?? this.tree.root.id;
  }

  /** Handles carry nothing here: reads need the node only. @throws EROFS, ELOOP, EINVAL for devices and FIFOs */
  open(id: NodeId, flags: number, _caller: Caller): number {
    const node = this.tree.node(id);
    if (flags & WRITING) throw new FsError(ERRNO.EROFS, node.name);
    if (node.type === 'symlink') throw new FsError(ERRNO.ELOOP, node.name);
    if (node.type !== 'reg' && node.type !== 'dir') throw new FsError(ERRNO.EINVAL, node.name);
    return 0;
  }

  read(
    id: NodeId,
    _handle: number,
    into: Buffer,
    at: number,
    length: number,
    offset: number,
    _caller: Caller,
    flags = 0,
  ): number | Later {
    const node = this.tree.node(id);
    if (node.type === 'dir') throw new FsError(ERRNO.EISDIR, node.name);
    if (node.type !== 'reg' || !node.entry) throw new FsError(ERRNO.EINVAL, node.name);
    const wanted = Math.min(length, node.size - offset);
    if (!(wanted > 0)) return 0;
    return this.content(node.layer, node.entry, offset, into.subarray(at, at + wanted), flags);
  }

  release(_id: NodeId, _handle: number): void {}

  likely(id: NodeId): Iterable<readonly [offset: number, length: number]> {
    const node = this.tree.node(id);
    return (node.type === 'reg' && node.entry && this.options.likely?.(node.layer, node.entry)) || [];
  }

  /** Without overlayfs's own attributes; the image's full set is in `tree`. */
  xattrs(id: NodeId, _caller: Caller): ReadonlyMap<string, Buffer> {
    const all = this.tree.node(id).xattrs;
    if (!all) return NO_XATTRS;
    if (![...all.keys()].some((name) => OVERLAY_XATTR.test(name))) return all;
    return new Map([...all].filter(([name]) => !OVERLAY_XATTR.test(name)));
  }

  pathOf(id: NodeId): string {
    return this.tree.pathOf(this.tree.node(id));
  }

  /** `blocks` are of 512 bytes. */
  statfs(): { blocks: number; files: number } {
    return { blocks: Math.ceil(this.tree.totals.bytes / 512), files: this.tree.count };
  }

  close(): void {
    this.options.onClose?.();
  }

  #directory(id: NodeId): ReadonlyMap<string, FileNode> {
    const node = this.tree.node(id);
    if (!node.children) throw new FsError(ERRNO.ENOTDIR, `${node.name}: not a directory`);
    return node.children;
  }

  #attr(node: FileNode): Attr {
    const { squash } = this.options;
    const size = node.type === 'reg' ? node.size : node.type === 'dir' ? DIRECTORY_SIZE : linkSize(node);
    return {
      ino: node.id,
      type: node.type,
      mode: node.mode,
      uid: squash?.uid ?? knownId(node.uid),
      gid: squash?.gid ?? knownId(node.gid),
      nlink: node.nlink,
      size,
      blocks: Math.ceil((node.type === 'reg' ? storedBytes(node) : node.type === 'dir' ? DIRECTORY_SIZE : 0) / 512),
      mtimeSec: node.mtime.sec,
      mtimeNsec: node.mtime.nsec,
      rdevMajor: node.devMajor,
      rdevMinor: node.devMinor,
    };
  }
}

export interface LayerTar {
  /** The uncompressed tar, readable at any offset; stays the caller's and must stay open as long as the LayersFs. */
  readonly fd: number;
  /** Bytes of it. */
  readonly size: number;
  /** Its entries where a scan was made already; absent: it is scanned now. */
  readonly entries?: readonly TarEntry[];
  /** Named in errors. */
  readonly where?: ErrorContext;
}

/**
 * Reads the headers of each layer (lowest first) and merges them. Synchronous: it can run in the serving thread.
 * @throws HL_ERR_LAYER, HL_ERR_LIMIT, HL_ERR_IO as scanTarFd
 */
export function openLayersFs(layers: readonly LayerTar[], options: LayersFsOptions = {}): LayersFs {
  const tree = mergeLayers(
    layers.map((layer) => layer.entries ?? scanTarFd(layer.fd, layer.size, layer.where).entries),
  );
  return new LayersFs(
    tree,
    (layer, entry, offset, into) => readPayload(layers[layer]!.fd, entry, offset, into),
    options,
  );
}

function linkSize(node: FileNode): number {
  return node.type === 'symlink' ? pathToBytes(node.linkTarget).length : 0;
}

/** Bytes of data in a regular file, holes not counted. */
function storedBytes(node: FileNode): number {
  const sparse = node.entry?.sparse;
  return sparse ? sparse.reduce((sum, extent) => sum + extent.length, 0) : node.size;
}

function knownId(id: number): number {
  return id >= 0 && id <= MAX_ID ? id : OVERFLOW_ID;
}
