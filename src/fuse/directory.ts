// READDIR and READDIRPLUS. A position in a directory is the number of entries before it, counting `.` and `..`:
// RootFs lists in a fixed order, so positions are stable without a handle. The list is asked for once a reading,
// at position 0, and kept for the requests that follow, so that 100,000 entries cost 100,000 steps.
import { type DirEntry, FsError, type NodeId, type RootFs } from '../rootfs/types.js';
import { DIRENT, ENTRY_OUT, IN_HEADER, NAME_MAX, OUT_HEADER } from './protocol.js';
import { encodedName, type Reply, type Request, TYPE_BITS } from './wire.js';

/** Directories being read at the same time whose lists are kept; another one is asked for its list again. */
const KEPT_LISTS = 32;

export interface DirectoryHooks {
  /** Writes the fuse_entry_out of a name at a position of the reply; returns its inode number. */
  entry(at: number, parent: NodeId, name: string): number;
  fault(error: unknown, node: NodeId): void;
}

export class DirectoryReader {
  readonly #lists = new Map<NodeId, readonly DirEntry[]>();

  constructor(
    private readonly fs: RootFs,
    private readonly request: Request,
    private readonly reply: Reply,
    private readonly hooks: DirectoryHooks,
  ) {}

  /** Answers the READDIR (struct fuse_read_in: fh 8, offset 8, size 4 …) in the request buffer. */
  read(plus: boolean): number {
    const { request, reply } = this;
    const node = request.nodeid;
    const first = request.u64(IN_HEADER + 8);
    const size = request.u32(IN_HEADER + 16);
    const list = this.#list(node, first);
    reply.reserve(size);
    const end = OUT_HEADER + size;
    let at = OUT_HEADER;
    for (let i = first; i < list.length + 2; i++) {
      const next = i < 2 ? this.#putDot(at, end, node, i, plus) : this.#put(at, end, node, list[i - 2]!, i, plus);
      if (next === FULL) break;
      at = next;
    }
    return reply.finish(request, at - OUT_HEADER);
  }

  #list(node: NodeId, position: number): readonly DirEntry[] {
    const known = position === 0 ? undefined : this.#lists.get(node);
    const list = known ?? this.fs.readdir(node, this.request.caller);
    this.#lists.delete(node);
    this.#lists.set(node, list);
    if (this.#lists.size > KEPT_LISTS) {
      for (const oldest of this.#lists.keys()) {
        this.#lists.delete(oldest);
        break;
      }
    }
    return list;
  }

  #putDot(at: number, end: number, node: NodeId, index: number, plus: boolean): number {
    const target = index === 0 ? node : this.fs.parent(node);
    const head = plus ? ENTRY_OUT : 0;
    if (at + head + DIRENT + 8 > end) return FULL;
    // Node 0: the kernel knows these two and takes nothing but the name from us.
    if (plus) this.reply.zero(at, ENTRY_OUT);
    return this.#putDirent(at + head, target, index, TYPE_BITS.dir, index === 0 ? '.' : '..', undefined);
  }

  #put(at: number, end: number, parent: NodeId, entry: DirEntry, index: number, plus: boolean): number {
    const bytes = encodedName(entry.name);
    const length = bytes ? bytes.length : entry.name.length;
    if (length === 0 || length > NAME_MAX || entry.name.includes('/')) {
      // One such name would make the kernel refuse the whole directory.
      this.hooks.fault(new Error(`name of ${length} bytes left out of a listing`), parent);
      return at;
    }
    const head = plus ? ENTRY_OUT : 0;
    if (at + head + ((DIRENT + length + 7) & ~7) > end) return FULL;
    let ino = entry.node;
    if (plus) {
      try {
        ino = this.hooks.entry(at, parent, entry.name);
      } catch (error) {
        // Only this entry's attributes are missing; a stat of it asks again and gets its own error.
        this.reply.zero(at, ENTRY_OUT);
        if (!(error instanceof FsError)) this.hooks.fault(error, entry.node);
      }
    }
    return this.#putDirent(at + head, ino, index, TYPE_BITS[entry.type], entry.name, bytes);
  }

  #putDirent(at: number, ino: number, index: number, mode: number, name: string, bytes: Buffer | undefined): number {
    const { reply } = this;
    const length = bytes ? bytes.length : name.length;
    reply.u64(at, ino);
    reply.u64(at + 8, index + 1);
    reply.u32(at + 16, length);
    reply.u32(at + 20, mode >> 12);
    const nameAt = at + DIRENT;
    const next = (nameAt + length + 7) & ~7;
    if (bytes) reply.bytes.set(bytes, nameAt);
    else reply.bytes.write(name, nameAt, length, 'latin1');
    for (let i = nameAt + length; i < next; i++) reply.bytes[i] = 0;
    return next;
  }
}

/** No room for another entry in this reply. */
const FULL = -1;
