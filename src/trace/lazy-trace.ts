// A trace of an image that is fetched as it is read, taken while it is used: `run --trace`, `mount --trace`. Reads that
// wait for their bytes are answered, and recorded, by another thread; the trace has all of them in order of time.
import { closeSync, openSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { HotlayerError } from '../errors.js';
import type { LazyLayerArgs } from '../lazy/lazy-fs.js';
import type { TraceEnd, TraceHeader } from './events.js';
import { TRACE_SCHEMA } from './events.js';
import { TOOL } from './tool.js';
import { type LazySummary, type TraceFsArgs, traceFsModule } from './trace-fs-module.js';
import { finishTrace } from './trace-writer.js';

export type LazyTraceHeader = Omit<TraceHeader, 'schemaVersion' | 'tool'>;

/** How what was traced ended; times from its start. */
export type LazyTraceOutcome = Pick<TraceEnd, 'ready' | 'endedAt' | 'exitCode' | 'signal'> & {
  /** What the mount's `closed` gave; undefined: it ended in a way that gave nothing. */
  readonly fsResult?: unknown;
  /** Requests that failed inside the file system. */
  readonly fsFaults?: number;
};

export class LazyTrace implements AsyncDisposable {
  /** CLOCK_MONOTONIC at the start of the recording. */
  readonly t0 = process.hrtime.bigint();
  /** For the events of the serving thread, and those of the mounting thread. */
  readonly fds: readonly [raw: number, late: number];
  readonly #path: string;
  #open = true;

  /** @throws HL_ERR_IO when it cannot be written there */
  constructor(path: string) {
    this.#path = path;
    const raw = openNew(`${path}.raw`);
    try {
      this.fds = [raw, openNew(`${path}.late`)];
    } catch (error) {
      closeSync(raw);
      throw error;
    }
  }

  /** The file system to mount. @param fds as the serving process knows those above */
  fs(
    layers: readonly LazyLayerArgs[],
    [traceFd, lateFd]: readonly [number, number] = this.fds,
  ): { readonly module: string; readonly args: TraceFsArgs } {
    return { module: traceFsModule, args: { source: { kind: 'lazy', layers }, traceFd, lateFd, t0: this.t0 } };
  }

  /**
   * Writes the trace.
   * @param startedAt CLOCK_MONOTONIC that is t = 0
   * @throws HL_ERR_IO
   */
  async finish(header: LazyTraceHeader, startedAt: bigint, outcome: LazyTraceOutcome): Promise<TraceEnd> {
    const whole: TraceHeader = { schemaVersion: TRACE_SCHEMA, tool: TOOL, ...header };
    const zero = Number(startedAt - this.t0);
    const endOf = (events: number, cutOff: boolean) => this.#end(outcome, events, cutOff);
    return finishTrace(`${this.#path}.raw`, this.#path, whole, zero, endOf, `${this.#path}.late`);
  }

  /** Removes what was recorded, but not the trace. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    for (const fd of this.fds) closeSync(fd);
    for (const name of ['raw', 'late']) await rm(`${this.#path}.${name}`, { force: true });
  }

  #end(outcome: LazyTraceOutcome, events: number, cutOff: boolean): TraceEnd {
    const { fsResult, fsFaults = 0, ready, endedAt, exitCode, signal } = outcome;
    const why: string[] = [];
    const summary = fsResult as LazySummary | undefined;
    const parts = [summary, summary?.late];
    for (const part of parts) if (part?.incompleteBecause !== undefined) why.push(part.incompleteBecause);
    if (parts.some((part) => typeof part?.events !== 'number')) {
      why.push('the file system ended without saying how much it recorded');
    } else if (why.length === 0 && summary!.events + summary!.late!.events !== events) {
      why.push(`${summary!.events + summary!.late!.events} events were recorded, ${events} arrived`);
    }
    if (cutOff) why.push('the last event was cut off');
    if (fsFaults > 0) why.push(`${fsFaults} requests failed inside the file system`);
    return {
      end: true,
      events,
      complete: why.length === 0,
      ...(why.length > 0 && { incompleteBecause: why.join('; ') }),
      ...(ready && { ready }),
      endedAt,
      ...(exitCode !== undefined && { exitCode }),
      ...(signal !== undefined && { signal }),
    };
  }
}

function openNew(path: string): number {
  try {
    return openSync(path, 'wx', 0o600);
  } catch (cause) {
    throw new HotlayerError('HL_ERR_IO', `cannot write the trace ${path}: ${(cause as Error).message}`, {
      hint: 'is another trace being taken there?',
      cause,
      context: { file: path },
    });
  }
}
