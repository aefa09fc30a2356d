// The few statistics that profiles need. Median and MAD are simple-statistics'; values are rounded to integers,
// because all that is measured here are bytes, nanoseconds and counts.
import {
  mean as meanOf,
  medianAbsoluteDeviation,
  median as medianOf,
  sampleStandardDeviation,
} from 'simple-statistics';
import type { Spread } from './types.js';

/**
 * Median, median absolute deviation from it (unscaled), smallest and largest.
 * @param values at least one
 * @example spreadOf([10, 12, 40]) // { median: 12, mad: 2, min: 10, max: 40 }
 */
export function spreadOf(values: readonly number[]): Spread {
  const [first] = values;
  if (first !== undefined && values.every((value) => value === first)) {
    return { median: Math.round(first), mad: 0, min: first, max: first };
  }
  return {
    median: Math.round(median(values)),
    mad: Math.round(medianAbsoluteDeviation([...values])),
    min: values.reduce((a, b) => Math.min(a, b)),
    max: values.reduce((a, b) => Math.max(a, b)),
  };
}

/** Median of counts, rounded; 0 for none. */
export function medianCount(values: readonly number[]): number {
  return values.length === 0 ? 0 : Math.round(median(values));
}

/** Arithmetic mean of at least one value. */
export function mean(values: readonly number[]): number {
  return meanOf([...values]);
}

/** The middle value, or the mean of the two in the middle. @param values at least one */
export function median(values: readonly number[]): number {
  return medianOf([...values]);
}

/** Of a sample (n − 1). @param values at least two */
export function standardDeviation(values: readonly number[]): number {
  return sampleStandardDeviation([...values]);
}
