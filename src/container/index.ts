// A workload on a root file system that hotlayer serves: what to run, when it is ready, and how it ends.

export { quote } from './machine/shell.js';
export { type Check, probeMachine } from './probe.js';
export {
  type GroupEntry,
  type Identity,
  type PasswdEntry,
  parseGroup,
  parsePasswd,
  resolveUser,
} from './process/passwd.js';
export {
  DEFAULT_PATH,
  makeProcessSpec,
  mergeEnv,
  type ProcessOverrides,
  parseEnvFile,
} from './process/process-spec.js';
export { refuseTakenPorts } from './ready/listening.js';
export { formatReadyRule, parseReadyRule } from './ready/ready.js';
export { writeTo } from './session/flow.js';
export { runSession, type StartedSession, type StartOptions, startSession } from './session/run-session.js';
export { parseSignal } from './session/signals.js';
export * from './types.js';
