// The accesses of the run that stands for all, as Chrome's trace events: Perfetto, chrome://tracing and speedscope open
// them. One track a thread under one name, because events of one track must nest and those of two threads need not.
// https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU (Trace Event Format)
import { accessAt, replayOf } from '../analyze/replay.js';
import { count, showComm } from './findings.js';
import { plain } from './safe-text.js';
import type { Report } from './types.js';

/** One file, in pieces: a run of a million accesses is a document of 200 MB. */
export function* renderTraceEvents(report: Report): Generator<string> {
  const { startup, profile } = report;
  yield '{"displayTimeUnit":"ms","otherData":';
  yield JSON.stringify({ image: plain(report.image.reference), run: startup?.number ?? 0, tool: report.tool });
  yield ',"traceEvents":[\n';
  yield JSON.stringify({
    name: 'process_name',
    ph: 'M',
    pid: 1,
    tid: 0,
    args: { name: plain(report.workload.args.join(' ')) || 'workload' },
  });
  if (startup) {
    const replay = replayOf({ id: startup.run, replay: startup.replay }, profile.files.length);
    for (const [i, { pid, comm }] of replay.processes.entries()) {
      const name = plain(`${showComm(comm)} ${pid}`);
      yield event({ name: 'thread_name', ph: 'M', pid: 1, tid: i + 1, args: { name } });
      yield event({ name: 'thread_sort_index', ph: 'M', pid: 1, tid: i + 1, args: { sort_index: i } });
    }
    // Times in these files are microseconds from the first of them; they may not be negative.
    const zero = replay.length > 0 ? Math.min(0, replay.t[0]!) : 0;
    const micros = (nanos: number): number => Math.round(nanos) / 1000;
    const free = new Float64Array(replay.processes.length);
    let pending = '';
    for (let i = 0; i < replay.length; i++) {
      const { t, process, file, op, offset, length, duration } = accessAt(replay, i);
      const from = Math.max(t - zero, free[process]!);
      const until = Math.max(from, t - zero + duration);
      free[process] = until;
      const { path, layer } = profile.files[file]!;
      pending += event({
        name: plain(path),
        cat: op,
        ph: 'X',
        pid: 1,
        tid: process + 1,
        ts: micros(from),
        dur: micros(until - from),
        args: { op, ...(op === 'read' ? { offset, length } : {}), ...(layer === undefined ? {} : { layer }) },
      });
      if (pending.length < 1 << 16) continue;
      yield pending;
      pending = '';
    }
    yield pending;
    if (startup.ready !== undefined)
      yield event({
        name: `ready: ${count(startup.files.file.length, 'file')}`,
        ph: 'i',
        s: 'g',
        pid: 1,
        tid: 0,
        ts: micros(startup.ready - zero),
      });
  }
  yield '\n]}\n';
}

function event(value: object): string {
  return `,\n${JSON.stringify(value)}`;
}
