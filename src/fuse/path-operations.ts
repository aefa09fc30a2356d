// A RootFs as libfuse's high-level interface asks for it: by path. What fuse-native's own handlers do wrong or cannot do
// (times that are Dates, inode numbers, reads by path) is done here: these replace them.
import { bytesToPath, pathToBytes } from '../paths.js';
import { type Attr, type Caller, ERRNO, FsError, Later, type NodeId, ROOT_NODE, type RootFs } from '../rootfs/types.js';
import { NAME_MAX } from './protocol.js';
import { encodeDevice, TYPE_BITS } from './wire.js';

/** `result` of one of these: what `Signal` of fuse-native.d.ts is. */
type Give = (result: number, ...more: unknown[]) => void;

export interface PathOperationsOptions {
  /** Who is said to ask: libfuse knows, but fuse-native does not tell. */
  readonly caller: Caller;
  /** Owners as the mount can show them (id-map.ts). Absent: all ids pass. */
  readonly mapUid?: ((uid: number) => number) | undefined;
  readonly mapGid?: ((gid: number) => number) | undefined;
  /** Gives the bytes of a read that the file system puts off. Absent: such a read is a fault. */
  readonly answer?: ((ticket: unknown, length: number) => Promise<Uint8Array>) | undefined;
  /** An exception that is not an FsError; the asker gets EIO. Must not throw. */
  readonly onFault: (error: unknown, operation: string, node: NodeId) => void;
}

interface OpenFile {
  readonly node: NodeId;
  /** Of the file system. */
  readonly handle: number;
  /** As open(2). */
  readonly flags: number;
}

/** O_ACCMODE and O_TRUNC of open(2). */
const O_WRITING = 0o3 | 0o1000;
const NUL = Buffer.from([0]);
/** struct stat as the addon takes it: 32-bit words, 64-bit values as low and high. */
const STAT_WORDS = 18;
const NO_STAT = new Uint32Array(STAT_WORDS);
const LARGEST_INT32 = 0x7fff_ffff;

export class PathOperations {
  readonly #fs: RootFs;
  readonly #options: PathOperationsOptions;
  /** Every path that was looked up; libfuse does not say which the kernel has forgotten. */
  readonly #nodes = new Map<string, NodeId>([['/', ROOT_NODE]]);
  readonly #files = new Map<number, OpenFile>();
  #nextFile = 1;

  constructor(fs: RootFs, options: PathOperationsOptions) {
    this.#fs = fs;
    this.#options = options;
  }

  getattr(give: Give, path: string): void {
    this.#try(give, 'LOOKUP', [NO_STAT], () => {
      const attr = path === '/' ? this.#fs.getattr(ROOT_NODE, this.#options.caller) : this.#lookup(path);
      give(0, this.#stat(attr));
    });
  }

  readlink(give: Give, path: string): void {
    this.#try(give, 'READLINK', [''], () => {
      give(0, toNative(bytesToPath(this.#fs.readlink(this.#node(path), this.#options.caller))));
    });
  }

  readdir(give: Give, path: string): void {
    this.#try(give, 'READDIR', [[], []], () => {
      const node = this.#node(path);
      const list = this.#fs.readdir(node, this.#options.caller);
      const names = ['.', '..'];
      const stats = [entryStat(node, TYPE_BITS.dir), entryStat(this.#fs.parent(node), TYPE_BITS.dir)];
      for (const entry of list) {
        names.push(toNative(entry.name));
        stats.push(entryStat(entry.node, TYPE_BITS[entry.type]));
      }
      give(0, names, stats);
    });
  }

  open(give: Give, path: string, flags: number): void {
    this.#try(give, 'OPEN', [0], () => {
      if (flags & O_WRITING) throw new FsError(ERRNO.EROFS);
      const node = this.#node(path);
      const handle = this.#fs.open(node, flags, this.#options.caller);
      const file = this.#freeNumber();
      this.#files.set(file, { node, handle, flags });
      give(0, file);
    });
  }

  release(give: Give, _path: string, file: number): void {
    this.#try(give, 'RELEASE', [], () => {
      const open = this.#files.get(file);
      this.#files.delete(file);
      if (open) this.#fs.release(open.node, open.handle);
      give(0);
    });
  }

  read(give: Give, _path: string, file: number, into: Buffer, length: number, low: number, high: number): void {
    const end = (result: number) => give(result, 0, into.buffer);
    this.#try(end, 'READ', [], (fault) => {
      const open = this.#files.get(file);
      if (!open) throw new FsError(ERRNO.EBADF);
      const { node, handle, flags } = open;
      fault.node = node;
      const offset = low + high * 0x1_0000_0000;
      const got = this.#fs.read(node, handle, into, 0, length, offset, this.#options.caller, flags);
      if (got instanceof Later) this.#later(end, got, into, length, node);
      else end(got);
    });
  }

  #later(end: (result: number) => void, { ticket }: Later, into: Buffer, length: number, node: NodeId): void {
    const { answer } = this.#options;
    if (!answer) throw new Error('a read was put off, and nobody is there to answer it');
    answer(ticket, length)
      .then((bytes) => {
        if (bytes.length > length) throw new Error(`an answer of ${bytes.length} bytes; ${length} were asked for`);
        into.set(bytes);
        return bytes.length;
      })
      .catch((error) => -this.#errno(error, 'READ', node))
      .then(end);
  }

  statfs(give: Give): void {
    this.#try(give, 'STATFS', [new Uint32Array(11)], () => {
      const { blocks, files } = this.#fs.statfs();
      const words = new Uint32Array(11); // bsize, frsize, blocks, bfree, bavail, files, ffree, favail, fsid, flag, namemax
      words.set([4096, 512, Math.min(blocks, 0xffff_ffff), 0, 0, files, 0, 0, 0, 0, NAME_MAX]);
      give(0, words);
    });
  }

  getxattr(give: Give, path: string, name: string, into: Buffer): void {
    this.#sized(give, 'GETXATTR', into, () => {
      const value = this.#fs.xattrs(this.#node(path), this.#options.caller).get(name);
      if (value === undefined) throw new FsError(ERRNO.ENODATA);
      return value;
    });
  }

  listxattr(give: Give, path: string, into: Buffer): void {
    this.#sized(give, 'LISTXATTR', into, () => {
      const names = this.#fs.xattrs(this.#node(path), this.#options.caller).keys();
      return Buffer.concat([...names].flatMap((name) => [pathToBytes(name), NUL]));
    });
  }

  /** The convention of getxattr(2): size 0 asks how much room is needed, too little room is ERANGE. */
  #sized(give: Give, operation: string, into: Buffer, make: () => Buffer): void {
    const end = (result: number) => give(result, into.buffer);
    this.#try(end, operation, [], () => {
      const value = make();
      if (into.length > 0 && into.length < value.length) throw new FsError(ERRNO.ERANGE);
      if (into.length > 0) value.copy(into);
      end(value.length);
    });
  }

  #try(give: Give, operation: string, nothing: readonly unknown[], act: (fault: { node: NodeId }) => void): void {
    const fault = { node: 0 };
    try {
      act(fault);
    } catch (error) {
      give(-this.#errno(error, operation, fault.node), ...nothing);
    }
  }

  #errno(error: unknown, operation: string, node: NodeId): number {
    if (error instanceof FsError) return error.errno;
    this.#options.onFault(error, operation, node);
    return ERRNO.EIO;
  }

  /** A name is asked for once, as the kernel asks the other transport: what is above it has been. */
  #lookup(path: string): Attr {
    const slash = path.lastIndexOf('/');
    const name = path.slice(slash + 1); // one character a byte
    if (name.length > NAME_MAX) throw new FsError(ERRNO.ENAMETOOLONG);
    const parent = this.#node(slash === 0 ? '/' : path.slice(0, slash));
    const attr = this.#fs.lookup(parent, fromNative(name), this.#options.caller);
    this.#nodes.set(path, attr.ino);
    return attr;
  }

  #node(path: string): NodeId {
    return this.#nodes.get(path) ?? this.#lookup(path).ino;
  }

  #freeNumber(): number {
    do this.#nextFile = this.#nextFile === LARGEST_INT32 ? 1 : this.#nextFile + 1;
    while (this.#files.has(this.#nextFile));
    return this.#nextFile;
  }

  /** A tar knows one time only. The addon counts milliseconds from 1970 on, so earlier ones are shown as 1970. */
  #stat(attr: Attr): Uint32Array {
    const { mapUid, mapGid } = this.#options;
    const words = new Uint32Array(STAT_WORDS);
    words[0] = TYPE_BITS[attr.type] | attr.mode;
    words[1] = mapUid ? mapUid(attr.uid) : attr.uid;
    words[2] = mapGid ? mapGid(attr.gid) : attr.gid;
    set64(words, 3, attr.size);
    words[6] = attr.nlink;
    words[7] = attr.ino;
    words[8] = encodeDevice(attr.rdevMajor, attr.rdevMinor);
    words[9] = 4096;
    set64(words, 10, attr.blocks);
    const ms = Math.max(0, attr.mtimeSec * 1000 + Math.floor(attr.mtimeNsec / 1e6));
    for (const at of [12, 14, 16]) set64(words, at, ms);
    return words;
  }
}

/** What a listing needs: the inode number and the type. */
function entryStat(node: NodeId, type: number): Uint32Array {
  const words = new Uint32Array(STAT_WORDS);
  words[0] = type;
  words[7] = node;
  return words;
}

function set64(words: Uint32Array, at: number, value: number): void {
  words[at] = value % 0x1_0000_0000;
  words[at + 1] = Math.floor(value / 0x1_0000_0000);
}

/**
 * The addon's strings are UTF-8. libfuse's iconv module is told that the kernel's names are ISO-8859-1, in which every
 * byte is a character, so that here a string has one character a byte and no name is lost.
 */
function fromNative(name: string): string {
  for (let i = 0; i < name.length; i++) {
    if (name.charCodeAt(i) >= 0x80) return bytesToPath(Buffer.from(name, 'latin1'));
  }
  return name;
}

function toNative(name: string): string {
  for (let i = 0; i < name.length; i++) {
    if (name.charCodeAt(i) >= 0x80) return pathToBytes(name).toString('latin1');
  }
  return name;
}
