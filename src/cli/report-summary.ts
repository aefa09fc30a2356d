// A report in the terminal: the verdict, what was checked, the numbers, simulated starts.
import { showPath } from '../paths.js';
import { formatChange, formatValue } from '../report/format-metric.js';
import type { BudgetResult, Metric, Report } from '../report/types.js';
import { formatBytes, formatCount, formatNanos } from '../units.js';
import type { Output } from './output.js';
import { bar, table } from './table.js';

/** Warnings shown without --verbose. */
const SHOWN = 5;

export function showReport(out: Output, report: Report): void {
  const { findings, image, budgets = [], verification, warnings } = report;
  out.result(out.paint('bold', showPath(image.reference)));
  out.result(showPath(findings.verdict));
  out.result();
  for (const line of metrics(report)) out.result(line);
  for (const line of changes(report)) out.result(line);
  const layers = layerLines(report);
  if (layers.length > 0) out.result();
  for (const line of layers) out.result(line);
  const starts = simulated(report);
  if (starts.length > 0) out.result();
  for (const line of starts) out.result(line);
  out.result();
  for (const text of [findings.stability, findings.prefetch, findings.misses])
    if (text !== undefined) out.result(showPath(text));
  if (verification) out.result();
  const checks = (verification?.checks ?? []).map(({ ok, label, detail }) => [
    mark(out, ok),
    label,
    ok ? detail : 'mismatches: hotlayer verify shows them',
  ]);
  for (const line of table([{ title: '' }, { title: '' }, { title: '' }], checks)) out.result(line);
  for (const line of budgetLines(out, budgets)) out.result(line);
  for (const text of warnings.slice(0, out.verbose ? undefined : SHOWN)) out.warn(showPath(text));
  if (!out.verbose && warnings.length > SHOWN) out.warn(`and ${warnings.length - SHOWN} more (--verbose)`);
}

/** One line each; of what is not kept, and with --verbose, all values on a second one. Then how many are which. */
function budgetLines(out: Output, budgets: readonly BudgetResult[]): string[] {
  if (budgets.length === 0) return [];
  const rows = budgets.map(({ ok, level, id, expected, found }) => [
    mark(out, ok, level),
    id,
    found,
    `expected ${expected}`,
  ]);
  const columns = [{ title: '' }, { title: '' }, { title: '', align: 'right' as const }, { title: '' }];
  const lines = table(columns, rows).flatMap((line, i) => {
    const { ok, detail } = budgets[i]!;
    return detail === undefined || (ok && !out.verbose) ? [line] : [line, `        ${showPath(detail)}`];
  });
  const failed = budgets.filter(({ ok, level }) => !ok && level === 'error').length;
  const warned = budgets.filter(({ ok, level }) => !ok && level === 'warn').length;
  const passed = budgets.length - failed - warned;
  return ['', ...lines, '', `${mark(out, failed === 0)}  budgets: ${passed} pass, ${failed} fail, ${warned} warn`];
}

function mark(out: Output, ok: boolean, level: 'error' | 'warn' = 'error'): string {
  if (ok) return out.paint('green', 'PASS');
  return level === 'error' ? out.paint('red', 'FAIL') : out.paint('yellow', 'WARN');
}

function metrics({ metrics: list, base, runs }: Report): string[] {
  const shown = list.filter(({ simulated: is }) => !is);
  const columns = [
    { title: '' },
    { title: 'value', align: 'right' },
    ...(base ? [{ title: 'change', align: 'right' } as const] : []),
    { title: runs.length > 1 ? `min … max of ${runs.length} runs` : '' },
  ] as const;
  return table(
    columns,
    shown.map((metric) => [
      metric.label,
      formatValue(metric.value, metric.unit),
      ...(base ? [formatChange(metric) ?? '–'] : []),
      range(metric),
    ]),
  );
}

function range({ runs, unit }: Metric): string {
  if (!runs || runs.length < 2) return '';
  return `${formatValue(Math.min(...runs), unit)} … ${formatValue(Math.max(...runs), unit)}`;
}

/** Sentences shown of what changed; `diff` has all. */
const CHANGES = 6;

function changes({ changes: since, base, findings }: Report): string[] {
  if (!since || !base) return [];
  const shown = since.findings.slice(0, CHANGES);
  const more = since.findings.length - shown.length;
  return [
    '',
    `Since ${showPath(base.reference)} (${base.runs} ${base.runs === 1 ? 'run' : 'runs'}): ${findings.changes ?? ''}`,
    ...shown.map((text) => `  ${showPath(text)}`),
    ...(more > 0 ? [`  and ${more} more (hotlayer diff)`] : []),
  ];
}

function layerLines({ before, after }: Report): string[] {
  const image = after ?? before;
  if (!image) return [];
  const rows = image.layers.map((layer) => [
    String(layer.index),
    formatBytes(layer.size),
    formatCount(layer.hotFiles),
    formatBytes(layer.hotBytes),
    layer.prefetchBytes > 0 ? formatBytes(layer.prefetchBytes) : 'none',
    strip(
      layer.barcode.every,
      layer.barcode.some,
      layer.landmark?.kind === 'prefetch' ? layer.landmark.offset / layer.size : undefined,
    ),
  ]);
  return table(
    [
      { title: 'layer' },
      { title: 'size', align: 'right' },
      { title: 'hot', align: 'right' },
      { title: 'of', align: 'right' },
      { title: 'prefetch', align: 'right' },
      { title: 'where the hot files lie' },
    ],
    rows,
  );
}

const CELLS = 32;

/** The barcode in letters: as high as the part is full; `│` is the landmark. */
function strip(every: readonly number[], some: readonly number[], landmark: number | undefined): string {
  const each = every.length / CELLS;
  let text = '';
  for (let i = 0; i < CELLS; i++) {
    let sum = 0;
    for (let k = Math.floor(i * each); k < (i + 1) * each; k++) sum += every[k]! + some[k]!;
    const share = Math.min(1, sum / (each * 100));
    text += share === 0 ? ' ' : ' ▁▂▃▄▅▆▇█'[Math.max(1, Math.round(share * 8))]!;
    if (landmark !== undefined && landmark * CELLS >= i && landmark * CELLS < i + 1) text += '│';
  }
  return text;
}

function simulated({ simulation }: Report): string[] {
  if (!simulation) return [];
  const columns = [
    { title: 'Simulated start' },
    ...simulation.variants.map(({ label }) => ({ title: label, align: 'right' }) as const),
  ];
  const rows = simulation.networks.flatMap(({ name }) => {
    const of = (text: (on: NonNullable<Report['simulation']>['variants'][number]['on'][number]) => string): string[] =>
      simulation.variants.map(({ on }) => {
        const result = on.find(({ network }) => network === name);
        return result ? text(result) : '–';
      });
    return [
      [`${name}: ready`, ...of(({ ready }) => formatNanos(ready.median))],
      ['  bytes', ...of(({ bytes }) => formatBytes(bytes.median))],
      ['  requests', ...of(({ requests }) => formatCount(requests.median))],
    ];
  });
  const lines = table(columns, rows, '');
  const ready = simulation.networks.at(-1);
  if (!ready) return lines;
  const slowest = Math.max(
    1,
    ...simulation.variants.flatMap(({ on }) =>
      on.filter(({ network }) => network === ready.name).map((o) => o.ready.median),
    ),
  );
  const bars = simulation.variants.flatMap(({ label, on }) =>
    on
      .filter(({ network }) => network === ready.name)
      .map((o) => [`  ${label}`, bar(o.ready.median / slowest, 32), formatNanos(o.ready.median)]),
  );
  return [
    ...lines,
    '',
    `Ready on ${ready.name}, simulated`,
    ...table([{ title: '' }, { title: '' }, { title: '' }], bars, ''),
  ];
}
