// Entries that are written through a symlink: `lib/x` where `lib` leads to `usr/lib`, in this layer or a lower one.
// What they make lies elsewhere than their name says, and so does what they may collide with.
import { mergeLayers } from '../rootfs/merge.js';
import type { TarEntry } from '../stargz/tar-entry.js';
import { ancestors } from './order.js';

/**
 * @param layers entries of the layers, lowest first, at least up to `index`
 * @returns by position in `layers[index]`: where an entry really lies, cleaned; only those that lie elsewhere
 */
export function aliasesOf(layers: readonly (readonly TarEntry[])[], index: number): ReadonlyMap<number, string> {
  const symlinks = new Set<string>();
  for (const entries of layers.slice(0, index + 1)) {
    for (const entry of entries) if (entry.type === 'symlink') symlinks.add(entry.path);
  }
  const aliases = new Map<number, string>();
  if (symlinks.size === 0) return aliases;
  const through = layers[index]!.map((entry, i) => (ancestors(entry.path).some((path) => symlinks.has(path)) ? i : -1));
  const found = through.filter((i) => i >= 0);
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
