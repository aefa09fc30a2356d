// Is a difference between two sets of runs more than runs differ among themselves? The rank-sum test of Wilcoxon, Mann
// and Whitney, two-sided: exact, also with ties, as long as there are few runs; it assumes nothing of how values are
// spread, and one outlier moves it little. Over values 0 and 1 it is a two-sided form of Fisher's exact test.
import { cumulativeStdNormalProbability } from 'simple-statistics';

/** What is taken for chance at most: the level of the test. */
export const ALPHA = 0.05;
/** Up to so many values the distribution is counted out, beyond it is taken for normal. */
const EXACT = 60;

export interface Comparison {
  /** `unknown`: a side has fewer than two runs, so nothing is known of its noise. */
  readonly noise: 'beyond' | 'within' | 'unknown';
  /** How likely so large a difference is by chance, 0 … 1; absent: unknown. */
  readonly p?: number;
  /** By which rule, in words and numbers. */
  readonly because: string;
}

/**
 * The rule that every comparison of runs in this product follows: a difference counts when p ≤ alpha. So few runs that
 * no outcome could have that p (3 against 3: the least is 0.1) count when all of one side lie beyond all of the other.
 * @param alpha 0 … 1
 */
export function compareRuns(before: readonly number[], after: readonly number[], alpha = ALPHA): Comparison {
  const [n, m] = [before.length, after.length];
  const sides = `${n} against ${m} runs`;
  if (n < 2 || m < 2) return { noise: 'unknown', because: `${sides}: too few to know their noise` };
  const p = rankTest(before, after);
  const text = `rank test, ${sides}: p ${p < 0.001 ? '< 0.001' : `= ${Number(p.toPrecision(2))}`}`;
  if (p <= alpha) return { noise: 'beyond', p, because: text };
  if (leastP(n, m) > alpha && apart(before, after)) {
    return { noise: 'beyond', p, because: `${text}, the least that so few can have; the two sides do not overlap` };
  }
  return { noise: 'within', p, because: text };
}

/** Every value of one side is larger than every value of the other. */
function apart(a: readonly number[], b: readonly number[]): boolean {
  const [least, most] = [(values: readonly number[]) => values.reduce((x, y) => Math.min(x, y)), maximum];
  return most(a) < least(b) || most(b) < least(a);
}

function maximum(values: readonly number[]): number {
  return values.reduce((x, y) => Math.max(x, y));
}

/** Of two sets without ties that do not overlap: 2 / (n + m over n). */
export function leastP(n: number, m: number): number {
  let ways = 1;
  for (let i = 1; i <= n; i++) ways = (ways * (m + i)) / i;
  return Math.min(1, 2 / ways);
}

/**
 * Two-sided p of the rank-sum test: of all ways to deal the values out to the two sides, the part in which the sum of
 * the ranks is at least as far from its mean as it is here. Tied values have the mean of their ranks.
 * @param a @param b at least one value each
 * @example rankTest([1, 2, 3, 4], [5, 6, 7, 8]) // 2/70
 */
export function rankTest(a: readonly number[], b: readonly number[]): number {
  const ranks = doubledRanks([...a, ...b]);
  const [n, total] = [a.length, a.length + b.length];
  const sum = ranks.slice(0, n).reduce((x, y) => x + y, 0);
  // Mean of the doubled sum: n (N + 1).
  const distance = Math.abs(sum - n * (total + 1));
  if (distance === 0) return 1;
  return total <= EXACT ? exactP(ranks, n, distance) : normalP(ranks, n, distance);
}

/** Ranks from 1, tied ones averaged, times two: integers. */
function doubledRanks(values: readonly number[]): number[] {
  const order = values.map((_, i) => i).sort((i, j) => values[i]! - values[j]!);
  const ranks = new Array<number>(values.length);
  for (let from = 0; from < order.length; ) {
    let to = from;
    while (to < order.length && values[order[to]!] === values[order[from]!]) to += 1;
    for (let i = from; i < to; i++) ranks[order[i]!] = from + 1 + to;
    from = to;
  }
  return ranks;
}

/** Counts the subsets of n ranks by their sum: ways[k][s], one rank after the other. */
function exactP(ranks: readonly number[], n: number, distance: number): number {
  const most = ranks.reduce((x, y) => x + y, 0);
  const ways = Array.from({ length: n + 1 }, () => new Float64Array(most + 1));
  ways[0]![0] = 1;
  for (const [seen, rank] of ranks.entries()) {
    for (let k = Math.min(n, seen + 1); k >= 1; k--) {
      const [from, to] = [ways[k - 1]!, ways[k]!];
      for (let s = most; s >= rank; s--) to[s]! += from[s - rank]!;
    }
  }
  const mean = n * (ranks.length + 1);
  let [all, far] = [0, 0];
  for (const [s, count] of ways[n]!.entries()) {
    all += count;
    if (Math.abs(s - mean) >= distance) far += count;
  }
  return far / all;
}

/** Normal approximation: the variance of a sum of n values drawn from these, corrected for continuity (half a rank). */
function normalP(ranks: readonly number[], n: number, distance: number): number {
  const total = ranks.length;
  const mean = total + 1;
  const variance = ranks.reduce((sum, rank) => sum + (rank - mean) ** 2, 0) / (total - 1);
  const deviation = Math.sqrt((variance * n * (total - n)) / total);
  const z = Math.max(0, distance - 1) / deviation;
  return Math.min(1, 2 * (1 - cumulativeStdNormalProbability(z)));
}
