// Traces of runs that never were: each opens files one after the other and reads them page by page; runs differ in
// which files they leave out, and in their times.
import type { TraceEvent, TraceHeader } from '../../src/trace/events.js';

const PAGE = 4096;

export function traceHeader(reference: string, digest: string): TraceHeader {
  return {
    ...{ schemaVersion: 1, tool: 'bench', image: { reference, digest }, precision: 'exact', until: ['exit'] },
    workload: { args: ['/srv/start'], user: '', cwd: '/' },
  };
}

/**
 * @param count events
 * @param sizes of the image's files, by number; all of them are touched when there are two events for each
 */
export function eventsOf(
  run: number,
  count: number,
  sizes: readonly number[],
  pathOf: (file: number) => string,
): TraceEvent[] {
  // Numbers of a linear congruential generator (Numerical Recipes): the same on every machine.
  let seed = run + 1;
  const random = () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32;
  };
  const each = Math.max(2, Math.floor(count / sizes.length));
  const out: TraceEvent[] = [];
  let t = 0;
  for (let n = 0; out.length < count; n++) {
    const file = n % sizes.length;
    if (random() < 0.02) continue;
    const path = `/${pathOf(file)}`;
    const pid = 100 + (file % 8);
    for (let k = 0; k < each && out.length < count; k++) {
      t += 2000 + Math.floor(random() * 3000);
      const common = { t, path, pid, comm: 'app', dur: 1500 };
      if (k === 0) {
        out.push({ ...common, op: 'open' });
        continue;
      }
      const offset = ((k - 1) * PAGE) % sizes[file]!;
      out.push({ ...common, op: 'read', offset, length: Math.min(PAGE, sizes[file]! - offset) });
    }
  }
  return out;
}
