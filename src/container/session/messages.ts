// What the session's process and its parent say to each other over the channel (serialization "advanced").
import { type ErrorCode, type ErrorContext, HotlayerError } from '../../errors.js';
import type { SessionResult, SessionSpec } from '../types.js';

export interface StartMessage {
  readonly type: 'start';
  /** `fds` and the parent's `tmpdir` mean nothing here. */
  readonly spec: SessionSpec;
  /** A directory with a private tmpfs on it. */
  readonly dir: string;
}

export interface PlainError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint?: string;
  readonly context: ErrorContext;
  readonly stack?: string;
}

/** Between the file system's answerer and the parent's `SessionHooks.link`, in both directions. */
export interface FsMessage {
  readonly type: 'fs';
  readonly message: unknown;
}

/** To the workload, once it has started. */
export interface SignalMessage {
  readonly type: 'signal';
  readonly signal: NodeJS.Signals;
}

/** The user's terminal has another size. */
export interface ResizedMessage {
  readonly type: 'resized';
}

export type ParentMessage = StartMessage | FsMessage | SignalMessage | ResizedMessage;

export type SessionMessage =
  | FsMessage
  /** The process is up: from here on its standard streams carry the workload's output only. */
  | { readonly type: 'hello' }
  /** The workload has. */
  | { readonly type: 'started' }
  | { readonly type: 'result'; readonly result: SessionResult }
  | { readonly type: 'error'; readonly error: PlainError };

export function toPlain(error: unknown): PlainError {
  if (error instanceof HotlayerError) {
    const { code, message, hint, context } = error;
    return { code, message, context, ...(hint !== undefined && { hint }) };
  }
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  return {
    code: 'HL_ERR_BUG',
    message: `the session failed: ${message}`,
    context: {},
    ...(stack !== undefined && { stack }),
  };
}

export function fromPlain(plain: PlainError): HotlayerError {
  const error = new HotlayerError(plain.code, plain.message, {
    context: plain.context,
    ...(plain.hint !== undefined && { hint: plain.hint }),
  });
  if (plain.stack !== undefined) error.stack = plain.stack;
  return error;
}
