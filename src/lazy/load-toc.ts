// A layer's TOC out of the cache, with its chunks numbered.
import { HotlayerError } from '../errors.js';
import type { Digest } from '../image/digest.js';
import { STARGZ_LIMITS } from '../stargz/reader.js';
import { parseToc, type Toc, type TocEntry } from '../stargz/toc-parse.js';
import { type ChunkTable, chunkTable } from './chunk-table.js';
import { readKeptToc } from './layer-directory.js';

export interface LoadedToc {
  readonly entries: readonly TocEntry[];
  readonly byPath: ReadonlyMap<string, TocEntry>;
  readonly table: ChunkTable;
}

/** @param name of the layer, for messages @throws HL_ERR_IO when the cache does not have it, HL_ERR_STARGZ, HL_ERR_LIMIT */
export function loadToc(directory: string, digest: Digest, name: string): LoadedToc {
  const kept = readKeptToc(directory, digest);
  if (!kept) {
    throw new HotlayerError('HL_ERR_IO', `${name}: its TOC is not in the cache any more (${directory})`, {
      hint: 'try again',
    });
  }
  return withTable(parseToc(kept.json, name, kept.tocOffset, STARGZ_LIMITS), name);
}

/** @throws HL_ERR_STARGZ when what it lists cannot be verified */
export function withTable(toc: Toc, name: string): LoadedToc {
  if (toc.unverifiable !== undefined) throw new HotlayerError('HL_ERR_STARGZ', `${name}: ${toc.unverifiable}`);
  return {
    entries: toc.entries,
    get byPath() {
      return toc.byPath;
    },
    table: chunkTable(toc.entries),
  };
}
