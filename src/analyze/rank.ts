// Profile → ranking: which files a start needs most. In as many runs as possible first, then in the order in which
// the workload asks for them.
import { comparePaths } from '../paths.js';
import { formatBytes, formatCount, formatNanos } from '../units.js';
import type { Profile, ProfileFile, RankedFile, Ranking } from './types.js';

/**
 * Regular files whose content was asked for and symlinks that were followed, most wanted first. Files that were only
 * looked up or stat'ed are left out: their metadata comes with the table of contents.
 */
export function rankFiles(profile: Profile): Ranking {
  const runs = profile.runs.length;
  const wanted = profile.files
    .filter(({ type, openedIn }) => openedIn > 0 && (type === 'reg' || type === 'symlink'))
    .sort(
      (a, b) => b.openedIn - a.openedIn || a.firstAccess.median - b.firstAccess.median || comparePaths(a.path, b.path),
    );
  const latest = wanted.reduce((most, file) => Math.max(most, file.firstAccess.median), 0);
  return wanted.map(
    (file): RankedFile => ({ path: file.path, score: score(file, runs, latest), because: because(file, runs) }),
  );
}

/**
 * Share of the runs that opened it, 0 … 1, less its place in time (0 first … 1 last) as a fraction of one run: a
 * later file of more runs stays ahead of an earlier one of fewer. Six decimals.
 */
function score(file: ProfileFile, runs: number, latest: number): number {
  const place = Math.max(0, file.firstAccess.median) / (latest + 1);
  return Math.round(((file.openedIn - place) / runs) * 1e6) / 1e6;
}

function because(file: ProfileFile, runs: number): string {
  const verb = file.executed
    ? 'executed'
    : file.type === 'symlink'
      ? 'followed'
      : file.bytesRead.max > 0
        ? 'read'
        : 'opened';
  const first = file.firstAccess.median;
  const when = first < 0 ? 'before the workload started' : `first at ${formatNanos(first)}`;
  const parts = [`${verb} in ${file.openedIn} of ${runs} ${runs === 1 ? 'run' : 'runs'}`, when];
  if (file.type === 'reg') {
    const { median } = file.bytesRead;
    const reads = `in ${formatCount(file.reads)} ${file.reads === 1 ? 'read' : 'reads'}`;
    parts.push(
      median === 0
        ? `nothing of ${formatBytes(file.size)}`
        : `${formatBytes(median)} of ${formatBytes(file.size)} ${reads}`,
    );
  }
  return parts.join(', ');
}
