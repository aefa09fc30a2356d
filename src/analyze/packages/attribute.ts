// A profile's runs get to know who owns each file, and the layers what made them.
import type { HistoryStep } from '../../image/types.js';
import { LayersFs } from '../../rootfs/layers-fs.js';
import type { SpooledImage } from '../../rootfs/spooled-image.js';
import type { RootFs } from '../../rootfs/types.js';
import { readPayload } from '../../stargz/tar/scan.js';
import type { RecordedRun } from '../recorded-run.js';
import type { LayerStep } from '../types.js';
import { ImageFiles } from './image-files.js';
import { findOwners } from './owners.js';
import { distributionOf, purlOf } from './purl.js';
import type { PackageDatabase } from './types.js';

export interface FileOwners {
  /** Package URLs by path. */
  readonly packages: ReadonlyMap<string, string>;
  readonly databases: readonly PackageDatabase[];
}

/**
 * @param paths canonical, of regular files and symlinks
 * @param otherNames further names of a hardlinked file
 */
export function ownersOf(
  fs: RootFs,
  paths: readonly string[],
  otherNames?: (path: string) => readonly string[],
): FileOwners {
  const files = new ImageFiles(fs);
  const { byPath, databases } = findOwners(files, paths, otherNames);
  const distribution = distributionOf(files, databases[0]?.kind);
  return { packages: new Map([...byPath].map(([path, owner]) => [path, purlOf(owner, distribution)])), databases };
}

/** Of an image whose layers have been read: `paths` are those of its tree. */
export function ownersInImage({ layers, tree }: SpooledImage, paths: readonly string[]): FileOwners {
  const fs = new LayersFs(tree, (layer, entry, offset, into) => readPayload(layers[layer]!.fd, entry, offset, into));
  return ownersOf(fs, paths, (path) => {
    const node = tree.find(path, { followLast: false });
    return node ? tree.pathsOf(node).slice(1) : [];
  });
}

/** The same runs, their files with packages. */
export function attributeRuns(
  runs: readonly RecordedRun[],
  find: (paths: readonly string[]) => FileOwners,
): { readonly runs: readonly RecordedRun[]; readonly databases: readonly PackageDatabase[] } {
  const paths = new Set<string>();
  for (const { files } of runs) {
    for (const { path, type } of files) if (type === 'reg' || type === 'symlink') paths.add(path);
  }
  const { packages, databases } = find([...paths]);
  const owned = runs.map(
    (run): RecordedRun => ({
      ...run,
      files: run.files.map((file) => {
        const owner = packages.get(file.path);
        return owner === undefined ? file : { ...file, package: owner };
      }),
    }),
  );
  return { runs: owned, databases };
}

/**
 * What made each layer: the steps of the history that made one, in order (image-spec config.md, "history").
 * @param layers how many the image has; a history that does not have one step for each says nothing of any
 */
export function layerSteps(history: readonly HistoryStep[] | undefined, layers: number): LayerStep[] {
  const made = (history ?? []).filter((step) => !step.empty_layer);
  return Array.from({ length: layers }, (_, i) => {
    const createdBy = made.length === layers ? made[i]!.created_by?.trim() : undefined;
    return createdBy ? { createdBy } : {};
  });
}
