// What became of a startup since the base, as far as a report shows it.
import { CHANGE_KINDS, type DiffSide, diffStartups } from '../analyze/diff/index.js';
import type { Profile } from '../analyze/types.js';
import type { Report, ReportChanges } from './types.js';

/** Of each list; `hotlayer diff` has all of them. */
const MAX_GROUPS = 50;

/** The part of a report that a later one is compared with. */
export type ReportBase = Pick<Report, 'metrics' | 'image' | 'runs' | 'profile'>;

/** As `diffStartups` takes it. */
export function sideOf({ image, runs, profile }: Pick<Report, 'image' | 'runs' | 'profile'>): DiffSide {
  return { image, runs, files: profile.files, complete: profile.complete };
}

/** @returns also what about the two should be known */
export function changesSince(
  base: ReportBase,
  profile: Profile,
): { changes: ReportChanges; warnings: readonly string[] } {
  const { findings, changes, places, packages, steps, unsure, warnings } = diffStartups(sideOf(base), profile);
  const kinds = CHANGE_KINDS.flatMap((kind) => {
    const list = changes.filter((change) => change.kind === kind);
    return list.length === 0
      ? []
      : [{ kind, files: list.length, bytes: list.reduce((sum, { bytes }) => sum + bytes, 0) }];
  });
  return {
    changes: {
      findings,
      kinds,
      places: places.slice(0, MAX_GROUPS),
      packages: packages.slice(0, MAX_GROUPS),
      steps: steps.slice(0, MAX_GROUPS),
      unsure,
    },
    warnings,
  };
}
