// Traces and trees in a few words.

import type { RecordedRun } from '../../src/analyze/recorded-run.js';
import { newColumns, saveReplay } from '../../src/analyze/replay.js';
import { summarizeEvents } from '../../src/analyze/summarize.js';
import { viewOfTree } from '../../src/analyze/tree-view.js';
import type { ProfileRun } from '../../src/analyze/types.js';
import { mergeLayers } from '../../src/rootfs/merge.js';
import type { TraceEnd, TraceEvent, TraceHeader } from '../../src/trace/events.js';
import { layer, type Spec } from '../rootfs/entries.js';

export const DIGEST = `sha256:${'12'.repeat(32)}`;

export const HEADER: TraceHeader = {
  schemaVersion: 1,
  tool: 'test',
  image: { reference: 'oci:app', digest: DIGEST },
  platform: { os: 'linux', architecture: 'amd64' },
  workload: { args: ['/bin/app'], user: '', cwd: '/' },
  precision: 'exact',
  until: ['exit'],
};

/** `lookup /x`, `read /x 0+4096`, `open! /x` (exec), `lookup? /x` (ENOENT); one event each 10 ns, from 0 on. */
export function events(...lines: string[]): TraceEvent[] {
  return lines.map((line, i): TraceEvent => {
    const [, op, mark, path, offset, length] = /^(\w+)([!?]?) (\S+)(?: (\d+)\+(\d+))?$/.exec(line)!;
    return {
      t: i * 10,
      op: op as TraceEvent['op'],
      path: path!,
      ...(offset !== undefined && { offset: Number(offset), length: Number(length) }),
      pid: 1,
      comm: 'app',
      ...(mark === '?' && { errno: 2 }),
      ...(mark === '!' && { exec: true as const }),
      dur: 1,
    };
  });
}

export function end(count: number, more: Partial<TraceEnd> = {}): TraceEnd {
  return { end: true, events: count, complete: true, endedAt: 1000, exitCode: 0, ...more };
}

export function treeOf(...layers: Spec[][]) {
  return mergeLayers(layers.map((specs) => layer(...specs)));
}

/** One run over the tree of `layers`. */
export function run(layers: Spec[][], lines: string[], more: Partial<TraceEnd> = {}, header = HEADER): RecordedRun {
  const list = events(...lines);
  return summarizeEvents(header, list, end(list.length, more), viewOfTree(treeOf(...layers)));
}

/** A run of a profile that was written by hand: it recorded nothing. */
export const BLANK_RUN: ProfileRun = {
  id: '0'.repeat(16),
  complete: true,
  events: 0,
  endedAt: 0,
  filesRead: 0,
  bytesRead: 0,
  misses: [],
  replay: saveReplay(newColumns(0, [])),
};

/** mulberry32: small, seeded, good enough to draw test cases. */
export function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** From $SEED or the clock; printed, so that a failure can be had again. */
export function newSeed(what: string): number {
  const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
  console.log(`# ${what}: SEED=${seed}`);
  return seed;
}
