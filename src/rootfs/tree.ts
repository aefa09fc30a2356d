// The merged tree of an image's layers: what merge.ts builds and everything else reads. Nodes point at the tar
// entries they come from and copy nothing out of them. Paths here start with "/", the root is "/".
import { comparePaths } from '../paths.js';
import type { TarEntry, TarTime } from '../stargz/tar/entry.js';
import { ERRNO, FsError, type NodeId, type NodeType, ROOT_NODE } from './types.js';

/** Symlinks followed in one look-up before ELOOP, as in the kernel (MAXSYMLINKS, include/linux/namei.h). */
export const MAX_SYMLINKS = 40;

const EPOCH: TarTime = { sec: 0, nsec: 0 };
const SURROGATE = /[\ud800-\udfff]/;

/** Where something was defined. */
export interface Origin {
  /** 0 = the lowest layer. */
  readonly layer: number;
  /** `TarEntry.index` in that layer; absent for a directory that no entry describes. */
  readonly entryIndex?: number;
}

/** Origin of a name: of what it shows, and of the hardlink entry that made the name, if one did. */
export interface NameOrigin extends Origin {
  readonly link?: Origin;
}

/** The hardlink entry behind one name of a directory. */
export interface LinkOrigin {
  readonly layer: number;
  readonly entry: TarEntry;
}

/** What a file system has to know of a file; a `TreeNode` is one. */
export interface FileNode {
  readonly id: NodeId;
  readonly type: NodeType;
  readonly layer: number;
  readonly entry: TarEntry | undefined;
  readonly name: string;
  readonly parent: FileNode | undefined;
  /** Directories only, in byte order of names. */
  readonly children?: ReadonlyMap<string, FileNode> | undefined;
  readonly nlink: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: TarTime;
  readonly devMajor: number;
  readonly devMinor: number;
  readonly xattrs: ReadonlyMap<string, Buffer> | undefined;
  readonly linkTarget: string;
}

/** What a file system has to know of a tree; a `Tree` is one. */
export interface FileTree {
  readonly root: FileNode;
  /** Nodes. */
  readonly count: number;
  readonly totals: Pick<TreeTotals, 'bytes'>;
  /** @throws FsError ENOENT for an id that was never given out */
  node(id: NodeId): FileNode;
  /** The first name's path; "/" for the root. */
  pathOf(node: FileNode): string;
}

/** One file, directory, … of the tree; all names of a hardlinked file share it. Owners and modes are the image's. */
export class TreeNode {
  /** Dense, 1 = the root, in the order of `Tree.walk`. */
  id: NodeId = 0;
  nlink = 0;
  // What few nodes have is declared, not defined: there may be a million of them, and each field takes room.
  /** Directories only, in byte order of names once the tree is built. */
  declare readonly children?: Map<string, TreeNode>;
  /** Directories only: names in it that come from hardlink entries. Absent when there are none. */
  declare links?: Map<string, LinkOrigin> | undefined;
  /** Further names when hardlinked; `parent` and `name` are the first. */
  declare otherNames?: { readonly parent: TreeNode; readonly name: string }[] | undefined;

  constructor(
    readonly type: NodeType,
    /** Layer that defines content and metadata. */
    public layer: number,
    /** Absent for a directory that is only implied by what lies in it: 0755, root:root, time 0. */
    public entry: TarEntry | undefined,
    /** The root is its own parent. */
    public parent: TreeNode | undefined,
    public name: string,
  ) {}

  /** 0 … 0o7777. */
  get mode(): number {
    return this.entry ? this.entry.mode & 0o7777 : 0o755;
  }
  get uid(): number {
    return this.entry?.uid ?? 0;
  }
  get gid(): number {
    return this.entry?.gid ?? 0;
  }
  /** Logical bytes of a regular file, 0 for others. */
  get size(): number {
    return this.entry?.size ?? 0;
  }
  get mtime(): TarTime {
    return this.entry?.mtime ?? EPOCH;
  }
  get devMajor(): number {
    return this.entry?.devMajor ?? 0;
  }
  get devMinor(): number {
    return this.entry?.devMinor ?? 0;
  }
  get xattrs(): ReadonlyMap<string, Buffer> | undefined {
    return this.entry?.xattrs;
  }
  /** Of a symlink, as written; "" otherwise. */
  get linkTarget(): string {
    return this.type === 'symlink' ? (this.entry?.linkName ?? '') : '';
  }
}

export class DirectoryNode extends TreeNode {
  override readonly children: Map<string, TreeNode> = new Map();
  override links: Map<string, LinkOrigin> | undefined = undefined;
  /** Merge only: the last layer that put something here or below; whiteouts do not count. */
  touched = -1;

  constructor(layer: number, entry: TarEntry | undefined, parent: TreeNode | undefined, name: string) {
    super('dir', layer, entry, parent, name);
  }
}

export type MergeProblem =
  /** A hardlink whose target does not exist, also not further on in its layer: the name is left out. */
  | 'link-target-missing'
  /** A hardlink to a directory: the name is left out. */
  | 'link-to-directory'
  /** The parent's path runs through too many symlinks: the entry is left out. */
  | 'symlink-loop'
  /** A file stood where a directory is needed: the directory replaced it. */
  | 'parent-not-directory'
  /** A name or link target that no Linux file system takes (length, NUL): the entry is left out. */
  | 'name-invalid'
  /** A whiteout of "", "." or "..", or an entry for the root that is not a directory: ignored. */
  | 'entry-ignored';

/** Something a layer asks for that cannot be. Never fatal: the tree is built without it. */
export interface MergeWarning {
  readonly problem: MergeProblem;
  readonly layer: number;
  readonly entryIndex: number;
  /** `TarEntry.path` of the entry. */
  readonly path: string;
  /** The link's target as written, when the entry is a link. */
  readonly target?: string;
}

export interface ResolveOptions {
  /** Whether a symlink at the very end is followed. Default true. */
  readonly followLast?: boolean;
  /** Takes each symlink that was followed, in order. */
  readonly through?: TreeNode[];
}

export interface TreeFile {
  readonly path: string;
  readonly node: TreeNode;
  readonly type: NodeType;
  readonly size: number;
  readonly layer: number;
}

export interface TreeTotals {
  /** Regular files, a hardlinked file once. */
  readonly files: number;
  /** Their logical bytes. */
  readonly bytes: number;
  /** The root included. */
  readonly directories: number;
  readonly symlinks: number;
  /** Devices and FIFOs. */
  readonly others: number;
  /** All names, the root's not counted. */
  readonly names: number;
}

export class Tree {
  /** Indexed by id; [0] is not used. */
  readonly nodes: readonly TreeNode[];
  readonly totals: TreeTotals;

  /** Takes the root over: sorts the directories, numbers the nodes and counts links. */
  constructor(
    readonly root: TreeNode,
    readonly layerCount: number,
    readonly warnings: readonly MergeWarning[],
  ) {
    const { nodes, names } = numberNodes(root);
    this.nodes = nodes;
    const totals = { files: 0, bytes: 0, directories: 0, symlinks: 0, others: 0, names };
    for (let id = ROOT_NODE; id < nodes.length; id++) {
      const node = nodes[id]!;
      if (node.type === 'reg') {
        totals.files += 1;
        totals.bytes += node.size;
      } else if (node.type === 'dir') totals.directories += 1;
      else if (node.type === 'symlink') totals.symlinks += 1;
      else totals.others += 1;
    }
    this.totals = totals;
  }

  get count(): number {
    return this.nodes.length - 1;
  }

  /** @throws FsError ENOENT for an id that was never given out */
  node(id: NodeId): TreeNode {
    const node = this.nodes[id];
    if (!node) throw new FsError(ERRNO.ENOENT, `no node ${id}`);
    return node;
  }

  /**
   * The node at a path, as a process whose root is this tree would find it: symlinks are followed inside the tree,
   * `..` stops at the root, a trailing slash asks for a directory. With or without a leading slash.
   * @throws FsError ENOENT, ENOTDIR, ELOOP
   */
  resolve(path: string, options: ResolveOptions = {}): TreeNode {
    const followLast = (options.followLast ?? true) || path.endsWith('/');
    let node = this.root;
    const todo = path.split('/').reverse();
    let followed = 0;
    while (todo.length > 0) {
      const name = todo.pop()!;
      // Also for the empty name after a trailing slash.
      if (node.type !== 'dir') throw new FsError(ERRNO.ENOTDIR, `${path}: not a directory`);
      if (name === '' || name === '.') continue;
      if (name === '..') {
        node = node.parent ?? this.root;
        continue;
      }
      const child = node.children!.get(name);
      if (!child) throw new FsError(ERRNO.ENOENT, `${path}: no such file or directory`);
      const last = child.type === 'symlink' && todo.every((rest) => rest === '');
      if (child.type !== 'symlink' || (last && !followLast)) {
        node = child;
        continue;
      }
      followed += 1;
      if (followed > MAX_SYMLINKS) throw new FsError(ERRNO.ELOOP, `${path}: too many symbolic links`);
      options.through?.push(child);
      const target = child.linkTarget;
      if (target === '') throw new FsError(ERRNO.ENOENT, `${path}: empty symbolic link`);
      if (target.startsWith('/')) node = this.root;
      todo.push(...target.split('/').reverse());
    }
    return node;
  }

  /** `resolve`, undefined instead of an error. */
  find(path: string, options: ResolveOptions = {}): TreeNode | undefined {
    try {
      return this.resolve(path, options);
    } catch (error) {
      if (error instanceof FsError) return undefined;
      throw error;
    }
  }

  /** The first name's path; "/" for the root. */
  pathOf(node: TreeNode): string {
    return joinUp(node.parent, node.name);
  }

  /** All paths of a node, the first as in `pathOf`. */
  pathsOf(node: TreeNode): string[] {
    return [this.pathOf(node), ...(node.otherNames ?? []).map(({ parent, name }) => joinUp(parent, name))];
  }

  /** Which entries made a path; symlinks on the way are followed, one at the end is not. Undefined: no such path. */
  originOf(path: string): NameOrigin | undefined {
    const clean = path.replace(/\/+$/, '');
    const at = clean.lastIndexOf('/') + 1;
    const name = clean.slice(at);
    const node = this.find(clean, { followLast: false });
    if (!node) return undefined;
    const origin: Origin = { layer: node.layer, ...(node.entry && { entryIndex: node.entry.index }) };
    if (node.type === 'dir') return origin;
    const link = this.find(clean.slice(0, at))?.links?.get(name);
    return link ? { ...origin, link: { layer: link.layer, entryIndex: link.entry.index } } : origin;
  }

  /** Every name, the root first ("/"), each directory before what is in it, names in byte order. */
  *walk(): Generator<TreeFile> {
    const stack: { readonly node: TreeNode; readonly path: string }[] = [{ node: this.root, path: '/' }];
    for (let next = stack.pop(); next; next = stack.pop()) {
      const { node, path } = next;
      yield { path, node, type: node.type, size: node.size, layer: node.layer };
      if (!node.children) continue;
      const prefix = path === '/' ? '/' : `${path}/`;
      const below = [...node.children];
      for (let i = below.length - 1; i >= 0; i--) stack.push({ node: below[i]![1], path: prefix + below[i]![0] });
    }
  }

  /** Regular files only, one line per name. */
  *files(): Generator<TreeFile> {
    for (const file of this.walk()) if (file.type === 'reg') yield file;
  }
}

/** The path of a name in a directory; "/" for the root's. */
export function joinUp(parent: FileNode | undefined, name: string): string {
  if (!parent || name === '') return '/';
  const parts = [name];
  for (let node = parent; node.parent && node.parent !== node; node = node.parent) parts.push(node.name);
  return `/${parts.reverse().join('/')}`;
}

/** Depth first, in byte order of names; the order in which layers were written leaves no mark. */
function numberNodes(root: TreeNode): { nodes: TreeNode[]; names: number } {
  const nodes: TreeNode[] = [root, root];
  root.id = ROOT_NODE;
  root.nlink = 2;
  root.parent = root;
  let names = 0;
  // The directories on the way down, and of each the names that are to come, last first.
  const way: { readonly dir: TreeNode; readonly left: string[] }[] = [];
  const enter = (dir: TreeNode) => way.push({ dir, left: sortChildren(dir.children!) });
  enter(root);
  for (let top = way.at(-1); top; top = way.at(-1)) {
    const { dir, left } = top;
    const name = left.pop();
    if (name === undefined) {
      way.pop();
      continue;
    }
    const node = dir.children!.get(name)!;
    names += 1;
    if (node.id === 0) {
      node.id = nodes.length;
      nodes.push(node);
      node.parent = dir;
      node.name = name;
      node.nlink = 1;
      if (node.children) {
        node.nlink = 2;
        dir.nlink += 1;
        enter(node);
      }
    } else {
      node.nlink += 1;
      node.otherNames ??= [];
      // The name under which the content was written comes first, where it still exists.
      if (node.parent?.links?.has(node.name) && !dir.links?.has(name)) {
        node.otherNames.push({ parent: node.parent, name: node.name });
        node.parent = dir;
        node.name = name;
      } else {
        node.otherNames.push({ parent: dir, name });
      }
    }
  }
  return { nodes, names };
}

/** Puts a directory's map into byte order and returns its names, last first. */
function sortChildren(children: Map<string, TreeNode>): string[] {
  const names = [...children.keys()];
  // UTF-16 order is byte order unless surrogates (astral characters, escaped bytes) take part.
  const plain = !SURROGATE.test(names.join(''));
  let sorted = true;
  for (let i = 1; sorted && i < names.length; i++)
    sorted = plain ? names[i - 1]! < names[i]! : comparePaths(names[i - 1]!, names[i]!) < 0;
  if (!sorted) {
    const nodes = new Map(children);
    if (plain) names.sort();
    else names.sort(comparePaths);
    children.clear();
    for (const name of names) children.set(name, nodes.get(name)!);
  }
  return names.reverse();
}
