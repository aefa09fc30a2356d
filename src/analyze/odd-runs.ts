// Runs that are not like the others, and runs that fall into two kinds: a mean over them describes none of them.
import { mean, median } from 'simple-statistics';
import type { Modes, Outlier, RunMeasure } from './types.js';

/** One complete run. */
export interface MeasuredRun {
  readonly id: string;
  /** Absent: not measured in this run. */
  readonly ready?: number | undefined;
  readonly filesRead: number;
  readonly bytesRead: number;
}

/** Modified z-score beyond which a value is an outlier (Iglewicz and Hoaglin 1993, section 3). */
const OUTLIER_SCORE = 3.5;
/** Fewer values say nothing about which of them is odd. */
const MIN_FOR_OUTLIERS = 5;
/** Two kinds need three of each to be told from chance. */
const MIN_GROUP = 3;
/** The gap between the groups against the wider of them. For six runs of one kind it is exceeded in about 2 %. */
const GAP_FACTOR = 2;
/** Differences below a tenth of the median are of no consequence, however regular they are. */
const WORTH_SAYING = 0.1;
/** So many files at least, and so large a part of those that vary, must come and go together to be a sign. */
const MIN_SIGN_FILES = 5;
const MIN_SIGN_SHARE = 0.5;

const MEASURES: readonly RunMeasure[] = ['ready', 'filesRead', 'bytesRead'];

/**
 * By time to ready, files and bytes read: |0.6745 (x - median)| / MAD > 3.5; where the MAD is 0 (most values are the
 * same), the mean absolute deviation times 1.2533 stands in for MAD / 0.6745.
 */
export function outliersOf(runs: readonly MeasuredRun[]): Outlier[] {
  return MEASURES.flatMap((measure) => {
    const values = runs.flatMap((run) => (run[measure] === undefined ? [] : [{ id: run.id, value: run[measure] }]));
    if (values.length < MIN_FOR_OUTLIERS) return [];
    const middle = median(values.map(({ value }) => value));
    const deviations = values.map(({ value }) => Math.abs(value - middle));
    const mad = median(deviations);
    const scale = mad > 0 ? mad / 0.6745 : 1.2533 * mean(deviations);
    return values
      .filter(({ value }) => {
        const away = Math.abs(value - middle);
        return scale > 0 && away / scale > OUTLIER_SCORE && away > WORTH_SAYING * Math.abs(middle);
      })
      .map(({ id, value }): Outlier => ({ run: id, measure, value, median: Math.round(middle) }))
      .sort(byRun);
  });
}

/**
 * By time to ready and bytes read: the widest gap between neighbours that leaves three values on each side, when it
 * is more than twice as wide as either side and a tenth of the median.
 */
export function modesOf(runs: readonly MeasuredRun[]): Modes[] {
  return (['ready', 'bytesRead'] as const).flatMap((measure) => {
    const values = runs.flatMap((run) => (run[measure] === undefined ? [] : [{ id: run.id, value: run[measure] }]));
    values.sort((a, b) => a.value - b.value || (a.id < b.id ? -1 : 1));
    let at = -1;
    const gap = (i: number): number => values[i]!.value - values[i - 1]!.value;
    for (let i = MIN_GROUP; i <= values.length - MIN_GROUP; i++) if (at < 0 || gap(i) > gap(at)) at = i;
    if (at < 0) return [];
    const width = Math.max(
      values[at - 1]!.value - values[0]!.value,
      values[values.length - 1]!.value - values[at]!.value,
    );
    const middle = Math.abs(median(values.map(({ value }) => value)));
    if (gap(at) <= GAP_FACTOR * width || gap(at) <= WORTH_SAYING * middle) return [];
    const groups = [values.slice(0, at), values.slice(at)] as const;
    const [low, high] = groups.map((group) => Math.round(median(group.map(({ value }) => value))));
    const ids = groups.map((group) => group.map(({ id }) => id).sort());
    return [{ measure, groups: [ids[0]!, ids[1]!] as const, medians: [low!, high!] as const }];
  });
}

/**
 * By the files themselves: files that vary are grouped by the set of runs that opened them. When most of them come
 * and go together, that set is a kind of run: an outlier if it, or its complement, is one run; else a mode.
 * @param signatures for each file opened in some runs but not in all: the indices of the runs that did, ascending
 */
export function patternsOf(
  runs: readonly MeasuredRun[],
  signatures: Iterable<readonly number[]>,
): { outliers: Outlier[]; modes: Modes[] } {
  // A file of the one kind and a file of the other show the same division: the side without run 0 names it.
  const counts = new Map<string, { side: readonly number[]; files: number; on: number }>();
  let varying = 0;
  for (const signature of signatures) {
    varying += 1;
    const inverse = signature[0] === 0;
    const side = inverse ? runs.flatMap((_, i) => (signature.includes(i) ? [] : [i])) : signature;
    const key = side.join();
    const known = counts.get(key) ?? { side, files: 0, on: 0 };
    known.files += 1;
    if (!inverse) known.on += 1;
    counts.set(key, known);
  }
  let largest: { side: readonly number[]; files: number; on: number } | undefined;
  for (const sign of counts.values()) if (!largest || sign.files > largest.files) largest = sign;
  const none = { outliers: [], modes: [] };
  if (!largest || largest.files < MIN_SIGN_FILES || largest.files < MIN_SIGN_SHARE * varying) return none;
  const inside = largest.side.map((i) => runs[i]!.id);
  const outside = runs.map(({ id }) => id).filter((id) => !inside.includes(id));
  const { files, on } = largest;
  const alone = inside.length === 1 ? inside[0] : outside.length === 1 ? outside[0] : undefined;
  // Two runs: either may be the odd one.
  if (runs.length < 3) return none;
  if (alone !== undefined) {
    return { outliers: [{ run: alone, measure: 'files', value: files, median: 0 }], modes: [] };
  }
  const sides = [
    { ids: inside.sort(), files: on },
    { ids: outside.sort(), files: files - on },
  ].sort((a, b) => (a.ids[0]! < b.ids[0]! ? -1 : 1));
  const [a, b] = [sides[0]!, sides[1]!];
  return { outliers: [], modes: [{ measure: 'files', groups: [a.ids, b.ids], medians: [a.files, b.files] }] };
}

function byRun(a: Outlier, b: Outlier): number {
  return a.run < b.run ? -1 : a.run > b.run ? 1 : 0;
}
