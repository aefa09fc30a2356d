// What a plan's start comes to in the blobs that were written for it.
import type { StartStep } from '../analyze/types.js';
import { type ChunkTable, chunkAt, chunkTable } from '../lazy/chunk-table.js';
import type { Wish } from '../lazy/fetch-plan.js';
import { type HotFile, wishesFor } from '../lazy/prefetch.js';
import { formatStart, startGroups } from '../lazy/start-map.js';
import { STARGZ_LIMITS } from '../stargz/reader.js';
import { parseToc, type TocEntry } from '../stargz/toc-parse.js';

export interface WrittenToc {
  readonly json: Buffer;
  readonly tocOffset: number;
}

type Layers = readonly ({ byPath: ReadonlyMap<string, TocEntry>; table: ChunkTable } | undefined)[];

/** @param tocs of the layers, lowest first */
export function startAnnotation(start: readonly StartStep[], tocs: readonly (WrittenToc | undefined)[]): string {
  const layers = parsed(tocs);
  return formatStart(startGroups(tablesOf(layers), wishesOf(start, layers)));
}

/** The same from what is read, where the plan says nothing of a start. */
export function startOfFiles(hot: readonly HotFile[], tocs: readonly (WrittenToc | undefined)[]): string {
  const layers = parsed(tocs);
  return formatStart(startGroups(tablesOf(layers), wishesFor(hot, layers)));
}

function tablesOf(layers: Layers): readonly (ChunkTable | undefined)[] {
  return layers.map((layer) => layer?.table);
}

function parsed(tocs: readonly (WrittenToc | undefined)[]): Layers {
  return tocs.map((toc, layer) => {
    if (!toc) return undefined;
    const { entries, byPath } = parseToc(toc.json, `layer ${layer}`, toc.tocOffset, STARGZ_LIMITS);
    return { byPath, table: chunkTable(entries) };
  });
}

function* wishesOf(start: readonly StartStep[], layers: Layers): Generator<Wish> {
  for (const { layer, path, at } of start) {
    const entry = layers[layer]?.byPath.get(path);
    if (entry?.type !== 'reg') continue;
    const { table } = layers[layer]!;
    const first = table.firstOf[entry.index]!;
    if (first < 0) continue;
    for (const offset of at) yield [layer, chunkAt(table, table.at[first]! + offset, first)];
  }
}
