// The data of the page, as the script in it finds them. Imports nothing: both sides are compiled with it.

/** Columns of equal length, by path. Times are microseconds, sizes bytes; −1: none. */
export interface PageFiles {
  /** Characters that the path has in common with the one before. */
  readonly common: readonly number[];
  /** What follows them. */
  readonly rest: readonly string[];
  readonly layer: readonly number[];
  readonly size: readonly number[];
  readonly read: readonly number[];
  readonly runs: readonly number[];
  /** In the run that the waterfall shows: first and last access, and who asked first (index in `comms`). */
  readonly first: readonly number[];
  readonly last: readonly number[];
  readonly comm: readonly number[];
  /** 1 prefetched, 0 not; −1: no image to look at. */
  readonly hot: readonly number[];
  /** Index in `packages`. */
  readonly owner: readonly number[];
}

export interface PageLayer {
  readonly label: string;
  readonly size: number;
  readonly scale: number;
  readonly exact: boolean;
  readonly landmark: number;
  readonly every: readonly number[];
  readonly some: readonly number[];
  readonly hotFiles: number;
  readonly hotBytes: number;
  readonly prefetch: number;
}

export interface PageImage {
  readonly title: string;
  readonly layers: readonly PageLayer[];
}

export interface PageData {
  readonly runs: number;
  readonly files: PageFiles;
  /** Files of the report that there was no room for. */
  readonly left: number;
  readonly comms: readonly string[];
  readonly packages: readonly string[];
  /** Microseconds; −1: never ready. */
  readonly ready: number;
  readonly end: number;
  /** Microseconds, bytes, files. */
  readonly cumulative: readonly (readonly [number, number, number])[];
  readonly imageBytes: number;
  readonly prefetchBytes: number;
  readonly images: readonly PageImage[];
  /** Of each layer of the image after, or before. */
  readonly trees: readonly PageTree[];
  readonly heat: readonly {
    readonly path: string;
    readonly size: number;
    readonly read: number;
    readonly cells: readonly number[];
  }[];
  readonly stability: {
    readonly openedIn: readonly number[];
    readonly compared: readonly number[];
    readonly jaccard: readonly (readonly number[])[];
    /** path, `0`/`1` for each run, bytes, what became of it. */
    readonly sometimes: readonly (readonly [string, string, number, string])[];
    readonly sometimesTotal: number;
  };
  /** Time to ready of each run, ns; −1: none. */
  readonly times: readonly number[];
  readonly unused: readonly (readonly [string, number, number])[];
  readonly missing: readonly (readonly [string, number, number, string])[];
  readonly misses: readonly (readonly [string, number])[];
  readonly simulation?: PageSimulation;
}

export interface PageTree {
  readonly name: string;
  readonly size: number;
  readonly every: number;
  readonly some: number;
  readonly files: number;
  readonly children?: readonly PageTree[];
}

interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

interface Grid {
  readonly id: string;
  readonly ready: readonly (readonly number[])[];
}

/** Times are nanoseconds. */
export interface PageSimulation {
  readonly networks: readonly { readonly name: string; readonly bytesPerSecond?: number; readonly rtt: number }[];
  readonly variants: readonly {
    readonly id: string;
    readonly label: string;
    readonly on: readonly {
      readonly network: string;
      readonly ready: Spread;
      readonly bytes: Spread;
      readonly requests: Spread;
      readonly misses: Spread;
    }[];
  }[];
  readonly plane?: {
    readonly bytesPerSecond: readonly number[];
    readonly rtts: readonly number[];
    readonly from: Grid;
    readonly to: Grid;
  };
  readonly fetched?: {
    readonly network: string;
    readonly ways: readonly {
      readonly id: string;
      readonly ready: number;
      readonly curve: readonly (readonly [number, number])[];
    }[];
  };
}

/** A time that is not there: no time is so early. */
export const NONE = -(2 ** 40);
