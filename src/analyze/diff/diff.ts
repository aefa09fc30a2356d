// Two profiles → what became of the startup: hot, cold, bigger, smaller, later, earlier, and where that comes from.
import { median } from 'simple-statistics';
import { TOOL } from '../../trace/tool.js';
import { type ChangeOptions, fileChanges, isHot } from './changes.js';
import { findingsOf } from './findings.js';
import { changesByPackage, changesByStep } from './groups.js';
import { compareRuns } from './noise.js';
import { changesByPlace } from './places.js';
import { DIFF_SCHEMA, type DiffedSide, type DiffSide, type MeasureChange, type StartupDiff } from './types.js';

/** Pure; the same sides give the same result, byte for byte. */
export function diffStartups(before: DiffSide, after: DiffSide, options: ChangeOptions = {}): StartupDiff {
  const { changes, unsure } = fileChanges(before, after, options);
  const hotIn = ({ files }: DiffSide) => files.filter(isHot).map(({ path }) => path);
  const [old, now] = [hotIn(before), hotIn(after)];
  const places = changesByPlace(changes, (kind) => (kind === 'cold' ? old : now));
  const packages = changesByPackage(changes, before, after);
  const measures = measuresOf(before, after, options.alpha);
  return {
    schemaVersion: DIFF_SCHEMA,
    tool: TOOL,
    before: describe(before, old.length),
    after: describe(after, now.length),
    findings: findingsOf({ changes, places, packages, measures }),
    measures,
    places,
    packages,
    steps: changesByStep(changes),
    changes,
    unsure,
    warnings: warningsOn(before, after),
  };
}

/**
 * Whether a start reads something else than before, beyond the noise of the runs. Times do not count: they are those of
 * the machines as well, and budgets are there to limit them.
 */
export function differs({ changes }: Pick<StartupDiff, 'changes'>): boolean {
  return changes.some(({ kind }) => kind !== 'later' && kind !== 'earlier');
}

function describe({ image, runs }: DiffSide, hotFiles: number): DiffedSide {
  const { reference, digest } = image;
  return { reference, ...(digest === undefined ? undefined : { digest }), runs: runs.length, hotFiles };
}

function measuresOf(before: DiffSide, after: DiffSide, alpha?: number): MeasureChange[] {
  const times = ({ runs }: DiffSide) =>
    runs.flatMap(({ ready, imported }) => (ready && imported === undefined ? [ready.t] : []));
  const of = (
    head: Pick<MeasureChange, 'id' | 'label' | 'unit'>,
    values: (side: DiffSide) => number[],
  ): MeasureChange[] => {
    const [a, b] = [values(before), values(after)];
    if (a.length === 0 || b.length === 0) return [];
    const medians = [Math.round(median(a)), Math.round(median(b))] as const;
    return [{ ...head, before: a, after: b, medians, ...compareRuns(a, b, alpha) }];
  };
  return [
    ...of({ id: 'startup-time', label: 'Ready', unit: 'ns' }, times),
    ...of({ id: 'startup-files', label: 'Files read', unit: 'count' }, ({ runs }) => runs.map((r) => r.filesRead)),
    ...of({ id: 'startup-bytes', label: 'Bytes read', unit: 'bytes' }, ({ runs }) => runs.map((r) => r.bytesRead)),
  ];
}

function warningsOn(before: DiffSide, after: DiffSide): string[] {
  const sides = [
    ['before', before],
    ['after', after],
  ] as const;
  return sides.flatMap(([name, { runs, complete }]) => [
    ...(complete ? [] : [`the profile ${name} is not complete: what it lacks may seem to have become cold or hot`]),
    ...(runs.length > 1 ? [] : [`the profile ${name} has one run: its noise is not known, so every difference counts`]),
    ...(runs.some(({ imported }) => imported !== undefined)
      ? [`the profile ${name} was imported: times and order are not compared`]
      : []),
  ]);
}
