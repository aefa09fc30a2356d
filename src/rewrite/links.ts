// Hardlinks that a stargz layer cannot keep. Its TOC knows only its own layer, and there only the last entry of each
// name; a link to anything else would make the whole blob unreadable for a lazy client (estargz "initFields": the
// link name is not found). Such a link becomes a copy of what it names: found by merging the layers up to its own.
import { HotlayerError } from '../errors.js';
import { cleanPath, showPath } from '../paths.js';
import { mergeLayers } from '../rootfs/merge.js';
import type { Tree } from '../rootfs/tree.js';
import type { TarEntry } from '../stargz/tar/entry.js';
import { isReserved } from './names.js';
import { effectivePositions, linkTargets } from './order.js';

/** The entry whose content and metadata a link stands for. */
export interface LinkSource {
  readonly layer: number;
  readonly entry: TarEntry;
}

export interface ResolvedLinks {
  /** By position, as `linkTargets`: the link's target in the same layer, -1 for everything else. */
  readonly targets: Int32Array;
  /** By position: links that have to become copies. */
  readonly copies: ReadonlyMap<number, LinkSource>;
}

/**
 * @param layers entries of the layers, lowest first, at least up to `index`
 * @throws HL_ERR_LAYER for a link to a directory, or to something that exists in no layer
 */
export function resolveLinks(layers: readonly (readonly TarEntry[])[], index: number): ResolvedLinks {
  const entries = layers[index]!;
  const targets = linkTargets(entries);
  const copies = new Map<number, LinkSource>();
  let effective: ReturnType<typeof effectivePositions> | undefined;
  let upTo: Tree | undefined;
  let below: Tree | undefined;
  entries.forEach((entry, i) => {
    if (entry.type !== 'hardlink') return;
    if (targets[i]! >= 0) {
      if (entries[targets[i]!]!.type === 'dir') throw unusable(entry, 'is a directory');
      return;
    }
    upTo ??= mergeLayers(layers.slice(0, index + 1));
    const problems = upTo.warnings.filter((w) => w.layer === index && w.entryIndex === entry.index);
    if (problems.some((w) => w.problem === 'link-to-directory')) throw unusable(entry, 'is a directory');
    if (problems.some((w) => w.problem === 'link-target-missing'))
      throw unusable(entry, 'is in no layer up to its own');
    let source = sourceIn(upTo, entry);
    if (!source) {
      // The link itself is gone from the tree (a later entry took its name): look where it pointed.
      below ??= mergeLayers(layers.slice(0, index));
      source = earlier(entries, i, index) ?? nodeAt(below, cleanPath(entry.linkName));
    }
    if (!source) throw unusable(entry, 'is in no layer up to its own');
    // A link before its target: the TOC can say that, nothing has to be copied.
    effective ??= effectivePositions(entries);
    const own = source.layer === index ? (effective.get(cleanPath(entry.linkName)) ?? -1) : -1;
    if (own > i && entries[own] === source.entry) targets[i] = own;
    else copies.set(i, source);
  });
  return { targets, copies };
}

function unusable(entry: TarEntry, what: string): HotlayerError {
  return new HotlayerError(
    'HL_ERR_LAYER',
    `entry "${showPath(entry.name)}" is a hardlink to "${showPath(entry.linkName)}", which ${what}`,
    { context: { entry: showPath(entry.name) }, hint: 'no runtime can unpack the image either; build it anew' },
  );
}

/** What the tree has under the link's name, if it is this link that made the name. */
function sourceIn(tree: Tree, link: TarEntry): LinkSource | undefined {
  const at = link.path.lastIndexOf('/') + 1;
  const dir = tree.find(link.path.slice(0, at));
  if (dir?.links?.get(link.path.slice(at))?.entry !== link) return undefined;
  const node = dir.children!.get(link.path.slice(at));
  return node?.entry && { layer: node.layer, entry: node.entry };
}

function nodeAt(tree: Tree, path: string): LinkSource | undefined {
  const node = tree.find(path, { followLast: false });
  return node?.entry && node.type !== 'dir' ? { layer: node.layer, entry: node.entry } : undefined;
}

/** The last entry before the link that has the name it points to, links followed. */
function earlier(entries: readonly TarEntry[], from: number, layer: number): LinkSource | undefined {
  let path = cleanPath(entries[from]!.linkName);
  for (let i = from - 1; i >= 0; i--) {
    const entry = entries[i]!;
    if (entry.path !== path) continue;
    if (entry.type !== 'hardlink') return entry.type === 'dir' ? undefined : { layer, entry };
    path = cleanPath(entry.linkName);
  }
  return undefined;
}

/** The layer's entries that are its files: without landmarks and TOC of an earlier conversion. */
export function withoutReserved(entries: readonly TarEntry[]): readonly TarEntry[] {
  if (!entries.some((entry) => isReserved(entry.path))) return entries;
  return entries.filter((entry) => !isReserved(entry.path));
}
