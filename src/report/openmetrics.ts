// OpenMetrics text (https://github.com/prometheus/OpenMetrics, 1.0): one gauge for each metric, in base units (seconds,
// bytes, ratio), as GitLab's metrics reports and the Prometheus text-file collector read it.
import { metricLabel } from './safe-text.js';
import type { Metric, MetricUnit, Report } from './types.js';

const UNITS: Record<MetricUnit, string> = { ns: 'seconds', bytes: 'bytes', share: 'ratio', count: '' };

export function renderOpenMetrics(report: Report): string {
  const image = `image="${metricLabel(report.image.reference)}"`;
  const families = new Map<string, { metric: Metric; lines: string[] }>();
  for (const metric of report.metrics) {
    const { name, labels } = nameOf(metric);
    const all = [image, ...labels].join(',');
    const family = families.get(name) ?? { metric, lines: [] };
    family.lines.push(`${name}{${all},stat="value"} ${number(metric.value, metric.unit)}`);
    for (const [i, value] of (metric.runs ?? []).entries())
      family.lines.push(`${name}{${all},stat="run",run="${i + 1}"} ${number(value, metric.unit)}`);
    families.set(name, family);
  }
  const lines: string[] = [];
  for (const [name, { metric, lines: samples }] of families) {
    lines.push(`# TYPE ${name} gauge`);
    if (UNITS[metric.unit] !== '') lines.push(`# UNIT ${name} ${UNITS[metric.unit]}`);
    lines.push(`# HELP ${name} ${metric.label.replace(/ on .*$/, '').replace(/\\/g, '\\\\')}`, ...samples);
  }
  lines.push('# EOF', '');
  return lines.join('\n');
}

/** The networks of one simulated number are labels of one family. */
function nameOf({ id, unit, simulated }: Metric): { name: string; labels: string[] } {
  const network = simulated ? /^(simulated-[a-z]+)-(.*)$/.exec(id) : null;
  const base = `hotlayer_${(network?.[1] ?? id).replace(/[^a-z0-9]+/g, '_')}`;
  // The name of a family with a unit ends in it.
  const suffix = UNITS[unit];
  const name = suffix === '' || base.endsWith(`_${suffix}`) ? base : `${base}_${suffix}`;
  return { name, labels: network ? [`network="${metricLabel(network[2]!)}"`] : [] };
}

function number(value: number, unit: MetricUnit): string {
  return String(unit === 'ns' ? value / 1e9 : value);
}
