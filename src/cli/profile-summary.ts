// A profile in the terminal: what the startup took, how sure that is, and what the runs say about each other.
import { spreadOf } from '../analyze/statistics.js';
import type { Modes, Outlier, Profile, Spread } from '../analyze/types.js';
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

/** What is odd about the runs, and whether more of them are worth making. Runs are numbered as in the profile, from 1. */
export function remarksOn(profile: Profile): string[] {
  const numbers = new Map(profile.runs.map(({ id }, i) => [id, i + 1]));
  const named = (ids: readonly string[]): string => {
    const list = ids.map((id) => numbers.get(id) ?? 0).sort((a, b) => a - b);
    return list.length === 1 ? `run ${list[0]}` : `runs ${list.slice(0, -1).join(', ')} and ${list.at(-1)}`;
  };
  return [
    ...profile.outliers.map((outlier) => outlierText(outlier, numbers.get(outlier.run) ?? 0)),
    ...profile.modes.map((modes) => modesText(modes, named(modes.groups[0]), named(modes.groups[1]))),
    ...adviceText(profile),
  ];
}

function outlierText({ measure, value, median }: Outlier, run: number): string {
  if (measure === 'files') {
    return `Run ${run} is unlike the others: ${files(value)} opened or left out by it alone`;
  }
  const what = { ready: 'was ready after', filesRead: 'read', bytesRead: 'read' }[measure];
  const format = formatOf(measure);
  return `Run ${run} is unlike the others: ${what} ${format(value)}, the median is ${format(median)}`;
}

function modesText({ measure, medians: [a, b] }: Modes, these: string, those: string): string {
  if (measure === 'files') {
    return `Two kinds of runs: ${these} open ${files(a)} that ${those} do not, and those ${files(b)} that these do not`;
  }
  const what = measure === 'ready' ? 'ready after' : 'reading';
  const format = formatOf(measure);
  return `Two kinds of runs: ${these} ${what} ${format(a)}, ${those} ${what} ${format(b)} (medians)`;
}

function adviceText({ advice: { undecided, moreRuns, settles }, runs }: Profile): string[] {
  const more = `${moreRuns} more ${moreRuns === 1 ? 'run' : 'runs'}`;
  if (undecided === 0 && moreRuns === 0) return [];
  if (settles === 0 && moreRuns > 0) {
    const few = runs.length === 1 ? 'One run says' : `${runs.length} runs say`;
    return [`${few} little about what varies: make ${more} (--runs ${runs.length + moreRuns})`];
  }
  if (moreRuns === 0) {
    return [`${files(undecided)} come and go from run to run; more runs would not make that clearer`];
  }
  return [
    `${more} would settle ${settles === undecided ? '' : 'about '}${files(settles)}` +
      ` of ${formatCount(undecided)} that come and go and may or may not be worth prefetching (--runs ${runs.length + moreRuns})`,
  ];
}

function files(count: number): string {
  return `${formatCount(count)} ${count === 1 ? 'file' : 'files'}`;
}

function formatOf(measure: 'ready' | 'filesRead' | 'bytesRead'): (value: number) => string {
  return measure === 'ready' ? formatNanos : measure === 'bytesRead' ? formatBytes : files;
}
