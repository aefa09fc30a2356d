// What the mounting thread and the serving thread say to each other.
import type { PlainError } from '../errors.js';
import type { DeferredRead } from './server.js';
import type { FsFault } from './types.js';

/** workerData of raw-worker.ts. */
export interface ThreadData {
  /** Started before there is anything to serve. */
  readonly spare: boolean;
  /** A module to load while it waits. */
  readonly preload: string | undefined;
}

/**
 * The first message to raw-worker.ts. Not its workerData: the thread may be started before anybody knows what it is to
 * serve (serving-thread.ts, prepareThread).
 */
export interface WorkerInput {
  /** Descriptor of /dev/fuse, open in this process; the worker does not close it. */
  readonly fd: number;
  readonly module: string;
  readonly args: unknown;
  readonly maxReadahead: number | undefined;
  readonly readdirplus: boolean | undefined;
  readonly ttlSeconds: number | undefined;
  /** See MountOptions. */
  readonly early: boolean;
  /** One Int32: a Phase, set by the mounting thread. */
  readonly phase: SharedArrayBuffer;
}

export const PHASE = { mounting: 0, mounted: 1, cancelled: 2 } as const;

export type WorkerMessage =
  | { readonly kind: 'ready' }
  /** INIT was answered: the mount works. */
  | { readonly kind: 'serving'; readonly minor: number; readonly maxReadahead: number }
  | { readonly kind: 'fault'; readonly fault: FsFault }
  /** The file system to its answerer. */
  | { readonly kind: 'post'; readonly message: unknown }
  | { readonly kind: 'later'; readonly read: DeferredRead }
  | { readonly kind: 'closed'; readonly result: unknown; readonly faults: number }
  | { readonly kind: 'failed'; readonly error: PlainError };
