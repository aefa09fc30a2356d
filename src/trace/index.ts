// Recording what a workload asks of its root file system, and the files that hold the record.
export type { WriterSummary } from './event-writer.js';
export * from './events.js';
export { checkSchema, type Mismatch, requireSchema, type Schema } from './json-schema.js';
export { type EventSink, OPEN_EXEC, type RecorderOptions, traced } from './recorder.js';
export { type RunOptions, type SessionRunner, type TracedRun, type TraceSource, traceRun } from './run.js';
export { traceEndSchema, traceEventSchema, traceHeaderSchema } from './schema.js';
export { TOOL } from './tool.js';
export { readTrace, scanTrace, type TraceSummary } from './trace-file.js';
export { type FsSource, type TraceFsArgs, traceFsModule } from './trace-fs-module.js';
export { copyTrace, writeTrace } from './trace-writer.js';
