// The one object that every output renders. Nothing that renders it computes: what is shown is here, in integers with
// units (bytes, nanoseconds, counts) or shares 0 … 1, with the sentences that say what it means. Absent is never zero.

import type { ChangeGroup, ChangeKind, PackageChange, Place } from '../analyze/diff/index.js';
import type { SavedReplay } from '../analyze/replay.js';
import type { Plan, Profile, ProfileRun, Spread } from '../analyze/types.js';
import type { VerifyReport } from '../rewrite/verify/findings.js';
import type { Bytes, Nanos } from '../units.js';

export const REPORT_SCHEMA = 1;

export type MetricUnit = 'ns' | 'bytes' | 'count' | 'share';

/** One number that a budget can be set on. */
export interface Metric {
  /** `startup-bytes`: what budgets, exports and comparisons call it. Stable from version to version. */
  readonly id: string;
  /** For people, as a heading. */
  readonly label: string;
  readonly unit: MetricUnit;
  readonly better: 'lower' | 'higher';
  /** Of something measured in every run: the median. */
  readonly value: number;
  /** In the order of the runs, those that are known; absent: it is no matter of runs. */
  readonly runs?: readonly number[];
  /** True: computed by a model of a lazy client, not measured. */
  readonly simulated?: true;
  /** The same of what the report compares with. */
  readonly base?: { readonly value: number; readonly runs?: readonly number[] };
}

/** A rule that was held against the report: a budget. */
export interface BudgetResult {
  /** Metric id. */
  readonly id: string;
  /** What a failure means: `error` fails the command, `warn` does not. */
  readonly level: 'error' | 'warn';
  readonly ok: boolean;
  /** Which of the budget's limits: `max`, `maxIncrease` …; absent: not said. */
  readonly limit?: string;
  /** `≤ 60.0 MiB`. */
  readonly expected: string;
  /** `38.2 MiB`. */
  readonly found: string;
  /** All values, how they were summed up, why a difference counts or not; absent: nothing to add. */
  readonly detail?: string;
}

/** A run without what it takes to play it again. */
export type ReportRun = Omit<ProfileRun, 'replay' | 'misses'> & {
  /** From 1, as people count. */
  readonly number: number;
  /** Look-ups of names that do not exist. */
  readonly failedLookups: number;
};

export type ReportProfile = Omit<Profile, 'runs' | 'image' | 'workload' | 'platform'>;

/** One thread under one name in the run that stands for all. */
export interface ProcessUse {
  readonly pid: number;
  readonly comm?: string;
  /** Index of the row it came from. */
  readonly parent?: number;
  /** First and last access; absent: it asked for nothing itself. */
  readonly first?: Nanos;
  readonly last?: Nanos;
  /** Files that it was the first to ask for. */
  readonly files: number;
  /** Bytes that its reads delivered. */
  readonly bytes: Bytes;
}

/** The run whose time to ready is the median (of an even number: the faster one of the two in the middle). */
export interface Startup {
  /** `ProfileRun.id`. */
  readonly run: string;
  /** Number of the run, from 1. */
  readonly number: number;
  readonly ready?: Nanos;
  /** Of all accesses. */
  readonly end: Nanos;
  readonly processes: readonly ProcessUse[];
  /** Files of which this run asked for the content, by first access; columns of equal length. */
  readonly files: {
    /** Index in `profile.files`. */
    readonly file: readonly number[];
    /** First access, and the end of the last one. */
    readonly first: readonly Nanos[];
    readonly last: readonly Nanos[];
    /** Distinct bytes read. */
    readonly bytes: readonly Bytes[];
    /** Index in `processes` of the first that asked. */
    readonly process: readonly number[];
  };
  /** [time, distinct bytes read until then, files opened until then], at most MAX_POINTS, the last one at the end. */
  readonly cumulative: readonly (readonly [t: Nanos, bytes: Bytes, files: number])[];
  /** All accesses, for traces in other tools' formats. */
  readonly replay: SavedReplay;
}

/** A file that some runs open and others do not. */
export interface SometimesFile {
  readonly path: string;
  /** `1` or `0` for each run, in their order. */
  readonly runs: string;
  readonly bytes: Bytes;
  /** Whether it lies before the landmark of the image after; absent: there is none to look at. */
  readonly prefetched?: boolean;
  /** Why, as the plan says; absent: no plan, or it does not say. */
  readonly because?: string;
}

export interface Stability {
  /** Regular files opened in exactly 1, 2, … n runs. */
  readonly openedIn: readonly number[];
  /** Numbers of the runs in `jaccard`, at most MAX_COMPARED. */
  readonly compared: readonly number[];
  /** Jaccard index of the files opened, of each pair; 0 … 1, three decimals. */
  readonly jaccard: readonly (readonly number[])[];
  /** The largest, at most MAX_SOMETIMES; `sometimesTotal` says how many there are. */
  readonly sometimes: readonly SometimesFile[];
  readonly sometimesTotal: number;
}

/** Where in a big file a start reads. */
export interface FileHeat {
  readonly path: string;
  readonly size: Bytes;
  /** Distinct bytes read, median over the runs. */
  readonly read: Bytes;
  /** Equal parts of the file: of the bytes in it times the runs, how many per cent were read, 0 … 100. */
  readonly cells: readonly number[];
}

export interface TreeNode {
  /** Of the directory or file; several directories with nothing beside them are one: `usr/lib`. */
  readonly name: string;
  /** Bytes of the files in it, uncompressed. */
  readonly size: Bytes;
  /** Of these, in files opened in every run, and in files opened in some. The rest is cold. */
  readonly every: Bytes;
  readonly some: Bytes;
  readonly files: number;
  /** Largest first; small ones are summed up as `…`. */
  readonly children?: readonly TreeNode[];
}

export interface LayerView {
  readonly index: number;
  readonly digest: string;
  /** Of the blob, and uncompressed. */
  readonly size: Bytes;
  readonly uncompressedSize: Bytes;
  readonly format: 'estargz' | 'gzip' | 'zstd' | 'tar';
  readonly createdBy?: string;
  readonly entries: number;
  readonly landmark?: { readonly kind: 'prefetch' | 'no-prefetch'; readonly offset: Bytes };
  readonly prefetchBytes: Bytes;
  /** Files with content that a start opens, and their bytes as they lie in the blob (uncompressed unless `exact`). */
  readonly hotFiles: number;
  readonly hotBytes: Bytes;
  /** Whether places are those in the blob; else they are those in the uncompressed tar. */
  readonly exact: boolean;
  /** Equal parts of the blob (of the tar): per cent of it that files opened in every run, in some runs, take. */
  readonly barcode: { readonly every: readonly number[]; readonly some: readonly number[] };
  readonly tree: TreeNode;
}

export interface ImageView {
  readonly reference: string;
  readonly digest: string;
  readonly platform: string;
  readonly size: Bytes;
  readonly prefetchBytes: Bytes;
  readonly layers: readonly LayerView[];
}

export interface ListedFile {
  readonly path: string;
  readonly layer: number;
  /** Uncompressed. */
  readonly size: Bytes;
  /** Distinct bytes read, median. */
  readonly read: Bytes;
  readonly because?: string;
}

/** What lies before the landmarks of the image after, held against what the runs read. */
export interface PrefetchView {
  /** Uncompressed bytes and files before the landmarks. */
  readonly bytes: Bytes;
  readonly files: number;
  /** Compressed bytes that a client fetches before the start. */
  readonly compressed: Bytes;
  /** Indices in `profile.files` of those that lie there, ascending. */
  readonly covered: readonly number[];
  /** Of the bytes that a start reads, how many lie there, 0 … 1; 1 when nothing is read. */
  readonly coverage: number;
  /** Of the bytes there, how many are in files that no run opened, 0 … 1. */
  readonly waste: number;
  /** Largest first, at most MAX_LISTED. */
  readonly unused: { readonly files: number; readonly bytes: Bytes; readonly largest: readonly ListedFile[] };
  /** Read, but behind a landmark. Most read first, at most MAX_LISTED. */
  readonly missing: { readonly files: number; readonly bytes: Bytes; readonly largest: readonly ListedFile[] };
}

export type VariantId = 'pull' | 'lazy-before' | 'lazy-after' | 'ideal';

export interface SimulatedOn {
  /** `ReportSimulation.networks` name. */
  readonly network: string;
  readonly ready: Spread;
  readonly bytes: Spread;
  readonly requests: Spread;
  /** Chunks that the workload waited for. */
  readonly misses: Spread;
  /** Time to ready of each run that was played. */
  readonly runs: readonly Nanos[];
}

export interface SimulationVariant {
  readonly id: VariantId;
  readonly label: string;
  readonly on: readonly SimulatedOn[];
}

/** Starts played again on a model of a lazy client. Never measured: everything that shows it says "simulated". */
export interface ReportSimulation {
  readonly client: string;
  /** Absent rate: not limited. */
  readonly networks: readonly { readonly name: string; readonly bytesPerSecond?: number; readonly rtt: Nanos }[];
  readonly variants: readonly SimulationVariant[];
  /** Median time to ready of two variants over rates and round-trip times: `ready[i][j]` is at rates[i], rtts[j]. */
  readonly plane?: {
    readonly bytesPerSecond: readonly number[];
    readonly rtts: readonly Nanos[];
    readonly from: { readonly id: VariantId; readonly ready: readonly (readonly Nanos[])[] };
    readonly to: { readonly id: VariantId; readonly ready: readonly (readonly Nanos[])[] };
  };
  /** How the bytes of the median run come on one of the networks, each way, until it is ready; compressed bytes. */
  readonly fetched?: {
    readonly network: string;
    readonly ways: readonly {
      readonly id: VariantId;
      readonly ready: Nanos;
      readonly curve: readonly (readonly [t: Nanos, bytes: Bytes])[];
    }[];
  };
  /** Runs that could not be played, and why. */
  readonly left: readonly string[];
}

/** What became of the startup since the base, beyond the noise of the runs (analyze/diff). */
export interface ReportChanges {
  /** One sentence each, the weightiest first; empty: nothing changed. */
  readonly findings: readonly string[];
  /** Files that changed; bytes read, after less before. Kinds of which there are none are missing. */
  readonly kinds: readonly { readonly kind: ChangeKind; readonly files: number; readonly bytes: Bytes }[];
  /** By kind, then the most changed first; at most 50 of each list. */
  readonly places: readonly Place[];
  readonly packages: readonly PackageChange[];
  readonly steps: readonly ChangeGroup[];
  /** Files opened in another share of the runs than before, within the noise. */
  readonly unsure: number;
}

/** What each chart shows, in words. Absent: there is nothing to show. */
export interface Findings {
  readonly verdict: string;
  readonly startup?: string;
  readonly cumulative?: string;
  readonly fetched?: string;
  readonly stability: string;
  readonly heat?: string;
  readonly layers?: string;
  /** Since the base. */
  readonly changes?: string;
  readonly tree?: string;
  readonly prefetch?: string;
  readonly simulation?: string;
  readonly misses: string;
  readonly files: string;
}

export interface Report {
  readonly schemaVersion: typeof REPORT_SCHEMA;
  readonly tool: string;
  /** ISO 8601, from SOURCE_DATE_EPOCH; absent: not said, for a clock would make every report another one. */
  readonly date?: string;
  readonly findings: Findings;
  readonly image: Profile['image'];
  readonly workload: Profile['workload'] & { readonly until: readonly string[] };
  readonly environment: {
    /** Program that recorded the profile. */
    readonly profiledBy: string;
    readonly platform?: string;
    readonly precision: Profile['precision'];
  };
  readonly metrics: readonly Metric[];
  readonly runs: readonly ReportRun[];
  readonly profile: ReportProfile;
  /** Absent: no run has accesses with times (all were imported). */
  readonly startup?: Startup;
  readonly stability: Stability;
  /** Big files of which a part is read, the biggest first. */
  readonly heat: readonly FileHeat[];
  readonly before?: ImageView;
  readonly after?: ImageView;
  readonly prefetch?: PrefetchView;
  readonly plan?: Plan;
  /** Absent: not simulated. */
  readonly simulation?: ReportSimulation;
  /** Absent: not verified. */
  readonly verification?: VerifyReport;
  /** Absent: none were set. */
  readonly budgets?: readonly BudgetResult[];
  /** What `Metric.base` is of. */
  readonly base?: { readonly reference: string; readonly digest?: string; readonly runs: number };
  /** Since the base; absent: there is none. */
  readonly changes?: ReportChanges;
  readonly warnings: readonly string[];
  /** How it was made, and what it cannot know. */
  readonly method: readonly string[];
}
