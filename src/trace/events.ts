// The trace file: NDJSON. First line: header; then one line per event, in the order the file system saw them; last
// line: the end record. A file without an end record was cut off and counts as incomplete.
import type { Nanos } from '../units.js';

export const TRACE_SCHEMA = 1;

export type Op = 'lookup' | 'getattr' | 'open' | 'read' | 'readlink' | 'readdir' | 'getxattr';

export interface TraceHeader {
  readonly schemaVersion: typeof TRACE_SCHEMA;
  readonly tool: string;
  /** Reference as given, and digest of the platform's manifest (absent for `dir:`). */
  readonly image: { readonly reference: string; readonly digest?: string };
  readonly platform?: { readonly os: string; readonly architecture: string; readonly variant?: string };
  readonly workload: { readonly args: readonly string[]; readonly user: string; readonly cwd: string };
  readonly precision: 'exact' | 'fast';
  /** Ready rules in force, as text (`line:ready`). */
  readonly until: readonly string[];
  /** What recorded it, when hotlayer did not: times and ranges may then be made up. */
  readonly imported?: string;
}

export interface TraceEvent {
  /** Nanoseconds since the workload was started; negative for what the runner itself read before. */
  readonly t: Nanos;
  readonly op: Op;
  /** Absolute in the container, lossless string (paths.ts). For a failed lookup: the name that was not there. */
  readonly path: string;
  /** read only: the bytes that were delivered. */
  readonly offset?: number;
  readonly length?: number;
  readonly pid: number;
  /** Command name of the process; absent when it had gone. */
  readonly comm?: string;
  /**
   * Only in the first event of a pid: the process that it is a thread of, or, for a process, its parent. Absent: not
   * known, or none that this machine numbers.
   */
  readonly parent?: number;
  /** Positive errno when the operation failed (2 = ENOENT). */
  readonly errno?: number;
  /** open only: the file is being executed. */
  readonly exec?: true;
  /** Nanoseconds the file system took. */
  readonly dur: Nanos;
}

export interface TraceEnd {
  readonly end: true;
  /** Events written; a reader counts for itself. */
  readonly events: number;
  /** False when any event may have been lost. */
  readonly complete: boolean;
  /** Why it is not complete. */
  readonly incompleteBecause?: string;
  readonly ready?: { readonly t: Nanos; readonly by: string };
  readonly endedAt: Nanos;
  readonly exitCode?: number;
  readonly signal?: string;
}

/** A trace as read back. */
export interface Trace {
  readonly header: TraceHeader;
  readonly events: readonly TraceEvent[];
  readonly end: TraceEnd;
}
