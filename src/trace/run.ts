// One traced run: a fresh mount, the workload on it, a trace file. Page and name caches of the kernel belong to a
// mount, so a fresh one is what makes every first touch show again.
import { closeSync, openSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import {
  type BindMount,
  FIRST_INHERITED_FD,
  formatReadyRule,
  type Net,
  type ProcessSpec,
  type ReadyRule,
  type Runtime,
  runSession,
  type SessionHooks,
  type SessionResult,
  type SessionSpec,
} from '../container/index.js';
import { HotlayerError } from '../errors.js';
import { formatNanos, type Nanos } from '../units.js';
import type { WriterSummary } from './event-writer.js';
import type { TraceEnd, TraceHeader } from './events.js';
import { TRACE_SCHEMA } from './events.js';
import { TOOL } from './tool.js';
import { type TraceFsArgs, traceFsModule } from './trace-fs-module.js';
import { finishTrace } from './trace-writer.js';

/** What is mounted: an image's uncompressed layers (lowest first, open descriptors) or a directory. */
export interface TraceSource {
  readonly image: TraceHeader['image'];
  readonly platform?: TraceHeader['platform'];
  readonly fs:
    | { readonly kind: 'layers'; readonly layers: readonly { readonly fd: number; readonly size: number }[] }
    | { readonly kind: 'dir'; readonly path: string; readonly exclude: readonly string[] };
}

export type SessionRunner = (spec: SessionSpec, hooks?: SessionHooks) => Promise<SessionResult>;

export interface RunOptions {
  readonly process: ProcessSpec;
  /** First that fires; none: exit. */
  readonly until: readonly ReadyRule[];
  /** From the start of the workload until it is ready. */
  readonly timeoutNanos: Nanos;
  /** exact: no readahead and no attributes with listings, so that pages and stats show as asked for. fast: the kernel's defaults. */
  readonly precision: 'exact' | 'fast';
  readonly binds?: readonly BindMount[] | undefined;
  /** Default host. */
  readonly net?: Net | undefined;
  /** Default builtin. */
  readonly runtime?: Runtime | undefined;
  /** See SessionSpec. */
  readonly transport?: SessionSpec['transport'] | undefined;
  /** Default `hotlayer`. */
  readonly hostname?: string | undefined;
  readonly graceNanos?: Nanos | undefined;
  readonly stopSignal?: string | undefined;
  readonly readonlyRoot?: boolean | undefined;
  readonly hooks?: SessionHooks | undefined;
  /** Absent: the built-in runner (container/run-session.ts). */
  readonly session?: SessionRunner | undefined;
}

export interface TracedRun {
  /** The trace file. */
  readonly path: string;
  readonly header: TraceHeader;
  readonly end: TraceEnd;
  readonly result: SessionResult;
}

/**
 * Runs the workload once and leaves its trace at `path`, also when the workload fails.
 * @param dir an existing directory for the raw events and the mount
 * @throws HL_ERR_WORKLOAD when it failed or was killed, HL_ERR_NOT_READY when it never became ready, both with its
 *   last lines; what the session throws (HL_ERR_MACHINE, HL_ERR_INTERRUPTED); HL_ERR_IO
 */
export async function traceRun(
  source: TraceSource,
  path: string,
  dir: string,
  options: RunOptions,
): Promise<TracedRun> {
  const raw = `${path}.raw`;
  let fd: number;
  try {
    fd = openSync(raw, 'wx', 0o600);
  } catch (cause) {
    throw new HotlayerError('HL_ERR_IO', `cannot write the trace ${raw}: ${(cause as Error).message}`, { cause });
  }
  const t0 = process.hrtime.bigint();
  try {
    const result = await (options.session ?? runSession)(sessionSpec(source, fd, t0, dir, options), options.hooks);
    const header = headerOf(source, options);
    const zero = Number(result.startedAt - t0);
    const end = await finishTrace(raw, path, header, zero, (events, cutOff) => endOf(result, events, cutOff));
    judge(result, options);
    return { path, header, end, result };
  } finally {
    closeSync(fd);
    await rm(raw, { force: true });
  }
}

function sessionSpec(source: TraceSource, traceFd: number, t0: bigint, dir: string, options: RunOptions): SessionSpec {
  const exact = options.precision === 'exact';
  const { fs } = source;
  const layers = fs.kind === 'layers' ? fs.layers : [];
  const args: TraceFsArgs = {
    source:
      fs.kind === 'dir'
        ? { ...fs, exclude: [...fs.exclude, dir] }
        : { kind: 'layers', layers: layers.map(({ size }, i) => ({ fd: FIRST_INHERITED_FD + i, size })) },
    traceFd: FIRST_INHERITED_FD + layers.length,
    t0,
  };
  return {
    fs: { module: traceFsModule, args },
    fds: [...layers.map((layer) => layer.fd), traceFd],
    ...(exact ? { maxReadahead: 0, readdirplus: false } : undefined),
    process: options.process,
    binds: options.binds ?? [],
    net: options.net ?? 'host',
    hostname: options.hostname ?? 'hotlayer',
    overlay: 'exact',
    ...(options.runtime === undefined ? undefined : { runtime: options.runtime }),
    ...(options.transport === undefined ? undefined : { transport: options.transport }),
    until: options.until,
    timeoutNanos: options.timeoutNanos,
    ...(options.graceNanos === undefined ? undefined : { graceNanos: options.graceNanos }),
    ...(options.stopSignal === undefined ? undefined : { stopSignal: options.stopSignal }),
    ...(options.readonlyRoot === undefined ? undefined : { readonlyRoot: options.readonlyRoot }),
    tmpdir: dir,
  };
}

function headerOf(source: TraceSource, options: RunOptions): TraceHeader {
  const { args, user, cwd } = options.process;
  return {
    schemaVersion: TRACE_SCHEMA,
    tool: TOOL,
    image: source.image,
    ...(source.platform === undefined ? undefined : { platform: source.platform }),
    workload: { args, user, cwd },
    precision: options.precision,
    until: rulesOf(options),
  };
}

function rulesOf({ until }: RunOptions): string[] {
  return until.length === 0 ? ['exit'] : until.map(formatReadyRule);
}

/** @param events lines found; @param cutOff the last line was not whole */
function endOf(result: SessionResult, events: number, cutOff: boolean): TraceEnd {
  const why: string[] = [];
  const summary = result.fsResult as WriterSummary | undefined;
  if (typeof summary?.events !== 'number') {
    why.push('the file system ended without saying how much it recorded');
  } else if (summary.incompleteBecause !== undefined) {
    why.push(summary.incompleteBecause);
  } else if (summary.events !== events) {
    why.push(`${summary.events} events were recorded, ${events} arrived`);
  }
  if (cutOff) why.push('the last event was cut off');
  const { ready, endedAt, exitCode, signal, fsFaults = 0 } = result;
  if (fsFaults > 0)
    why.push(`${fsFaults} requests failed inside the file system, so the workload saw input/output errors`);
  return {
    end: true,
    events,
    complete: why.length === 0,
    ...(why.length === 0 ? undefined : { incompleteBecause: why.join('; ') }),
    ...(ready === undefined ? undefined : { ready }),
    endedAt,
    ...(exitCode === undefined ? undefined : { exitCode }),
    ...(signal === undefined ? undefined : { signal }),
  };
}

/** Whether the run can be used: the workload became ready. How it ended after that is not asked. */
function judge(result: SessionResult, options: RunOptions): void {
  if (result.ready !== undefined) return;
  const command = options.process.args.join(' ');
  const rules = rulesOf(options).join(' or ');
  const onlyExit = rules === 'exit';
  const said = lastLines(result.tail);
  if (result.timedOut) {
    throw new HotlayerError(
      'HL_ERR_NOT_READY',
      `${command}: not ready (${rules}) within ${formatNanos(options.timeoutNanos)}${said}`,
      {
        hint: onlyExit
          ? 'a workload that does not end needs a rule such as --until line:TEXT, tcp:PORT or idle:2s; or give it more time with --timeout'
          : 'give it more time with --timeout, or choose another rule with --until',
      },
    );
  }
  const after = `after ${formatNanos(result.endedAt)}`;
  const before = onlyExit ? '' : ` before it was ready (${rules})`;
  if (result.signal !== undefined) {
    throw new HotlayerError('HL_ERR_WORKLOAD', `${command}: ended by ${result.signal} ${after}${before}${said}`);
  }
  if (result.exitCode !== 0) {
    throw new HotlayerError(
      'HL_ERR_WORKLOAD',
      `${command}: exit status ${result.exitCode ?? 'unknown'} ${after}${before}${said}`,
    );
  }
  throw new HotlayerError('HL_ERR_NOT_READY', `${command}: ended ${after}${before}${said}`, {
    hint: 'add --until exit if the end of the workload is what you wait for',
  });
}

/** A terminal's escape sequences (ECMA-48 CSI), then all control characters but the tab: output goes into a message. */
const UNSAFE = /\u001b\[[0-9;?]*[ -/]*[@-~]|[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/g;

function lastLines(tail: readonly string[]): string {
  if (tail.length === 0) return '; it said nothing';
  const lines = tail.map((line) => `\n  | ${line.replace(UNSAFE, '')}`).join('');
  return `; its last ${tail.length === 1 ? 'line' : `${tail.length} lines`}:${lines}`;
}
