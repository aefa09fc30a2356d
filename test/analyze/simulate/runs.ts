// Replays, networks and layouts in a few words.
import { STARGZ_SNAPSHOTTER } from '../../../src/analyze/model/client.js';
import { newColumns, REPLAY_OPS, type Replay, type ReplayOp } from '../../../src/analyze/replay.js';
import type { FileLayout, LayerLayout, Layout } from '../../../src/analyze/simulate/layout.js';

/** [t, thread, what, file, offset, bytes, duration] */
export type Row = readonly [number, number, ReplayOp, number, number?, number?, number?];

export function replay(...rows: readonly Row[]): Replay {
  const threads = Math.max(0, ...rows.map((row) => row[1] + 1));
  const out = newColumns(
    rows.length,
    Array.from({ length: threads }, (_, pid) => ({ pid })),
  );
  for (const [i, [t, thread, what, file, offset = 0, bytes = 0, duration = 0]] of rows.entries()) {
    out.t[i] = t;
    out.process[i] = thread;
    out.op[i] = REPLAY_OPS.indexOf(what);
    out.file[i] = file;
    out.offset[i] = offset;
    out.bytes[i] = bytes;
    out.duration[i] = duration;
  }
  return out;
}

/** The client with every cost at nothing but those given. */
export function client(costs: Partial<typeof STARGZ_SNAPSHOTTER> = {}): typeof STARGZ_SNAPSHOTTER {
  const free = Object.fromEntries(
    Object.entries(STARGZ_SNAPSHOTTER).map(([name, value]) => [name, typeof value === 'number' ? 0 : value]),
  ) as unknown as typeof STARGZ_SNAPSHOTTER;
  const { piece, window, readahead, prefetchWait, cores } = STARGZ_SNAPSHOTTER;
  return { ...free, slowdown: 1, piece, window, readahead, prefetchWait, cores, ...costs };
}

/** A layer of one file after the other, each of one chunk, nothing else; compressed as large as they are. */
export function layerOf(sizes: readonly number[], hot = 0, toc = 100): { layer: LayerLayout; files: FileLayout[] } {
  let at = 0;
  const files = sizes.map((size): FileLayout => {
    const file = { layer: 0, size, at: [0], offset: [at], end: at + size };
    at += size;
    return file;
  });
  const before = sizes.slice(0, hot);
  const layer = {
    size: at + toc,
    tocOffset: at,
    tocJson: 10 * toc,
    entries: sizes.length,
    prefetch: before.reduce((a, b) => a + b, 0),
    prefetchFiles: hot,
    prefetchInflated: before.reduce((a, b) => a + b, 0),
    inflated: at,
  };
  return { layer, files };
}

export function layout(sizes: readonly number[], hot = 0): Layout {
  const { layer, files } = layerOf(sizes, hot);
  return { layers: [layer], files };
}
