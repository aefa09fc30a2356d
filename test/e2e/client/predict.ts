// How many chunks the client has to fetch on demand, foretold from profile and plan.
import type { LayerPlan, Plan, Profile } from '../../../src/analyze/types.js';

/**
 * Bytes that a kernel reads around what was asked for, by default: 128 KiB ahead, and as much as that around the page of
 * a mapped file that is missing.
 */
const READAHEAD = 128 * 1024;

export interface Foretold {
  readonly least: number;
  readonly most: number;
}

/**
 * Chunks that the workload touches behind the landmarks. The trace was made without readahead, the client's kernel has
 * it: the most is when every range reaches one window further.
 */
export function predictedMisses(profile: Profile, plan: Plan): Foretold {
  const hot = plan.layers.map((layer) => new Set(layer.hot.map((entry) => `/${entry.path}`)));
  const cold = profile.files.filter(
    (file) => file.type === 'reg' && file.layer !== undefined && !hot[file.layer]!.has(file.path),
  );
  const misses = (around: number) =>
    cold.reduce((sum, file) => {
      const begins = chunkBegins(file.path, file.size, plan.layers[file.layer!]!, plan.chunkSize);
      return sum + chunksTouched(file, begins, around);
    }, 0);
  return { least: misses(0), most: misses(READAHEAD) };
}

/** Offsets in the file, ascending, and its size at the end. */
function chunkBegins(path: string, size: number, layer: LayerPlan, chunkSize: number): number[] {
  const begins: number[] = [];
  const cuts = [0, ...(layer.chunks?.[path.slice(1)] ?? []), size];
  for (let i = 1; i < cuts.length; i += 1) {
    for (let at = cuts[i - 1]!; at < cuts[i]!; at += chunkSize) begins.push(at);
  }
  return [...begins, size];
}

function chunksTouched({ ranges }: Profile['files'][number], begins: readonly number[], around: number): number {
  const touched = (begin: number, end: number) =>
    ranges.some(([offset, length]) => offset - around < end && offset + length + around > begin);
  return begins.slice(1).filter((end, i) => touched(begins[i]!, end)).length;
}
