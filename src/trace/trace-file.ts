// Reads and writes trace files (events.ts): NDJSON, gzip accepted. A trace that was cut off, by a crash or a full
// disk, is still of use and is read as incomplete; a line that is not what it should be is an error with its number.
import { HotlayerError } from '../errors.js';
import { EventScanner } from './event-scanner.js';
import type { Op, Trace, TraceEnd, TraceEvent, TraceHeader } from './events.js';
import { requireSchema } from './json-schema.js';
import { blocksOf, lastBytes, NEWLINE, textOf } from './lines.js';
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
  const reader = new TraceReader(path, onEvent);
  for await (const { bytes, whole, cutBecause } of blocksOf(path, () => reader.lines)) {
    if (cutBecause !== undefined) reader.cut(cutBecause);
    else reader.take(bytes, whole);
    if (reader.isCut) break;
  }
  return reader.finish();
}

class TraceReader {
  /** Lines taken so far. */
  lines = 0;
  readonly #scanner = new EventScanner();
  #header: TraceHeader | undefined;
  #end: TraceEnd | undefined;
  #events = 0;
  #lastAt = 0;
  #cutBecause: string | undefined;

  constructor(
    readonly path: string,
    readonly onEvent: (event: TraceEvent) => void,
  ) {}

  get isCut(): boolean {
    return this.#cutBecause !== undefined;
  }

  cut(because: string): void {
    this.#cutBecause = because;
  }

  /** @param whole whether there was a newline after the last of the lines */
  take(bytes: Buffer, whole: boolean): void {
    for (let from = 0; from <= bytes.length && !this.isCut; ) {
      const newline = bytes.indexOf(NEWLINE, from);
      const to = newline < 0 ? bytes.length : newline;
      // The header comes first, and nothing after the end record.
      const event = this.lines > 0 && !this.#end ? this.#scanner.scan(bytes, from, to) : undefined;
      this.lines += 1;
      if (event) this.#event(event);
      else this.#line(textOf(bytes.subarray(from, to), this.path, this.lines), whole);
      from = to + 1;
    }
  }

  finish(): TraceSummary {
    const { path } = this;
    if (!this.#header) {
      throw new HotlayerError(
        'HL_ERR_DATA',
        `${path}: expected a trace, found ${this.#cutBecause ?? 'an empty file'}`,
        {
          context: { file: path },
        },
      );
    }
    return { header: this.#header, end: judgeEnd(this.#end, this.#events, this.#lastAt, this.#cutBecause) };
  }

  #event(event: TraceEvent): void {
    this.#events += 1;
    if (this.#events > MAX_TRACE_EVENTS) {
      const message = `${this.path}:${this.lines}: more than ${MAX_TRACE_EVENTS} events (MAX_TRACE_EVENTS)`;
      throw new HotlayerError('HL_ERR_LIMIT', message);
    }
    this.#lastAt = event.t + event.dur;
    this.onEvent(event);
  }

  #line(text: string, whole: boolean): void {
    const { path, lines } = this;
    const where = `${path}:${lines}`;
    const context = { file: path };
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      if (!whole && this.#header) {
        this.#cutBecause = `line ${lines} was cut off`;
        return;
      }
      throw new HotlayerError('HL_ERR_DATA', `${where}: not JSON: ${(cause as Error).message}`, {
        hint: 'a trace has one JSON object on each line; the first is the header',
        cause,
        context,
      });
    }
    if (!this.#header) {
      this.#header = requireSchema<TraceHeader>(value, traceHeaderSchema, where);
    } else if (this.#end) {
      throw new HotlayerError('HL_ERR_DATA', `${where}: found a line after the end record`, { context });
    } else if (isEndRecord(value)) {
      this.#end = requireSchema<TraceEnd>(value, traceEndSchema, where);
    } else {
      this.#event(checkEvent(value, where));
    }
  }
}

/**
 * When the run was ready, by the last line of the file: a scan tells it only when it is done, and whoever scans wants
 * to know it before. Says nothing on whether the trace is whole.
 * @returns undefined when the last line does not tell
 * @throws as scanTrace, but for a line that is not what it should be
 */
export async function peekReady(path: string): Promise<TraceEnd['ready']> {
  const text = (await lastBytes(path)).toString('utf8');
  try {
    const value: unknown = JSON.parse(text.slice(text.trimEnd().lastIndexOf('\n') + 1));
    return isEndRecord(value) ? requireSchema<TraceEnd>(value, traceEndSchema, path).ready : undefined;
  } catch {
    return undefined;
  }
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

/** The same rules as traceEventSchema, plus which member goes with which operation. */
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
