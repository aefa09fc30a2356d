// What a plan's start comes to in the blobs that were written for it.
import type { StartStep } from '../analyze/types.js';
import { type ChunkTable, chunkAt, chunkTable } from '../lazy/chunk-table.js';
import type { Wish } from '../lazy/fetch-plan.js';
import { formatStart, startGroups } from '../lazy/start-map.js';
import { STARGZ_LIMITS } from '../stargz/reader.js';
import { parseToc, type TocEntry } from '../stargz/toc-parse.js';

export interface WrittenToc {
  readonly json: Buffer;
  readonly tocOffset: number;
}

/** @param tocs of the layers, lowest first */
export function startAnnotation(start: readonly StartStep[], tocs: readonly (WrittenToc | undefined)[]): string {
  const layers = tocs.map((toc, layer) => {
    if (!toc) return undefined;
    const { entries, byPath } = parseToc(toc.json, `layer ${layer}`, toc.tocOffset, STARGZ_LIMITS);
    return { byPath, table: chunkTable(entries) };
  });
  const tables = layers.map((layer) => layer?.table);
  return formatStart(startGroups(tables, wishesOf(start, layers)));
}

function* wishesOf(
  start: readonly StartStep[],
  layers: readonly ({ byPath: ReadonlyMap<string, TocEntry>; table: ChunkTable } | undefined)[],
): Generator<Wish> {
  for (const { layer, path, at } of start) {
    const entry = layers[layer]?.byPath.get(path);
    if (entry?.type !== 'reg') continue;
    const { table } = layers[layer]!;
    const first = table.firstOf[entry.index]!;
    if (first < 0) continue;
    for (const offset of at) yield [layer, chunkAt(table, table.at[first]! + offset, first)];
  }
}
