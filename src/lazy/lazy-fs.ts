// A lazily read image as the thread that answers the kernel makes it: the tree from the layers' TOCs (and tars), content
// from the cache as far as it is there.
import type { Digest } from '../image/digest.js';
import { LayersFs, type LayersFsOptions } from '../rootfs/layers-fs.js';
import { mergeLayers } from '../rootfs/merge.js';
import type { FsPort, Later } from '../rootfs/types.js';
import type { TarEntry } from '../stargz/tar-entry.js';
import { readPayload, scanTarFd } from '../stargz/tar-scan.js';
import type { TocEntry } from '../stargz/toc-parse.js';
import { closeQuietly } from './layer-directory.js';
import { LayerReader } from './layer-reader.js';
import { loadToc } from './load-toc.js';
import type { TablesMessage } from './messages.js';
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
}

interface OpenLayer {
  readonly entries: readonly TarEntry[];
  readonly reader?: LayerReader;
  read(entry: TarEntry, offset: number, into: Buffer): number | Later;
  close(): void;
}

/** @throws HL_ERR_STARGZ, HL_ERR_LAYER, HL_ERR_LIMIT, HL_ERR_IO */
export function openLazyFs({ layers, ...options }: LazyFsArgs, port: FsPort): LayersFs {
  const open: OpenLayer[] = [];
  const close = (): void => {
    for (const layer of open) layer.close();
  };
  // The readers' descriptors are the answerer's from the moment it knows them: it may still be reading.
  const closeWhole = (): void => {
    for (const layer of open) if (!layer.reader) layer.close();
  };
  try {
    for (const [index, layer] of layers.entries())
      open.push(layer.kind === 'tar' ? openWhole(layer) : openStargzLayer(index, layer));
    const tables: TablesMessage = { type: 'tables', layers: open.map(({ reader }) => reader?.memory ?? null) };
    port.post(tables);
    const tree = mergeLayers(open.map(({ entries }) => entries));
    return new LayersFs(tree, (layer, entry, offset, into) => open[layer]!.read(entry, offset, into), {
      ...options,
      onClose: closeWhole,
    });
  } catch (error) {
    close();
    throw error;
  }
}

function openStargzLayer(index: number, layer: LazyLayerArgs & { kind: 'stargz' }): OpenLayer {
  const { entries, table } = loadToc(layer.directory, layer.tocDigest, layer.name);
  const reader = new LayerReader(index, layer.directory, table, layer.inode);
  return {
    entries: entries.map(asTarEntry),
    reader,
    read(entry, offset, into) {
      const first = table.firstOf[entry.index]!;
      return first < 0 || into.length === 0 ? 0 : reader.read(first, offset, into);
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

/** What the merge and the tree ask of an entry; where its bytes lie is the reader's business. */
function asTarEntry(entry: TocEntry): TarEntry {
  const { index, type, name, path, linkName, mode, uid, gid, uname, gname, size, devMajor, devMinor, xattrs } = entry;
  return {
    ...{ index, type, name, path, linkName, mode, uid, gid, uname, gname, size, devMajor, devMinor },
    mtime: { sec: entry.mtimeSec ?? 0, nsec: 0 },
    headerOffset: 0,
    payloadOffset: 0,
    payloadSize: size,
    end: 0,
    ...(xattrs && { xattrs }),
  };
}
