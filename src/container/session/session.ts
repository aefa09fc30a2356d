// What the session's process does, from an empty directory to the workload's end.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { HotlayerError } from '../../errors.js';
import { chooseTransport } from '../../fuse/choose.js';
import type { Mounted } from '../../fuse/types.js';
import type { Link } from '../../rootfs/types.js';
import type { Nanos } from '../../units.js';
import { Capture } from '../changes/capture.js';
import { connectNetwork } from '../isolation/network.js';
import { mountRoot } from '../isolation/overlay.js';
import {
  furnish,
  keepLayer,
  type Layout,
  leaveKept,
  makeLayout,
  prepareDevices,
  switchRoot,
} from '../isolation/root.js';
import { runScript, script, shellFor } from '../machine/shell.js';
import { findTool, findTools, type Tools } from '../machine/tools.js';
import { type Namespace, ownNamespace, readIdentity } from '../process/identity.js';
import type { Identity } from '../process/passwd.js';
import { LONGEST_TIMER_MS, ReadyWatch } from '../ready/watch.js';
import type { OutputHook, SessionResult, SessionSpec } from '../types.js';
import { EXEC_FAILED, type LaunchPlan, launchCommand, onTerminal, variableScript } from './launch.js';
import { execFailure, runtimeStart } from './runtime.js';
import { parseSignal } from './signals.js';
import { copySize, sizeOf } from './terminal.js';
import { type Ended, Workload, type WorkloadStart } from './workload.js';

/** Between the stop signal and SIGKILL when the spec does not say. */
export const DEFAULT_GRACE: Nanos = 5e9;

/**
 * @param dir a directory with a private tmpfs on it @param link for the file system's answerer
 * @param onStarted called right after the start: from now on signals are the workload's
 * @throws HL_ERR_MACHINE, HL_ERR_WORKLOAD, HL_ERR_NOT_FOUND, and whatever the file system module throws
 */
export async function conduct(
  spec: SessionSpec,
  dir: string,
  onOutput: OutputHook,
  link?: Link,
  onStarted: (workload: Workload) => void = () => {},
): Promise<SessionResult> {
  process.umask(0o022);
  const tools = findTools();
  const namespace = ownNamespace();
  const made = makeLayout(dir);
  const keep = spec.capture?.keep;
  const layout = keep === undefined ? made : await keepLayer(tools, dir, made, keep);
  const enter = await holdCgroups(tools, dir, spec.cgroups ?? []);
  // Meanwhile the serving thread makes the file system.
  const devices = prepareDevices(tools, dir, layout);
  devices.catch(() => {});
  const activity = new Int32Array(new SharedArrayBuffer(4));
  const transport = await chooseTransport(spec.transport ?? 'raw');
  const mounted = await transport.mount({
    mountpoint: layout.lower,
    module: spec.fs.module,
    // Counting costs a little with each request.
    args: spec.until.some(({ kind }) => kind === 'idle') ? withActivity(spec.fs.args, activity) : spec.fs.args,
    name: 'hotlayer',
    allowOther: true,
    early: true,
    fds: spec.fds,
    ...(link && { link }),
    ...(spec.maxReadahead !== undefined && { maxReadahead: spec.maxReadahead }),
    ...(spec.readdirplus !== undefined && { readdirplus: spec.readdirplus }),
  });
  let workload: Workload | undefined;
  try {
    const stage = await prepare(spec, dir, tools, layout, devices, namespace, onOutput, (w) => {
      workload = w;
    });
    enter(stage.pid);
    const watch = new ReadyWatch(spec.until, {
      ...stage,
      output: stage.workload.output,
      net: spec.net,
      activity,
      tools,
    });
    let outcome: Outcome;
    try {
      await watch.prepare();
      outcome = await follow(spec, stage.workload, watch, onStarted);
    } finally {
      watch.stop();
    }
    const captured = await stage.capture?.end();
    const tail = stage.workload.output.tail();
    return {
      ...outcome,
      ...whyNot(outcome, spec.runtime, stage.workload, tail.at(-1) ?? ''),
      tail,
      ...(await letGo(mounted)),
      writable: stage.writable,
      rootless: namespace.inner,
      uids: namespace.uids,
      warnings: [...stage.warnings, ...(captured?.warnings ?? [])],
      ...(captured && { changes: captured.changes }),
    };
  } finally {
    // After a failure; both are idempotent.
    await workload?.kill().catch(() => {});
    await mounted.unmount();
    if (keep !== undefined) await leaveKept(tools, dir, layout);
  }
}

/**
 * Bound to places of our own, because a runtime does not get to see the machine's (runtime.ts).
 * @returns puts a process, which may not have started others yet, into them @throws HL_ERR_MACHINE, both
 */
async function holdCgroups(tools: Tools, dir: string, directories: readonly string[]): Promise<(pid: number) => void> {
  const places = directories.map((_, i) => `${dir}/cgroup-${i}`);
  for (const place of places) mkdirSync(place);
  const steps = places.map((place, i) => ({ command: [tools.mount, '-n', '--bind', directories[i]!, place] }));
  if (steps.length > 0) await runScript(tools, script(steps), 'hold the cgroup');
  return (pid) => {
    try {
      for (const place of places) writeFileSync(`${place}/cgroup.procs`, String(pid));
    } catch (cause) {
      const message = `the container cannot be put into its cgroup: ${(cause as Error).message}`;
      throw new HotlayerError('HL_ERR_MACHINE', message, { hint: 'leave --memory and --cpus out', cause });
    }
  };
}

/** Whether the program could not be executed at all. */
function whyNot({ exitCode }: Outcome, runtime: SessionSpec['runtime'], workload: Workload, lastLine: string) {
  if (runtime === 'runc' || runtime === 'crun') {
    const status = exitCode === undefined || exitCode === 0 ? undefined : execFailure(workload.complaints());
    return status === undefined ? {} : { exitCode: status, neverRan: true };
  }
  return (exitCode === 126 || exitCode === 127) && EXEC_FAILED.test(lastLine) ? { neverRan: true } : {};
}

interface Stage {
  readonly workload: Workload;
  readonly pid: number;
  readonly writable: SessionResult['writable'];
  readonly warnings: readonly string[];
  readonly capture: Capture | undefined;
}

/** Up to the point where the workload's process waits for its start. */
async function prepare(
  spec: SessionSpec,
  dir: string,
  tools: Tools,
  layout: Layout,
  devices: Promise<readonly string[]>,
  namespace: Namespace,
  onOutput: OutputHook,
  onWorkload: (workload: Workload) => void,
): Promise<Stage> {
  const { writable, warnings, show } = await mountRoot(tools, dir, layout, {
    readonlyRoot: spec.readonlyRoot ?? false,
    userNamespace: namespace.inner,
    capture: spec.capture !== undefined,
    overlay: spec.overlay ?? 'auto',
  });
  const capture = spec.capture && new Capture(dir, layout, show, spec.capture);
  const identity = await readIdentity(layout.root, spec.process.user);
  const furnished = await furnish(tools, dir, layout, spec, writable !== 'readonly', await devices);
  warnings.push(...furnished.warnings);
  capture?.furnished();

  const singleId = !namespace.canBe(identity);
  if (singleId && identity.groups.length > 0) {
    warnings.push(`without root, the supplementary groups ${identity.groups.join(', ')} are missing`);
  }
  const env = withHome(spec.process.env, identity);
  const terminal = spec.terminal;
  const streams = {
    stdin: `${dir}/stdin`,
    stdout: `${dir}/stdout`,
    stderr: `${dir}/stderr`,
    ...(spec.stdin && { input: process.stdin }),
    ...(terminal !== undefined && { terminal }),
  };
  const cgroup2 = / \/sys\/fs\/cgroup .* - cgroup2 /.test(readFileSync('/proc/self/mountinfo', 'utf8'));
  const { runtime = 'builtin' } = spec;
  let start: WorkloadStart;
  if (runtime === 'builtin') {
    const variables = variableScript(env);
    const { shell, env: shellsOwn } = shellFor(tools, variables.unnameable);
    if (!shell.keepsAll) {
      const names = variables.unnameable.map((line) => line.slice(0, line.indexOf('='))).join(', ');
      warnings.push(`environment variables that only bash can pass on are missing, and there is no bash: ${names}`);
    }
    writeFileSync(`${dir}/variables`, variables.text, { mode: 0o644 });
    const plan: LaunchPlan = {
      process: spec.process,
      identity,
      places: furnished.places,
      variables: `${dir}/variables`,
      table: `${dir}/namespace-mounts`,
      hostname: spec.hostname,
      net: spec.net,
      singleId,
      cgroup2,
    };
    const command = launchCommand(plan, tools, shell.path);
    start = {
      command: terminal === undefined ? command : onTerminal(command, findScript(), layout.dev, tools),
      env: shellsOwn,
      control: { kind: 'socket' },
    };
  } else {
    const { proc, sys, mqueue } = furnished.places;
    start = await runtimeStart(runtime, tools, dir, {
      process: spec.process,
      env,
      identity,
      root: layout.root,
      dev: layout.dev,
      places: { proc: proc !== undefined, sys: sys !== undefined, dev: mqueue !== undefined },
      hostname: spec.hostname,
      ownNetwork: spec.net !== 'host',
      inner: namespace.inner,
      renameId: singleId && (identity.uid !== 0 || identity.gid !== 0),
      cgroup2,
      terminal: terminal !== undefined,
      ...(terminal !== undefined && { consoleSize: await sizeOf(terminal) }),
      limits: readFileSync('/proc/self/limits', 'latin1'),
    });
    // It does not look at the size again; its terminal is the first of the container's.
    if (runtime === 'crun' && terminal !== undefined)
      start = { ...start, resized: () => void copySize(terminal, `${layout.dev}/pts/0`) };
  }
  const workload = new Workload(start, streams, onOutput);
  onWorkload(workload);
  warnings.push(...(await workload.prepared()));
  if (runtime === 'builtin') await switchRoot(tools, workload.pid, layout.root);
  await connectNetwork(spec.net, workload.pid, tools, dir, namespace.inner);
  return { workload, pid: workload.pid, writable, warnings, capture };
}

/** @throws HL_ERR_MACHINE */
function findScript(): string {
  const found = findTool('script');
  if (found !== undefined) return found;
  throw new HotlayerError('HL_ERR_MACHINE', 'there is no script command to open a terminal with', {
    hint: 'install util-linux’s script (Debian: apt-get install bsdutils; elsewhere util-linux-script)',
  });
}

type Outcome = Pick<SessionResult, 'startedAt' | 'ready' | 'endedAt' | 'exitCode' | 'signal' | 'stopped' | 'timedOut'>;

/** From start to end: whichever comes first of ready, timeout and the workload's own end. */
async function follow(
  spec: SessionSpec,
  workload: Workload,
  watch: ReadyWatch,
  onStarted: (workload: Workload) => void,
): Promise<Outcome> {
  const stopSignal = parseSignal(spec.stopSignal ?? 'SIGTERM');
  const startedAt = workload.start();
  watch.start(startedAt);
  onStarted(workload);
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<'timeout'>((resolve) => {
    timer = setTimeout(resolve, Math.min(spec.timeoutNanos / 1e6, LONGEST_TIMER_MS), 'timeout');
  });
  const first = await Promise.race([
    watch.ready.then((ready) => ({ ready })),
    workload.ended.then((ended) => ({ ended })),
    timeout,
  ]);
  if (spec.runOn && first !== 'timeout' && 'ready' in first) {
    clearTimeout(timer);
    const ended = await workload.ended;
    return { startedAt, ready: first.ready, ...ending(ended, startedAt), stopped: false };
  }
  clearTimeout(timer);
  if (first === 'timeout') {
    return { startedAt, ...ending(await workload.kill(), startedAt), stopped: false, timedOut: true };
  }
  if ('ready' in first) {
    const ended = await workload.stop(stopSignal, Math.min((spec.graceNanos ?? DEFAULT_GRACE) / 1e6, LONGEST_TIMER_MS));
    return { startedAt, ready: first.ready, ...ending(ended, startedAt), stopped: true };
  }
  const byExit = spec.until.length === 0 || spec.until.some((rule) => rule.kind === 'exit');
  const end = ending(first.ended, startedAt);
  return {
    startedAt,
    ...(byExit && end.exitCode === 0 && { ready: { t: end.endedAt, by: 'exit' } }),
    ...end,
    stopped: false,
  };
}

function ending({ at, exitCode, signal }: Ended, startedAt: bigint) {
  return {
    endedAt: Number(at - startedAt),
    ...(exitCode !== undefined && { exitCode }),
    ...(signal !== undefined && { signal }),
  };
}

async function letGo(mounted: Mounted): Promise<{ fsResult: unknown; fsFaults: number }> {
  await mounted.unmount();
  const fsResult = await mounted.closed;
  return { fsResult, fsFaults: mounted.faults() };
}

function withActivity(args: unknown, activity: Int32Array): unknown {
  const isPlain = typeof args === 'object' && args !== null && Object.getPrototypeOf(args) === Object.prototype;
  return isPlain ? { ...args, activity } : args;
}

/** As runc: the user's home from the image's passwd, unless a variable says otherwise. */
function withHome(env: readonly string[], identity: Identity): string[] {
  const rest = env.filter((line) => line !== 'HOME=');
  return rest.some((line) => line.startsWith('HOME=')) ? [...rest] : [...rest, `HOME=${identity.home}`];
}
