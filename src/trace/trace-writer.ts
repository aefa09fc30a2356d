// Writes whole trace files: from memory, and from the raw events that a run left behind.
import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { Readable, type Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { HotlayerError } from '../errors.js';
import { formatEvent } from './event-writer.js';
import type { Trace, TraceEnd, TraceHeader } from './events.js';
import { type Line, linesOf } from './lines.js';

/**
 * Writes a trace; gzip when the name ends in `.gz` (same trace, same bytes). The file appears whole or not at all.
 * @throws HL_ERR_IO
 */
export async function writeTrace(path: string, trace: Trace): Promise<void> {
  function* lines(): Generator<string> {
    yield formatHeader(trace.header);
    for (const event of trace.events) yield formatEvent(event);
    yield formatEnd(trace.end);
  }
  await writeLines(path, lines());
}

/**
 * A copy, packed when the new name ends in `.gz`.
 * @throws HL_ERR_IO
 */
export async function copyTrace(from: string, to: string): Promise<void> {
  await writeBytes(to, createReadStream(from));
}

/**
 * Makes the trace file of a run from its raw event lines: puts the header before them, counts time from `zero`, and
 * ends with what `endOf` says about the number of whole lines found. A last line without newline is left out.
 * @param raw lines by formatEvent, in order of time; one that another thread wrote may stand anywhere in `late`
 * @param zero what the raw events call the moment that is now t = 0, nanoseconds
 * @throws HL_ERR_IO
 */
export async function finishTrace(
  raw: string,
  target: string,
  header: TraceHeader,
  zero: number,
  endOf: (events: number, cutOff: boolean) => TraceEnd,
  late?: string,
): Promise<TraceEnd> {
  let end: TraceEnd | undefined;
  async function* lines(): AsyncGenerator<string> {
    yield formatHeader(header);
    let events = 0;
    let cutOff = false;
    const others: { readonly t: number; readonly rest: string }[] = [];
    const take = ({ text, whole }: Line): { t: number; rest: string } | undefined => {
      // A write that failed half-way leaves a last line without its end.
      if (!whole || !text.startsWith('{"t":')) {
        cutOff = true;
        return undefined;
      }
      const comma = text.indexOf(',');
      return { t: Number(text.slice(5, comma)) - zero, rest: `${text.slice(comma)}\n` };
    };
    for await (const line of late === undefined ? [] : linesOf(late)) {
      const event = take(line);
      if (!event) break;
      others.push(event);
    }
    // In the order of the answers until now.
    others.sort((a, b) => a.t - b.t);
    let next = 0;
    for await (const line of linesOf(raw)) {
      const event = take(line);
      if (!event) break;
      for (; next < others.length && others[next]!.t < event.t; next++, events++)
        yield `{"t":${others[next]!.t}${others[next]!.rest}`;
      events += 1;
      yield `{"t":${event.t}${event.rest}`;
    }
    for (; next < others.length; next++, events++) yield `{"t":${others[next]!.t}${others[next]!.rest}`;
    end = endOf(events, cutOff);
    yield formatEnd(end);
  }
  await writeLines(target, lines());
  return end!;
}

function formatHeader(header: TraceHeader): string {
  return `${JSON.stringify(header)}\n`;
}

function formatEnd(end: TraceEnd): string {
  return `${JSON.stringify(end)}\n`;
}

async function writeLines(path: string, lines: Iterable<string> | AsyncIterable<string>): Promise<void> {
  async function* batches(): AsyncGenerator<Buffer> {
    let batch = '';
    for await (const line of lines) {
      batch += line;
      if (batch.length >= 256 * 1024) {
        yield Buffer.from(batch, 'utf8');
        batch = '';
      }
    }
    if (batch.length > 0) yield Buffer.from(batch, 'utf8');
  }
  await writeBytes(path, Readable.from(batches()));
}

async function writeBytes(path: string, bytes: Readable): Promise<void> {
  // Beside the target, so that the rename stays on one file system.
  const staged = `${path}.${process.pid}.tmp`;
  // zlib's header has time 0 and no name: the same text gives the same bytes.
  const stages: Transform[] = path.endsWith('.gz') ? [createGzip({ level: 6 })] : [];
  try {
    await pipeline([bytes, ...stages, createWriteStream(staged)]);
    await rename(staged, path);
  } catch (cause) {
    await rm(staged, { force: true });
    if (cause instanceof HotlayerError) throw cause;
    throw new HotlayerError('HL_ERR_IO', `cannot write the trace ${path}: ${(cause as Error).message}`, {
      cause,
      context: { file: path },
    });
  }
}
