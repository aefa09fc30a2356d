// What a registry's refusal or a broken connection becomes. Text from the other side is cleaned: capped, no control
// characters, no credentials.
import { type ErrorCode, type ErrorOptions, HotlayerError } from '../../errors.js';
import { KIB } from '../../units.js';
import { isTransient, retryAfterMs } from './backoff.js';
import type { Answer } from './exchange.js';
import { HUB_API } from './hub.js';
import { type Secrets, showUrl } from './secrets.js';

export class RegistryError extends HotlayerError {
  /** HTTP status; absent when there was no answer. */
  readonly status: number | undefined;
  /** Whether the same may succeed later. */
  readonly transient: boolean;
  /** Codes of the OCI error document: `BLOB_UNKNOWN`, `DIGEST_INVALID`, … */
  readonly codes: readonly string[];
  /** What the server asked for. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    what: {
      status?: number | undefined;
      transient: boolean;
      codes?: readonly string[];
      retryAfterMs?: number | undefined;
    },
    options: ErrorOptions = {},
  ) {
    super(code, message, options);
    this.status = what.status;
    this.transient = what.transient;
    this.codes = what.codes ?? [];
    this.retryAfterMs = what.retryAfterMs;
  }
}

/** The most that is read of the body of an error. */
const MAX_ERROR_BYTES = 16 * KIB;
const MAX_SHOWN_ERRORS = 4;
const MAX_SHOWN_CHARACTERS = 300;

/**
 * The error for an answer that was not expected; takes the answer's body.
 * @param doing what was asked for, as `pull sha256:… from host/app`
 */
export async function failureOf(answer: Answer, doing: string, secrets: Secrets): Promise<RegistryError> {
  const { status } = answer;
  const body = await readCapped(answer.body, MAX_ERROR_BYTES);
  const { codes, text } = explain(body, answer.headers['content-type'], secrets);
  const said = text === '' ? '' : `: ${text}`;
  const wait = retryAfterMs(one(answer.headers['retry-after']), Date.now());
  return new RegistryError(
    codeOf(status),
    `cannot ${doing}: ${answer.url.host} answered ${status}${said}`,
    { status, transient: isTransient(status), codes, retryAfterMs: wait },
    { hint: hintOf(status, answer.url) },
  );
}

/** What is wrong with an answer that has the right status. */
export function malformed(answer: Pick<Answer, 'url'>, doing: string, what: string): RegistryError {
  return new RegistryError('HL_ERR_NETWORK', `cannot ${doing}: ${answer.url.host} ${what}`, { transient: false });
}

function codeOf(status: number): ErrorCode {
  if (status === 401 || status === 403) return 'HL_ERR_AUTH';
  return status === 404 ? 'HL_ERR_NOT_FOUND' : 'HL_ERR_NETWORK';
}

function hintOf(status: number, url: URL): string {
  if (status === 401)
    return `log in: docker login${url.host === HUB_API ? '' : ` ${url.host}`} (or podman login, skopeo login)`;
  if (status === 403) return 'these credentials do not allow it; log in as someone who may';
  if (status === 404)
    return 'see that host, repository and tag are spelled right; some registries say this to who is not logged in';
  if (status === 429) return 'the registry limits requests; log in, or wait and run it again';
  return status >= 500
    ? 'the registry has a problem of its own; run it again later'
    : 'the registry does not accept this';
}

/** distribution-spec, "Error Codes": `{"errors":[{"code","message","detail"}]}`; other JSON and HTML say nothing to people. */
function explain(
  body: Buffer,
  contentType: string | string[] | undefined,
  secrets: Secrets,
): { codes: string[]; text: string } {
  const text = body.toString('utf8');
  let errors: unknown;
  try {
    const parsed = JSON.parse(text) as { errors?: unknown; details?: unknown } | null;
    errors = parsed?.errors ?? [{ message: parsed?.details ?? '' }];
  } catch {
    const plain = one(contentType)?.startsWith('text/plain') ?? false;
    return { codes: [], text: plain ? show(text, secrets) : '' };
  }
  if (!Array.isArray(errors)) return { codes: [], text: '' };
  const codes: string[] = [];
  const lines: string[] = [];
  for (const error of errors as ({ code?: unknown; message?: unknown } | null)[]) {
    const code = typeof error?.code === 'string' ? error.code : undefined;
    const message = typeof error?.message === 'string' ? error.message : '';
    if (code !== undefined) codes.push(code);
    lines.push([code, message].filter((part) => part !== undefined && part !== '').join(': '));
  }
  return { codes, text: show(lines.slice(0, MAX_SHOWN_ERRORS).join('; '), secrets) };
}

function show(text: string, secrets: Secrets): string {
  const clean = secrets
    .redact(text)
    .replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ')
    .trim();
  return clean.length > MAX_SHOWN_CHARACTERS ? `${clean.slice(0, MAX_SHOWN_CHARACTERS)}…` : clean;
}

/**
 * Reads at most so many bytes and lets go of the rest; what a broken connection gave before counts.
 * @param skip bytes before those, not kept
 */
export async function readCapped(
  body: AsyncIterable<Buffer> & { destroy(): unknown },
  most: number,
  skip = 0,
): Promise<Buffer> {
  const parts: Buffer[] = [];
  let [before, left] = [skip, most];
  try {
    for await (const chunk of body) {
      const part = chunk.subarray(Math.min(before, chunk.length)).subarray(0, left);
      before = Math.max(0, before - chunk.length);
      left -= part.length;
      if (part.length > 0) parts.push(part);
      if (left === 0) break;
    }
  } catch {
    // The status is what counts.
  } finally {
    body.destroy();
  }
  return Buffer.concat(parts);
}

export function one(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header;
}

/** Errors of the connection by the code of Node or undici; anything else is not one. */
const BROKEN = new Set([
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'UND_ERR_SOCKET',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
]);
/** Those that more likely mean a wrong name than a moment's trouble, unless the host has answered before. */
const UNREACHABLE = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'EADDRNOTAVAIL']);

/**
 * @param answered whether this host has been heard of before
 * @returns the error as it was when it is not one of the connection
 */
export function connectionError(cause: unknown, url: URL, answered: boolean, secrets: Secrets): unknown {
  if (cause instanceof HotlayerError) return cause;
  const code = codeOfError(cause);
  if (code === undefined) return cause;
  const message = `${url.host}: ${describe(cause, secrets)}`;
  const where = { context: { file: showUrl(url) } };
  const transient = BROKEN.has(code) || code.startsWith('HPE_') || (UNREACHABLE.has(code) && answered);
  if (/CERT|SIGNED|ISSUER|ALTNAME|TLS|SSL|EPROTO/.test(code)) {
    const plain = code === 'EPROTO' || code.startsWith('ERR_SSL');
    return new RegistryError(
      'HL_ERR_NETWORK',
      `no trusted connection to ${message}`,
      { transient: false },
      {
        hint: plain
          ? 'if the registry does not speak TLS, use --plain-http'
          : "if the registry's certificate is of an authority of your own, name it with --ca-file",
        cause,
        ...where,
      },
    );
  }
  return new RegistryError(
    'HL_ERR_NETWORK',
    UNREACHABLE.has(code) ? `cannot reach ${message}` : `the connection to ${message}`,
    { transient },
    { cause, ...where, ...(UNREACHABLE.has(code) ? { hint: 'see that the host is spelled right and running' } : {}) },
  );
}

function codeOfError(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  const { code } = error;
  return typeof code === 'string' ? code : undefined;
}

function describe(cause: unknown, secrets: Secrets): string {
  const { message } = cause as Error;
  const code = codeOfError(cause) ?? '';
  const text =
    message === '' || message === undefined ? code : message.includes(code) ? message : `${message} (${code})`;
  return show(text, secrets);
}
