// A profile in the terminal: what the startup took, how sure that is, and what the runs say about each other.
import { spreadOf } from '../analyze/statistics.js';
import type { Profile, Spread } from '../analyze/types.js';
import { remarksOn } from '../report/remarks.js';
import { formatBytes, formatCount, formatNanos, formatShare } from '../units.js';
import { showLayers, showPackages } from './origin-summary.js';
import type { Output } from './output.js';
import { table } from './table.js';

export function showProfile(out: Output, profile: Profile): void {
  const runs = profile.runs.length;
  const columns = [
    { title: 'Startup profile' },
    { title: 'median ± MAD' },
    { title: 'min … max' },
    { title: `${runs} ${runs === 1 ? 'run' : 'runs'}` },
  ];
  for (const line of table(columns, rowsOf(profile), '')) out.result(line);
  if (profile.packages) showPackages(out, profile.packages);
  showLayers(out, profile);
  for (const { path, notRead } of profile.image.databases ?? []) {
    if (notRead !== undefined) out.note(`The package database ${path} was not read: ${notRead}`);
  }
  for (const line of remarksOn(profile)) out.result(line);
  for (const [i, run] of profile.runs.entries()) {
    if (!run.complete) out.warn(`run ${i + 1} is not complete: ${run.incompleteBecause ?? 'events may be lost'}`);
  }
}

function rowsOf(profile: Profile): string[][] {
  const hot = profile.files.filter((file) => file.openedIn > 0 && file.type === 'reg');
  const always = hot.filter((file) => file.openedIn === profile.runs.length).length;
  const files = spreadOf(profile.runs.map((run) => run.filesRead));
  const bytes = spreadOf(profile.runs.map((run) => run.bytesRead));
  const { agreement, misses, image } = profile;
  const searched = misses.directories[0];
  return [
    ...(profile.ready ? [row('Ready', profile.ready, formatNanos, profile.until.join(' or '))] : []),
    row('Files read', files, formatCount, `${formatCount(always)} in every run, of ${formatCount(image.files)}`),
    row(
      'Bytes read',
      bytes,
      formatBytes,
      `${formatShare(bytes.median, image.bytes)} of the image's ${formatBytes(image.bytes)}`,
    ),
    ...(agreement.runs < 2 ? [] : [['Agreement', ...agreementText(profile)]]),
    ['Failed look-ups', formatCount(misses.total), '', searched ? `most in ${searched.path}` : ''],
  ];
}

/** "median ± MAD" and "min … max". */
function row(title: string, spread: Spread, format: (value: number) => string, note: string): string[] {
  return [
    title,
    `${format(spread.median)} ± ${format(spread.mad)}`,
    `${format(spread.min)} … ${format(spread.max)}`,
    note,
  ];
}

function agreementText({ agreement: { files, bytes, order } }: Profile): string[] {
  const rest = [`bytes ${bytes.toFixed(2)}`, ...(order === undefined ? [] : [`order ${order.toFixed(2)}`])];
  return [`files ${files.toFixed(2)}`, rest.join(', '), '1.00: all runs alike (Jaccard, Kendall)'];
}
