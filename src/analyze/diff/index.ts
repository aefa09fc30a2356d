// What changed between two startups, beyond what runs differ.
export type { ChangeOptions } from './changes.js';
export { differs, diffStartups } from './diff.js';
export { ALPHA, type Comparison, compareRuns, rankTest } from './noise.js';
export * from './types.js';
