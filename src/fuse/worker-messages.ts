// What the mounting thread and the serving thread say to each other.
import { type ErrorCode, type ErrorContext, errnoOf, HotlayerError } from '../errors.js';
import type { FsFault } from './types.js';

/** workerData of raw-worker.ts. */
export interface WorkerInput {
  /** Descriptor of /dev/fuse, open in this process; the worker does not close it. */
  readonly fd: number;
  readonly module: string;
  readonly args: unknown;
  readonly maxReadahead: number | undefined;
  readonly readdirplus: boolean | undefined;
  readonly ttlSeconds: number | undefined;
  /** One Int32: a Phase, set by the mounting thread. */
  readonly phase: SharedArrayBuffer;
}

export const PHASE = { mounting: 0, mounted: 1, cancelled: 2 } as const;

export type WorkerMessage =
  | { readonly kind: 'ready' }
  /** INIT was answered: the mount works. */
  | { readonly kind: 'serving'; readonly minor: number; readonly maxReadahead: number }
  | { readonly kind: 'fault'; readonly fault: FsFault }
  | { readonly kind: 'closed'; readonly result: unknown; readonly faults: number }
  | { readonly kind: 'failed'; readonly error: PlainError };

/** An error that survives structured clone with its code. */
export interface PlainError {
  readonly message: string;
  readonly stack: string | undefined;
  readonly code: ErrorCode | undefined;
  readonly hint: string | undefined;
  readonly context: ErrorContext | undefined;
}

export function toPlainError(error: unknown): PlainError {
  const known = error instanceof HotlayerError ? error : undefined;
  return {
    message: error instanceof Error ? error.message : String(error),
    stack: error instanceof Error ? error.stack : undefined,
    code: known?.code ?? (errnoOf(error) ? 'HL_ERR_IO' : undefined),
    hint: known?.hint,
    context: known?.context,
  };
}

export function fromPlainError(plain: PlainError): HotlayerError {
  const error = new HotlayerError(plain.code ?? 'HL_ERR_BUG', plain.message, {
    ...(plain.hint !== undefined && { hint: plain.hint }),
    ...(plain.context !== undefined && { context: plain.context }),
  });
  if (plain.stack !== undefined) error.stack = plain.stack;
  return error;
}
