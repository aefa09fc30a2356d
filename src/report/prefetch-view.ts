// What lies before the landmarks, held against what the runs read: how much of it is there, how much is there in vain.
import type { Plan, Profile } from '../analyze/types.js';
import type { ImageInspection, Located } from '../rewrite/inspect/inspect.js';
import type { Bytes } from '../units.js';
import type { Heat } from './image-view.js';
import type { ListedFile, PrefetchView } from './types.js';

/** Files of each list; the counts are of all. */
export const MAX_LISTED = 1000;

/**
 * @param inspection of the image after, made with the profile and `files: true`
 * @param heat of its files, as heatOfFiles has it
 */
export function prefetchView(
  profile: Profile,
  inspection: ImageInspection,
  heat: readonly Uint8Array[],
  plan: Plan | undefined,
): PrefetchView {
  const { layers, located = [] } = inspection;
  const reasons = reasonsOf(plan);
  const unused: ListedFile[] = [];
  const missing: ListedFile[] = [];
  let [bytes, files, unusedBytes] = [0, 0, 0];
  for (const { index, files: list } of layers) {
    for (let i = 0; list && i < list.prefetched; i++) {
      const size = list.sizes[i]!;
      files += 1;
      bytes += size;
      if ((heat[index]![i] as Heat) !== 0) continue;
      unusedBytes += size;
      unused.push({ path: `/${list.paths[i]!}`, layer: index, size, read: 0 });
    }
  }
  let [needed, covered, missingBytes] = [0, 0, 0];
  const counted = new Set<string>();
  const there: number[] = [];
  for (const [i, place] of located.entries()) {
    const { path, size, bytesRead } = profile.files[i]!;
    const read = bytesRead.median;
    if (place && isPrefetched(inspection, place)) there.push(i);
    // Two names of one file (hard links) are one file.
    if (!place || read === 0 || counted.has(String(place))) continue;
    counted.add(String(place));
    needed += read;
    if (isPrefetched(inspection, place)) {
      covered += read;
      continue;
    }
    missingBytes += read;
    const because = reasons.get(path);
    missing.push({ path, layer: place[0], size, read, ...(because === undefined ? {} : { because }) });
  }
  unused.sort((a, b) => b.size - a.size);
  missing.sort((a, b) => b.read - a.read);
  return {
    bytes,
    files,
    compressed: layers.reduce((sum, { stargz }) => sum + (stargz?.prefetchBytes ?? 0), 0),
    covered: there,
    coverage: share(covered, needed, 1),
    waste: share(unusedBytes, bytes, 0),
    unused: { files: unused.length, bytes: unusedBytes, largest: unused.slice(0, MAX_LISTED) },
    missing: { files: missing.length, bytes: missingBytes, largest: missing.slice(0, MAX_LISTED) },
  };
}

export function isPrefetched({ layers }: ImageInspection, [layer, number]: Located): boolean {
  return number < (layers[layer]?.files?.prefetched ?? 0);
}

/** Why a path was not put before the landmark, as the plan says. */
export function reasonsOf(plan: Plan | undefined): ReadonlyMap<string, string> {
  return new Map([
    ...(plan?.missed ?? []).map(({ path, reason }) => [path, reason] as const),
    ...(plan?.behind ?? []).map(({ path, because }) => [path, because] as const),
  ]);
}

/** Six decimals. */
function share(part: Bytes, whole: Bytes, empty: number): number {
  return whole === 0 ? empty : Math.round((1e6 * part) / whole) / 1e6;
}
