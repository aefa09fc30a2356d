// Sessions for tests: a root of this machine's programs on a file system in memory.
import { readFileSync } from 'node:fs';
import { makeProcessSpec } from '../../src/container/process/process-spec.js';
import { runSession } from '../../src/container/session/run-session.js';
import type { SessionHooks, SessionResult, SessionSpec } from '../../src/container/types.js';
import { probeFuse } from '../../src/fuse/index.js';
import type { ProcessConfig } from '../../src/image/types.js';
import { hostRoot } from './host-root.js';
import { type MemoryFsResult, memoryFsModule, type NodeSpec } from './memory-fs.js';

/** For `{ skip: lackingSession() }`. @throws when sessions are impossible and HOTLAYER_REQUIRE_E2E=1 */
export function lackingSession(): string | false {
  const probe = probeFuse();
  if (probe.ok) return false;
  const reason = `${probe.detail}; ${probe.mend ?? ''}`;
  if (process.env.HOTLAYER_REQUIRE_E2E === '1') throw new Error(`sessions are required here: ${reason}`);
  return reason;
}

export interface SessionPlan extends Partial<Omit<SessionSpec, 'process' | 'fs'>> {
  readonly config: ProcessConfig;
  /** Programs of this machine in /bin, beside sh. */
  readonly programs?: readonly string[];
  readonly nodes?: readonly NodeSpec[];
  /** Another file system module; `programs` and `nodes` are then its args' too. */
  readonly module?: string;
  readonly args?: Readonly<Record<string, unknown>>;
}

export function sessionSpec(plan: SessionPlan): SessionSpec {
  const { config, programs = [], nodes = [], module = memoryFsModule, args = {}, ...rest } = plan;
  return {
    fs: { module, args: { nodes: hostRoot(programs, nodes), ...args } },
    fds: [],
    process: makeProcessSpec(config, { hostname: 'box' }),
    binds: [],
    net: 'none',
    hostname: 'box',
    until: [],
    timeoutNanos: 15e9,
    ...rest,
  };
}

export interface Ran extends SessionResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly fs: MemoryFsResult;
}

export async function run(plan: SessionPlan, hooks: SessionHooks = {}): Promise<Ran> {
  const text = { stdout: '', stderr: '' };
  const result = await runSession(sessionSpec(plan), {
    ...hooks,
    onOutput(chunk, stream) {
      text[stream] += chunk.toString('latin1');
      hooks.onOutput?.(chunk, stream);
    },
  });
  return { ...result, ...text, fs: result.fsResult as MemoryFsResult };
}

/** A shell command as the image's own. */
export function shell(script: string, more: ProcessConfig = {}): ProcessConfig {
  return { Entrypoint: ['sh', '-c'], Cmd: [script], ...more };
}

/** Mount points of this process's namespace; a session must not change them. */
export function mountPoints(): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '');
}
