// The numbers in the JSON forms that other tools plot: github-action-benchmark's `customSmallerIsBetter`, and
// hyperfine's results file.
import { mean, median, standardDeviation } from '../analyze/statistics.js';
import { plain } from './safe-text.js';
import type { Metric, MetricUnit, Report } from './types.js';

const UNIT: Record<MetricUnit, string> = { ns: 's', bytes: 'bytes', count: 'count', share: '%' };

function inUnit(value: number, unit: MetricUnit): number {
  return unit === 'ns' ? value / 1e9 : unit === 'share' ? Math.round(value * 1e8) / 1e6 : value;
}

/**
 * https://github.com/benchmark-action/github-action-benchmark, tool `customSmallerIsBetter`: [{ name, unit, value, range?, extra? }].
 * A number of which more is better is given as what is missing to 100 %.
 */
export function renderActionBenchmark(report: Report): string {
  const entries = report.metrics.map((metric) => {
    const { id, unit, better, runs, base } = metric;
    const of = (value: number): number => inUnit(better === 'higher' ? 1 - value : value, unit);
    return {
      name: better === 'higher' ? `${id} (missing)` : id,
      unit: UNIT[unit],
      value: of(metric.value),
      ...(runs && runs.length > 1 ? { range: `${of(Math.min(...runs))} … ${of(Math.max(...runs))}` } : {}),
      extra: [
        plain(metric.label),
        plain(report.image.reference),
        ...(runs ? [`${runs.length} runs`] : []),
        ...(base ? [`base ${of(base.value)}`] : []),
      ].join('\n'),
    };
  });
  return `${JSON.stringify(entries, undefined, 2)}\n`;
}

/**
 * As `hyperfine --export-json`: one result for the startup, one more for each simulated start. Times are seconds to
 * ready; CPU times are not measured and left out, as `user` and `system` of 0.
 */
export function renderHyperfine(report: Report): string {
  const exits = report.runs.map(({ exitCode }) => exitCode ?? null);
  const results = report.metrics
    .filter(({ unit, runs }) => unit === 'ns' && runs !== undefined && runs.length > 0)
    .map((metric) => result(metric, report, metric.simulated ? undefined : exits));
  return `${JSON.stringify({ results }, undefined, 2)}\n`;
}

function result(metric: Metric, report: Report, exits: readonly (number | null)[] | undefined): object {
  const times = metric.runs!.map((t) => t / 1e9);
  return {
    command: metric.simulated ? metric.id : plain(report.workload.args.join(' ')),
    mean: mean(times),
    stddev: times.length > 1 ? standardDeviation(times) : null,
    median: median(times),
    user: 0,
    system: 0,
    min: Math.min(...times),
    max: Math.max(...times),
    times,
    exit_codes: exits ?? times.map(() => 0),
    parameters: { image: plain(report.image.reference), metric: metric.id },
  };
}
