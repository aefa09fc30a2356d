// A lazily read image as the thread that answers the kernel makes it: the tree from the layers' TOCs (and tars), content
// from the cache as far as it is there.
import type { Digest } from '../image/digest.js';
import { LayersFs, type LayersFsOptions } from '../rootfs/layers-fs.js';
import { mergeLayers } from '../rootfs/merge.js';
import type { FsPort, Later } from '../rootfs/types.js';
import type { TarEntry } from '../stargz/tar/entry.js';
import { readPayload, scanTarFd } from '../stargz/tar/scan.js';
import type { TocEntry } from '../stargz/toc-parse.js';
import { chunksWithin } from './fetch-plan.js';
import { closeQuietly } from './layer-directory.js';
import { LayerReader } from './layer-reader.js';
import { type LoadedToc, loadToc } from './load-toc.js';
import type { TablesMessage } from './messages.js';
import { type HotFile, wishesFor } from './prefetch.js';
import type { StartGroup } from './start-map.js';
import { openTar } from './tar-store.js';

/** Plain data, for another thread or process. */
export type LazyLayerArgs =
  | {
      readonly kind: 'stargz';
      /** In the cache. */
      readonly directory: string;
      readonly tocDigest: Digest;
      readonly inode: bigint;
      /** For messages. */
      readonly name: string;
    }
  /** Fetched whole: the uncompressed tar. */
  | { readonly kind: 'tar'; readonly directory: string; readonly name: string };

export interface LazyFsArgs extends LayersFsOptions {
  /** Lowest first. */
  readonly layers: readonly LazyLayerArgs[];
  /** What a start needs, as far as somebody knows: by place in the blobs, or by path. Then little else is read ahead. */
  readonly start?: { readonly groups: readonly StartGroup[] } | { readonly files: readonly HotFile[] } | undefined;
}

interface OpenLayer {
  readonly entries: readonly TarEntry[];
  readonly reader?: LayerReader;
  read(entry: TarEntry, offset: number, into: Buffer, flags: number): number | Later;
  likely?(entry: TarEntry): Iterable<readonly [offset: number, length: number]>;
  close(): void;
}

/** @throws HL_ERR_STARGZ, HL_ERR_LAYER, HL_ERR_LIMIT, HL_ERR_IO */
export function openLazyFs({ layers, start, ...options }: LazyFsArgs, port: FsPort): LayersFs {
  const open: OpenLayer[] = [];
  const close = (): void => {
    for (const layer of open) layer.close();
  };
  // The readers' descriptors are the answerer's from the moment it knows them: it may still be reading.
  const closeWhole = (): void => {
    for (const layer of open) if (!layer.reader) layer.close();
  };
  try {
    const tocs = layers.map((layer) =>
      layer.kind === 'tar' ? undefined : loadToc(layer.directory, layer.tocDigest, layer.name),
    );
    const hot = start && hotChunks(start, tocs);
    for (const [index, layer] of layers.entries()) {
      if (layer.kind === 'tar') open.push(openWhole(layer));
      else open.push(openStargzLayer(index, layer, tocs[index]!, hot && (hot.get(index) ?? [])));
    }
    const tables: TablesMessage = { type: 'tables', layers: open.map(({ reader }) => reader?.memory ?? null) };
    port.post(tables);
    const tree = mergeLayers(open.map(({ entries }) => entries));
    return new LayersFs(tree, (layer, entry, ...what) => open[layer]!.read(entry, ...what), {
      ...options,
      ...(start && { likely: (layer, entry) => open[layer]!.likely?.(entry) ?? [] }),
      onClose: closeWhole,
    });
  } catch (error) {
    close();
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

function openStargzLayer(
  index: number,
  layer: LazyLayerArgs & { kind: 'stargz' },
  { entries, table }: LoadedToc,
  hot: readonly number[] | undefined,
): OpenLayer {
  const reader = new LayerReader(index, layer.directory, table, layer.inode, hot);
  return {
    entries: entries.map((entry) => new LazyEntry(entry)),
    reader,
    read(entry, offset, into, flags) {
      const first = table.firstOf[entry.index]!;
      return first < 0 || into.length === 0 ? 0 : reader.read(first, offset, into, flags);
    },
    likely(entry) {
      const first = table.firstOf[entry.index]!;
      return first < 0 ? [] : reader.likely(first, entry.size);
    },
    close: () => reader.close(),
  };
}

function openWhole({ directory, name }: LazyLayerArgs & { kind: 'tar' }): OpenLayer {
  const { fd, size } = openTar(directory);
  try {
    const { entries } = scanTarFd(fd, size, { layer: name });
    return {
      entries,
      read: (entry, offset, into) => readPayload(fd, entry, offset, into),
      close: () => closeQuietly(fd),
    };
  } catch (error) {
    closeQuietly(fd);
    throw error;
  }
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
