// The change in sentences, as a reviewer would say it: "reads pandas 2.2.1 (pypi): +118 files, +14.1 MiB".
import { showPath } from '../../paths.js';
import { formatBytes, formatCount, formatNanos } from '../../units.js';
import { parsePurl } from '../packages/purl.js';
import type { ChangeGroup, MeasureChange, StartupDiff } from './types.js';

/** Most sentences; the lists have the rest. */
const MOST = 8;

type Found = Pick<StartupDiff, 'changes' | 'places' | 'packages' | 'measures'>;

export function findingsOf({ changes, places, packages, measures }: Found): string[] {
  const whole = packages.filter(({ whole }) => whole);
  const told = new Set(whole.map(({ kind, name }) => `${kind} ${name}`));
  // What the packages say need not be said of their directories once more.
  const owned = new Set(
    changes.filter((change) => told.has(`${change.kind} ${change.package}`)).map(({ kind, path }) => `${kind} ${path}`),
  );
  const weighted = [
    ...whole.map((group) => ({ group, text: packageText(group) })),
    ...places
      .filter(({ kind, largest }) => !owned.has(`${kind} ${largest}`))
      .map((group) => ({ group, text: placeText(group) })),
  ].filter(({ group }) => group.kind === 'hot' || group.kind === 'cold' || group.bytes !== 0);
  weighted.sort((a, b) => Math.abs(b.group.bytes) - Math.abs(a.group.bytes) || b.group.files - a.group.files);
  return [...measures.flatMap(measureText), ...weighted.slice(0, MOST).map(({ text }) => text)];
}

/** `+118 files, +14.1 MiB, first at 610 ms`. */
export function amountText({ kind, files, bytes, first, shift }: Omit<ChangeGroup, 'largest'>): string {
  const sign = kind === 'hot' ? '+' : kind === 'cold' ? '−' : '';
  return [
    `${sign}${formatCount(files)} ${files === 1 ? 'file' : 'files'}`,
    ...(shift === undefined ? [signed(bytes, formatBytes)] : [signed(shift, formatNanos)]),
    ...(first === undefined || kind === 'cold' ? [] : [`first at ${formatNanos(first)}`]),
  ].join(', ');
}

/** With its sign, also when it is 0. */
export function signed(value: number, format: (value: number) => string): string {
  return value < 0 ? `−${format(-value)}` : `+${format(value)}`;
}

/** `pandas 2.2.1 (pypi)`; of files without package: nothing. */
export function packageName(purl: string | undefined): string {
  if (purl === undefined) return '(no package)';
  const known = parsePurl(purl);
  return showPath(known ? `${known.name}${known.version && ` ${known.version}`} (${known.kind})` : purl);
}

function packageText(group: ChangeGroup): string {
  const verb = group.kind === 'hot' ? 'now reads' : 'no longer reads';
  return `the start ${verb} ${packageName(group.name)}: ${amountText(group)}`;
}

const VERBS = {
  hot: 'became hot',
  cold: 'became cold',
  bigger: 'grew',
  smaller: 'shrank',
  later: 'are read later',
  earlier: 'are read earlier',
} as const;

function placeText(group: StartupDiff['places'][number]): string {
  return `${placeName(group)} ${VERBS[group.kind]}: ${amountText(group)}`;
}

/** `/opt/app/**` for all below, `/opt/app/*` for files in it; of one file its path. */
export function placeName({ name, whole, files, largest }: StartupDiff['places'][number]): string {
  if (files === 1) return showPath(largest);
  return showPath(`${name === '/' ? '' : name}/${whole ? '**' : '*'}`);
}

function measureText({ label, unit, noise, medians: [a, b], because }: MeasureChange): string[] {
  if (noise === 'within' || a === b) return [];
  const format = { ns: formatNanos, bytes: formatBytes, count: formatCount }[unit];
  return [`${label}: ${format(a)} → ${format(b)} (${signed(b - a, format)}; ${because})`];
}
