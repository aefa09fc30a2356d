// The seam between the kernel and a RootFs. A transport mounts one file system, read-only, in the mount namespace
// of the calling process, and serves it from a thread of its own.
import type { Answerer, FsPort, Link, RootFs } from '../rootfs/types.js';

/**
 * A module that makes the file system inside the serving thread. A transport may do all of it in another process, with
 * its answerer in the same thread.
 */
export interface FsModule {
  /** Called in a thread that will probably call `createFs`, and has nothing to do before: loads what that needs. */
  prepare?(): Promise<void>;
  /** Called once in the serving thread. `args` came through structured clone. */
  createFs(args: unknown, port: FsPort): RootFs | Promise<RootFs>;
  /**
   * Called once in the mounting thread, before `createFs`, with the same args: gives the answers that the file system
   * puts off. Absent: it puts none off.
   */
  createAnswerer?(args: unknown, link: Link | undefined): Answerer | undefined;
  /**
   * A file system of the kind that `createFs` makes with these args, but of something small, with a regular file in its
   * root: the serving thread asks it for this and that while it waits for the mount. Absent: an image's layers will do.
   */
  practice?(args: unknown): RootFs | undefined;
  /**
   * Called once after the last request; the result (structured clone) resolves `Mounted.closed`. It has to close
   * the file system. Absent: `fs.close()` is called.
   */
  closeFs?(fs: RootFs): unknown;
}

/** An exception in a file system operation that was not an FsError. Its asker got EIO. */
export interface FsFault {
  /** Protocol name of the request: LOOKUP, READ … */
  readonly operation: string;
  readonly node: number;
  readonly message: string;
  readonly stack?: string;
}

export interface MountOptions {
  readonly mountpoint: string;
  /** URL of an ES module that exports FsModule. */
  readonly module: string;
  /**
   * Goes through structured clone. Counters in it, members that are an Int32Array over shared memory, may be in another
   * process for the file system: what it adds to them (Atomics.add) arrives, but perhaps some milliseconds later.
   */
  readonly args: unknown;
  /** Descriptors of this process that `args` speaks of: they have the same numbers where the file system is. */
  readonly fds?: readonly number[];
  /** Shown as the source in /proc/mounts. */
  readonly name?: string;
  /**
   * Readahead that the kernel may do, bytes. 0 (`exact`): a READ for each page a process touches, and no other.
   * Absent (`fast`): the kernel's default, usually 128 KiB, which is also the most: a bigger number changes nothing.
   */
  readonly maxReadahead?: number;
  /** False: each stat is a look-up that the file system sees. Default true. */
  readonly readdirplus?: boolean;
  /** Seconds that names and attributes stay valid in the kernel. Default 3600: the tree never changes. */
  readonly ttlSeconds?: number;
  /**
   * True: mount(8) runs while the file system is made, not after it. Only where the file system needs nothing that lies
   * beneath the mount point.
   */
  readonly early?: boolean;
  /** Let users other than the mounter in. Default true where the machine lets the mounter decide that (fuse.conf(5)). */
  readonly allowOther?: boolean;
  /** Handed to createAnswerer. */
  readonly link?: Link;
  /** Called in the mounting thread with the first fault of the mount. Absent: a process warning. */
  onFault?(fault: FsFault): void;
}

export interface Mounted {
  /**
   * Resolves with closeFs's result (or what the answerer's `close` makes of it) once the last request was answered;
   * rejects when the serving thread failed.
   */
  readonly closed: Promise<unknown>;
  /** Ends the mount even if it is busy; resolves when the kernel has let go. Idempotent. */
  unmount(): Promise<void>;
  /** Faults (see FsFault) so far known; complete once `closed` is settled. More than 0: some reads failed with EIO. */
  faults(): number;
}

export interface FuseTransport {
  readonly name: 'raw' | 'fuse-native';
  /** @throws HL_ERR_MACHINE with the mend when /dev/fuse or mount(8) refuse */
  mount(options: MountOptions): Promise<Mounted>;
}
