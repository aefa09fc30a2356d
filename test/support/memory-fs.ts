// A RootFs held in memory, made from a plain description so that it can be built in the serving thread. It counts
// what it is asked: closeFs returns the log, against which tests hold what the kernel let through.
import { closeSync, openSync, readSync } from 'node:fs';
import {
  type Answerer,
  type Attr,
  type Caller,
  type DirEntry,
  ERRNO,
  FsError,
  type FsPort,
  Later,
  type NodeId,
  type NodeType,
  ROOT_NODE,
  type RootFs,
} from '../../src/rootfs/types.js';

/** Where a file's bytes come from. Everything outside of a sparse file's islands is zero. */
export type Content =
  | { readonly text: string }
  | { readonly bytes: Uint8Array }
  | { readonly size: number; readonly islands: readonly { readonly at: number; readonly text: string }[] }
  /** `size` bytes of `patternByte(seed, offset)`. */
  | { readonly size: number; readonly seed: number }
  /** The bytes of a file of this machine. */
  | { readonly host: string; readonly size: number };

export interface NodeSpec {
  /** Path from the root without a leading slash; "" is the root. Parents that are not listed are made. */
  readonly path: string;
  readonly type: NodeType;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtimeSec?: number;
  readonly mtimeNsec?: number;
  readonly rdev?: readonly [major: number, minor: number];
  readonly content?: Content;
  readonly target?: string;
  readonly xattrs?: Readonly<Record<string, Uint8Array>>;
  /** Another path of a node that comes before. */
  readonly hardlinkTo?: string;
  /** Each read of it fails: with an errno, or with an exception that is not an FsError. */
  readonly broken?: number | 'throws';
  /**
   * Each read of it is put off, and answered after so many milliseconds; `never`: not at all. With `broken` that is
   * what the answer fails with.
   */
  readonly later?: number | 'never';
}

export interface MemoryFsArgs {
  readonly nodes: readonly NodeSpec[];
  /** Files `${prefix}${i}` for i in 0 … count - 1 with a pattern of `size` bytes, seed i. */
  readonly many?: readonly { readonly prefix: string; readonly count: number; readonly size: number }[];
  /** Each read takes this long, milliseconds. */
  readonly readDelayMs?: number;
}

export interface LogEntry {
  readonly op: 'lookup' | 'open' | 'read' | 'readdir' | 'readlink' | 'xattrs' | 'getattr';
  /** Absolute. */
  readonly path: string;
  readonly offset?: number;
  readonly length?: number;
  readonly pid: number;
  readonly errno?: number;
  readonly flags?: number;
}

export interface MemoryFsResult {
  readonly log: readonly LogEntry[];
  readonly openHandles: number;
  /** References by lookups that the kernel has not given back, over all nodes. */
  readonly references: number;
  readonly forgets: number;
  /** What reached the answerer; added by it. */
  readonly posts?: readonly unknown[];
}

export function patternByte(seed: number, offset: number): number {
  return (Math.imul(offset ^ (offset >>> 11), 0x9e3779b1) + Math.imul(seed + 1, 0x85ebca6b)) >>> 24;
}

export function patternBytes(seed: number, size: number): Buffer {
  const out = Buffer.alloc(size);
  for (let i = 0; i < size; i++) out[i] = patternByte(seed, i);
  return out;
}

interface MemoryNode {
  readonly id: NodeId;
  readonly spec: NodeSpec;
  readonly parent: NodeId;
  readonly children: Map<string, MemoryNode>;
  readonly path: string;
  /** Listing, made at the first readdir. */
  list?: readonly DirEntry[];
  nlink: number;
  subdirectories: number;
  references: number;
  fd?: number;
}

export class MemoryFs implements RootFs {
  readonly log: LogEntry[] = [];
  readonly #nodes: MemoryNode[] = [];
  readonly #handles = new Map<number, NodeId>();
  readonly #delay: number;
  #nextHandle = 1;
  #forgets = 0;

  constructor(args: MemoryFsArgs) {
    this.#delay = args.readDelayMs ?? 0;
    const root = args.nodes.find((spec) => spec.path === '');
    this.#nodes.push(undefined as unknown as MemoryNode); // ids start at 1
    this.#make(root ?? { path: '', type: 'dir' }, ROOT_NODE, '/');
    for (const spec of args.nodes) if (spec.path !== '') this.#add(spec);
    for (const { prefix, count, size } of args.many ?? []) {
      for (let i = 0; i < count; i++) this.#add({ path: `${prefix}${i}`, type: 'reg', content: { size, seed: i } });
    }
  }

  lookup(parent: NodeId, name: string, caller: Caller): Attr {
    const node = this.#nodes[parent]?.children.get(name);
    const path = `${parent === ROOT_NODE ? '' : this.pathOf(parent)}/${name}`;
    this.log.push({ op: 'lookup', path, pid: caller.pid, ...(!node && { errno: ERRNO.ENOENT }) });
    if (!node) throw new FsError(ERRNO.ENOENT);
    node.references += 1;
    return this.#attr(node);
  }

  getattr(id: NodeId, caller: Caller): Attr {
    const node = this.#node(id);
    this.log.push({ op: 'getattr', path: node.path, pid: caller.pid });
    return this.#attr(node);
  }

  readlink(id: NodeId, caller: Caller): Buffer {
    const node = this.#node(id);
    if (node.spec.type !== 'symlink') throw new FsError(ERRNO.EINVAL);
    this.log.push({ op: 'readlink', path: node.path, pid: caller.pid });
    return Buffer.from(node.spec.target!, 'utf8');
  }

  readdir(id: NodeId, caller: Caller): readonly DirEntry[] {
    const node = this.#node(id);
    if (node.spec.type !== 'dir') throw new FsError(ERRNO.ENOTDIR);
    this.log.push({ op: 'readdir', path: node.path, pid: caller.pid });
    node.list ??= [...node.children].map(([name, child]) => ({ name, node: child.id, type: child.spec.type }));
    return node.list;
  }

  parent(id: NodeId): NodeId {
    return this.#node(id).parent;
  }

  open(id: NodeId, flags: number, caller: Caller): number {
    const node = this.#node(id);
    this.log.push({ op: 'open', path: node.path, pid: caller.pid, flags });
    const handle = this.#nextHandle++;
    this.#handles.set(handle, id);
    return handle;
  }

  read(
    id: NodeId,
    handle: number,
    into: Buffer,
    at: number,
    length: number,
    offset: number,
    caller: Caller,
  ): number | Later {
    const node = this.#node(id);
    if (this.#handles.get(handle) !== id) throw new FsError(ERRNO.EBADF);
    if (this.#delay > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, this.#delay);
    if (node.spec.later !== undefined) {
      this.log.push({ op: 'read', path: node.path, offset, length, pid: caller.pid });
      return new Later({ id, offset } satisfies Ticket);
    }
    breakIfTold(node.spec);
    const got = Math.max(0, Math.min(length, this.#size(node) - offset));
    if (got > 0) this.#fill(node, into, at, got, offset);
    this.log.push({ op: 'read', path: node.path, offset, length: got, pid: caller.pid });
    return got;
  }

  /** The bytes of a read that was put off; this may be another thread's copy of the file system. */
  async readLater({ id, offset }: Ticket, length: number): Promise<Buffer> {
    const node = this.#node(id);
    await new Promise((resolve) => {
      if (node.spec.later !== 'never') setTimeout(resolve, node.spec.later);
    });
    breakIfTold(node.spec);
    const into = Buffer.alloc(Math.max(0, Math.min(length, this.#size(node) - offset)));
    if (into.length > 0) this.#fill(node, into, 0, into.length, offset);
    return into;
  }

  release(_id: NodeId, handle: number): void {
    this.#handles.delete(handle);
  }

  xattrs(id: NodeId, caller: Caller): ReadonlyMap<string, Buffer> {
    const node = this.#node(id);
    this.log.push({ op: 'xattrs', path: node.path, pid: caller.pid });
    return new Map(Object.entries(node.spec.xattrs ?? {}).map(([name, value]) => [name, Buffer.from(value)]));
  }

  forget(id: NodeId, count: number): void {
    this.#forgets += count;
    this.#node(id).references -= count;
  }

  pathOf(id: NodeId): string {
    return this.#node(id).path;
  }

  statfs(): { blocks: number; files: number } {
    return { blocks: 4242, files: this.#nodes.length - 1 };
  }

  close(): void {
    for (const node of this.#nodes) if (node?.fd !== undefined) closeSync(node.fd);
  }

  result(): MemoryFsResult {
    const references = this.#nodes.reduce((sum, node) => sum + (node?.references ?? 0), 0);
    return { log: this.log, openHandles: this.#handles.size, references, forgets: this.#forgets };
  }

  #add(spec: NodeSpec): void {
    const parts = spec.path.split('/');
    const name = parts.pop()!;
    let directory = this.#nodes[ROOT_NODE]!;
    let path = '';
    for (const part of parts) {
      path = path === '' ? part : `${path}/${part}`;
      let next = directory.children.get(part);
      if (!next) {
        next = this.#make({ path, type: 'dir' }, directory.id, `/${path}`);
        directory.children.set(part, next);
        directory.subdirectories += 1;
      }
      directory = next;
    }
    let node: MemoryNode;
    if (spec.hardlinkTo !== undefined) {
      node = this.#find(spec.hardlinkTo);
      node.nlink += 1;
    } else {
      node = this.#make(spec, directory.id, `/${spec.path}`);
      if (spec.type === 'dir') directory.subdirectories += 1;
    }
    directory.children.set(name, node);
  }

  #find(path: string): MemoryNode {
    let node = this.#nodes[ROOT_NODE]!;
    for (const part of path.split('/')) {
      const next = node.children.get(part);
      if (!next) throw new Error(`memory-fs: no ${path} to link to`);
      node = next;
    }
    return node;
  }

  #make(spec: NodeSpec, parent: NodeId, path: string): MemoryNode {
    const id = this.#nodes.length;
    const node: MemoryNode = {
      id,
      spec,
      parent,
      path,
      children: new Map(),
      nlink: 1,
      subdirectories: 0,
      references: 0,
    };
    this.#nodes.push(node);
    return node;
  }

  #node(id: NodeId): MemoryNode {
    const node = this.#nodes[id];
    if (!node) throw new FsError(ERRNO.ENOENT);
    return node;
  }

  #size(node: MemoryNode): number {
    const { content, target } = node.spec;
    if (target !== undefined) return Buffer.byteLength(target);
    if (!content) return 0;
    if ('text' in content) return Buffer.byteLength(content.text);
    if ('bytes' in content) return content.bytes.length;
    return content.size;
  }

  #fill(node: MemoryNode, into: Buffer, at: number, length: number, offset: number): void {
    const content = node.spec.content!;
    if ('text' in content) Buffer.from(content.text).copy(into, at, offset, offset + length);
    else if ('bytes' in content) Buffer.from(content.bytes).copy(into, at, offset, offset + length);
    else if ('seed' in content) {
      for (let i = 0; i < length; i++) into[at + i] = patternByte(content.seed, offset + i);
    } else if ('host' in content) {
      node.fd ??= openSync(content.host, 'r');
      readSync(node.fd, into, at, length, offset);
    } else {
      into.fill(0, at, at + length);
      for (const island of content.islands) {
        const bytes = Buffer.from(island.text);
        const from = Math.max(island.at, offset);
        const to = Math.min(island.at + bytes.length, offset + length);
        if (from < to) bytes.copy(into, at + from - offset, from - island.at, to - island.at);
      }
    }
  }

  #attr(node: MemoryNode): Attr {
    const { spec } = node;
    const size = spec.type === 'dir' ? 0 : this.#size(node);
    return {
      ino: node.id,
      type: spec.type,
      mode: spec.mode ?? (spec.type === 'dir' ? 0o755 : 0o644),
      uid: spec.uid ?? 0,
      gid: spec.gid ?? 0,
      nlink: spec.type === 'dir' ? 2 + node.subdirectories : node.nlink,
      size,
      blocks: spec.content && 'islands' in spec.content ? 8 : Math.ceil(size / 512),
      mtimeSec: spec.mtimeSec ?? 0,
      mtimeNsec: spec.mtimeNsec ?? 0,
      rdevMajor: spec.rdev?.[0] ?? 0,
      rdevMinor: spec.rdev?.[1] ?? 0,
    };
  }
}

interface Ticket {
  readonly id: NodeId;
  readonly offset: number;
}

function breakIfTold({ broken }: NodeSpec): void {
  if (broken === 'throws') throw new TypeError('the memory file system was told to break');
  if (broken !== undefined) throw new FsError(broken);
}

export function createFs(args: unknown, port?: FsPort): MemoryFs {
  port?.post('the file system is made');
  return new MemoryFs(args as MemoryFsArgs);
}

/** A copy of the file system that reads what is put off, in the mounting thread. */
export function createAnswerer(args: unknown): Answerer {
  let fs: MemoryFs | undefined;
  const posts: unknown[] = [];
  return {
    answer(ticket, length) {
      fs ??= new MemoryFs(args as MemoryFsArgs);
      return fs.readLater(ticket as Ticket, length);
    },
    onPost: (message) => posts.push(message),
    close: (result) => ({ ...(result as MemoryFsResult), posts }),
  };
}

export function closeFs(fs: MemoryFs): MemoryFsResult {
  const result = fs.result();
  fs.close();
  return result;
}

export const memoryFsModule = import.meta.url;
