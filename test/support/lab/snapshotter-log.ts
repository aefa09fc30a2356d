// What the snapshotter says about itself: its log (one JSON object a line) and its Prometheus metrics.

interface LogLine {
  readonly msg?: string;
  readonly error?: string;
  readonly operation?: string;
  readonly layer_sha?: string;
}

export interface Refusal {
  /** Of the snapshotter, the reason at its end. */
  readonly error: string;
}

export interface SnapshotterLog {
  /** Layers mounted lazily. */
  readonly accepted: number;
  /** Layers that it would not mount: containerd then unpacks them as ordinary ones, without a word to the user. */
  readonly refused: readonly Refusal[];
  /** Bytes fetched before the start, by the layer's digest; layers without prefetch are absent. */
  readonly prefetched: ReadonlyMap<string, number>;
  /** Prefetches that broke off. */
  readonly failedPrefetches: readonly string[];
}

export function readSnapshotterLog(text: string): SnapshotterLog {
  let accepted = 0;
  const refused: Refusal[] = [];
  const prefetched = new Map<string, number>();
  const failedPrefetches: string[] = [];
  for (const line of text.split('\n')) {
    const entry = parseLine(line);
    if (entry?.msg === undefined) continue;
    if (entry.msg === 'prepared remote snapshot') accepted += 1;
    if (entry.msg === 'failed to prepare remote snapshot') refused.push({ error: entry.error ?? '' });
    if (entry.msg === 'failed to prefetch') failedPrefetches.push(entry.error ?? '');
    if (entry.operation === 'prefetch_total' && entry.layer_sha !== undefined) {
      const size = Number(/\bprefetch_size=(\d+)/.exec(entry.msg)?.[1] ?? Number.NaN);
      prefetched.set(entry.layer_sha, size);
    }
  }
  return { accepted, refused, prefetched, failedPrefetches };
}

/** The daemon's dependencies also write lines that are not JSON. */
function parseLine(line: string): LogLine | undefined {
  try {
    return line.startsWith('{') ? (JSON.parse(line) as LogLine) : undefined;
  } catch {
    return undefined;
  }
}

/** `stargz_fs_operation_count` of one operation, by the layer's digest. */
export function operationCounts(metrics: string, operation: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const [, labels, value] of metrics.matchAll(/^stargz_fs_operation_count\{([^}]*)\} (\S+)$/gm)) {
    const label = (name: string) => new RegExp(`\\b${name}="([^"]*)"`).exec(labels!)?.[1];
    if (label('operation_type') === operation) counts.set(label('layer') ?? '', Number(value));
  }
  return counts;
}
