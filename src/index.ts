// The public API: everything the command line does, for programs. Re-exports only; the rooms have the documentation.
export * from './analyze/index.js';
export {
  formatReadyRule,
  makeProcessSpec,
  type ProcessOverrides,
  parseReadyRule,
  runSession,
  type SessionHooks,
  type SessionResult,
  type SessionSpec,
} from './container/index.js';
export { type Check as MachineCheck, probeMachine } from './container/probe.js';
export { type ErrorCode, type ErrorContext, EXIT, HotlayerError, isHotlayerError } from './errors.js';
export * from './image/index.js';
export * from './interop/index.js';
export { bytesToPath, pathToBytes, showPath } from './paths.js';
export { type Budget, type BudgetResult, checkBudgets, parseBudgets, readBudgets } from './report/budgets/index.js';
export type { ReportBase } from './report/changes.js';
export { OUTPUTS, type OutputForm, writeOutput } from './report/outputs.js';
export { assembleReport, type ReportInputs, reportOk, withBudgets } from './report/report.js';
export { readBase, readReport, readSide } from './report/saved-report.js';
export { reportSchema } from './report/schema.js';
export { simulateStarts } from './report/simulate-starts.js';
export type { Metric, Report } from './report/types.js';
export { type InspectOptions, inspectBlob, inspectImage } from './rewrite/inspect/inspect.js';
export { type IndexInspection, inspectIndex } from './rewrite/inspect/inspect-index.js';
export { type OptimizeOptions, type OptimizeResult, optimizeImage } from './rewrite/optimize.js';
export {
  isSingle,
  type OptimizeIndexResult,
  type OptimizeIndexSteps,
  optimizeIndex,
} from './rewrite/optimize-index.js';
export type { VerifyReport } from './rewrite/verify/findings.js';
export { type VerifyOptions, verifyImages } from './rewrite/verify/verify.js';
export { type IndexReport, verifyIndexes } from './rewrite/verify/verify-index.js';
export { type SpooledImage, spoolImage } from './rootfs/spooled-image.js';
export {
  type BlobSource,
  bufferSource,
  CODECS,
  type CodecName,
  fileSource,
  openStargz,
  type StargzBlob,
} from './stargz/index.js';
export type { Trace, TraceEnd, TraceEvent, TraceHeader } from './trace/events.js';
export { readTrace, scanTrace } from './trace/trace-file.js';
