// An image as the report shows it: layers with the places of what a start opens, and how hot each directory is.
import type { Profile } from '../analyze/types.js';
import { formatPlatform } from '../image/index.js';
import type { ImageInspection, LayerInspection } from '../rewrite/inspect/inspect.js';
import { fileTree, type TreeFile } from './file-tree.js';
import type { ImageView, LayerView } from './types.js';

/** Parts of a barcode. */
export const BARCODE_CELLS = 480;

/** 0: cold; 1: opened in some runs; 2: in every one. */
export type Heat = 0 | 1 | 2;

/** For each layer, for each of its files. @param inspection made with the profile and `files: true` */
export function heatOfFiles(profile: Profile, { layers, located = [] }: ImageInspection): Uint8Array[] {
  const heat = layers.map(({ files }) => new Uint8Array(files?.paths.length ?? 0));
  const runs = profile.runs.length;
  for (const [i, place] of located.entries()) {
    const { openedIn } = profile.files[i]!;
    if (!place || openedIn === 0) continue;
    const [layer, number] = place;
    heat[layer]![number] = Math.max(heat[layer]![number]!, openedIn === runs ? 2 : 1);
  }
  return heat;
}

export function imageView(profile: Profile, inspection: ImageInspection): ImageView {
  const heat = heatOfFiles(profile, inspection);
  const layers = inspection.layers.map((layer, i) => layerView(layer, heat[i]!, inspection.steps[i]?.createdBy));
  return {
    reference: inspection.reference,
    digest: inspection.digest,
    platform: formatPlatform(inspection.platform),
    size: layers.reduce((sum, { size }) => sum + size, 0),
    prefetchBytes: layers.reduce((sum, { prefetchBytes }) => sum + prefetchBytes, 0),
    layers,
  };
}

function layerView(layer: LayerInspection, heat: Uint8Array, createdBy: string | undefined): LayerView {
  const { files, stargz } = layer;
  const scale = files?.exact ? layer.size : layer.uncompressedSize;
  const every = new Bars(scale);
  const some = new Bars(scale);
  const tree: TreeFile[] = [];
  let hotFiles = 0;
  let hotBytes = 0;
  for (let i = 0; files && i < files.paths.length; i++) {
    const h = heat[i] as Heat;
    tree.push({ path: files.paths[i]!, size: files.sizes[i]!, heat: h });
    if (h === 0) continue;
    hotFiles += 1;
    hotBytes += files.length[i]!;
    (h === 2 ? every : some).add(files.at[i]!, files.length[i]!);
  }
  return {
    index: layer.index,
    digest: layer.digest,
    size: layer.size,
    uncompressedSize: layer.uncompressedSize,
    format: stargz ? 'estargz' : layer.compression === 'none' ? 'tar' : layer.compression,
    ...(createdBy === undefined ? {} : { createdBy }),
    entries: layer.entries,
    ...(stargz?.landmark ? { landmark: { kind: stargz.landmark.kind, offset: stargz.landmark.offset } } : {}),
    prefetchBytes: stargz?.prefetchBytes ?? 0,
    hotFiles,
    hotBytes,
    exact: files?.exact ?? false,
    barcode: { every: every.cells(), some: some.cells() },
    tree: fileTree(tree),
  };
}

/** How much of each of a row of equal parts is covered. */
class Bars {
  readonly #sums = new Float64Array(BARCODE_CELLS);
  readonly #cell: number;

  constructor(scale: number) {
    this.#cell = Math.max(1, scale) / BARCODE_CELLS;
  }

  add(at: number, length: number): void {
    const cell = this.#cell;
    for (let i = Math.max(0, Math.floor(at / cell)); i < BARCODE_CELLS && i * cell < at + length; i++) {
      this.#sums[i]! += Math.min(at + length, (i + 1) * cell) - Math.max(at, i * cell);
    }
  }

  /** Per cent; a part with anything in it has at least one. */
  cells(): number[] {
    return Array.from(this.#sums, (sum) =>
      sum <= 0 ? 0 : Math.max(1, Math.min(100, Math.round((100 * sum) / this.#cell))),
    );
  }
}
