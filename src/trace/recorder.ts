// Wraps a RootFs so that every operation that reaches it is recorded, with the time it took and who asked. The
// wrapped file system answers exactly as the bare one does: same values, same errors. What the kernel serves from its
// caches does not come here, so each name, attribute and page shows once per mount: its first touch. A read that the
// file system puts off is recorded where its answer is given (`tracedAnswers`): only there is known what became of it.
import { type Answerer, FsError, Later, type NodeId, type RootFs } from '../rootfs/types.js';
import { type CommCache, commCache } from './comm.js';
import type { Op, TraceEvent } from './events.js';

/** Takes events in the order the file system saw them. Must never throw: the caller is answering the kernel. */
export interface EventSink {
  record(event: TraceEvent): void;
}

export interface RecorderOptions {
  /** CLOCK_MONOTONIC (process.hrtime.bigint) that counts as t = 0. */
  readonly t0: bigint;
  /** Shared with whoever waits for quiet: element 0 grows by one per event (it may wrap around). */
  readonly activity?: Int32Array;
  /** Absent: process.hrtime.bigint. */
  readonly clock?: () => bigint;
  /** Absent: names from /proc. */
  readonly comms?: CommCache;
}

/** In open's flags when the file is opened to be executed (FMODE_EXEC, include/linux/fs.h; fuse passes it on). */
export const OPEN_EXEC = 0x20;

const EIO = 5;

type Details = Pick<TraceEvent, 'offset' | 'length' | 'exec'>;
type Writable<T> = { -readonly [K in keyof T]: T[K] };
const EXEC: Details = { exec: true };

/** The same file system, observed. */
export function traced(fs: RootFs, sink: EventSink, options: RecorderOptions): RootFs {
  const { t0, activity, clock = process.hrtime.bigint, comms = commCache() } = options;
  /** Paths of nodes that were used; a node's path is asked for once. */
  const paths = new Map<NodeId, string>();
  /** Process ids of which an event was recorded. */
  const met = new Set<number>();

  function pathOf(node: NodeId): string {
    let path = paths.get(node);
    if (path === undefined) {
      path = fs.pathOf(node);
      paths.set(node, path);
    }
    return path;
  }

  /** Written out member by member: it runs for every request of the kernel and has less than 3 µs. */
  function note(op: Op, path: string, pid: number, begin: bigint, errno?: number, more?: Details): void {
    const end = clock();
    const event: Writable<TraceEvent> = { t: Number(begin - t0), op, path, pid, dur: Number(end - begin) };
    const comm = comms.of(pid, end);
    if (comm !== undefined) event.comm = comm;
    if (!met.has(pid)) {
      met.add(pid);
      const parent = comms.parentOf(pid);
      if (parent !== undefined) event.parent = parent;
    }
    if (errno !== undefined) event.errno = errno;
    if (more?.offset !== undefined) event.offset = more.offset;
    if (more?.length !== undefined) event.length = more.length;
    if (more?.exec) event.exec = true;
    sink.record(event);
    if (activity) Atomics.add(activity, 0, 1);
  }

  /** Times `run`, records it under `path` and hands on what it returned or threw. */
  function observe<T>(op: Op, path: string, pid: number, run: () => T, more?: Details): T {
    const begin = clock();
    let errno: number | undefined;
    try {
      return run();
    } catch (error) {
      errno = errnoFor(error);
      throw error;
    } finally {
      note(op, path, pid, begin, errno, more);
    }
  }

  const forget = fs.forget?.bind(fs);
  return {
    lookup(parent, name, caller) {
      const directory = pathOf(parent);
      const path = directory === '/' ? `/${name}` : `${directory}/${name}`;
      return observe('lookup', path, caller.pid, () => fs.lookup(parent, name, caller));
    },
    getattr: (node, caller) => observe('getattr', pathOf(node), caller.pid, () => fs.getattr(node, caller)),
    readlink: (node, caller) => observe('readlink', pathOf(node), caller.pid, () => fs.readlink(node, caller)),
    readdir: (node, caller) => observe('readdir', pathOf(node), caller.pid, () => fs.readdir(node, caller)),
    xattrs: (node, caller) => observe('getxattr', pathOf(node), caller.pid, () => fs.xattrs(node, caller)),
    open(node, flags, caller) {
      const exec = (flags & OPEN_EXEC) !== 0;
      try {
        return observe('open', pathOf(node), caller.pid, () => fs.open(node, flags, caller), exec ? EXEC : undefined);
      } finally {
        if (exec) comms.expectExec(caller.pid);
      }
    },
    read(node, handle, into, at, length, offset, caller, flags) {
      const path = pathOf(node);
      const begin = clock();
      let delivered: number | Later = 0;
      let errno: number | undefined;
      try {
        delivered = fs.read(node, handle, into, at, length, offset, caller, flags);
      } catch (error) {
        errno = errnoFor(error);
        throw error;
      } finally {
        if (typeof delivered === 'number') note('read', path, caller.pid, begin, errno, { offset, length: delivered });
      }
      if (!(delivered instanceof Later)) return delivered;
      const comm = comms.of(caller.pid, begin);
      const read: LateRead = { begin, path, offset, pid: caller.pid, ...(comm !== undefined && { comm }) };
      return new Later({ ticket: delivered.ticket, read } satisfies TracedTicket);
    },
    release: (node, handle) => fs.release(node, handle),
    parent: (node) => fs.parent(node),
    pathOf: (node) => fs.pathOf(node),
    statfs: () => fs.statfs(),
    close: () => fs.close(),
    ...(forget && {
      forget(node: NodeId, count: number) {
        // The id may be given to another file afterwards.
        paths.delete(node);
        forget(node, count);
      },
    }),
  };
}

/** What is known of a read when it is put off; goes through structured clone. */
interface LateRead {
  readonly begin: bigint;
  readonly path: string;
  readonly offset: number;
  readonly pid: number;
  readonly comm?: string;
}

interface TracedTicket {
  readonly ticket: unknown;
  readonly read: LateRead;
}

/** The same answerer, for the file system that `traced` made, observed: each answer is a read event, in the order of the answers. */
export function tracedAnswers(answerer: Answerer, sink: EventSink, options: Omit<RecorderOptions, 'comms'>): Answerer {
  const { t0, activity, clock = process.hrtime.bigint } = options;

  function note({ begin, path, offset, pid, comm }: LateRead, delivered: number, errno: number | undefined): void {
    const dur = Number(clock() - begin);
    const event: Writable<TraceEvent> = {
      t: Number(begin - t0),
      op: 'read',
      path,
      pid,
      dur,
      offset,
      length: delivered,
    };
    if (comm !== undefined) event.comm = comm;
    if (errno !== undefined) event.errno = errno;
    sink.record(event);
    if (activity) Atomics.add(activity, 0, 1);
  }

  return {
    async answer(wrapped, length) {
      const { ticket, read } = wrapped as TracedTicket;
      try {
        const bytes = await answerer.answer(ticket, length);
        note(read, bytes.length, undefined);
        return bytes;
      } catch (error) {
        note(read, 0, errnoFor(error));
        throw error;
      }
    },
    ...(answerer.onPost && { onPost: (message) => answerer.onPost!(message) }),
    ...(answerer.close && { close: (result) => answerer.close!(result) }),
  };
}

/** The number that the kernel will be told; whatever is not an FsError reaches it as EIO. */
function errnoFor(error: unknown): number {
  return error instanceof FsError ? error.errno : EIO;
}
