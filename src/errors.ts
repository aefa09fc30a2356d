// One error class for everything hotlayer refuses, and the table that gives each code its exit status.
// A message says what failed, where (image, layer, entry, offset), what was expected and what was found;
// the hint says what to do next. Callers match on `code`, never on the text.

/** Exit statuses of the command (design: "Exit codes"). */
export const EXIT = {
  ok: 0,
  no: 1,
  usage: 2,
  input: 3,
  machine: 4,
  workload: 5,
  bug: 70,
  interrupted: 130,
} as const;

const CODES = {
  /** A check said no: verify found a mismatch, a budget is exceeded. */
  HL_ERR_CHECK_FAILED: EXIT.no,
  /** A flag, argument or configuration file is wrong. */
  HL_ERR_USAGE: EXIT.usage,
  /** The named image, blob, file or tag does not exist. */
  HL_ERR_NOT_FOUND: EXIT.input,
  /** A registry wants other credentials, or these do not allow it; or they cannot be had from where they are kept. */
  HL_ERR_AUTH: EXIT.input,
  /** Bytes do not have the digest or size that names them. */
  HL_ERR_DIGEST: EXIT.input,
  /** A manifest, index, config or archive is malformed or of a kind that is not supported. */
  HL_ERR_IMAGE: EXIT.input,
  /** A layer's compression or tar structure is broken. */
  HL_ERR_LAYER: EXIT.input,
  /** A footer, TOC or chunk of a stargz blob is broken. */
  HL_ERR_STARGZ: EXIT.input,
  /** A trace, profile or plan file is not what it claims to be. */
  HL_ERR_DATA: EXIT.input,
  /** A named safety limit was exceeded (sizes, counts, ratios). */
  HL_ERR_LIMIT: EXIT.input,
  /** /dev/fuse, a namespace, a tool or the kernel cannot do what is needed here. */
  HL_ERR_MACHINE: EXIT.machine,
  /** A registry could not be reached, broke off, or answered with an error of its own. */
  HL_ERR_NETWORK: EXIT.machine,
  /** Reading or writing a local file failed (disk full, permission …). */
  HL_ERR_IO: EXIT.machine,
  /** The workload exited with an error, was killed, or could not be started. */
  HL_ERR_WORKLOAD: EXIT.workload,
  /** The workload did not become ready before --timeout. */
  HL_ERR_NOT_READY: EXIT.workload,
  /** SIGINT or SIGTERM arrived. */
  HL_ERR_INTERRUPTED: EXIT.interrupted,
  /** An invariant of hotlayer itself does not hold. */
  HL_ERR_BUG: EXIT.bug,
} as const;

export type ErrorCode = keyof typeof CODES;

/** Where an error happened. Absent members are not known or do not apply. */
export interface ErrorContext {
  image?: string;
  /** Digest or index of a layer. */
  layer?: string;
  /** Path of a tar entry or file in the image, as it is shown to people. */
  entry?: string;
  /** Byte offset in the layer's tar or blob, as the message says. */
  offset?: number;
  /** Path on this machine. */
  file?: string;
}

export interface ErrorOptions {
  /** What to do next, one sentence. */
  hint?: string;
  cause?: unknown;
  context?: ErrorContext;
}

export class HotlayerError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly context: ErrorContext;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'HotlayerError';
    this.code = code;
    this.hint = options.hint;
    this.context = options.context ?? {};
  }

  get exitCode(): number {
    return CODES[this.code];
  }
}

/** The same failure with more of its surroundings named; anything that is not a HotlayerError passes unchanged. */
export function withContext(error: unknown, context: ErrorContext): unknown {
  if (!(error instanceof HotlayerError)) return error;
  const merged = { ...context, ...error.context };
  const options: ErrorOptions = { cause: error.cause, context: merged };
  if (error.hint !== undefined) options.hint = error.hint;
  return new HotlayerError(error.code, error.message, options);
}

/** The `errno` name of a Node system error (`ENOENT` …), or undefined for anything else. */
export function errnoOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' && /^E[A-Z0-9]+$/.test(error.code) ? error.code : undefined;
}

/** An error in a form that another thread can be sent, code included. */
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

export function isHotlayerError(error: unknown): error is HotlayerError {
  return error instanceof HotlayerError;
}
