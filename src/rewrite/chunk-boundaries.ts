// Where a plan divides files, said in the terms of the layer's writer.
import type { LayerPlan } from '../analyze/types.js';
import { HotlayerError } from '../errors.js';
import { showPath } from '../paths.js';
import type { TarEntry } from '../stargz/tar/entry.js';
import type { ResolvedLinks } from './links.js';

/** The plan's chunk boundaries by entry index. @throws HL_ERR_DATA when they are not offsets inside the file */
export function chunkBoundaries(
  plan: LayerPlan,
  entries: readonly TarEntry[],
  links: ResolvedLinks,
): Map<number, readonly number[]> {
  const boundaries = new Map<number, readonly number[]>();
  const wanted = Object.entries(plan.chunks ?? {});
  if (wanted.length === 0) return boundaries;
  const byPath = new Map(entries.map((entry, i) => [entry.path, i]));
  for (const [path, offsets] of wanted) {
    const position = byPath.get(path);
    if (position === undefined) continue;
    const file = links.copies.get(position)?.entry ?? entries[position]!;
    if (file.type !== 'reg') continue;
    const good = offsets.every(
      (offset, k) => Number.isSafeInteger(offset) && offset > (offsets[k - 1] ?? 0) && offset < file.size,
    );
    if (!good) {
      throw new HotlayerError(
        'HL_ERR_DATA',
        `plan: chunk boundaries of "${showPath(path)}" are ${JSON.stringify(offsets)}; expected ascending offsets above 0 and below ${file.size}`,
        { context: { entry: showPath(path) } },
      );
    }
    boundaries.set(entries[position]!.index, offsets);
  }
  return boundaries;
}
