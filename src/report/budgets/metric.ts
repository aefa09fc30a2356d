// The metrics that budgets can be set on, by id: what unit a limit is in, and what a report needs to know the metric.

export type MetricUnit = 'ns' | 'bytes' | 'count' | 'share';

export interface KnownMetric {
  readonly id: string;
  readonly unit: MetricUnit;
  /** Said when a report does not have it. */
  readonly needs: string;
}

const READY = 'runs that became ready, recorded by hotlayer';
const IMAGES = '--before and --after';
const AFTER = '--after';

const METRICS: readonly KnownMetric[] = [
  { id: 'startup-time', unit: 'ns', needs: READY },
  { id: 'startup-files', unit: 'count', needs: 'runs' },
  { id: 'startup-bytes', unit: 'bytes', needs: 'runs' },
  { id: 'startup-share', unit: 'share', needs: "the image's size" },
  { id: 'failed-lookups', unit: 'count', needs: 'runs' },
  { id: 'run-stability', unit: 'share', needs: 'two runs or more' },
  { id: 'image-size', unit: 'bytes', needs: '--before or --after' },
  { id: 'image-growth', unit: 'share', needs: IMAGES },
  { id: 'prefetch-bytes', unit: 'bytes', needs: AFTER },
  { id: 'prefetch-coverage', unit: 'share', needs: AFTER },
  { id: 'prefetch-waste', unit: 'share', needs: AFTER },
];

/** One of each for every network that is simulated: `simulated-ready-100mbit-20ms`. */
const SIMULATED: readonly KnownMetric[] = [
  { id: 'simulated-ready-', unit: 'ns', needs: 'a simulation on that network' },
  { id: 'simulated-bytes-', unit: 'bytes', needs: 'a simulation on that network' },
  { id: 'simulated-requests-', unit: 'count', needs: 'a simulation on that network' },
];

/** Undefined for an id that no report ever has. */
export function knownMetric(id: string): KnownMetric | undefined {
  const simulated = SIMULATED.find((metric) => id.startsWith(metric.id) && id.length > metric.id.length);
  return METRICS.find((metric) => metric.id === id) ?? (simulated && { ...simulated, id });
}

/** For "did you mean"; those of networks end in `-`. */
export const METRIC_IDS: readonly string[] = [...METRICS, ...SIMULATED].map(({ id }) => id);
