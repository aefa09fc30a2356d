// `--trace FILE` of `run` and `mount`.
import type { Observer } from '../container/run-image.js';
import type { ImageConfig } from '../image/types.js';
import type { LazyTrace, LazyTraceHeader, LazyTraceOutcome } from '../trace/lazy-trace.js';
import type { Output } from './output.js';

export interface Tracing extends AsyncDisposable {
  readonly observer: Observer;
  finish(
    header: Omit<LazyTraceHeader, 'platform'>,
    config: ImageConfig,
    startedAt: bigint,
    outcome: LazyTraceOutcome,
  ): Promise<void>;
}

/** @throws HL_ERR_IO */
export async function startTracing(file: string, out: Output): Promise<Tracing> {
  // Only now: most runs are not traced.
  const { LazyTrace: Trace } = await import('../trace/lazy-trace.js');
  const trace: LazyTrace = new Trace(file);
  return {
    observer: { fds: trace.fds, fs: (layers, [raw, late]) => trace.fs(layers, [raw!, late!]) },
    async finish(header, { os, architecture, variant }, startedAt, outcome) {
      const platform = { os, architecture, ...(variant ? { variant } : {}) };
      const end = await trace.finish({ ...header, platform }, startedAt, outcome);
      out.note(`Wrote ${file} (${end.events} events${end.complete ? '' : `; INCOMPLETE: ${end.incompleteBecause}`})`);
    },
    [Symbol.asyncDispose]: () => trace[Symbol.asyncDispose](),
  };
}
