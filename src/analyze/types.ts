// What the analyzer makes of traces: profile → ranking → plan. Each saved form carries schemaVersion and tool.
import type { Bytes, Nanos } from '../units.js';
import type { PackageDatabase } from './packages/types.js';
import type { SavedReplay } from './replay.js';

/** 2: each run keeps its accesses, everything else is counted from them. 1 had sums only and is not read any more. */
export const PROFILE_SCHEMA = 2;
export const PLAN_SCHEMA = 1;

export interface Spread {
  readonly median: number;
  readonly mad: number;
  readonly min: number;
  readonly max: number;
}

export interface ProfileRun {
  /** Of the run's content (idOfRun): the same run in two profiles is known by it. */
  readonly id: string;
  readonly complete: boolean;
  readonly incompleteBecause?: string;
  /** What recorded it, when hotlayer did not: times and ranges may then be made up, so it is not compared or replayed. */
  readonly imported?: string;
  readonly events: number;
  readonly ready?: { readonly t: Nanos; readonly by: string };
  readonly endedAt: Nanos;
  readonly exitCode?: number;
  readonly signal?: string;
  /** Regular files of which bytes were read before ready. */
  readonly filesRead: number;
  /** Distinct bytes of them. */
  readonly bytesRead: Bytes;
  /** Look-ups of names that do not exist: [index in `Profile.misses.directories`, how many], by index. */
  readonly misses: readonly (readonly [directory: number, count: number])[];
  /** All accesses before ready; `replayOf` reads it. */
  readonly replay: SavedReplay;
}

/** A share of runs, and where the probability behind it lies. All 0 … 1. */
export interface Proportion {
  /** Of the runs of which it is known. */
  readonly estimate: number;
  /** Ends of the 95 % interval (Wilson's score interval; interval.ts says what incomplete runs do to it). */
  readonly low: number;
  readonly high: number;
}

/** [offset, length, runs that read all of it]; sorted, disjoint, adjacent ones of equal count merged. */
export type RangeCount = readonly [offset: number, length: number, runs: number];

export interface ProfileFile {
  /** Absolute path as the file system resolved it (no symlink in it); lossless string. */
  readonly path: string;
  readonly type: 'reg' | 'dir' | 'symlink' | 'other';
  /** Index of the layer that owns it, absent for `dir:` sources. */
  readonly layer?: number;
  readonly size: Bytes;
  /** Package URL of the package that it belongs to (packages/purl.ts); absent: none, or nobody looked. */
  readonly package?: string;
  /** Runs in which it was touched before ready, of `runs.length`. */
  readonly seenIn: number;
  /** Runs in which it was opened, read or executed (not only looked up or stat'ed). */
  readonly openedIn: number;
  /** That its content is asked for before ready. Of a range: `rangeProbability`. */
  readonly probability: Proportion;
  readonly firstAccess: Spread;
  /** Distinct bytes read, over the runs that saw it. */
  readonly bytesRead: Spread;
  /** Read calls that reached the file system, median over the runs. */
  readonly reads: number;
  readonly ranges: readonly RangeCount[];
  readonly executed?: true;
  /** Command names that asked for its content, sorted; of a file that nobody opened, those that looked at it first. */
  readonly comms: readonly string[];
}

/** What made a layer. */
export interface LayerStep {
  /** As the history has it: "RUN npm ci"; absent: the history does not say. */
  readonly createdBy?: string;
}

/** What was read of one package. Regular files whose content was asked for. */
export interface PackageUse {
  /** Package URL; absent: files that no package owns. */
  readonly package?: string;
  readonly files: number;
  /** Distinct bytes read, medians added up. */
  readonly bytesRead: Bytes;
  /** Of the whole files: what a prefetch of them takes, uncompressed. */
  readonly size: Bytes;
  /** The file of which most was read. */
  readonly largest: string;
}

/** How alike the runs are that are complete and not imported: means over pairs. 1 for all of them when there are fewer than two. */
export interface Agreement {
  /** Runs that were compared. */
  readonly runs: number;
  /** Jaccard index of the sets of files read, 0 … 1. */
  readonly files: number;
  /** Weighted Jaccard (Ruzicka) index of the bytes read of each file, 0 … 1. */
  readonly bytes: number;
  /** Kendall's tau-b of the order of first accesses to the files that both opened, -1 … 1; absent: nothing to order. */
  readonly order?: number;
}

export type RunMeasure = 'ready' | 'filesRead' | 'bytesRead';

/** A run unlike the others. */
export interface Outlier {
  /** `ProfileRun.id`. */
  readonly run: string;
  /** `files`: it opened, or left out, files that all others treat the other way. */
  readonly measure: RunMeasure | 'files';
  /** ns, files or bytes; of `files`: how many. */
  readonly value: number;
  /** Of all runs; of `files`: 0. */
  readonly median: number;
}

/** Two kinds of runs. */
export interface Modes {
  readonly measure: 'ready' | 'bytesRead' | 'files';
  /** `ProfileRun.id`s, sorted. */
  readonly groups: readonly [readonly string[], readonly string[]];
  /** Of the groups; of `files`: how many files only this group opens. */
  readonly medians: readonly [number, number];
}

/** What more runs would bring. */
export interface Advice {
  /** Files that some runs open and some do not, for which it is open whether prefetching them pays. */
  readonly undecided: number;
  /** Runs worth making; 0: none, for all is decided or cannot be. */
  readonly moreRuns: number;
  /** How many of the undecided files they are expected to decide; 0 also when there are too few runs to tell. */
  readonly settles: number;
}

export interface Profile {
  readonly schemaVersion: typeof PROFILE_SCHEMA;
  readonly tool: string;
  readonly image: {
    readonly reference: string;
    readonly digest?: string;
    readonly files: number;
    readonly bytes: Bytes;
    /** By index; absent for a plain directory. */
    readonly layers?: readonly LayerStep[];
    /** Package databases in it; absent: nobody looked. */
    readonly databases?: readonly PackageDatabase[];
  };
  readonly platform?: { readonly os: string; readonly architecture: string; readonly variant?: string };
  readonly workload: { readonly args: readonly string[]; readonly user: string; readonly cwd: string };
  readonly precision: 'exact' | 'fast';
  readonly until: readonly string[];
  /** False when any run is. */
  readonly complete: boolean;
  readonly runs: readonly ProfileRun[];
  readonly ready?: Spread;
  /** Between the complete runs. */
  readonly agreement: Agreement;
  /** By id of the run; of complete runs, five or more (three for `files`). */
  readonly outliers: readonly Outlier[];
  readonly modes: readonly Modes[];
  readonly advice: Advice;
  /** By path, in byte order. */
  readonly files: readonly ProfileFile[];
  /** What was read, by package: the most first. Absent: nobody looked for packages. */
  readonly packages?: readonly PackageUse[];
  /** Look-ups of names that do not exist: how many, over all runs, and the directories searched most. */
  readonly misses: {
    readonly total: number;
    readonly directories: readonly { readonly path: string; readonly count: number }[];
  };
}

export interface RankedFile {
  readonly path: string;
  readonly score: number;
  /** In words and numbers: "read in 3 of 3 runs, first at 12 ms, 1.2 MiB of 4.0 MiB". */
  readonly because: string;
}

/** Most wanted first. */
export type Ranking = readonly RankedFile[];

export interface PlannedEntry {
  /** Name of the entry in the layer, cleaned (stargz/tar/entry.ts `path`). */
  readonly path: string;
  readonly because: string;
  /** Uncompressed bytes. */
  readonly size: Bytes;
}

export interface LayerPlan {
  readonly index: number;
  readonly digest: string;
  readonly diffId: string;
  /** Entries that go before the landmark, in this order: parents and link targets precede. Empty: no prefetch. */
  readonly hot: readonly PlannedEntry[];
  readonly hotBytes: Bytes;
  readonly landmark: 'prefetch' | 'no-prefetch';
  /** Chunk boundaries per path where they differ from --chunk-size: offsets in the file, ascending, without 0. */
  readonly chunks?: Readonly<Record<string, readonly number[]>>;
}

/** Chunks of one file, in the order in which a start first needs them. */
export interface StartStep {
  readonly layer: number;
  /** Name of the entry in the layer, cleaned. */
  readonly path: string;
  /** Where the chunks begin, offsets in the file. */
  readonly at: readonly Bytes[];
}

/** What a common plan costs one of its workloads. */
export interface WorkloadRegret {
  readonly name: string;
  /** As given; not normalized. */
  readonly weight: number;
  /** By what part its start takes longer than with the plan that is best for it alone; mean over the networks. */
  readonly regret: number;
  /** For each network, in the order of the model's: its start, in ns, with this plan and with its own best one. */
  readonly networks: readonly { readonly nanos: Nanos; readonly best: Nanos }[];
}

/** What the cost model foretells, when the plan was made by it. */
export interface PlanModel {
  /** Lazy client that it is a model of. */
  readonly client: string;
  /** Those that the plan is for. Times are sums over files, besides what every start costs. */
  readonly networks: readonly {
    readonly name: string;
    /** Absent: not limited. */
    readonly bytesPerSecond?: number;
    readonly rtt: Nanos;
    /** What the prefetched files cost. */
    readonly prefetch: Nanos;
    /** What those left behind the landmark cost, on average. */
    readonly misses: Nanos;
  }[];
  /** Compressed bytes before the landmarks, as far as they are files. */
  readonly prefetchBytes: Bytes;
  /** On-demand requests of a start, on average. */
  readonly requests: number;
  /** At most by this part of its time is a start slower than with the best plan there is under the model; 0: it is the best. */
  readonly gap: number;
  /** Of a plan for several workloads: what it costs each of them. */
  readonly workloads?: readonly WorkloadRegret[];
  /** Of a plan that hotlayer's own reader is to be served by, which fetches hot chunks and nothing else. */
  readonly exact?: {
    /** Chunk boundaries that are there for it. */
    readonly boundaries: number;
    /** Compressed bytes that it fetches of the files; their time on each network, in the order of `networks`. */
    readonly bytes: Bytes;
    readonly nanos: readonly Nanos[];
  };
}

export interface Plan {
  readonly schemaVersion: typeof PLAN_SCHEMA;
  readonly tool: string;
  readonly image: { readonly reference: string; readonly digest: string };
  /** False when the profile it rests on was not complete. */
  readonly complete: boolean;
  readonly chunkSize: Bytes;
  readonly layers: readonly LayerPlan[];
  /** Paths of the profile that could not be placed, and why. Nothing is dropped silently. */
  readonly missed: readonly { readonly path: string; readonly reason: string }[];
  /** Hot files that stay behind the landmark because they are cheaper there. Absent: nothing was weighed. */
  readonly behind?: readonly { readonly path: string; readonly because: string }[];
  readonly model?: PlanModel;
  /** What hotlayer's own reader fetches while the container starts, first needed first. Absent: not for that reader. */
  readonly start?: readonly StartStep[];
  /** What is prefetched, by package, the most first; absent: nothing is, or nobody looked. */
  readonly packages?: readonly PackageUse[];
}
