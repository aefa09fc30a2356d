// What other tools' records of accesses and lists of files to prefetch have in common.
import type { Bytes, Nanos } from '../units.js';

/** A file that a start wants. */
export interface Wanted {
  /** Absolute in the image; lossless string (paths.ts). Of an imported one: as the record has it, links not followed. */
  readonly path: string;
  /** [offset, length], in order; absent: all of it, or nobody knows. */
  readonly ranges?: readonly (readonly [offset: Bytes, length: Bytes])[];
  /** Index of its layer; absent: not known. */
  readonly layer?: number;
  /** When it was first asked for, since the first access; absent: only the order is known. */
  readonly t?: Nanos;
  /** True: it was executed. */
  readonly executed?: true;
}

/** A list as another tool has it: first wanted first. */
export interface WantedList {
  readonly files: readonly Wanted[];
  /** What was not taken, and why; a list of what went wrong, not of everything that is not a file. */
  readonly left: readonly { readonly what: string; readonly reason: string }[];
}
