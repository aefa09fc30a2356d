// The numbers that budgets are set on and that one report is compared with another by. Their ids are stable.
import { spreadOf } from '../analyze/statistics.js';
import type { Agreement } from '../analyze/types.js';
import type { ImageView, Metric, PrefetchView, ReportRun, ReportSimulation } from './types.js';

export interface Measured {
  readonly runs: readonly ReportRun[];
  /** Uncompressed bytes of the image. */
  readonly imageBytes: number;
  readonly agreement: Agreement;
  readonly before?: ImageView | undefined;
  readonly after?: ImageView | undefined;
  readonly prefetch?: PrefetchView | undefined;
  readonly simulation?: ReportSimulation | undefined;
}

export function metricsOf(measured: Measured): Metric[] {
  const { runs, imageBytes, agreement, before, after, prefetch, simulation } = measured;
  const metrics: Metric[] = [];
  const perRun = (
    id: string,
    label: string,
    unit: Metric['unit'],
    values: readonly number[],
    better: Metric['better'] = 'lower',
  ): void => {
    if (values.length > 0) metrics.push({ id, label, unit, better, value: spreadOf(values).median, runs: values });
  };
  const one = (
    id: string,
    label: string,
    unit: Metric['unit'],
    value: number,
    better: Metric['better'] = 'lower',
  ): void => void metrics.push({ id, label, unit, better, value });

  const times = runs.flatMap(({ ready, imported }) => (ready && imported === undefined ? [ready.t] : []));
  perRun('startup-time', 'Ready', 'ns', times);
  perRun(
    'startup-files',
    'Files read',
    'count',
    runs.map(({ filesRead }) => filesRead),
  );
  const bytes = runs.map(({ bytesRead }) => bytesRead);
  perRun('startup-bytes', 'Bytes read', 'bytes', bytes);
  if (imageBytes > 0) {
    const read = metrics.find(({ id }) => id === 'startup-bytes')?.value ?? 0;
    one('startup-share', 'Share of the image that is read', 'share', rounded(read / imageBytes));
  }
  perRun(
    'failed-lookups',
    'Failed look-ups',
    'count',
    runs.map(({ failedLookups }) => failedLookups),
  );
  if (agreement.runs > 1) one('run-stability', 'Agreement of the runs', 'share', agreement.files, 'higher');
  const image = after ?? before;
  if (image) one('image-size', 'Image, compressed', 'bytes', image.size);
  if (before && after && before.size > 0)
    one('image-growth', 'Growth of the image', 'share', rounded(after.size / before.size - 1));
  if (prefetch) {
    one('prefetch-bytes', 'Prefetched, compressed', 'bytes', prefetch.compressed);
    one('prefetch-coverage', 'Needed bytes that are prefetched', 'share', prefetch.coverage, 'higher');
    one('prefetch-waste', 'Prefetched bytes that are not needed', 'share', prefetch.waste);
  }
  const shown = simulation?.variants.find(({ id }) => id === (after ? 'lazy-after' : 'lazy-before'));
  for (const { network, ready, bytes: fetched, requests, runs: values } of shown?.on ?? []) {
    const more = { simulated: true, better: 'lower' } as const;
    const name = network.replace(/[^A-Za-z0-9.]+/g, '-');
    metrics.push(
      {
        id: `simulated-ready-${name}`,
        label: `Ready, simulated on ${network}`,
        unit: 'ns',
        value: ready.median,
        runs: values,
        ...more,
      },
      {
        id: `simulated-bytes-${name}`,
        label: `Fetched before ready, simulated on ${network}`,
        unit: 'bytes',
        value: fetched.median,
        ...more,
      },
      {
        id: `simulated-requests-${name}`,
        label: `Range requests, simulated on ${network}`,
        unit: 'count',
        value: requests.median,
        ...more,
      },
    );
  }
  return metrics;
}

/** Metrics with what the same ones were in the base. */
export function withBase(metrics: readonly Metric[], base: readonly Metric[]): Metric[] {
  const before = new Map(base.map((metric) => [metric.id, metric]));
  return metrics.map((metric) => {
    const other = before.get(metric.id);
    if (!other) return metric;
    return { ...metric, base: { value: other.value, ...(other.runs ? { runs: other.runs } : {}) } };
  });
}

/** Six decimals. */
function rounded(share: number): number {
  return Math.round(share * 1e6) / 1e6;
}
