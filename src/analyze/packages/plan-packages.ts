// Whose files a plan prefetches.
import type { SpooledImage } from '../../rootfs/spooled-image.js';
import type { PackageUse, Plan, Profile } from '../types.js';
import { ownersInImage } from './attribute.js';
import { sumByPackage, type UsedFile } from './uses.js';

/**
 * Regular files before the landmarks by package, the most prefetched bytes first. Empty for a plan that prefetches
 * nothing.
 * @param profile absent: nothing is known of what is read of them
 */
export function planPackages(plan: Plan, spooled: SpooledImage, profile: Profile | undefined): PackageUse[] {
  const { layers } = spooled;
  const read = new Map(profile?.files.map(({ path, bytesRead }) => [path, bytesRead.median]));
  const files = plan.layers.flatMap(({ index, hot }) => {
    if (hot.length === 0) return [];
    const planned = new Set(hot.map(({ path }) => path));
    const regular = new Set<string>();
    for (const { type, path } of layers[index]!.scan.entries) {
      if (type === 'reg' && planned.has(path)) regular.add(path);
    }
    return hot.flatMap((entry): Omit<UsedFile, 'package'>[] => {
      if (!regular.has(entry.path)) return [];
      // The entry may have been written through a symlinked directory.
      const { tree } = spooled;
      const node = tree.find(entry.path, { followLast: false });
      const path = node ? tree.pathOf(node) : `/${entry.path}`;
      return [{ path, size: entry.size, bytesRead: read.get(path) ?? 0 }];
    });
  });
  if (files.length === 0) return [];
  const { packages } = ownersInImage(
    spooled,
    files.map(({ path }) => path),
  );
  const owned = files.map((file) => ({ ...file, package: packages.get(file.path) }));
  return sumByPackage(owned).sort((a, b) => b.size - a.size);
}
