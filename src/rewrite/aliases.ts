// Entries that are written through a symlink: `lib/x` where `lib` leads to `usr/lib`, in this layer or a lower one.
// What they make lies elsewhere than their name says, and so does what they may collide with.
import { mergeLayers } from '../rootfs/merge.js';
import type { TarEntry } from '../stargz/tar/entry.js';
import { ancestors } from './order.js';

/** Positions in `layers[index]` of entries with a symlink, of this layer or a lower one, among their ancestors. */
function throughSymlinks(layers: readonly (readonly TarEntry[])[], index: number): number[] {
  const symlinks = new Set<string>();
  for (const entries of layers.slice(0, index + 1)) {
    for (const entry of entries) if (entry.type === 'symlink') symlinks.add(entry.path);
  }
  if (symlinks.size === 0) return [];
  const found: number[] = [];
  layers[index]!.forEach((entry, i) => {
    if (ancestors(entry.path).some((path) => symlinks.has(path))) found.push(i);
  });
  return found;
}

export function writesThroughSymlinks(layers: readonly (readonly TarEntry[])[], index: number): boolean {
  return throughSymlinks(layers, index).length > 0;
}

/**
 * @param layers entries of the layers, lowest first, at least up to `index`
 * @returns by position in `layers[index]`: where an entry really lies, cleaned; only those that lie elsewhere
 */
export function aliasesOf(layers: readonly (readonly TarEntry[])[], index: number): ReadonlyMap<number, string> {
  const aliases = new Map<number, string>();
  const found = throughSymlinks(layers, index);
  if (found.length === 0) return aliases;
  const tree = mergeLayers(layers.slice(0, index + 1));
  for (const i of found) {
    const { path } = layers[index]![i]!;
    const slash = path.lastIndexOf('/');
    const parent = tree.find(path.slice(0, slash));
    if (!parent) continue;
    const real = `${tree.pathOf(parent)}/${path.slice(slash + 1)}`.replace(/^\/+/, '');
    if (real !== path) aliases.set(i, real);
  }
  return aliases;
}
