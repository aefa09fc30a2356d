// A session: one process started on a root file system that a FuseTransport serves, in namespaces of its own,
// watched until it is ready or done, and ended without leaving a trace on the machine.
import type { Readable } from 'node:stream';
import type { TransportName } from '../fuse/choose.js';
import type { Link } from '../rootfs/types.js';
import type { Nanos } from '../units.js';

export type ReadyRule =
  /** The workload ended with status 0. */
  | { readonly kind: 'exit' }
  /** A line of stdout or stderr contains `text`, or matches `pattern` (source of a RegExp). */
  | { readonly kind: 'line'; readonly text?: string; readonly pattern?: string }
  /** Something in the container's network namespace listens on the port. */
  | { readonly kind: 'tcp'; readonly port: number }
  /** A GET answers with a status below 400. */
  | { readonly kind: 'http'; readonly url: string }
  /** No new file access for this long (after the first). Ready is when the last access was seen, not the end of the wait. */
  | { readonly kind: 'idle'; readonly forNanos: Nanos }
  | { readonly kind: 'period'; readonly forNanos: Nanos };

/** What to run; made from the image's config and the user's flags (process-spec.ts). */
export interface ProcessSpec {
  /** Program and arguments; the program is searched in the PATH of `env`, inside the container. */
  readonly args: readonly string[];
  /** `NAME=value`. */
  readonly env: readonly string[];
  /** Absolute path; created in the disposable layer if it is missing. */
  readonly cwd: string;
  /** `user[:group]`, names or numbers, resolved against the image's /etc/passwd and /etc/group; "" = root. */
  readonly user: string;
}

/**
 * The machine's network; none but loopback; or one of its own that reaches out through a program of the machine's
 * (slirp4netns, pasta).
 */
export type Net = 'host' | 'none' | 'slirp4netns' | 'pasta';

/**
 * Who lays the disposable layer. `auto`: the kernel, else fuse-overlayfs, else the root is read-only. `exact`: the kernel,
 * else it is read-only, because fuse-overlayfs asks in the workload's place, and for other ranges. The others: that one,
 * or it is an error.
 */
export type Overlay = 'auto' | 'exact' | 'kernel' | 'fuse-overlayfs';

/** What turns the root and the process into a container. */
export type Runtime = 'builtin' | 'runc' | 'crun';

export interface BindMount {
  readonly source: string;
  readonly destination: string;
  readonly readonly: boolean;
}

export interface SessionSpec {
  /**
   * The file system to serve (fuse/types.ts), as the session's child process will load it. With an `idle` rule, and when
   * `args` is an object, the module's `createFs` and `createAnswerer` find one more member in it: `activity`, an
   * Int32Array over shared memory. They add 1 to its first element (Atomics.add) with each access that counts for the rule.
   *
   * `Caller.pid` is a pid of the session's own pid namespace, where /proc (of the serving thread too) is that of the
   * session: 1 is the runner itself, which reads /etc/passwd and /etc/group and looks for the places to mount on; the
   * workload's first process is another. What the runner's helpers ask comes before `startedAt` too.
   */
  readonly fs: { readonly module: string; readonly args: unknown };
  /** Open files of this process that the child inherits: the i-th becomes its descriptor FIRST_INHERITED_FD + i. */
  readonly fds: readonly number[];
  /** Default raw, which every session can use. */
  readonly transport?: TransportName;
  readonly maxReadahead?: number;
  readonly readdirplus?: boolean;
  readonly process: ProcessSpec;
  readonly binds: readonly BindMount[];
  readonly net: Net;
  readonly hostname: string;
  /** Default builtin. */
  readonly runtime?: Runtime;
  /** True: what comes in on the standard input of the session's process is the workload's. Default: /dev/null. */
  readonly stdin?: boolean;
  /**
   * Descriptor, in the session's process, of a terminal that is the user's. The workload gets one of its own, in its
   * own /dev/pts; what it prints goes from there to the user's, not to `onOutput`, which only `line` rules could miss.
   */
  readonly terminal?: number;
  /** First that fires; none: exit. */
  readonly until: readonly ReadyRule[];
  /** True: when it is ready that is noted, and it runs on until it ends. Default: it is stopped. */
  readonly runOn?: boolean;
  /** From the start of the workload until it is ready. */
  readonly timeoutNanos: Nanos;
  /** Grace between SIGTERM and SIGKILL once ready. */
  readonly graceNanos?: Nanos;
  /** As image configs name it: `SIGQUIT`, `TERM`, `15`, `SIGRTMIN+3`. Default SIGTERM. */
  readonly stopSignal?: string;
  /** True: no disposable layer; /tmp, /run and /var/tmp are empty and writable, the rest is not. Default: only when there can be no layer. */
  readonly readonlyRoot?: boolean;
  /** Default auto. */
  readonly overlay?: Overlay;
  /** Directories of cgroups (cgroup.ts) that the workload's processes are put into. */
  readonly cgroups?: readonly string[];
  /** Present: the disposable layer is looked at when the workload has ended. Needs one: not with `readonlyRoot`. */
  readonly capture?: CaptureSpec;
  /** Where an empty directory is made to mount on. Default: $TMPDIR, else /tmp. */
  readonly tmpdir?: string;
}

/** What becomes of the disposable layer besides being thrown away. */
export interface CaptureSpec {
  /**
   * Directory of this machine, made before, on a file system that can hold an overlay's upper half. The layer is
   * `upper` in it, found as an earlier session left it, and stays.
   */
  readonly keep?: string;
  /** Descriptor, in the session's process, that takes a tar of all that was added or changed. */
  readonly tarFd?: number;
}

/** A difference between the root as it was and as the workload left it. */
export interface Change {
  /** From the container's root, with a leading slash; a lossless string (paths.ts). */
  readonly path: string;
  readonly kind: 'added' | 'changed' | 'deleted';
  /** Of what is there now, or was. */
  readonly type: 'file' | 'dir' | 'symlink' | 'other';
}

/** Descriptors 0-2 of the session's process are the standard ones, 3 is the channel between it and its parent. */
export const FIRST_INHERITED_FD = 4;

export interface SessionResult {
  /** CLOCK_MONOTONIC (process.hrtime.bigint) right before the workload was started. */
  readonly startedAt: bigint;
  /** When and by which rule the workload was ready, from `startedAt`. Absent: it never was. */
  readonly ready?: { readonly t: Nanos; readonly by: string };
  /** When the workload had ended, from `startedAt`. */
  readonly endedAt: Nanos;
  /** Absent when a signal ended it. 125 + … as the shell: 126 not executable, 127 not found. */
  readonly exitCode?: number;
  readonly signal?: string;
  /** True when the program could not be executed at all; the tail says why. `exitCode` is then 126 or 127. */
  readonly neverRan?: boolean;
  /** True when we stopped it because it was ready. */
  readonly stopped: boolean;
  /** Last lines of its output, at most 20. */
  readonly tail: readonly string[];
  /** What the file system module's closeFs returned. */
  readonly fsResult: unknown;
  /** How the disposable layer was made. */
  readonly writable: 'overlay' | 'fuse-overlayfs' | 'readonly';
  /** With `capture`: in the order of comparePaths. What is inside of a directory that was deleted is not listed. */
  readonly changes?: readonly Change[];
  /** True: run without the rights of root, in a user namespace. */
  readonly rootless: boolean;
  /** How many user ids it had: with one, every file of the image is its user's. */
  readonly uids: number;
  /** True when the timeout ended the workload. */
  readonly timedOut?: boolean;
  /** What the container lacks that docker would have given it. */
  readonly warnings?: readonly string[];
  /** Requests that the file system module failed with an exception (the workload saw EIO). */
  readonly fsFaults?: number;
}

export type OutputHook = (chunk: Buffer, stream: 'stdout' | 'stderr') => unknown;

export interface SessionHooks {
  /**
   * Every chunk of the workload's output. When it returns a promise, no more of this stream is read until that has
   * settled; a workload that prints on waits in write(2), as it would at a pipe with a slow reader.
   */
  onOutput?: OutputHook;
  readonly signal?: AbortSignal;
  /** With `spec.stdin`: what the workload reads. */
  readonly stdin?: Readable;
  /**
   * Present: once the workload has started, and this was called, signals of this process are handed on to it instead
   * of ending the session, and a new size of the terminal, too. The third of those that ask for the end still ends it.
   */
  onStarted?(): void;
  /** Takes the other end of the link that the file system module's createAnswerer is given. */
  onLink?(link: Link): void;
}
