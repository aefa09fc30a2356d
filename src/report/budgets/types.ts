// Budgets: limits that a report's metrics are held against.
import type { MetricUnit } from './metric.js';

export const AGGREGATES = ['median', 'optimistic', 'pessimistic'] as const;
/** How the runs become one number: the middle one, the best, the worst. What is no matter of runs has one anyway. */
export type Aggregate = (typeof AGGREGATES)[number];

export type Level = 'error' | 'warn';

/** `part`: of the base's value, 0.1 for 10 %; `value`: in the unit of the metric. */
export type Amount = { readonly part: number } | { readonly value: number };

export const LIMITS = ['max', 'min', 'maxIncrease', 'maxDecrease'] as const;
export type LimitKind = (typeof LIMITS)[number];

/** `max` and `min` are values; the others are changes from the base. */
export interface Limit {
  readonly kind: LimitKind;
  readonly amount: Amount;
}

/** One metric's rule, as the file has it, amounts in numbers. */
export interface Budget {
  readonly id: string;
  readonly level: Level;
  readonly aggregate: Aggregate;
  /** Level of the rank test that a change from the base must pass to count, 0 … 1. */
  readonly alpha: number;
  /** At least one. */
  readonly limits: readonly Limit[];
}

export type { MetricUnit };
