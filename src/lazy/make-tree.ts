// The tree of a lazily read image from its layers' TOCs, and from the tars of those that were fetched whole.
import { mergeLayers } from '../rootfs/merge.js';
import type { Tree } from '../rootfs/tree.js';
import type { TarEntry } from '../stargz/tar/entry.js';
import { scanTarFd } from '../stargz/tar/scan.js';
import type { TocEntry } from '../stargz/toc-parse.js';
import { chunksWithin } from './fetch-plan.js';
import type { KeptLayer } from './kept-tree.js';
import { closeQuietly } from './layer-directory.js';
import type { LazyFsArgs, LazyLayerArgs } from './lazy-fs.js';
import { type LoadedToc, loadToc } from './load-toc.js';
import { wishesFor } from './prefetch.js';
import { openTar } from './tar-store.js';

/** A layer that was fetched whole. */
export interface WholeLayer {
  /** Of its tar, open; the caller's from now on. */
  readonly fd: number;
}

export interface MadeTree {
  readonly tree: Tree;
  readonly layers: readonly (KeptLayer | WholeLayer)[];
}

/** @throws HL_ERR_STARGZ, HL_ERR_LAYER, HL_ERR_LIMIT, HL_ERR_IO */
export function makeTree(layers: readonly LazyLayerArgs[], start: LazyFsArgs['start']): MadeTree {
  const whole: WholeLayer[] = [];
  try {
    const tocs = layers.map((layer) =>
      layer.kind === 'tar' ? undefined : loadToc(layer.directory, layer.tocDigest, layer.name),
    );
    const hot = start && hotChunks(start, tocs);
    const entries: (readonly TarEntry[])[] = [];
    const made = layers.map((layer, index): KeptLayer | WholeLayer => {
      if (layer.kind === 'tar') {
        const { fd, size } = openTar(layer.directory);
        whole.push({ fd });
        entries.push(scanTarFd(fd, size, { layer: layer.name }).entries);
        return { fd };
      }
      const toc = tocs[index]!;
      entries.push(toc.entries.map((entry) => new LazyEntry(entry)));
      return { table: toc.table, hot: hot && (hot.get(index) ?? []) };
    });
    return { tree: mergeLayers(entries), layers: made };
  } catch (error) {
    for (const { fd } of whole) closeQuietly(fd);
    throw error;
  }
}

/** By layer. */
function hotChunks(
  start: NonNullable<LazyFsArgs['start']>,
  tocs: readonly (LoadedToc | undefined)[],
): ReadonlyMap<number, number[]> {
  const hot = new Map<number, number[]>();
  const add = (layer: number, chunk: number) => {
    const own = hot.get(layer);
    if (own) own.push(chunk);
    else hot.set(layer, [chunk]);
  };
  if ('files' in start) for (const [layer, chunk] of wishesFor(start.files, tocs)) add(layer, chunk);
  else {
    for (const { layer, pieces } of start.groups) {
      const table = tocs[layer]?.table;
      for (const [offset, length] of table ? pieces : []) {
        const run = chunksWithin(table!, offset, length);
        for (let chunk = run?.first ?? 0; chunk < (run?.end ?? 0); chunk++) add(layer, chunk);
      }
    }
  }
  return hot;
}

const UNKNOWN_TIME = { sec: 0, nsec: 0 };

/**
 * What the merge and the tree ask of an entry; where its bytes lie is the reader's business. A view, not a copy: a large
 * image has a hundred thousand of them, made before the container starts, and few are ever looked at.
 */
class LazyEntry implements TarEntry {
  readonly #toc: TocEntry;

  constructor(toc: TocEntry) {
    this.#toc = toc;
  }

  get index() {
    return this.#toc.index;
  }
  get headerOffset() {
    return 0;
  }
  get payloadOffset() {
    return 0;
  }
  get payloadSize() {
    return this.#toc.size;
  }
  get end() {
    return 0;
  }
  get type() {
    return this.#toc.type;
  }
  get name() {
    return this.#toc.name;
  }
  get path() {
    return this.#toc.path;
  }
  get linkName() {
    return this.#toc.linkName;
  }
  get mode() {
    return this.#toc.mode;
  }
  get uid() {
    return this.#toc.uid;
  }
  get gid() {
    return this.#toc.gid;
  }
  get uname() {
    return this.#toc.uname;
  }
  get gname() {
    return this.#toc.gname;
  }
  get size() {
    return this.#toc.size;
  }
  get mtime() {
    const { mtimeSec } = this.#toc;
    return mtimeSec === undefined ? UNKNOWN_TIME : { sec: mtimeSec, nsec: 0 };
  }
  get devMajor() {
    return this.#toc.devMajor;
  }
  get devMinor() {
    return this.#toc.devMinor;
  }
  // Absent and undefined are the same to whoever reads it.
  get xattrs(): ReadonlyMap<string, Buffer> {
    return this.#toc.xattrs as ReadonlyMap<string, Buffer>;
  }
}
