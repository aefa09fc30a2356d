// A FUSE request in, the bytes of its reply out, answered by a RootFs. No device, no thread: raw-worker.ts adds
// those, tests do without. Nothing that a request or a file system does makes it throw.
import { pathToBytes } from '../paths.js';
import { ERRNO, FsError, Later, type NodeId, type RootFs } from '../rootfs/types.js';
import { DirectoryReader } from './directory.js';
import {
  ATTR_OUT,
  ENTRY_OUT,
  FOPEN_CACHE_DIR,
  FOPEN_KEEP_CACHE,
  FOPEN_NOFLUSH,
  FUSE_MAJOR,
  FUSE_MINOR_MIN,
  IN_HEADER,
  INIT_FLAG,
  INIT_OUT,
  type InitChoice,
  MAX_PAGES,
  MAX_WRITE,
  NAME_MAX,
  NOTIFY_STORE,
  negotiateInit,
  OP,
  OPEN_OUT,
  OUT_HEADER,
  opName,
  STATFS_OUT,
  STORE_OUT,
} from './protocol.js';
import { Reply, Request } from './wire.js';

/** EPROTO: the other side speaks a protocol that is too old. */
const EPROTO = 71;
/** O_ACCMODE and O_TRUNC of open(2). */
const O_WRITING = 0o3 | 0o1000;
const NUL = Buffer.from([0]);

export interface ServerOptions {
  /** Bytes; see MountOptions. */
  readonly maxReadahead?: number | undefined;
  readonly readdirplus?: boolean | undefined;
  readonly ttlSeconds?: number | undefined;
  /** Owners as the mount's user namespace can show them (id-map.ts). Absent: all ids pass. */
  readonly mapUid?: ((uid: number) => number) | undefined;
  readonly mapGid?: ((gid: number) => number) | undefined;
  /** A read whose answer is given elsewhere (deferred.ts): nothing is written for it here. Absent: it fails with EIO. */
  readonly onLater?: ((read: DeferredRead) => void) | undefined;
  /** Writes `store` up to a length, without an answer. Absent: nothing is given to the kernel unasked. */
  readonly onStore?: ((store: Reply, length: number) => void) | undefined;
  /** An exception that is not an FsError; the request was answered with EIO. Must not throw. */
  readonly onFault?: ((error: unknown, operation: string, node: NodeId) => void) | undefined;
}

/** What whoever answers a read later has to know; plain data. */
export interface DeferredRead {
  /** The two words of the request's `unique`, as they came. */
  readonly unique: readonly [number, number];
  readonly node: NodeId;
  /** Bytes asked for. */
  readonly length: number;
  readonly ticket: unknown;
}

const same = (id: number) => id;

/** Of one file, handed over when it is first opened; and at once. */
const STORE_MOST = 16 * 1024 * 1024;
const STORE_PIECE = 256 * 1024;

export class FuseServer {
  readonly request = new Request();
  readonly reply = new Reply();
  /** What INIT agreed on; undefined before. */
  init: InitChoice | undefined;
  /** Why INIT was answered with an error: nothing works after it. */
  refusal: string | undefined;
  readonly #fs: RootFs;
  readonly #directories: DirectoryReader;
  readonly #ttl: number;
  readonly #mapUid: (uid: number) => number;
  readonly #mapGid: (gid: number) => number;
  readonly #options: ServerOptions;
  readonly #stored = new Set<NodeId>();
  readonly #store = new Reply();

  constructor(fs: RootFs, options: ServerOptions = {}) {
    this.#fs = fs;
    this.#options = options;
    this.#ttl = options.ttlSeconds ?? 3600;
    this.#mapUid = options.mapUid ?? same;
    this.#mapGid = options.mapGid ?? same;
    this.#directories = new DirectoryReader(fs, this.request, this.reply, {
      entry: (at, parent, name) => this.#putEntry(at, parent, name),
      fault: (error, node) => this.#fault(error, 'READDIR', node),
    });
  }

  /** Answers the request that `this.request` holds. Returns how many bytes of `this.reply` to write, 0 for none. */
  handle(): number {
    const { request } = this;
    try {
      return this.#dispatch(request.opcode);
    } catch (error) {
      const { opcode } = request;
      const errno = error instanceof FsError ? error.errno : this.#fault(error, opName(opcode), request.nodeid);
      return opcode === OP.FORGET || opcode === OP.BATCH_FORGET ? 0 : this.reply.fail(request, errno);
    }
  }

  #dispatch(opcode: number): number {
    const { request, reply } = this;
    switch (opcode) {
      case OP.LOOKUP:
        return this.#lookup();
      case OP.FORGET:
        this.#fs.forget?.(request.nodeid, request.u64(IN_HEADER));
        return 0;
      case OP.BATCH_FORGET:
        return this.#batchForget();
      case OP.GETATTR:
        return this.#getattr();
      case OP.READLINK:
        return this.#body(this.#fs.readlink(request.nodeid, request.caller));
      case OP.OPEN:
        return this.#open();
      case OP.READ:
        return this.#read();
      case OP.RELEASE:
        this.#fs.release(request.nodeid, request.u64(IN_HEADER));
        return reply.finish(request, 0);
      case OP.OPENDIR:
        return this.#opendir();
      case OP.READDIR:
        return this.#directories.read(false);
      case OP.READDIRPLUS:
        return this.#directories.read(true);
      case OP.STATFS:
        return this.#statfs();
      case OP.GETXATTR:
        return this.#getxattr();
      case OP.LISTXATTR:
        return this.#listxattr();
      case OP.ACCESS:
        // Only without default_permissions, which every mount of ours has: the kernel checks the mode bits itself.
        return request.u32(IN_HEADER) & 2 ? reply.fail(request, ERRNO.EROFS) : reply.finish(request, 0);
      case OP.INIT:
        return this.#initialize();
      case OP.RELEASEDIR:
      case OP.DESTROY:
        return reply.finish(request, 0);
      case OP.INTERRUPT:
      case OP.NOTIFY_REPLY:
        return 0; // requests are answered one after the other: the interrupted one already is
      case OP.SETATTR:
      case OP.SYMLINK:
      case OP.MKNOD:
      case OP.MKDIR:
      case OP.UNLINK:
      case OP.RMDIR:
      case OP.RENAME:
      case OP.RENAME2:
      case OP.LINK:
      case OP.WRITE:
      case OP.SETXATTR:
      case OP.REMOVEXATTR:
      case OP.CREATE:
      case OP.TMPFILE:
      case OP.FALLOCATE:
      case OP.COPY_FILE_RANGE:
        return reply.fail(request, ERRNO.EROFS);
      default:
        // The kernel remembers this for FLUSH, FSYNC, LSEEK, STATX, POLL … and does what is right by itself.
        return reply.fail(request, ERRNO.ENOSYS);
    }
  }

  #initialize(): number {
    const { request, reply } = this;
    const at = IN_HEADER;
    const offer = {
      major: request.u32(at),
      minor: request.u32(at + 4),
      maxReadahead: request.u32(at + 8),
      flags: request.u32(at + 12),
    };
    reply.zero(OUT_HEADER, INIT_OUT);
    reply.u32(OUT_HEADER, FUSE_MAJOR);
    // A newer major: answer with ours, and the kernel sends INIT again in our words.
    if (offer.major > FUSE_MAJOR) return reply.finish(request, INIT_OUT);
    if (offer.major < FUSE_MAJOR || offer.minor < FUSE_MINOR_MIN) {
      this.refusal = `the kernel speaks FUSE ${offer.major}.${offer.minor}, expected at least ${FUSE_MAJOR}.${FUSE_MINOR_MIN}`;
      return reply.fail(request, EPROTO);
    }
    const choice = negotiateInit(offer, { ...this.#options, stateless: this.#fs.stateless });
    this.init = choice;
    reply.u32(OUT_HEADER + 4, choice.minor);
    reply.u32(OUT_HEADER + 8, choice.maxReadahead);
    reply.u32(OUT_HEADER + 12, choice.flags);
    reply.u32(OUT_HEADER + 16, pair(64, 48)); // max_background, congestion_threshold
    reply.u32(OUT_HEADER + 20, MAX_WRITE);
    reply.u32(OUT_HEADER + 24, 1); // time_gran: times are exact to the nanosecond
    reply.u32(OUT_HEADER + 28, pair(MAX_PAGES, 0)); // max_pages, map_alignment
    return reply.finish(request, INIT_OUT);
  }

  #lookup(): number {
    const { request, reply } = this;
    const end = request.stringEnd(IN_HEADER);
    if (end - IN_HEADER > NAME_MAX) return reply.fail(request, ERRNO.ENAMETOOLONG);
    try {
      this.#putEntry(OUT_HEADER, request.nodeid, request.name(IN_HEADER, end));
    } catch (error) {
      if (!(error instanceof FsError) || error.errno !== ERRNO.ENOENT) throw error;
      // An entry with node 0 says "not there" as ENOENT does, and may be remembered for as long as any other.
      reply.zero(OUT_HEADER, ENTRY_OUT);
      reply.timeout(OUT_HEADER + 16, OUT_HEADER + 32, this.#ttl);
    }
    return reply.finish(request, ENTRY_OUT);
  }

  /** struct fuse_entry_out of a name; from here on the kernel holds one more reference to its node. */
  #putEntry(at: number, parent: NodeId, name: string): number {
    const { reply } = this;
    const attr = this.#fs.lookup(parent, name, this.request.caller);
    reply.u64(at, attr.ino);
    reply.u64(at + 8, 0); // generation: a node number is never used twice
    reply.timeout(at + 16, at + 32, this.#ttl);
    reply.timeout(at + 24, at + 36, this.#ttl);
    reply.attr(at + 40, attr, this.#mapUid(attr.uid), this.#mapGid(attr.gid));
    return attr.ino;
  }

  #getattr(): number {
    const { request, reply } = this;
    const attr = this.#fs.getattr(request.nodeid, request.caller);
    reply.timeout(OUT_HEADER, OUT_HEADER + 8, this.#ttl);
    reply.u32(OUT_HEADER + 12, 0);
    reply.attr(OUT_HEADER + 16, attr, this.#mapUid(attr.uid), this.#mapGid(attr.gid));
    return reply.finish(request, ATTR_OUT);
  }

  #batchForget(): number {
    const { request } = this;
    if (!this.#fs.forget) return 0;
    const count = request.u32(IN_HEADER);
    // struct fuse_batch_forget_in 8, then count × (nodeid 8, nlookup 8)
    for (let i = 0, at = IN_HEADER + 8; i < count; i++, at += 16) this.#fs.forget(request.u64(at), request.u64(at + 8));
    return 0;
  }

  #open(): number {
    // ENOSYS once, and the kernel opens files by itself from then on: one request a file instead of three.
    if (this.init && this.init.flags & INIT_FLAG.NO_OPEN_SUPPORT) return this.reply.fail(this.request, ERRNO.ENOSYS);
    const { request, reply } = this;
    const flags = request.u32(IN_HEADER);
    if (flags & O_WRITING) return reply.fail(request, ERRNO.EROFS);
    const handle = this.#fs.open(request.nodeid, flags, request.caller);
    this.#storeLikely(request.nodeid, handle);
    reply.u64(OUT_HEADER, handle);
    reply.u32(OUT_HEADER + 8, FOPEN_KEEP_CACHE | FOPEN_NOFLUSH);
    reply.u32(OUT_HEADER + 12, 0);
    return reply.finish(request, OPEN_OUT);
  }

  /**
   * Only before a file is open for the first time: then no read of it can be waiting. The kernel locks a page that it
   * waits for, and would wait here for that lock, for ever.
   */
  #storeLikely(node: NodeId, handle: number): void {
    const { onStore } = this.#options;
    if (!onStore || !this.#fs.likely || this.#stored.has(node)) return;
    this.#stored.add(node);
    let left = STORE_MOST;
    for (const [offset, length] of this.#fs.likely(node)) {
      for (let at = 0; at < length && left > 0; at += STORE_PIECE) {
        const size = Math.min(STORE_PIECE, length - at, left);
        this.#store.reserve(STORE_OUT + size);
        const { bytes } = this.#store;
        const got = this.#fs.read(node, handle, bytes, OUT_HEADER + STORE_OUT, size, offset + at, this.request.caller);
        if (got instanceof Later || got === 0) return;
        this.#store.u64(OUT_HEADER, node);
        this.#store.u64(OUT_HEADER + 8, offset + at);
        this.#store.u32(OUT_HEADER + 16, got);
        this.#store.u32(OUT_HEADER + 20, 0);
        onStore(this.#store, this.#store.notify(NOTIFY_STORE, STORE_OUT + got));
        left -= got;
      }
    }
  }

  #read(): number {
    const { request, reply } = this;
    const size = request.u32(IN_HEADER + 16);
    reply.reserve(size); // never less than asked for: to the kernel a short read is the end of the file
    const { nodeid, caller } = request;
    const handle = request.u64(IN_HEADER);
    const offset = request.u64(IN_HEADER + 8);
    const flags = request.u32(IN_HEADER + 32);
    const got = this.#fs.read(nodeid, handle, reply.bytes, OUT_HEADER, size, offset, caller, flags);
    if (!(got instanceof Later)) return reply.finish(request, got);
    const { onLater } = this.#options;
    if (!onLater) throw new Error('a read was put off, and nobody is there to answer it');
    onLater({ unique: request.unique, node: nodeid, length: size, ticket: got.ticket });
    return 0;
  }

  #opendir(): number {
    const { request, reply } = this;
    // ENOSYS once, and the kernel never asks again: listings have no state of their own (directory.ts).
    if (this.init && this.init.flags & INIT_FLAG.NO_OPENDIR_SUPPORT) return reply.fail(request, ERRNO.ENOSYS);
    reply.u64(OUT_HEADER, 0);
    reply.u32(OUT_HEADER + 8, FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR);
    reply.u32(OUT_HEADER + 12, 0);
    return reply.finish(request, OPEN_OUT);
  }

  /** `RootFs.statfs().blocks` are 512-byte blocks, as in Attr; none is free. */
  #statfs(): number {
    const { request, reply } = this;
    const { blocks, files } = this.#fs.statfs();
    reply.zero(OUT_HEADER, STATFS_OUT);
    reply.u64(OUT_HEADER, blocks);
    reply.u64(OUT_HEADER + 24, files);
    reply.u32(OUT_HEADER + 40, 4096); // bsize
    reply.u32(OUT_HEADER + 44, NAME_MAX);
    reply.u32(OUT_HEADER + 48, 512); // frsize, the unit of blocks
    return reply.finish(request, STATFS_OUT);
  }

  #getxattr(): number {
    const { request } = this;
    // struct fuse_getxattr_in: size 4, padding 4, then the name
    const name = request.name(IN_HEADER + 8, request.stringEnd(IN_HEADER + 8));
    const value = this.#fs.xattrs(request.nodeid, request.caller).get(name);
    if (value === undefined) return this.reply.fail(request, ERRNO.ENODATA);
    return this.#sized(value);
  }

  #listxattr(): number {
    const { request } = this;
    const names = this.#fs.xattrs(request.nodeid, request.caller).keys();
    const parts: Buffer[] = [];
    for (const name of names) parts.push(pathToBytes(name), NUL);
    return this.#sized(Buffer.concat(parts));
  }

  /** The convention of getxattr(2): size 0 asks how much room is needed, too little room is ERANGE. */
  #sized(value: Buffer): number {
    const { request, reply } = this;
    const room = request.u32(IN_HEADER);
    if (room === 0) {
      reply.u64(OUT_HEADER, value.length);
      return reply.finish(request, 8);
    }
    return room < value.length ? reply.fail(request, ERRNO.ERANGE) : this.#body(value);
  }

  #body(bytes: Buffer): number {
    this.reply.reserve(bytes.length);
    this.reply.bytes.set(bytes, OUT_HEADER);
    return this.reply.finish(this.request, bytes.length);
  }

  #fault(error: unknown, operation: string, node: NodeId): number {
    this.#options.onFault?.(error, operation, node);
    return ERRNO.EIO;
  }
}

/** Two 16-bit members that share a word, in the host's byte order. */
function pair(first: number, second: number): number {
  return new Uint32Array(new Uint16Array([first, second]).buffer)[0]!;
}
