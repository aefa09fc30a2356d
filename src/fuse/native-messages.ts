// What the process that mounted and the one that serves through fuse-native say to each other.
import type { PlainError } from '../errors.js';
import type { FsFault } from './types.js';

/** How libfuse mounts: mount(2), or a setuid fusermount for users who may not. */
export type NativeMode = 'mount' | 'fusermount';

/** The first message to native-main.ts. */
export interface NativeInput {
  readonly mountpoint: string;
  readonly name: string;
  readonly mode: NativeMode;
  /** Command that takes the mount away, should nobody else be there to do it. */
  readonly unmount: readonly string[];
  readonly allowOther: boolean;
  readonly module: string;
  readonly args: unknown;
  /** Members of `args` that were counters (shared memory), by name: how many elements each has. */
  readonly counters: Readonly<Record<string, number>>;
  readonly maxReadahead: number | undefined;
  readonly ttlSeconds: number | undefined;
  /** Somebody listens at the other end of the answerer's link. */
  readonly linked: boolean;
}

export type ToNative =
  | { readonly kind: 'mount'; readonly input: NativeInput }
  | { readonly kind: 'link'; readonly message: unknown }
  /** It is unmounted, or must be done with whoever still uses it. */
  | { readonly kind: 'end' };

export type FromNative =
  | { readonly kind: 'serving' }
  | { readonly kind: 'link'; readonly message: unknown }
  | { readonly kind: 'fault'; readonly fault: FsFault }
  /** What was added to an element of a counter. */
  | { readonly kind: 'count'; readonly name: string; readonly index: number; readonly by: number }
  | { readonly kind: 'closed'; readonly result: unknown; readonly faults: number }
  | { readonly kind: 'failed'; readonly error: PlainError };
