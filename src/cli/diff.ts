// `hotlayer diff A B`: what became of a startup between two profiles.
import { type Command, InvalidArgumentError } from 'commander';
import { amountText, packageName, placeName, signed } from '../analyze/diff/findings.js';
import {
  ALPHA,
  CHANGE_KINDS,
  type ChangeGroup,
  type ChangeKind,
  differs,
  diffStartups,
  type MeasureChange,
  type StartupDiff,
} from '../analyze/diff/index.js';
import { EXIT } from '../errors.js';
import { showPath } from '../paths.js';
import { readSide } from '../report/saved-report.js';
import { formatBytes, formatCount, formatNanos } from '../units.js';
import { flag, type GlobalFlags } from './flags.js';
import type { Register } from './main.js';
import type { Output } from './output.js';
import { table } from './table.js';

/** Rows of a list without --verbose. */
const SHOWN = 12;

interface DiffFlags extends GlobalFlags {
  exitCode?: boolean;
  alpha: number;
}

export function addDiff(program: Command, register: Register): void {
  const command = program
    .command('diff')
    .argument('<before>', 'profile, or a report as JSON')
    .argument('<after>', 'profile or report to compare with it, of this or of another image')
    .description(
      'Says what became hot, cold, bigger, smaller, later and earlier, by directory, by package and by what made the layer.\nWhat differs by no more than runs differ among themselves is not a change.',
    )
    .summary('what changed in a startup')
    .addOption(flag('--exit-code', 'exit status 1 when a start reads something else (times do not count)'))
    .addOption(
      flag('--alpha <p>', 'a difference counts when runs that are alike show it at most this often')
        .argParser(probability)
        .default(ALPHA),
    );
  register<DiffFlags>(command, async ({ out }, [before, after], { exitCode, alpha }) => {
    const diff = diffStartups(await readSide(before!), await readSide(after!), { alpha });
    out.document(diff);
    showDiff(out, diff);
    return exitCode && differs(diff) ? EXIT.no : EXIT.ok;
  });
}

function probability(text: string): number {
  const value = Number(text);
  if (!/^0?\.\d+$/.test(text) || value <= 0) throw new InvalidArgumentError('Expected a number between 0 and 1.');
  return value;
}

export function showDiff(out: Output, diff: StartupDiff): void {
  const columns = [
    { title: 'Startup' },
    { title: 'before', align: 'right' },
    { title: 'after', align: 'right' },
    { title: 'change', align: 'right' },
    { title: '' },
  ] as const;
  for (const line of table(columns, diff.measures.map(measureRow), '')) out.result(line);
  for (const kind of CHANGE_KINDS) showKind(out, diff, kind);
  showGroups(out, 'By package', diff.packages, ({ name }) => packageName(name));
  showGroups(out, 'By what made the layer', diff.steps, ({ name }) =>
    name === undefined ? '(unknown)' : stepText(name),
  );
  out.result();
  if (diff.unsure > 0) {
    const those = diff.unsure === 1 ? '1 file is' : `${formatCount(diff.unsure)} files are`;
    out.result(`${those} opened in another share of the runs, which is within their noise`);
  }
  out.result(differs(diff) ? 'A start reads something else than before' : 'A start reads the same as before');
  for (const warning of diff.warnings) out.warn(warning);
}

function measureRow({ label, unit, medians: [a, b], noise, because }: MeasureChange): string[] {
  const format = { ns: formatNanos, bytes: formatBytes, count: formatCount }[unit];
  const verdict = { beyond: 'beyond the noise', within: 'within the noise', unknown: 'noise unknown' }[noise];
  return [label, format(a), format(b), a === b ? '0' : signed(b - a, format), `${verdict} (${because})`];
}

const TITLES: Record<ChangeKind, string> = {
  hot: 'became hot',
  cold: 'became cold',
  bigger: 'grew',
  smaller: 'shrank',
  later: 'later',
  earlier: 'earlier',
};

function showKind(out: Output, { places, changes }: StartupDiff, kind: ChangeKind): void {
  const groups = places.filter((place) => place.kind === kind);
  if (groups.length === 0) return;
  const files = changes.filter((change) => change.kind === kind);
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  const sums = kind === 'later' || kind === 'earlier' ? '' : `, ${signed(bytes, formatBytes)}`;
  out.result();
  out.result(out.paint('bold', `${TITLES[kind]}: ${count(files.length)}${sums}`));
  showRows(
    out,
    groups.map((place) => [placeName(place), amountText(place)]),
  );
}

function showGroups<G extends ChangeGroup>(
  out: Output,
  title: string,
  groups: readonly G[],
  name: (g: G) => string,
): void {
  if (groups.length === 0) return;
  out.result();
  out.result(out.paint('bold', title));
  showRows(
    out,
    groups.map((group) => [TITLES[group.kind], name(group), amountText(group)]),
  );
}

function showRows(out: Output, rows: readonly (readonly string[])[]): void {
  const shown = out.verbose ? rows : rows.slice(0, SHOWN);
  for (const line of table(
    rows[0]!.map(() => ({ title: '' })),
    shown,
  ))
    out.result(line);
  if (shown.length < rows.length) {
    out.result(`  … and ${formatCount(rows.length - shown.length)} more (--verbose shows all, --json has them)`);
  }
}

/** One line, not longer than one. */
function stepText(step: string): string {
  const text = showPath(step.replace(/\s+/g, ' '));
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}

function count(files: number): string {
  return `${formatCount(files)} ${files === 1 ? 'file' : 'files'}`;
}
