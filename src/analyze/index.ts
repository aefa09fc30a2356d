// Traces → profile → ranking → plan, and the files that hold them.
export { type Carried, type Coverage, carryProfile, counterparts } from './carry.js';
export { mergeProfiles, runsOf } from './merge.js';
export { type CostOptions, costPolicy } from './model/cost-policy.js';
export { type Network, PRESETS, parseNetwork, ROBUST } from './model/network.js';
export {
  DEFAULT_CHUNK_SIZE,
  type PlanInput,
  type PlanLayer,
  type PlanOptions,
  planImage,
  planLayers,
} from './plan.js';
export { type Candidate, type Choice, type Policy, touchedFiles } from './policy.js';
export { buildProfile } from './profile.js';
export { type ProfileOptions, type ProfileProgress, profileDirectory, profileImage } from './profile-image.js';
export { rankFiles } from './rank.js';
export {
  checkPlace,
  formatSaved,
  parsePlan,
  parseProfile,
  readPlan,
  readProfile,
  writePlan,
  writeProfile,
} from './saved.js';
export { planSchema, profileSchema } from './schema.js';
export { summarizeEvents, summarizeTrace } from './summarize.js';
export { type TreeView, viewOfFs, viewOfTree } from './tree-view.js';
export * from './types.js';
