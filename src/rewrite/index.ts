// New layers, and the proof that nothing else changed.

export {
  type BlobInspection,
  type EntryInspection,
  type ImageInspection,
  type InspectOptions,
  inspectBlob,
  inspectImage,
  type LayerInspection,
  type StargzInspection,
  type TouchedInspection,
} from './inspect/inspect.js';
export {
  type LayerWarning,
  type OptimizedLayerResult,
  type OptimizeOptions,
  type OptimizeResult,
  optimizeImage,
} from './optimize.js';
export { checkPlanFits, planWithout } from './plan-fit.js';
export type { OnProgress, Progress } from './progress.js';
export type { Check, CheckId, Exception, Mismatch, VerifyReport } from './verify/findings.js';
export { type VerifyOptions, verifyImages } from './verify/verify.js';
