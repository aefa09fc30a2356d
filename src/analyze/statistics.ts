// The few statistics that profiles need. Median and MAD are simple-statistics'; values are rounded to integers,
// because all that is measured here are bytes, nanoseconds and counts.
import { median, medianAbsoluteDeviation } from 'simple-statistics';
import type { Spread } from './types.js';

/**
 * Median, median absolute deviation from it (unscaled), smallest and largest.
 * @param values at least one
 * @example spreadOf([10, 12, 40]) // { median: 12, mad: 2, min: 10, max: 40 }
 */
export function spreadOf(values: readonly number[]): Spread {
  return {
    median: Math.round(median([...values])),
    mad: Math.round(medianAbsoluteDeviation([...values])),
    min: values.reduce((a, b) => Math.min(a, b)),
    max: values.reduce((a, b) => Math.max(a, b)),
  };
}

/** Median of counts, rounded; 0 for none. */
export function medianCount(values: readonly number[]): number {
  return values.length === 0 ? 0 : Math.round(median([...values]));
}

/**
 * Jaccard index of two sets: members of both / members of either, 0 … 1. Two empty sets are equal: 1.
 * @example jaccard(new Set('abc'), new Set('bcd')) // 0.5
 */
export function jaccard<T>(a: ReadonlySet<T>, b: ReadonlySet<T>): number {
  let both = 0;
  for (const member of a) if (b.has(member)) both += 1;
  const either = a.size + b.size - both;
  return either === 0 ? 1 : both / either;
}

/** Mean Jaccard index over all pairs, six decimals; 1 for fewer than two sets. Order-free. */
export function meanPairwiseJaccard<T>(sets: readonly ReadonlySet<T>[]): number {
  const indices: number[] = [];
  for (let i = 0; i < sets.length; i++) {
    for (let j = i + 1; j < sets.length; j++) indices.push(jaccard(sets[i]!, sets[j]!));
  }
  if (indices.length === 0) return 1;
  // Sorted before they are added: a sum of floating-point numbers depends on the order.
  const sum = indices.sort((a, b) => a - b).reduce((a, b) => a + b, 0);
  return Math.round((sum / indices.length) * 1e6) / 1e6;
}
