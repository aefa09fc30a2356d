// How much a layer grows when what a TOC cannot say is written out: holes of sparse files, links that become copies. A few
// bytes of a tar can ask for petabytes here, so it is counted before anything is written or hashed.
import { HotlayerError } from '../errors.js';
import { showPath } from '../paths.js';
import { MAX_LAYER_BYTES } from '../stargz/spool-file.js';
import type { TarEntry } from '../stargz/tar/entry.js';
import { type Bytes, formatBytes } from '../units.js';
import type { ResolvedLinks } from './links.js';

/** Bytes that the optimized tar may have beyond the original's. */
export function expandedBytes(entries: readonly TarEntry[], links: ResolvedLinks): Bytes {
  let bytes = 0;
  for (const entry of entries) if (entry.sparse) bytes += entry.size;
  for (const { entry } of links.copies.values()) bytes += entry.size;
  return bytes;
}

/**
 * @param layer how messages name it @param tarBytes the uncompressed layer as it is
 * @throws HL_ERR_LIMIT, with the entry that grows most, when the layer could not be read again once it is written out
 */
export function checkExpansion(
  layer: string,
  tarBytes: Bytes,
  entries: readonly TarEntry[],
  links: ResolvedLinks,
): void {
  const expanded = expandedBytes(entries, links);
  if (tarBytes + expanded <= MAX_LAYER_BYTES) return;
  let most: TarEntry | undefined;
  let size = -1;
  const look = (entry: TarEntry, bytes: Bytes): void => {
    if (bytes > size) [most, size] = [entry, bytes];
  };
  for (const entry of entries) if (entry.sparse) look(entry, entry.size);
  for (const [position, source] of links.copies) look(entries[position]!, source.entry.size);
  const entry = most && showPath(most.name);
  const what = most?.sparse ? 'a sparse file' : 'a hardlink that has to become a copy';
  throw new HotlayerError(
    'HL_ERR_LIMIT',
    `layer ${layer}: written out it has ${formatBytes(tarBytes + expanded)}, allowed are ${formatBytes(MAX_LAYER_BYTES)} (MAX_LAYER_BYTES); "${entry}" alone, ${what}, has ${formatBytes(size)}`,
    { context: { layer, ...(entry === undefined ? {} : { entry }) }, hint: 'leave the file out of the image' },
  );
}
