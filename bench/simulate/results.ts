// Cases and predictions → errors, ranks, verdicts. Pure.
import { median } from '../support/statistics.js';

/** One image, network and variant. */
export interface Point {
  readonly image: string;
  readonly network: string;
  readonly variant: string;
  /** Whether the client's times were fitted on this image: its errors do not count as a test. */
  readonly fitted: boolean;
  readonly rounds: number;
  readonly measuredMs: number;
  readonly predictedMs: number;
  readonly measuredBytes: number;
  readonly predictedBytes: number;
  readonly measuredRequests: number;
  readonly predictedRequests: number;
}

export interface Errors {
  readonly points: number;
  /** Of |predicted − measured| / measured. */
  readonly median: number;
  readonly p95: number;
  readonly largest: number;
  /** Median of predicted / measured. */
  readonly bias: number;
}

export function errorsOf(points: readonly Point[], of: 'Ms' | 'Bytes' | 'Requests'): Errors {
  const ratios = points.map((point) => point[`predicted${of}`] / point[`measured${of}`]);
  const errors = ratios.map((ratio) => Math.abs(ratio - 1)).sort((a, b) => a - b);
  if (errors.length === 0) return { points: 0, median: 0, p95: 0, largest: 0, bias: 1 };
  return {
    points: errors.length,
    median: median(errors),
    p95: errors[Math.min(errors.length - 1, Math.ceil(0.95 * errors.length) - 1)]!,
    largest: errors.at(-1)!,
    bias: median(ratios),
  };
}

export interface Ranks {
  /** Pairs of variants of one image on one network whose measured times differ by more than the margin. */
  readonly pairs: number;
  readonly right: number;
  /** In words. */
  readonly wrong: readonly string[];
}

/** @param margin of the faster one's time @param among which pairs are looked at; absent: all */
export function ranksOf(
  points: readonly Point[],
  margin = 0.1,
  among: (a: Point, b: Point) => boolean = () => true,
): Ranks {
  const wrong: string[] = [];
  let pairs = 0;
  for (const [i, a] of points.entries()) {
    for (const b of points.slice(i + 1)) {
      if (a.image !== b.image || a.network !== b.network || !among(a, b)) continue;
      const [fast, slow] = a.measuredMs <= b.measuredMs ? [a, b] : [b, a];
      if (slow.measuredMs <= fast.measuredMs * (1 + margin)) continue;
      pairs += 1;
      if (fast.predictedMs < slow.predictedMs) continue;
      const ms = (value: number) => `${Math.round(value)} ms`;
      wrong.push(
        `${a.image}, ${a.network}: ${fast.variant} was faster than ${slow.variant} (${ms(fast.measuredMs)}, ${ms(slow.measuredMs)}), foretold ${ms(fast.predictedMs)}, ${ms(slow.predictedMs)}`,
      );
    }
  }
  return { pairs, right: pairs - wrong.length, wrong };
}

/** Lazy or not: the plan's variant against the full pull. */
export function verdictsOf(points: readonly Point[], margin = 0.1): Ranks {
  return ranksOf(points, margin, (a, b) => new Set([a.variant, b.variant, 'full', 'hotlayer']).size === 2);
}
