// What the runs of a profile say about each other: how alike they are, which are odd, whether more are worth making.
// Only complete runs that hotlayer recorded are compared: a difference to any other may be a gap in the record.
import { adviceOf } from './advice.js';
import { agreementOf } from './agreement.js';
import type { FileColumns } from './count-files.js';
import { type MeasuredRun, modesOf, outliersOf, patternsOf } from './odd-runs.js';
import type { Profile, ProfileFile, ProfileRun } from './types.js';

export interface AssessedRun {
  readonly run: Omit<ProfileRun, 'replay' | 'misses'>;
  readonly columns: FileColumns;
}

/** @param files by the numbers of the columns */
export function assessRuns(
  runs: readonly AssessedRun[],
  files: readonly ProfileFile[],
): Pick<Profile, 'agreement' | 'outliers' | 'modes' | 'advice'> {
  const comparable = runs.filter(({ run }) => run.complete && run.imported === undefined);
  // By id, so that nothing depends on the order in which the runs came.
  comparable.sort((a, b) => (a.run.id < b.run.id ? -1 : a.run.id > b.run.id ? 1 : 0));
  const measured = comparable.map(
    ({ run }): MeasuredRun => ({
      id: run.id,
      ready: run.ready?.t,
      filesRead: run.filesRead,
      bytesRead: run.bytesRead,
    }),
  );
  const openings = files.map(({ size }, number) => {
    const openedBy: number[] = [];
    for (let i = 0; i < comparable.length; i++) {
      if (!Number.isNaN(comparable[i]!.columns.first[number]!)) openedBy.push(i);
    }
    return { size, openedBy };
  });
  const varying = openings.filter(({ openedBy: { length } }) => length > 0 && length < comparable.length);
  const patterns = patternsOf(
    measured,
    varying.map(({ openedBy }) => openedBy),
  );
  return {
    agreement: agreementOf(comparable.map(({ run, columns }) => ({ id: run.id, ...columns }))),
    outliers: [...outliersOf(measured), ...patterns.outliers],
    modes: [...modesOf(measured), ...patterns.modes],
    advice: adviceOf(
      openings.map(({ size, openedBy }) => ({ size, openedIn: openedBy.length })),
      comparable.length,
    ),
  };
}
