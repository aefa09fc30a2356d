// How many more runs would be worth making: whether a file pays in the prefetch depends on its probability, and for
// some files the runs so far leave both answers open.
import { gammaln } from 'simple-statistics';
import type { Bytes } from '../units.js';
import { wilson } from './interval.js';
import type { Advice } from './types.js';

/** Fewer runs cannot show what varies. */
export const MIN_RUNS = 3;
/** More than this is not advice. */
const MAX_MORE = 20;

/** The network that break-even is computed for: 100 Mbit/s, 20 ms; and what layers usually compress to. */
const BYTES_PER_SECOND = 100e6 / 8;
const ROUND_TRIP_SECONDS = 0.02;
const COMPRESSED = 0.4;

export interface OpenedFile {
  readonly size: Bytes;
  /** Complete runs that opened it. */
  readonly openedIn: number;
}

/**
 * The probability at which prefetching a file costs as much as a miss: with transfer time T and round trip R the
 * prefetch costs T always, the miss R + T with probability p.
 * @returns 0 … 1
 */
export function breakEven(size: Bytes): number {
  const transfer = (COMPRESSED * size) / BYTES_PER_SECOND;
  return transfer / (ROUND_TRIP_SECONDS + transfer);
}

/**
 * Files that some runs opened and some did not, and whose interval (wilson) holds the break-even probability, are
 * undecided. A number of further runs is worth making when it is expected to decide half of them: the expectation
 * is over the beta-binomial distribution of what those runs will show, from Jeffreys' prior.
 * @param files opened in at least one run @param runs complete ones
 */
export function adviceOf(files: Iterable<OpenedFile>, runs: number): Advice {
  const undecided = new Map<string, { k: number; even: number; files: number }>();
  let count = 0;
  for (const { size, openedIn } of files) {
    if (openedIn === 0 || openedIn === runs || decided(openedIn, runs, breakEven(size))) continue;
    count += 1;
    // Alike enough to be asked about once: the expectation is the same to half a per cent.
    const even = Math.round(breakEven(size) * 200) / 200;
    const key = `${openedIn} ${even}`;
    const known = undecided.get(key);
    if (known) known.files += 1;
    else undecided.set(key, { k: openedIn, even, files: 1 });
  }
  if (runs < MIN_RUNS) return { undecided: count, moreRuns: MIN_RUNS - runs, settles: 0 };
  if (count === 0) return { undecided: 0, moreRuns: 0, settles: 0 };
  let settles = 0;
  for (let more = 1; more <= MAX_MORE; more++) {
    settles = 0;
    for (const { k, even, files: alike } of undecided.values()) settles += alike * chance(k, runs, more, even);
    if (settles >= count / 2) return { undecided: count, moreRuns: more, settles: Math.round(settles) };
  }
  // They come and go: more of the same would not make them clearer.
  return { undecided: count, moreRuns: 0, settles: 0 };
}

function decided(k: number, n: number, even: number): boolean {
  const [low, high] = wilson(k, n);
  return even < low || even > high;
}

/** That after `more` runs the interval leaves the break-even out. */
function chance(k: number, n: number, more: number, even: number): number {
  let sum = 0;
  for (let j = 0; j <= more; j++) {
    if (decided(k + j, n + more, even)) sum += betaBinomial(j, more, k + 0.5, n - k + 0.5);
  }
  return sum;
}

/**
 * Probability of j successes in m trials whose probability is Beta(a, b).
 * @example betaBinomial(1, 1, 3.5, 0.5) // 0.875
 */
export function betaBinomial(j: number, m: number, a: number, b: number): number {
  const choose = gammaln(m + 1) - gammaln(j + 1) - gammaln(m - j + 1);
  const beta = (x: number, y: number): number => gammaln(x) + gammaln(y) - gammaln(x + y);
  return Math.exp(choose + beta(j + a, m - j + b) - beta(a, b));
}
