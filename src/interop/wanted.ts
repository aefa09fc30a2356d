// A profile as a list of wanted files.
import type { Profile } from '../analyze/types.js';
import { comparePaths } from '../paths.js';
import type { Wanted } from './types.js';

/** Regular files whose content was asked for, by median first access. Ranges are those that any run read. */
export function wantedFiles({ files }: Pick<Profile, 'files'>): Wanted[] {
  return files
    .filter(({ type, openedIn }) => type === 'reg' && openedIn > 0)
    .sort((a, b) => a.firstAccess.median - b.firstAccess.median || comparePaths(a.path, b.path))
    .map(({ path, layer, ranges, firstAccess, executed }) => ({
      path,
      ...(layer === undefined ? undefined : { layer }),
      ...(ranges.length === 0 ? undefined : { ranges: joined(ranges) }),
      t: firstAccess.median,
      ...(executed ? { executed } : undefined),
    }));
}

/** Ranges that differ only in how many runs read them are one. */
function joined(ranges: readonly (readonly [number, number, number])[]): [number, number][] {
  const out: [number, number][] = [];
  for (const [offset, length] of ranges) {
    const last = out.at(-1);
    if (last && last[0] + last[1] === offset) last[1] += length;
    else out.push([offset, length]);
  }
  return out;
}
