// How many chunks the client has to fetch on demand, foretold from profile and plan.
import type { Plan, Profile } from '../../../src/analyze/types.js';

/** Bytes that a kernel reads ahead of what was asked for, by default (128 KiB). */
const READAHEAD = 128 * 1024;

/**
 * Chunks that the workload touches behind the landmarks. The trace was made without readahead, the client's kernel has
 * it: a range may reach one window further, into the next chunk.
 * @returns the least and the most that it can be
 */
export function predictedMisses(profile: Profile, plan: Plan): { readonly least: number; readonly most: number } {
  const hot = plan.layers.map((layer) => new Set(layer.hot.map((entry) => `/${entry.path}`)));
  const cold = profile.files.filter((file) => file.type === 'reg' && file.layer !== undefined);
  const misses = (ahead: number) =>
    cold
      .filter((file) => !hot[file.layer!]!.has(file.path))
      .reduce((sum, file) => sum + chunksTouched(file, plan.chunkSize, ahead), 0);
  return { least: misses(0), most: misses(READAHEAD) };
}

function chunksTouched(file: Profile['files'][number], chunkSize: number, ahead: number): number {
  const touched = new Set<number>();
  for (const [offset, length] of file.ranges) {
    const end = Math.min(offset + length + ahead, file.size);
    for (let chunk = Math.floor(offset / chunkSize); chunk * chunkSize < end; chunk += 1) touched.add(chunk);
  }
  return touched.size;
}
