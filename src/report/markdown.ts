// Markdown for a job summary or a comment on a pull request: screen-sized, the rest folded away. The first line marks
// it, so that a bot finds its own comment again and replaces it.
import { amountText, placeName } from '../analyze/diff/findings.js';
import { formatBytes, formatCount, formatNanos } from '../units.js';
import { formatChange, formatValue } from './format-metric.js';
import { markdown } from './safe-text.js';
import type { Metric, Report } from './types.js';

/** Comments on GitHub may have 65,536 characters; bytes are never fewer. */
export const MAX_MARKDOWN = 64 * 1024;

/** Found again by whoever keeps the comment up to date ("sticky"). */
export const MARKER = '<!-- hotlayer-report -->';

const ROWS = 10;
const TOP_CHANGES = 5;

export function renderMarkdown(report: Report): string {
  const sections = [
    [MARKER, `### hotlayer: ${verdictTitle(report)}`, '', markdown(report.findings.verdict)],
    budgets(report),
    metrics(report),
    changes(report),
    simulation(report),
    verification(report),
    warnings(report),
    runs(report),
    prefetch(report),
    topFiles(report),
    misses(report),
  ].filter((lines) => lines.length > 0);
  let text = '';
  for (const [i, lines] of sections.entries()) {
    const next = `${text}${text === '' ? '' : '\n'}${lines.join('\n')}\n`;
    // Whole sections only: half a table is no table.
    if (Buffer.byteLength(next) > MAX_MARKDOWN - 100)
      return `${text}\n${sections.length - i} more sections are in the report itself.\n`;
    text = next;
  }
  return text;
}

function verdictTitle({ budgets, verification, image }: Report): string {
  const exceeded = (budgets ?? []).filter(({ ok }) => !ok);
  const failed = exceeded.filter(({ level }) => level === 'error').length;
  const name = markdown(image.reference);
  if (verification && !verification.ok) return `❌ ${name}: not the same image`;
  if (failed > 0) return `❌ ${name}: ${failed} of ${budgets!.length} budgets exceeded`;
  if (exceeded.length > 0) return `⚠️ ${name}: ${exceeded.length} of ${budgets!.length} budgets exceeded, as a warning`;
  if (budgets && budgets.length > 0) return `✅ ${name}: all ${budgets.length} budgets kept`;
  return `startup of ${name}`;
}

function budgets({ budgets: results = [] }: Report): string[] {
  if (results.length === 0) return [];
  return table(
    ['', 'budget', 'expected', 'found'],
    results.map(({ id, level, ok, expected, found, detail }) => [
      ok ? '✅' : level === 'error' ? '❌' : '⚠️',
      markdown(id),
      markdown(expected),
      markdown(detail && !ok ? `${found} (${detail})` : found),
    ]),
  );
}

function metrics({ metrics: list, base }: Report): string[] {
  const head = ['', 'value', ...(base ? [`Δ ${markdown(base.reference)}`] : []), 'min … max'];
  const rows = list
    .filter(({ simulated }) => !simulated)
    .map((metric) => [
      markdown(metric.label),
      markdown(formatValue(metric.value, metric.unit)),
      ...(base ? [markdown(formatChange(metric) ?? '–')] : []),
      markdown(range(metric)),
    ]);
  return table(head, rows);
}

function changes({ changes: since, base, findings }: Report): string[] {
  if (!since || !base) return [];
  const places = since.places.filter(({ kind }) => kind !== 'later' && kind !== 'earlier').slice(0, ROWS);
  return [
    `**Since ${markdown(base.reference)}**: ${markdown(findings.changes ?? '')}`,
    '',
    ...since.findings.slice(0, TOP_CHANGES).map((text) => `- ${markdown(text)}`),
    ...(places.length === 0
      ? []
      : [
          '',
          ...folded(
            'By directory',
            table(
              ['', 'directory', 'what'],
              places.map((place) => [place.kind, markdown(placeName(place)), markdown(amountText(place))]),
            ),
          ),
        ]),
  ];
}

function range({ runs, unit }: Metric): string {
  if (!runs || runs.length < 2) return '';
  return `${formatValue(Math.min(...runs), unit)} … ${formatValue(Math.max(...runs), unit)}`;
}

function simulation({ simulation: found }: Report): string[] {
  if (!found) return [];
  const head = ['simulated time to ready', ...found.variants.map(({ label }) => markdown(label))];
  const rows = found.networks.map(({ name }) => [
    markdown(name),
    ...found.variants.map(({ on }) => {
      const result = on.find(({ network }) => network === name);
      return result ? `${formatNanos(result.ready.median)}, ${formatBytes(result.bytes.median)}` : '–';
    }),
  ]);
  return table(head, rows);
}

function verification({ verification: report }: Report): string[] {
  if (!report) return [];
  const text = report.ok
    ? '✅ verified: only order and compression differ.'
    : `❌ verification failed: ${report.checks
        .filter(({ ok }) => !ok)
        .map(({ label, mismatches }) => `${label} (${mismatches.length})`)
        .join(', ')}.`;
  return [text];
}

function warnings({ warnings: list }: Report): string[] {
  return list.slice(0, ROWS).map((text) => `- ${markdown(text)}`);
}

function runs({ runs: list }: Report): string[] {
  return folded(
    `All ${list.length} runs`,
    table(
      ['run', 'ready', 'files read', 'bytes read', 'failed look-ups'],
      list
        .slice(0, 100)
        .map((run) => [
          String(run.number),
          run.ready ? formatNanos(run.ready.t) : '–',
          formatCount(run.filesRead),
          formatBytes(run.bytesRead),
          formatCount(run.failedLookups),
        ]),
    ),
  );
}

function prefetch({ prefetch: view }: Report): string[] {
  if (!view) return [];
  const list = (title: string, files: typeof view.unused): string[] =>
    files.files === 0
      ? []
      : folded(
          `${title}: ${formatCount(files.files)} files, ${formatBytes(files.bytes)}`,
          table(
            ['size', 'layer', 'path'],
            files.largest
              .slice(0, ROWS)
              .map(({ size, layer, path }) => [formatBytes(size), String(layer), markdown(path)]),
          ),
        );
  return [...list('Prefetched, but not read', view.unused), ...list('Read, but not prefetched', view.missing)];
}

function topFiles({ profile, runs: list }: Report): string[] {
  const files = profile.files
    .filter(({ type, openedIn }) => type === 'reg' && openedIn > 0)
    .sort((a, b) => b.bytesRead.median - a.bytesRead.median)
    .slice(0, ROWS);
  if (files.length === 0) return [];
  return folded(
    'Files of which most is read',
    table(
      ['read', 'of', 'first', 'runs', 'path'],
      files.map(({ bytesRead, size, firstAccess, openedIn, path }) => [
        formatBytes(bytesRead.median),
        formatBytes(size),
        formatNanos(firstAccess.median),
        `${openedIn}/${list.length}`,
        markdown(path),
      ]),
    ),
  );
}

function misses({ profile, findings }: Report): string[] {
  const { directories, total } = profile.misses;
  if (total === 0) return [];
  return folded(
    markdown(findings.misses),
    table(
      ['failed look-ups, all runs', 'directory'],
      directories.slice(0, ROWS).map(({ path, count }) => [formatCount(count), markdown(path)]),
    ),
  );
}

function folded(summary: string, lines: readonly string[]): string[] {
  return [`<details><summary>${summary}</summary>`, '', ...lines, '', '</details>', ''];
}

/** A row longer than this is no row. */
const MAX_CELL = 300;

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map((row) => line(row.map(shortened)))];
}

/** The end of a path says most. Cut between escapes, so that none is cut in two. */
function shortened(cell: string): string {
  if (cell.length <= MAX_CELL) return cell;
  const units = cell.match(/\\.|&\w+;|<!-- -->|./gsu) ?? [];
  let kept = '';
  for (let i = units.length - 1; i >= 0 && kept.length + units[i]!.length <= MAX_CELL; i--) kept = units[i]! + kept;
  return `…${kept}`;
}
