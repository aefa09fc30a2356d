// What became of a startup between two profiles.
import type { Bytes, Nanos } from '../../units.js';
import type { Profile, ProfileFile, ProfileRun } from '../types.js';
import type { Comparison } from './noise.js';

export const DIFF_SCHEMA = 1;

/** What is compared: a profile, or what a report keeps of one. */
export interface DiffSide {
  readonly image: Profile['image'];
  readonly files: readonly ProfileFile[];
  readonly runs: readonly Pick<ProfileRun, 'complete' | 'imported' | 'ready' | 'filesRead' | 'bytesRead'>[];
  readonly complete: boolean;
}

/**
 * `hot`, `cold`: opened before ready now, and not before, or the other way round (also: in more, in fewer of the runs,
 * beyond their noise). Of files that are hot in both:
 * `bigger`, `smaller`: more or fewer bytes of it are read (or the same of a file that has grown or shrunk); `later`,
 * `earlier`: first asked for at another time.
 */
export const CHANGE_KINDS = ['hot', 'cold', 'bigger', 'smaller', 'later', 'earlier'] as const;
export type ChangeKind = (typeof CHANGE_KINDS)[number];

export interface FileChange {
  readonly kind: ChangeKind;
  readonly path: string;
  /** Bytes read, medians: after less before. Of `later` and `earlier` 0. */
  readonly bytes: Bytes;
  /** Whole file, after less before; of `hot` the whole size, of `cold` less it. */
  readonly size: Bytes;
  /** First access, median: `hot`, `bigger` … in the profile after, `cold` before. Absent: imported runs have no times. */
  readonly first?: Nanos;
  /** First access, after less before; of `later` and `earlier` only. */
  readonly shift?: Nanos;
  /** Package URL, in the profile where the file is hot (both: after). */
  readonly package?: string;
  /** What made its layer, from the history: as `package`. */
  readonly step?: string;
  readonly comms: readonly string[];
}

/** Changes of one kind, added up. */
export interface ChangeGroup {
  readonly kind: ChangeKind;
  /** Directory, package URL or step; absent: files without package, or whose step is not known. */
  readonly name?: string;
  readonly files: number;
  readonly bytes: Bytes;
  readonly size: Bytes;
  /** Earliest first access of its files. */
  readonly first?: Nanos;
  /** Median of its files' shifts. */
  readonly shift?: Nanos;
  /** Of which most bytes changed (of `later` and `earlier`: which moved furthest). */
  readonly largest: string;
}

export interface Place extends ChangeGroup {
  readonly name: string;
  /** Every hot file below it is among these: "the directory became hot". False: they are files in it, beside others. */
  readonly whole: boolean;
}

export interface PackageChange extends ChangeGroup {
  /** True: no other file of the package is hot in the other profile (of `hot` and `cold`). */
  readonly whole: boolean;
}

export type MeasureId = 'startup-time' | 'startup-files' | 'startup-bytes';

/** A number of which every run has one. */
export interface MeasureChange extends Comparison {
  readonly id: MeasureId;
  readonly label: string;
  readonly unit: 'ns' | 'count' | 'bytes';
  /** In the order of the runs. */
  readonly before: readonly number[];
  readonly after: readonly number[];
  /** Medians. */
  readonly medians: readonly [before: number, after: number];
}

export interface DiffedSide {
  readonly reference: string;
  readonly digest?: string;
  readonly runs: number;
  /** Regular files hot in it. */
  readonly hotFiles: number;
}

export interface StartupDiff {
  readonly schemaVersion: typeof DIFF_SCHEMA;
  readonly tool: string;
  readonly before: DiffedSide;
  readonly after: DiffedSide;
  /** What changed, one sentence each, the weightiest first; empty: nothing did. */
  readonly findings: readonly string[];
  readonly measures: readonly MeasureChange[];
  /** Each sorted by kind, then by what changed, the most first. */
  readonly places: readonly Place[];
  /** Empty: no profile knows of packages, or no file of one changed. */
  readonly packages: readonly PackageChange[];
  /** Empty: no history. */
  readonly steps: readonly ChangeGroup[];
  /** By kind, then by path in byte order. */
  readonly changes: readonly FileChange[];
  /** Files opened in another share of the runs than before, within the noise. */
  readonly unsure: number;
  readonly warnings: readonly string[];
}
