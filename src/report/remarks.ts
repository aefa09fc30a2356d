// What the runs of a profile say about each other, in sentences: what is odd, and whether more runs are worth making.
import type { Modes, Outlier, Profile } from '../analyze/types.js';
import { formatBytes, formatCount, formatNanos } from '../units.js';

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
