// A metric's value as text.
import { formatBytes, formatCount, formatNanos, formatShare } from '../units.js';
import type { Metric, MetricUnit } from './types.js';

export function formatValue(value: number, unit: MetricUnit): string {
  switch (unit) {
    case 'ns':
      return formatNanos(Math.round(value));
    case 'bytes':
      return formatBytes(Math.round(value));
    case 'count':
      return formatCount(Math.round(value));
    case 'share':
      return value < 0 ? `−${formatShare(-value, 1)}` : formatShare(value, 1);
  }
}

/** `+3.1 MiB (+8.8 %)`; undefined without a base. A share's change is in percentage points. */
export function formatChange({ value, unit, base }: Metric): string | undefined {
  if (!base) return undefined;
  const difference = value - base.value;
  if (difference === 0) return '±0';
  const sign = difference < 0 ? '−' : '+';
  const size = Math.abs(difference);
  if (unit === 'share') return `${sign}${formatShare(size, 1).replace('%', 'pp')}`;
  const part = base.value === 0 ? '' : ` (${sign}${formatShare(size, Math.abs(base.value))})`;
  return `${sign}${formatValue(size, unit)}${part}`;
}
