// What every container is started with, whatever its root is made of.
import type { Readable } from 'node:stream';
import type { Nanos } from '../units.js';
import { claimKept } from './kept.js';
import { takeSession } from './session/early-session.js';
import type { StartedSession } from './session/run-session.js';
import {
  type BindMount,
  type CaptureSpec,
  FIRST_INHERITED_FD,
  type OutputHook,
  type Overlay,
  type ReadyRule,
  type Runtime,
  type SessionHooks,
  type SessionResult,
  type SessionSpec,
} from './types.js';

export interface ContainerOptions {
  /** When it counts as ready; it runs on. None: when it has ended well. */
  readonly until?: readonly ReadyRule[];
  readonly binds?: readonly BindMount[];
  readonly net?: SessionSpec['net'];
  readonly hostname?: string;
  readonly runtime?: Runtime;
  /** See SessionSpec. */
  readonly transport?: SessionSpec['transport'];
  /** What the workload reads. Absent: nothing. */
  readonly stdin?: Readable;
  /** A descriptor of this process: the user's terminal (terminal.ts). */
  readonly terminal?: number;
  /** See SessionHooks. */
  readonly onStarted?: () => void;
  readonly readonlyRoot?: boolean;
  readonly overlay?: Overlay;
  readonly cgroups?: readonly string[];
  /** What becomes of the disposable layer. `tar`: descriptor of this process that takes what was added or changed. */
  readonly capture?: Pick<CaptureSpec, 'keep'> & { readonly tar?: number };
  readonly tmpdir?: string;
  readonly onOutput?: OutputHook;
  readonly signal?: AbortSignal;
}

/** No limit: longer than a timer of Node can be, which is what the session makes of it. */
const ENDLESS: Nanos = Number.MAX_SAFE_INTEGER;

export interface Taken {
  readonly session: StartedSession;
  /** Descriptors that the session inherits. */
  readonly inherited: readonly number[];
  /** What the caller's are in the session's process. */
  readonly own: readonly number[];
}

/** @param fds descriptors that the file system needs @throws as takeSession */
export function takeFor({ tmpdir, capture, terminal }: ContainerOptions, fds: readonly number[] = []): Taken {
  const inherited = [...fds, ...[capture?.tar, terminal].filter((fd) => fd !== undefined)];
  const session = takeSession({ fds: inherited, ...(tmpdir !== undefined && { tmpdir }) });
  return { session, inherited, own: fds.map((_, i) => FIRST_INHERITED_FD + i) };
}

/** @param inherited as takeFor gave it */
export function specOf(options: ContainerOptions, inherited: readonly number[]): Omit<SessionSpec, 'fs' | 'process'> {
  const { capture } = options;
  return {
    fds: inherited,
    binds: options.binds ?? [],
    net: options.net ?? 'host',
    hostname: options.hostname ?? 'hotlayer',
    until: options.until ?? [],
    runOn: true,
    timeoutNanos: ENDLESS,
    ...(options.runtime !== undefined && { runtime: options.runtime }),
    ...(options.transport !== undefined && { transport: options.transport }),
    ...(options.stdin && { stdin: true }),
    ...(options.terminal !== undefined && {
      terminal: FIRST_INHERITED_FD + inherited.lastIndexOf(options.terminal),
    }),
    ...(options.cgroups && { cgroups: options.cgroups }),
    ...(options.overlay !== undefined && { overlay: options.overlay }),
    ...(options.readonlyRoot !== undefined && { readonlyRoot: options.readonlyRoot }),
    ...(capture && {
      capture: {
        ...(capture.keep !== undefined && { keep: capture.keep }),
        ...(capture.tar !== undefined && { tarFd: FIRST_INHERITED_FD + inherited.lastIndexOf(capture.tar) }),
      },
    }),
  };
}

/**
 * Runs it, with the kept layer claimed for as long.
 * @param source what the layer lies on: a digest, or `dir:PATH`
 * @throws as claimKept and runSession
 */
export async function runTaken(
  { session }: Taken,
  spec: SessionSpec,
  source: string,
  hooks: SessionHooks,
): Promise<SessionResult> {
  const keep = spec.capture?.keep;
  if (keep === undefined) return session.run(spec, hooks);
  using _ = claimKept(keep, source);
  return await session.run(spec, hooks);
}

export function hooksOf({ onOutput, signal, stdin, onStarted }: ContainerOptions): SessionHooks {
  return {
    ...(onOutput && { onOutput }),
    ...(signal && { signal }),
    ...(stdin && { stdin }),
    ...(onStarted && { onStarted }),
  };
}
