// A lazily read image as the thread that answers the kernel makes it: the tree as it was kept, or from the layers' TOCs
// (and tars); content from the cache as far as it is there.
import type { Digest } from '../image/digest.js';
import { LayersFs, type LayersFsOptions } from '../rootfs/layers-fs.js';
import type { FileTree, Tree } from '../rootfs/tree.js';
import type { FsPort, Later } from '../rootfs/types.js';
import type { TarEntry } from '../stargz/tar/entry.js';
import { readPayload } from '../stargz/tar/scan.js';
import { type KeptLayer, keepTree, readKeptTree, type TreePlace } from './kept-tree.js';
import { closeQuietly } from './layer-directory.js';
import { LayerReader } from './layer-reader.js';
import { type MadeTree, makeTree, type WholeLayer } from './make-tree.js';
import type { TablesMessage } from './messages.js';
import type { HotFile } from './prefetch.js';
import type { StartGroup } from './start-map.js';

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
  /** Where the tree is kept; absent: nowhere. */
  readonly kept?: TreePlace | undefined;
}

type Made = Pick<MadeTree, 'layers'> & { readonly tree: FileTree };

interface OpenLayer {
  readonly reader?: LayerReader;
  read(entry: TarEntry, offset: number, into: Buffer, flags: number): number | Later;
  likely?(entry: TarEntry): Iterable<readonly [offset: number, length: number]>;
  close(): void;
}

/** @throws HL_ERR_STARGZ, HL_ERR_LAYER, HL_ERR_LIMIT, HL_ERR_IO */
export function openLazyFs(args: LazyFsArgs, port: FsPort): LayersFs<FileTree> {
  const { layers, start, kept: place, ...options } = args;
  const open: OpenLayer[] = [];
  try {
    const found = place && readKeptTree(place);
    const made: Made = found ?? makeTree(layers, start);
    open.push(...made.layers.map((layer) => ('fd' in layer ? wholeLayer(layer) : notYetOpen)));
    for (const [index, layer] of layers.entries())
      if (layer.kind === 'stargz') open[index] = lazyLayer(index, layer, made.layers[index] as KeptLayer);
    const tables: TablesMessage = { type: 'tables', layers: open.map(({ reader }) => reader?.memory ?? null) };
    port.post(tables);
    return new LayersFs<FileTree>(made.tree, (layer, entry, ...what) => open[layer]!.read(entry, ...what), {
      ...options,
      ...(start && { likely: (layer, entry) => open[layer]!.likely?.(entry) ?? [] }),
      // The readers' descriptors are the answerer's from the moment it knows them: it may still be reading.
      onClose() {
        for (const layer of open) if (!layer.reader) layer.close();
        // Not before: a start waits for nothing that only the next one needs.
        if (place && !found) keepTree(place, made.tree as Tree, made.layers as readonly KeptLayer[]);
      },
    });
  } catch (error) {
    for (const layer of open) layer.close();
    throw error;
  }
}

const notYetOpen: OpenLayer = { read: () => 0, close() {} };

function lazyLayer(index: number, layer: LazyLayerArgs & { kind: 'stargz' }, { table, hot }: KeptLayer): OpenLayer {
  const reader = new LayerReader(index, layer.directory, table, layer.inode, hot);
  return {
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

function wholeLayer({ fd }: WholeLayer): OpenLayer {
  return {
    read: (entry, offset, into) => readPayload(fd, entry, offset, into),
    close: () => closeQuietly(fd),
  };
}
