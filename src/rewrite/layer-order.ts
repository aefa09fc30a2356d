// The order that a layer gets, checked for meaning the same. Where entries are written through symlinks, or replace
// each other in odd ways, the new order is tried out: both orders must merge into the same tree. If they do not, the
// layer keeps the order it has, and nothing of it is prefetched.
import { mergeLayers } from '../rootfs/merge.js';
import type { Tree } from '../rootfs/tree.js';
import { copyEntry, type TarEntry } from '../stargz/tar/entry.js';
import { aliasesOf, writesThroughSymlinks } from './aliases.js';
import type { ResolvedLinks } from './links.js';
import { type LayerOrder, orderEntries, tangledPaths } from './order.js';

export interface CheckedOrder extends LayerOrder {
  /** True: the planned order would have changed the tree, so the entries stay as they are. */
  readonly kept: boolean;
}

/**
 * @param layers entries of the layers, lowest first, at least up to `index`, without landmarks and TOCs
 * @param planned paths that the plan puts first in layer `index`
 */
export function orderLayer(
  layers: readonly (readonly TarEntry[])[],
  index: number,
  planned: readonly string[],
  links: ResolvedLinks,
): CheckedOrder {
  const entries = layers[index]!;
  // As they will be written: what is decided for the copies must be what would be decided for the optimized layer.
  const original = new Map<TarEntry, TarEntry>();
  const copied = (entry: TarEntry, source: TarEntry) => {
    const copy = copyEntry(source, { index: entry.index, name: entry.name, path: entry.path });
    original.set(copy, entry);
    return copy;
  };
  const written =
    links.copies.size === 0
      ? entries
      : entries.map((entry, i) => {
          const source = links.copies.get(i)?.entry;
          return source ? copied(entry, source) : entry;
        });
  const lower = layers.slice(0, index);
  const all = [...lower, written];
  const odd = planned.length > 0 && (writesThroughSymlinks(all, index) || tangledPaths(written).size > 0);
  const order = orderEntries(written, planned, links.targets, odd ? aliasesOf(all, index) : undefined);
  const kept =
    odd && order.hot.length > 0 && !sameTree(mergeLayers(all), mergeLayers([...lower, [...order.hot, ...order.rest]]));
  if (kept) return { hot: [], rest: entries, missed: order.missed, kept };
  if (original.size === 0) return { ...order, kept };
  const back = (entry: TarEntry) => original.get(entry) ?? entry;
  return { hot: order.hot.map(back), rest: order.rest.map(back), missed: order.missed, kept };
}

/** Whether two trees made from the same entries give each name the same entry. */
function sameTree(a: Tree, b: Tree): boolean {
  const left = a.walk();
  const right = b.walk();
  for (;;) {
    const one = left.next();
    const two = right.next();
    if (one.done || two.done) return one.done === two.done;
    const [x, y] = [one.value, two.value];
    if (x.path !== y.path || x.type !== y.type || x.node.entry !== y.node.entry) return false;
  }
}
