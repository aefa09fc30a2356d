// How sure a share of the runs is. A file read in 3 of 3 runs is not read always: the interval says what is known.
import type { Profile, Proportion, RangeCount } from './types.js';

/** 0.975 quantile of the normal distribution: two-sided 95 %. */
export const Z95 = 1.959963984540054;

/**
 * Wilson's score interval of a binomial proportion, without continuity correction (Wilson 1927; recommended for few
 * trials by Brown, Cai and DasGupta 2001). It never leaves 0 … 1 and is not empty at 0 or n.
 * @param k successes, 0 … n @param n trials; 0: nothing is known, 0 … 1
 * @example wilson(15, 148) // [0.0624, 0.1605]: Newcombe 1998, table I
 */
export function wilson(k: number, n: number, z = Z95): readonly [low: number, high: number] {
  if (n === 0) return [0, 1];
  const share = k / n;
  const centre = share + (z * z) / (2 * n);
  const half = z * Math.sqrt((share * (1 - share)) / n + (z * z) / (4 * n * n));
  const scale = 1 + (z * z) / n;
  return [k === 0 ? 0 : (centre - half) / scale, k === n ? 1 : (centre + half) / scale];
}

/**
 * The share of runs, and where the probability lies with 95 % confidence. An incomplete run that did not show the
 * access may have had it: it counts as no in the lower end, as yes in the upper end, and not at all in the estimate.
 * @param seen runs that show it @param runs all @param unknown incomplete ones that do not show it
 */
export function proportion(seen: number, runs: number, unknown: number): Proportion {
  const known = runs - unknown;
  return {
    estimate: known === 0 ? 0 : round6(seen / known),
    low: round6(wilson(seen, runs)[0]),
    high: round6(wilson(seen + unknown, runs)[1]),
  };
}

/** Of a byte range of a file: the probability that all of it is read before ready. */
export function rangeProbability(profile: Profile, [, , seen]: RangeCount): Proportion {
  const runs = profile.runs.length;
  const incomplete = profile.runs.filter(({ complete }) => !complete).length;
  // Which of the incomplete runs read it is not kept; at most so many did not.
  return proportion(seen, runs, Math.min(incomplete, runs - seen));
}

export function round6(value: number): number {
  return Math.round(value * 1e6) / 1e6;
}
