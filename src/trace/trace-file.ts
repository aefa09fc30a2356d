// Reads and writes trace files (events.ts): NDJSON, gzip accepted. A trace that was cut off, by a crash or a full
// disk, is still of use and is read as incomplete; a line that is not what it should be is an error with its number.
import { HotlayerError } from '../errors.js';
import type { Op, Trace, TraceEnd, TraceEvent, TraceHeader } from './events.js';
import { requireSchema } from './json-schema.js';
import { linesOf } from './lines.js';
import { traceEndSchema, traceEventSchema, traceHeaderSchema } from './schema.js';

/** Most events accepted in one file, against a small gzip file that unpacks for ever. */
export const MAX_TRACE_EVENTS = 100_000_000;

/** A trace without its events. */
export interface TraceSummary {
  readonly header: TraceHeader;
  /** As written, with `complete` corrected by what was counted while reading. */
  readonly end: TraceEnd;
}

/**
 * Reads a trace file line by line and hands on each event in order.
 * @returns header and end record; without an end record, or when its count is not the number of events found,
 *   `complete` is false and `incompleteBecause` says why
 * @throws HL_ERR_NOT_FOUND no such file; HL_ERR_DATA a line is not what it should be; HL_ERR_LIMIT
 */
export async function scanTrace(path: string, onEvent: (event: TraceEvent) => void): Promise<TraceSummary> {
  let header: TraceHeader | undefined;
  let end: TraceEnd | undefined;
  let events = 0;
  let lastAt = 0;
  let cut: string | undefined;
  let number = 0;

  for await (const { text, whole, cutBecause } of linesOf(path)) {
    if (cutBecause !== undefined) {
      cut = cutBecause;
      break;
    }
    number += 1;
    const where = `${path}:${number}`;
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      if (!whole && header) {
        cut = `line ${number} was cut off`;
        break;
      }
      throw new HotlayerError('HL_ERR_DATA', `${where}: not JSON: ${(cause as Error).message}`, {
        hint: 'a trace has one JSON object on each line; the first is the header',
        cause,
        context: { file: path },
      });
    }
    if (!header) {
      header = requireSchema<TraceHeader>(value, traceHeaderSchema, where);
    } else if (end) {
      throw new HotlayerError('HL_ERR_DATA', `${where}: found a line after the end record`, {
        context: { file: path },
      });
    } else if (isEndRecord(value)) {
      end = requireSchema<TraceEnd>(value, traceEndSchema, where);
    } else {
      const event = checkEvent(value, where);
      events += 1;
      if (events > MAX_TRACE_EVENTS) {
        throw new HotlayerError('HL_ERR_LIMIT', `${where}: more than ${MAX_TRACE_EVENTS} events (MAX_TRACE_EVENTS)`);
      }
      lastAt = event.t + event.dur;
      onEvent(event);
    }
  }
  if (!header) {
    throw new HotlayerError('HL_ERR_DATA', `${path}: expected a trace, found ${cut ?? 'an empty file'}`, {
      context: { file: path },
    });
  }
  return { header, end: judgeEnd(end, events, lastAt, cut) };
}

/** The whole trace in memory; prefer `scanTrace` where one pass is enough. @throws as scanTrace */
export async function readTrace(path: string): Promise<Trace> {
  const events: TraceEvent[] = [];
  const { header, end } = await scanTrace(path, (event) => events.push(event));
  return { header, events, end };
}

/** The end record that a reader may rely on. */
function judgeEnd(end: TraceEnd | undefined, events: number, lastAt: number, cut: string | undefined): TraceEnd {
  if (!end) {
    const why = `the trace has no end record${cut === undefined ? '' : ` (${cut})`}: what wrote it was cut off`;
    return { end: true, events, complete: false, incompleteBecause: why, endedAt: lastAt };
  }
  if (end.events === events) return end;
  const counted = `the end record counts ${end.events} events, the file has ${events}`;
  const why = end.incompleteBecause === undefined ? counted : `${end.incompleteBecause}; ${counted}`;
  return { ...end, events, complete: false, incompleteBecause: why };
}

function isEndRecord(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'end' in value;
}

const OPS: ReadonlySet<unknown> = new Set<Op>(['lookup', 'getattr', 'open', 'read', 'readlink', 'readdir', 'getxattr']);

/** The same rules as traceEventSchema, plus which member goes with which operation; written out because a trace has a million lines. */
function checkEvent(value: unknown, where: string): TraceEvent {
  const e = value as TraceEvent;
  const natural = (n: unknown) => Number.isSafeInteger(n) && (n as number) >= 0;
  const ranged = e?.op === 'read';
  const fine =
    typeof e === 'object' &&
    e !== null &&
    Number.isSafeInteger(e.t) &&
    OPS.has(e.op) &&
    typeof e.path === 'string' &&
    e.path.startsWith('/') &&
    natural(e.pid) &&
    natural(e.dur) &&
    (ranged ? natural(e.offset) && natural(e.length) : e.offset === undefined && e.length === undefined) &&
    (e.comm === undefined || typeof e.comm === 'string') &&
    (e.parent === undefined || (natural(e.parent) && e.parent > 0)) &&
    (e.errno === undefined || (natural(e.errno) && e.errno > 0)) &&
    (e.exec === undefined || (e.exec === true && e.op === 'open'));
  if (fine) return e;
  requireSchema(value, traceEventSchema, where);
  const rule = ranged ? 'a read has offset and length' : 'only a read has offset and length, only an open has exec';
  throw new HotlayerError('HL_ERR_DATA', `${where}: operation ${JSON.stringify(e.op)}: ${rule}`);
}
