// How alike the runs are: which files come in how many of them, and which come and go.
import type { Profile } from '../analyze/types.js';
import type { Stability } from './types.js';

/** Runs that are compared with each other; more would not fit in a picture. */
export const MAX_COMPARED = 30;
/** Files that come and go which are listed. */
export const MAX_SOMETIMES = 500;

/** @param file index in `profile.files` */
export type WhyOf = (file: number) => { readonly prefetched?: boolean; readonly because?: string };

/** @param opened for each run, for each file of the profile: 1 when its content was asked for */
export function stabilityOf(profile: Profile, opened: readonly Uint8Array[], why: WhyOf): Stability {
  const runs = profile.runs.length;
  const openedIn = new Array<number>(runs).fill(0);
  const varying: number[] = [];
  for (const [i, file] of profile.files.entries()) {
    if (file.type !== 'reg' || file.openedIn === 0) continue;
    openedIn[file.openedIn - 1]! += 1;
    if (file.openedIn < runs) varying.push(i);
  }
  varying.sort((a, b) => profile.files[b]!.bytesRead.median - profile.files[a]!.bytesRead.median || a - b);
  const compared = opened.slice(0, MAX_COMPARED);
  return {
    openedIn,
    compared: compared.map((_, i) => i + 1),
    jaccard: compared.map((a) => compared.map((b) => jaccard(a, b))),
    sometimes: varying.slice(0, MAX_SOMETIMES).map((i) => ({
      path: profile.files[i]!.path,
      runs: opened.map((files) => (files[i] === 1 ? '1' : '0')).join(''),
      bytes: profile.files[i]!.bytesRead.median,
      ...why(i),
    })),
    sometimesTotal: varying.length,
  };
}

function jaccard(a: Uint8Array, b: Uint8Array): number {
  let both = 0;
  let either = 0;
  for (let i = 0; i < a.length; i++) {
    both += a[i]! & b[i]!;
    either += a[i]! | b[i]!;
  }
  return either === 0 ? 1 : Math.round((1000 * both) / either) / 1000;
}
