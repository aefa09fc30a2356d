// A workload on a root file system that hotlayer serves: what to run, when it is ready, and how it ends.

export { writeTo } from './flow.js';
export { refuseTakenPorts } from './listening.js';
export { type GroupEntry, type Identity, type PasswdEntry, parseGroup, parsePasswd, resolveUser } from './passwd.js';
export { type Check, probeMachine } from './probe.js';
export { DEFAULT_PATH, makeProcessSpec, mergeEnv, type ProcessOverrides, parseEnvFile } from './process-spec.js';
export { formatReadyRule, parseReadyRule } from './ready.js';
export { runSession, type StartedSession, type StartOptions, startSession } from './run-session.js';
export { quote } from './shell.js';
export { parseSignal } from './signals.js';
export * from './types.js';
