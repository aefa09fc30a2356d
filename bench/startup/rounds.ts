// Who is measured when: every round has everything once, and within each image and network the variants take turns to
// be first, so that what drifts with time, or is left in caches, does not always meet the same one.
import type { Workload } from './images.js';
import type { NamedNetwork } from './networks.js';
import type { Variant } from './variants.js';

export interface Turn {
  readonly round: number;
  readonly workload: Workload;
  readonly network: NamedNetwork;
  readonly variant: Variant;
}

export function rounds(
  count: number,
  workloads: readonly Workload[],
  networks: readonly NamedNetwork[],
  variants: readonly Variant[],
): Turn[] {
  return Array.from({ length: count }, (_, round) =>
    workloads.flatMap((workload, i) =>
      networks.flatMap((network, k) =>
        rotated(variants, round + i + k).map((variant) => ({ round, workload, network, variant })),
      ),
    ),
  ).flat();
}

/** @example rotated(['a', 'b', 'c'], 4) // ['b', 'c', 'a'] */
export function rotated<T>(list: readonly T[], by: number): T[] {
  const at = list.length === 0 ? 0 : by % list.length;
  return [...list.slice(at), ...list.slice(0, at)];
}
