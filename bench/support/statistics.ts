// Few runs on a machine that is never quite quiet: medians, with the interval in which the true one likely lies.

export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** 95 % interval of the median (percentile bootstrap; with few runs it is close to [min, max]). */
  readonly interval: readonly [number, number];
  /** In the order measured. */
  readonly values: readonly number[];
}

const RESAMPLES = 4000;

/** @param values at least one */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function summarize(values: readonly number[]): Summary {
  const random = makeRandom(values.length);
  const medians = Array.from({ length: RESAMPLES }, () => median(resample(values, random)));
  return {
    median: median(values),
    min: Math.min(...values),
    max: Math.max(...values),
    interval: middle95(medians),
    values,
  };
}

export interface Ratio {
  /** Median of `ours` over median of `theirs`. */
  readonly ratio: number;
  readonly interval: readonly [number, number];
}

/** Rounds are resampled as pairs: what slows one round down slows both. @param ours as many as `theirs` */
export function ratioOf(ours: readonly number[], theirs: readonly number[]): Ratio {
  const random = makeRandom(ours.length);
  const rounds = ours.map((value, i) => [value, theirs[i]!] as const);
  const ratio = (pairs: typeof rounds): number => median(pairs.map((p) => p[0])) / median(pairs.map((p) => p[1]));
  return {
    ratio: ratio(rounds),
    interval: middle95(Array.from({ length: RESAMPLES }, () => ratio(resample(rounds, random)))),
  };
}

/**
 * Geometric mean of the ratios of several pairs of series, with the interval when the rounds of each are resampled.
 * @param pairs `[ours, theirs]`, each with as many rounds on both sides; at least one pair
 */
export function geometricMeanRatio(pairs: readonly (readonly [readonly number[], readonly number[]])[]): Ratio {
  const random = makeRandom(pairs.length);
  const rounds = pairs.map(([ours, theirs]) => ours.map((value, i) => [value, theirs[i]!] as const));
  const mean = (all: typeof rounds): number =>
    Math.exp(
      all.reduce((sum, r) => sum + Math.log(median(r.map((p) => p[0])) / median(r.map((p) => p[1]))), 0) / all.length,
    );
  const means = Array.from({ length: RESAMPLES }, () => mean(rounds.map((r) => resample(r, random))));
  return { ratio: mean(rounds), interval: middle95(means) };
}

function resample<T>(values: readonly T[], random: () => number): T[] {
  return values.map(() => values[Math.floor(random() * values.length)]!);
}

function middle95(values: readonly number[]): [number, number] {
  const sorted = [...values].sort((a, b) => a - b);
  return [sorted[Math.floor(sorted.length * 0.025)]!, sorted[Math.ceil(sorted.length * 0.975) - 1]!];
}

/** The same numbers on every run (mulberry32), so that a report is a function of what was measured. */
export function makeRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
