// The layout that carrying out a plan will give, foretold: entries in their new order, files as large as a sample of
// each says, a TOC of the usual size.
import { firstFrom, type Wish } from '../../lazy/fetch-plan.js';
import type { SpooledImage } from '../../rootfs/spooled-image.js';
import { chunksOf } from '../../stargz/chunking.js';
import type { TarEntry } from '../../stargz/tar/entry.js';
import type { Bytes } from '../../units.js';
import type { ImageSizes } from '../model/compressed-sizes.js';
import { bytesBefore, type CompressedFile } from '../model/file-cost.js';
import type { LayerPlan, Plan } from '../types.js';
import { chunkAt, type FileLayout, type LayerLayout, type Layout, type Locate } from './layout.js';
import { groupsFor, startTables } from './start-requests.js';

/** Bytes of a TOC for each entry, in JSON and compressed: two digests in hexadecimal are most of it. */
const TOC_JSON = 330;
const TOC_COMPRESSED = 50;
/** Of a header in the member of the file before it. */
const HEADER = 60;
const LANDMARK = 60;
const FOOTER = 51;

/** @param paths of the profile's files */
export function layoutOfPlan(
  spooled: SpooledImage,
  plan: Plan,
  sizes: ImageSizes,
  paths: readonly string[],
  locate: Locate,
): Layout {
  const wanted = plan.layers.map(() => new Set<string>());
  const places = paths.map(locate);
  for (const place of places) if (place) wanted[place.layer]?.add(place.entry);
  const written = spooled.layers.map(({ scan }, i) =>
    writeLayer(scan.entries, plan.layers[i]!, plan.chunkSize, (entry) => sizes.of(i, entry), wanted[i]!, i),
  );
  const layers = written.map(({ layer }) => layer);
  const files = places.map((place) => place && written[place.layer]?.files.get(place.entry));
  if (!plan.start) return { layers, files };
  const tables = startTables({ layers, files });
  const wishes = plan.start.flatMap(({ layer, path, at }) => {
    const file = written[layer]?.files.get(path);
    return file
      ? at.map((offset): Wish => [layer, firstFrom(tables[layer]!, file.offset[chunkAt(file, offset)]!)])
      : [];
  });
  return { layers, files, start: groupsFor(tables, wishes) };
}

function writeLayer(
  entries: readonly TarEntry[],
  plan: LayerPlan,
  chunkSize: Bytes,
  sizeOf: (entry: TarEntry) => CompressedFile,
  wanted: ReadonlySet<string>,
  index: number,
): { readonly layer: LayerLayout; readonly files: ReadonlyMap<string, FileLayout> } {
  const place = new Map(plan.hot.map(({ path }, i) => [path, i]));
  const hot: TarEntry[] = [];
  const cold: TarEntry[] = [];
  for (const entry of entries) {
    const at = place.get(entry.path);
    // Of two entries of one name the later one counts, as in the layer that is written.
    if (at === undefined) cold.push(entry);
    else hot[at] = entry;
  }
  const files = new Map<string, FileLayout>();
  let at = 0;
  let [prefetchFiles, prefetchInflated, inflated] = [0, 0, 0];
  const put = (entry: TarEntry, prefetched: boolean): void => {
    at += HEADER;
    if (entry.type !== 'reg' || entry.size === 0) return;
    const file = sizeOf(entry);
    const { size, compressedUpTo } = file;
    const compressed = prefetched ? bytesBefore(file) : file.compressed;
    const level = file.compressed === 0 ? 1 : compressed / file.compressed;
    inflated += size;
    if (prefetched) {
      prefetchFiles += 1;
      prefetchInflated += size;
    }
    const start = at;
    at += compressed;
    if (!wanted.has(entry.path)) return;
    const upTo = (offset: Bytes) => (compressedUpTo ? compressedUpTo(offset) * level : (compressed * offset) / size);
    const chunks = [...chunksOf(size, chunkSize, plan.chunks?.[entry.path] ?? [])];
    files.set(entry.path, {
      layer: index,
      size,
      at: chunks.map(([offset]) => offset),
      offset: chunks.map(([offset]) => Math.floor(start + upTo(offset))),
      end: Math.floor(at),
    });
  };
  for (const entry of hot) if (entry) put(entry, true);
  const prefetch = plan.hot.length > 0 ? Math.ceil(at) : 0;
  at += LANDMARK;
  for (const entry of cold) put(entry, false);
  const tocOffset = Math.ceil(at);
  const layer = {
    size: tocOffset + TOC_COMPRESSED * entries.length + FOOTER,
    tocOffset,
    tocJson: TOC_JSON * entries.length,
    entries: entries.length + 1,
    prefetch,
    prefetchFiles,
    prefetchInflated,
    inflated,
  };
  return { layer, files };
}
