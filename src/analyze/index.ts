// Traces → profile → ranking → plan, and the files that hold them.
export { type Carried, type Coverage, carryProfile, counterparts } from './carry.js';
export * from './diff/index.js';
export { proportion, rangeProbability, wilson } from './interval.js';
export { type MergeOptions, mergeProfiles, runsOf } from './merge.js';
export { type CostOptions, costPolicy } from './model/cost-policy.js';
export { type Network, PRESETS, parseNetwork, ROBUST } from './model/network.js';
export { type WorkloadOptions, workloadPolicy } from './model/workload-policy.js';
export { type FileOwners, layerSteps, ownersInImage, ownersOf } from './packages/attribute.js';
export { parsePurl, purlOf } from './packages/purl.js';
export type { Package, PackageDatabase, PackageKind } from './packages/types.js';
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
export type { RecordedFile, RecordedRun, RunOrigin } from './recorded-run.js';
export {
  type Access,
  accessAt,
  accessesOf,
  MAX_REPLAY_ACCESSES,
  REPLAY_OPS,
  type Replay,
  type ReplayOp,
  type ReplayProcess,
  replayOf,
  type SavedReplay,
} from './replay.js';
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
export { type Forecast, forecast, type Verdict } from './simulate/forecast.js';
export { layoutOfBlobs } from './simulate/layout.js';
export { layoutOfPlan } from './simulate/plan-layout.js';
export { type Simulated, simulate, Workload } from './simulate/simulate.js';
export { summarizeEvents, summarizeTrace } from './summarize.js';
export { type TreeView, viewOfFs, viewOfTree } from './tree-view.js';
export * from './types.js';
export { type GivenProfile, poolWorkloads, rankWorkloads, type WeighedWorkload, workloadsOf } from './workloads.js';
