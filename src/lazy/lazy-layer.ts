// A lazily read layer as the side that fetches it has it. The TOC is parsed, and the store opened, when first needed: a
// start that finds everything in the cache needs neither.
import { closeSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest } from '../image/digest.js';
import type { Pieces } from '../image/files.js';
import type { Toc, TocEntry } from '../stargz/toc-parse.js';
import type { ChunkTable } from './chunk-table.js';
import { LAYER_FILES, openKept } from './layer-directory.js';
import { LayerStore } from './layer-store.js';
import { type LoadedToc, loadToc, withTable } from './load-toc.js';

export interface LazyLayerOptions {
  /** `layer 2 (sha256:…)` */
  readonly name: string;
  /** In the cache, with the TOC in it. */
  readonly directory: string;
  readonly tocDigest: Digest;
  /** Bytes of the blob as they come, one piece after the other; tried once. */
  pieces(pieces: Pieces, signal: AbortSignal): AsyncIterable<Buffer>;
  /** The TOC, when it is at hand. Called once at most; throws as loadToc. */
  readonly toc?: (() => Toc) | undefined;
}

export class LazyLayer {
  readonly name: string;
  readonly directory: string;
  readonly tocDigest: Digest;
  readonly pieces: LazyLayerOptions['pieces'];
  #toc: LoadedToc | undefined;
  #atHand: LazyLayerOptions['toc'];
  #store: LayerStore | undefined;

  constructor(options: LazyLayerOptions) {
    this.name = options.name;
    this.directory = options.directory;
    this.tocDigest = options.tocDigest;
    this.pieces = options.pieces;
    this.#atHand = options.toc;
  }

  /** @throws HL_ERR_IO, HL_ERR_STARGZ */
  get table(): ChunkTable {
    return this.#load().table;
  }

  get byPath(): ReadonlyMap<string, TocEntry> {
    return this.#load().byPath;
  }

  /** @throws HL_ERR_IO */
  get store(): LayerStore {
    this.#store ??= new LayerStore(this.directory, this.table);
    return this.#store;
  }

  /** Of the file with the content, which is made if it is missing. */
  get inode(): bigint {
    for (const name of ['data', 'index'] as const) closeSync(openKept(this.directory, name, 'a'));
    return statSync(join(this.directory, LAYER_FILES.data), { bigint: true }).ino;
  }

  close(): void {
    this.#store?.close();
    this.#store = undefined;
  }

  #load() {
    this.#toc ??= this.#atHand
      ? withTable(this.#atHand(), this.name)
      : loadToc(this.directory, this.tocDigest, this.name);
    this.#atHand = undefined;
    return this.#toc;
  }
}
