// Ready rules as people write them: `exit`, `line:TEXT`, `line:/re/`, `tcp:PORT`, `http:URL`, `idle:2s`, `period:10s`.
import { HotlayerError } from '../../errors.js';
import { type Nanos, parseDuration } from '../../units.js';
import type { ReadyRule } from '../types.js';

const EXAMPLES =
  'exit, line:listening, line:/ready in \\d+/, tcp:8080, http://localhost:8080/health, idle:2s, period:10s';

/** @throws HL_ERR_USAGE with examples */
export function parseReadyRule(text: string): ReadyRule {
  const colon = text.indexOf(':');
  const kind = colon < 0 ? text : text.slice(0, colon);
  const rest = colon < 0 ? '' : text.slice(colon + 1);
  switch (kind) {
    case 'exit':
      if (colon >= 0) throw wrong(text, 'exit takes no value');
      return { kind: 'exit' };
    case 'line':
      return parseLine(text, rest);
    case 'tcp':
      return { kind: 'tcp', port: parsePort(text, rest) };
    case 'http':
    case 'https':
      return { kind: 'http', url: parseUrl(text, kind, rest) };
    case 'idle':
    case 'period':
      return { kind, forNanos: parseFor(text, rest) };
    default:
      throw wrong(text, 'there is no such rule');
  }
}

/** The rule as it would be typed; `parseReadyRule` gives it back. */
export function formatReadyRule(rule: ReadyRule): string {
  switch (rule.kind) {
    case 'exit':
      return 'exit';
    case 'line':
      return rule.pattern === undefined ? `line:${rule.text ?? ''}` : `line:/${rule.pattern}/`;
    case 'tcp':
      return `tcp:${rule.port}`;
    case 'http':
      return `http:${rule.url}`;
    case 'idle':
    case 'period':
      return `${rule.kind}:${plainDuration(rule.forNanos)}`;
  }
}

function parseLine(text: string, rest: string): ReadyRule {
  if (rest === '') throw wrong(text, 'the text to wait for is empty');
  if (!(rest.length > 2 && rest.startsWith('/') && rest.endsWith('/'))) return { kind: 'line', text: rest };
  const pattern = rest.slice(1, -1);
  try {
    new RegExp(pattern, 'u');
  } catch (cause) {
    throw wrong(text, (cause as Error).message, cause);
  }
  return { kind: 'line', pattern };
}

function parsePort(text: string, rest: string): number {
  const port = /^\d{1,5}$/.test(rest) ? Number(rest) : 0;
  if (port < 1 || port > 65535) throw wrong(text, `"${rest}" is not a port between 1 and 65535`);
  return port;
}

/** `http:URL`, the URL itself (`http://…`), or only a port and path on this host (`http:8080/health`). */
function parseUrl(text: string, scheme: string, rest: string): string {
  const short = /^:?(\d{1,5})(\/.*)?$/.exec(rest);
  const written = short
    ? `${scheme}://127.0.0.1:${parsePort(text, short[1]!)}${short[2] ?? '/'}`
    : rest.startsWith('//')
      ? `${scheme}:${rest}`
      : /^https?:\/\//.test(rest)
        ? rest
        : `${scheme}://${rest}`;
  let url: URL;
  try {
    url = new URL(written);
  } catch (cause) {
    throw wrong(text, `"${written}" is not a URL`, cause);
  }
  if (url.hostname === '') throw wrong(text, `"${written}" has no host`);
  return url.href;
}

function parseFor(text: string, rest: string): Nanos {
  let nanos: Nanos;
  try {
    nanos = parseDuration(rest);
  } catch (cause) {
    throw wrong(text, (cause as Error).message, cause);
  }
  if (nanos <= 0) throw wrong(text, 'the time must be more than zero');
  return nanos;
}

/** The largest unit that says it in whole numbers: `2s`, `1500ms`. */
function plainDuration(nanos: Nanos): string {
  for (const [unit, size] of [
    ['s', 1e9],
    ['ms', 1e6],
    ['us', 1e3],
  ] as const) {
    if (nanos % size === 0) return `${nanos / size}${unit}`;
  }
  return `${nanos}ns`;
}

function wrong(text: string, why: string, cause?: unknown): HotlayerError {
  return new HotlayerError('HL_ERR_USAGE', `"${text}" is not a ready rule: ${why}`, {
    hint: `write one of: ${EXAMPLES}`,
    cause,
  });
}
