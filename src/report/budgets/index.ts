// Limits on a startup, for CI.
export { type BudgetResult, type CheckedMetric, checkBudgets, requireNoBase } from './check.js';
export { METRIC_IDS } from './metric.js';
export { readBudgets } from './read.js';
export { parseBudgets } from './rules.js';
export type { Aggregate, Amount, Budget, Level, Limit } from './types.js';
