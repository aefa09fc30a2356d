// Where in the big files a start reads.
import type { Profile, ProfileFile } from '../analyze/types.js';
import { MIB } from '../units.js';
import type { FileHeat } from './types.js';

/** Files shown, and parts of each. */
export const MAX_HEAT = 12;
const CELLS = 240;
/** Smaller files are read whole by the page or not at all: there is no picture in them. */
const BIG = MIB / 4;

export function heatOf(profile: Profile): FileHeat[] {
  return profile.files
    .filter((file) => file.type === 'reg' && file.size >= BIG && file.bytesRead.max > 0)
    .sort((a, b) => b.size - a.size || (a.path < b.path ? -1 : 1))
    .slice(0, MAX_HEAT)
    .map((file) => ({
      path: file.path,
      size: file.size,
      read: file.bytesRead.median,
      cells: cellsOf(file, profile.runs.length),
    }));
}

function cellsOf({ ranges, size }: ProfileFile, runs: number): number[] {
  const sums = new Float64Array(CELLS);
  const cell = size / CELLS;
  for (const [offset, length, count] of ranges) {
    for (let i = Math.floor(offset / cell); i < CELLS && i * cell < offset + length; i++) {
      const overlap = Math.min(offset + length, (i + 1) * cell) - Math.max(offset, i * cell);
      if (overlap > 0) sums[i]! += overlap * count;
    }
  }
  // What is read at all is seen, if only as one per cent.
  return Array.from(sums, (sum) =>
    sum === 0 ? 0 : Math.max(1, Math.min(100, Math.round((100 * sum) / (cell * runs)))),
  );
}
