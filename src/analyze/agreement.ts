// How alike the runs are: which files, how many bytes of each, in what order. Means over pairs of runs, so that none
// of them is the measure of the others.
import type { FileColumns } from './count-files.js';
import { round6 } from './interval.js';
import { kendallTauB } from './rank-agreement.js';
import type { Agreement } from './types.js';

/** One run. `id` sorts the runs, so that the result does not depend on their order. */
export interface ComparedRun extends FileColumns {
  readonly id: string;
}

/** All pairs of 25 runs; of more runs as many pairs, evenly chosen. */
export const MAX_PAIRS = 300;

/** @param runs complete ones, over the same files */
export function agreementOf(runs: readonly ComparedRun[]): Agreement {
  const sorted = [...runs].sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  const orders = sorted.map(({ first }) => openedInOrder(first));
  const files: number[] = [];
  const bytes: number[] = [];
  const order: number[] = [];
  for (const [i, j] of pairsOf(sorted.length)) {
    const [a, b] = [sorted[i]!, sorted[j]!];
    const alike = jaccards(a.bytes, b.bytes);
    files.push(alike.files);
    bytes.push(alike.bytes);
    const tau = tauOf(orders[i]!, a.first, b.first);
    if (tau !== undefined) order.push(tau);
  }
  return {
    runs: runs.length,
    files: mean(files) ?? 1,
    bytes: mean(bytes) ?? 1,
    ...(order.length === 0 ? undefined : { order: mean(order)! }),
  };
}

/**
 * Jaccard index of the sets of files read, and Ruzicka's weighted one of the bytes read of each: the sum of the
 * smaller over the sum of the larger. Two runs that read nothing are equal: 1.
 */
export function jaccards(a: ArrayLike<number>, b: ArrayLike<number>): { files: number; bytes: number } {
  let both = 0;
  let either = 0;
  let smaller = 0;
  let larger = 0;
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i]!, b[i]!];
    if (x === 0 && y === 0) continue;
    either += 1;
    if (x > 0 && y > 0) both += 1;
    smaller += Math.min(x, y);
    larger += Math.max(x, y);
  }
  return { files: either === 0 ? 1 : both / either, bytes: larger === 0 ? 1 : smaller / larger };
}

/** Numbers of the files that were opened, by time. */
function openedInOrder(first: Float64Array): Uint32Array {
  const opened: number[] = [];
  for (let i = 0; i < first.length; i++) if (!Number.isNaN(first[i]!)) opened.push(i);
  return Uint32Array.from(opened).sort((a, b) => first[a]! - first[b]! || a - b);
}

/** Of the files that both opened. @param order of the first run */
function tauOf(order: Uint32Array, a: Float64Array, b: Float64Array): number | undefined {
  const [x, y] = [new Float64Array(order.length), new Float64Array(order.length)];
  let common = 0;
  for (const file of order) {
    const second = b[file]!;
    if (Number.isNaN(second)) continue;
    x[common] = a[file]!;
    y[common++] = second;
  }
  return kendallTauB(x.subarray(0, common), y.subarray(0, common));
}

function* pairsOf(runs: number): Generator<readonly [number, number]> {
  const pairs = (runs * (runs - 1)) / 2;
  const step = Math.max(1, pairs / MAX_PAIRS);
  let next = 0;
  let n = 0;
  for (let i = 0; i < runs; i++) {
    for (let j = i + 1; j < runs; j++, n++) {
      if (n < Math.floor(next)) continue;
      yield [i, j];
      next += step;
    }
  }
}

/** Six decimals; sorted before they are added, for a sum of floating-point numbers depends on the order. */
function mean(values: readonly number[]): number | undefined {
  if (values.length === 0) return undefined;
  return round6([...values].sort((a, b) => a - b).reduce((a, b) => a + b, 0) / values.length);
}
