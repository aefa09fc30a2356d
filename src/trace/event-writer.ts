// Events as lines of JSON, appended to an open file in batches. It runs in the thread that answers the kernel, so
// a write that fails never throws: it is remembered, and the trace says that it is incomplete and why.
import { writeSync } from 'node:fs';
import { formatBytes } from '../units.js';
import type { TraceEvent } from './events.js';
import type { EventSink } from './recorder.js';

/** What the writer knows when it is done. Goes through structured clone. */
export interface WriterSummary {
  /** Events that are in the file. */
  readonly events: number;
  readonly complete: boolean;
  readonly incompleteBecause?: string;
}

export interface EventWriter extends EventSink {
  /** Writes what is left. Idempotent; nothing may be recorded afterwards. */
  finish(): WriterSummary;
}

const BATCH_CHARS = 64 * 1024;

/**
 * @param fd open for writing at its own position (or for appending); stays open
 * @param write absent: fs.writeSync; returns the bytes it took, as write(2)
 */
export function eventWriter(fd: number, write: (fd: number, bytes: Buffer) => number = writeSync): EventWriter {
  let batch = '';
  let inBatch = 0;
  let written = 0;
  let bytes = 0;
  let lost = 0;
  let failure: string | undefined;

  function flush(): void {
    if (inBatch === 0) return;
    let rest: Buffer = Buffer.from(batch, 'utf8');
    try {
      while (rest.length > 0) {
        const taken = write(fd, rest);
        bytes += taken;
        if (taken === 0) throw new Error('write returned 0');
        rest = rest.subarray(taken);
      }
      written += inBatch;
    } catch (error) {
      failure = `writing the trace failed after ${formatBytes(bytes)}: ${(error as Error).message}`;
      lost += inBatch;
    }
    batch = '';
    inBatch = 0;
  }

  return {
    record(event) {
      if (failure !== undefined) {
        lost += 1;
        return;
      }
      batch += formatEvent(event);
      inBatch += 1;
      if (batch.length >= BATCH_CHARS) flush();
    },
    finish() {
      if (failure === undefined) flush();
      if (failure === undefined) return { events: written, complete: true };
      return { events: written, complete: false, incompleteBecause: `${failure}; ${lost} events were lost` };
    },
  };
}

/** One line with its newline; members in one fixed order, `t` first (trace-file.ts relies on that). */
export function formatEvent(e: TraceEvent): string {
  let line = `{"t":${e.t},"op":"${e.op}","path":${quoted(e.path)}`;
  if (e.offset !== undefined) line += `,"offset":${e.offset}`;
  if (e.length !== undefined) line += `,"length":${e.length}`;
  line += `,"pid":${e.pid}`;
  if (e.comm !== undefined) line += `,"comm":${quoted(e.comm)}`;
  if (e.parent !== undefined) line += `,"parent":${e.parent}`;
  if (e.errno !== undefined) line += `,"errno":${e.errno}`;
  if (e.exec) line += ',"exec":true';
  return `${line},"dur":${e.dur}}\n`;
}

/** Needs no escape in JSON: printable ASCII without the quotation mark and the backslash. */
const PLAIN = /^[ !#-[\]-~]*$/;

function quoted(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : JSON.stringify(text);
}
