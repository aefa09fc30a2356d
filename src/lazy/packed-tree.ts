// The merged tree of a lazily read image as columns of numbers, and as a tree again that makes of it only what is looked
// at: an image has some ten thousand files, of which a start sees some hundred.
import { type FileNode, type FileTree, joinUp, type Tree, type TreeNode } from '../rootfs/tree.js';
import { ERRNO, FsError, type NodeId, type NodeType } from '../rootfs/types.js';
import type { EntryType, TarEntry, TarTime } from '../stargz/tar/entry.js';
import type { Column, Columns } from './columns.js';

const TYPES: readonly NodeType[] = ['reg', 'dir', 'symlink', 'char', 'block', 'fifo'];
const NO_ENTRY = -1;

/** What few files have, as plain JSON. */
interface Odd {
  readonly dev?: readonly [major: number, minor: number];
  /** By name, base64. */
  readonly xattrs?: Readonly<Record<string, string>>;
}

/** What is no column. */
export interface PackedAbout {
  /** Logical bytes of all files. */
  readonly bytes: number;
  /** By id. */
  readonly odd: Readonly<Record<string, Odd>>;
}

/** Columns by id; [0] is not used. */
interface NodeColumns {
  readonly type: Uint8Array;
  readonly layer: Uint16Array;
  readonly entry: Int32Array;
  readonly parent: Uint32Array;
  readonly name: Uint32Array;
  readonly target: Uint32Array;
  readonly nlink: Uint32Array;
  readonly mode: Uint16Array;
  readonly uid: Float64Array;
  readonly gid: Float64Array;
  readonly size: Float64Array;
  readonly mtime: Float64Array;
  /** Where a directory's names begin in the next two; one more at the end. */
  readonly children: Uint32Array;
  readonly childName: Uint32Array;
  readonly childNode: Uint32Array;
}

/** Texts, each once, [0] the empty one: where they end in `text`, and whether in UTF-16 instead of latin1. */
interface TextColumns {
  readonly textEnd: Uint32Array;
  readonly textWide: Uint8Array;
  readonly text: Uint8Array;
}

class Texts {
  readonly #numbers = new Map<string, number>([['', 0]]);
  readonly #parts: Buffer[] = [];
  readonly #wide: number[] = [0];
  readonly #ends: number[] = [0];
  #end = 0;

  number(text: string): number {
    const known = this.#numbers.get(text);
    if (known !== undefined) return known;
    const number = this.#numbers.size;
    this.#numbers.set(text, number);
    const wide = /[^\0-\xff]/.test(text);
    const bytes = Buffer.from(text, wide ? 'utf16le' : 'latin1');
    this.#parts.push(bytes);
    this.#end += bytes.length;
    this.#wide.push(wide ? 1 : 0);
    this.#ends.push(this.#end);
    return number;
  }

  columns(): TextColumns {
    return {
      textEnd: Uint32Array.from(this.#ends),
      textWide: Uint8Array.from(this.#wide),
      text: Uint8Array.from(Buffer.concat(this.#parts)),
    };
  }
}

/** @param tree of entries with whole seconds and without holes, as those of a TOC are */
export function packTree(tree: Tree): { readonly about: PackedAbout; readonly columns: Columns } {
  const { nodes } = tree;
  const texts = new Texts();
  const odd: Record<string, Odd> = {};
  const { names } = tree.totals;
  const columns: NodeColumns = {
    type: new Uint8Array(nodes.length),
    layer: new Uint16Array(nodes.length),
    entry: new Int32Array(nodes.length),
    parent: new Uint32Array(nodes.length),
    name: new Uint32Array(nodes.length),
    target: new Uint32Array(nodes.length),
    nlink: new Uint32Array(nodes.length),
    mode: new Uint16Array(nodes.length),
    uid: new Float64Array(nodes.length),
    gid: new Float64Array(nodes.length),
    size: new Float64Array(nodes.length),
    mtime: new Float64Array(nodes.length),
    children: new Uint32Array(nodes.length + 1),
    childName: new Uint32Array(names),
    childNode: new Uint32Array(names),
  };
  let child = 0;
  for (let id = 1; id < nodes.length; id++) {
    const node = nodes[id]!;
    columns.type[id] = TYPES.indexOf(node.type);
    columns.layer[id] = node.layer;
    columns.entry[id] = node.entry?.index ?? NO_ENTRY;
    columns.parent[id] = node.parent?.id ?? id;
    columns.name[id] = texts.number(node.name);
    columns.target[id] = texts.number(node.linkTarget);
    columns.nlink[id] = node.nlink;
    columns.mode[id] = node.mode;
    columns.uid[id] = node.uid;
    columns.gid[id] = node.gid;
    columns.size[id] = node.size;
    columns.mtime[id] = node.mtime.sec;
    const rare = oddOf(node);
    if (rare) odd[id] = rare;
    columns.children[id] = child;
    for (const [name, { id: below }] of node.children ?? []) {
      columns.childName[child] = texts.number(name);
      columns.childNode[child] = below;
      child += 1;
    }
  }
  columns.children[nodes.length] = child;
  return { about: { bytes: tree.totals.bytes, odd }, columns: { ...columns, ...texts.columns() } };
}

function oddOf({ devMajor, devMinor, xattrs }: TreeNode): Odd | undefined {
  if (devMajor === 0 && devMinor === 0 && !xattrs) return undefined;
  return {
    ...((devMajor !== 0 || devMinor !== 0) && { dev: [devMajor, devMinor] as const }),
    ...(xattrs && {
      xattrs: Object.fromEntries([...xattrs].map(([name, value]) => [name, value.toString('base64')])),
    }),
  };
}

export class PackedTree implements FileTree {
  readonly root: FileNode;
  readonly count: number;
  readonly totals: { readonly bytes: number };
  readonly columns: NodeColumns & TextColumns;
  readonly odd: PackedAbout['odd'];
  readonly #nodes: (PackedNode | undefined)[];
  readonly #text: Buffer;

  /** @param columns as packTree gave them */
  constructor(about: PackedAbout, columns: Readonly<Record<string, Column>>) {
    this.columns = columns as unknown as NodeColumns & TextColumns;
    this.odd = about.odd;
    this.totals = { bytes: about.bytes };
    this.count = this.columns.type.length - 1;
    this.#nodes = new Array<PackedNode | undefined>(this.count + 1);
    const { buffer, byteOffset, byteLength } = this.columns.text;
    this.#text = Buffer.from(buffer, byteOffset, byteLength);
    this.root = this.node(1);
  }

  node(id: NodeId): PackedNode {
    const known = this.#nodes[id];
    if (known) return known;
    if (!(id > 0 && id <= this.count)) throw new FsError(ERRNO.ENOENT, `no node ${id}`);
    const node = new PackedNode(this, id);
    this.#nodes[id] = node;
    return node;
  }

  pathOf(node: FileNode): string {
    return joinUp(node.parent, node.name);
  }

  text(number: number): string {
    if (number === 0) return '';
    const { textEnd, textWide } = this.columns;
    const encoding = textWide[number] === 1 ? 'utf16le' : 'latin1';
    return this.#text.toString(encoding, textEnd[number - 1], textEnd[number]);
  }
}

/** A file and, for what reads its content, the entry that it comes from. */
class PackedNode implements FileNode, TarEntry {
  readonly #tree: PackedTree;
  #children: ReadonlyMap<string, PackedNode> | undefined;

  constructor(
    tree: PackedTree,
    readonly id: NodeId,
  ) {
    this.#tree = tree;
  }

  get type(): NodeType & EntryType {
    return TYPES[this.#tree.columns.type[this.id]!] as NodeType & EntryType;
  }
  get layer(): number {
    return this.#tree.columns.layer[this.id]!;
  }
  get entry(): PackedNode | undefined {
    return this.#tree.columns.entry[this.id] === NO_ENTRY ? undefined : this;
  }
  get index(): number {
    return this.#tree.columns.entry[this.id]!;
  }
  get name(): string {
    return this.#tree.text(this.#tree.columns.name[this.id]!);
  }
  get path(): string {
    return this.#tree.pathOf(this).slice(1);
  }
  get parent(): PackedNode {
    return this.#tree.node(this.#tree.columns.parent[this.id]!);
  }
  get children(): ReadonlyMap<string, PackedNode> | undefined {
    if (this.#children || this.type !== 'dir') return this.#children;
    const { children, childName, childNode } = this.#tree.columns;
    const found = new Map<string, PackedNode>();
    for (let at = children[this.id]!; at < children[this.id + 1]!; at++)
      found.set(this.#tree.text(childName[at]!), this.#tree.node(childNode[at]!));
    this.#children = found;
    return found;
  }
  get nlink(): number {
    return this.#tree.columns.nlink[this.id]!;
  }
  get mode(): number {
    return this.#tree.columns.mode[this.id]!;
  }
  get uid(): number {
    return this.#tree.columns.uid[this.id]!;
  }
  get gid(): number {
    return this.#tree.columns.gid[this.id]!;
  }
  get size(): number {
    return this.#tree.columns.size[this.id]!;
  }
  get mtime(): TarTime {
    return { sec: this.#tree.columns.mtime[this.id]!, nsec: 0 };
  }
  get linkTarget(): string {
    return this.#tree.text(this.#tree.columns.target[this.id]!);
  }
  get linkName(): string {
    return this.linkTarget;
  }
  get devMajor(): number {
    return this.#tree.odd[this.id]?.dev?.[0] ?? 0;
  }
  get devMinor(): number {
    return this.#tree.odd[this.id]?.dev?.[1] ?? 0;
  }
  get xattrs(): ReadonlyMap<string, Buffer> | undefined {
    const xattrs = this.#tree.odd[this.id]?.xattrs;
    return xattrs && new Map(Object.entries(xattrs).map(([name, value]) => [name, Buffer.from(value, 'base64')]));
  }
  // Nobody keeps the names of owners: the kernel is told numbers. Nor is there a tar.
  get uname(): string {
    return '';
  }
  get gname(): string {
    return '';
  }
  get headerOffset(): number {
    return 0;
  }
  get payloadOffset(): number {
    return 0;
  }
  get payloadSize(): number {
    return this.size;
  }
  get end(): number {
    return 0;
  }
}
