// What is worth fetching before anybody asks for it: the byte ranges that a profile knows, in the order in which they were
// first needed; without one, what the image's maker put before the landmark. Pure, but for the TOCs.
import { cleanPath } from '../paths.js';
import { NO_PREFETCH_LANDMARK, PREFETCH_LANDMARK } from '../stargz/landmark.js';
import type { TocEntry } from '../stargz/toc-parse.js';
import { chunkAt } from './chunk-table.js';
import type { Wish } from './fetch-plan.js';
import type { LoadedToc } from './load-toc.js';

/** Of a layer that is read lazily. */
type Tables = Pick<LoadedToc, 'byPath' | 'table'>;

/** Bytes of a file that a start needs. */
export interface HotFile {
  /** Absolute, as the file system resolves it. */
  readonly path: string;
  /** Index of the layer it was in. A hint: another image's layers may be others. */
  readonly layer?: number;
  readonly ranges: readonly (readonly [offset: number, length: number])[];
}

/**
 * @param files in the order of first access
 * @param layers of the image, lowest first; undefined for those that are whole
 */
export function wishesFor(files: Iterable<HotFile>, layers: readonly (Tables | undefined)[]): Wish[] {
  const wishes: Wish[] = [];
  for (const file of files) {
    const found = find(file, layers);
    if (!found) continue;
    const { table } = layers[found.layer]!;
    const first = table.firstOf[found.entry.index]!;
    if (first < 0) continue;
    const start = table.at[first]!;
    for (const [offset, length] of file.ranges) {
      const end = start + Math.min(offset + length, found.entry.size);
      if (offset >= found.entry.size || length <= 0) continue;
      for (let chunk = chunkAt(table, start + offset, first); table.at[chunk]! < end; chunk++)
        wishes.push([found.layer, chunk]);
    }
  }
  return wishes;
}

/** The entry with a file's content: in the layer that is named, else in the topmost that has the name. */
function find(
  { path, layer }: HotFile,
  layers: readonly (Tables | undefined)[],
): { layer: number; entry: TocEntry } | undefined {
  const name = path.slice(1);
  const order = [...(layer === undefined ? [] : [layer]), ...[...layers.keys()].reverse()];
  for (const index of order) {
    const lazy = layers[index];
    let entry = lazy?.byPath.get(name);
    // A TOC's hardlinks lead somewhere, and not round in circles: that was checked when it was parsed.
    while (entry?.type === 'hardlink') entry = lazy!.byPath.get(cleanPath(entry.linkName));
    if (entry?.type === 'reg') return { layer: index, entry };
  }
  return undefined;
}

/** Everything before the landmarks, the layers in turns. */
export function wishesOfLandmarks(layers: readonly (Tables | undefined)[]): Wish[] {
  const wishes: { wish: Wish; at: number }[] = [];
  for (const [index, lazy] of layers.entries()) {
    if (!lazy || lazy.byPath.has(NO_PREFETCH_LANDMARK)) continue;
    const landmark = lazy.byPath.get(PREFETCH_LANDMARK)?.chunks[0]?.offset ?? 0;
    for (const [chunk, { offset }] of lazy.table.chunks.entries()) {
      if (offset >= landmark) break;
      wishes.push({ wish: [index, chunk], at: offset });
    }
  }
  return wishes.sort((a, b) => a.at - b.at).map(({ wish }) => wish);
}
