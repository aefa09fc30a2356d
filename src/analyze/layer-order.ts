// The hot entries of one layer in the order in which they must lie: a parent before its children, a hardlink's target
// before the link, a whiteout before what replaces the file. The rule is estargz's moveRec (build.go), made tolerant
// of parents without an entry; the whiteouts are ours.
import { cleanPath, showPath } from '../paths.js';
import { PathIndex } from '../stargz/path-index.js';
import type { TarEntry } from '../stargz/tar/entry.js';
import type { PlannedEntry } from './types.js';

/** What planning needs of a tar entry. */
export type PlanEntry = Pick<TarEntry, 'path' | 'type' | 'linkName' | 'size'>;

/**
 * The entries of a layer by cleaned path; a later entry of the same name replaces an earlier one, as in extraction.
 * A hardlink to itself does not: GNU tar writes one for a file that it was given twice.
 */
export class LayerIndex {
  readonly #byPath: PathIndex<PlanEntry>;

  constructor(entries: readonly PlanEntry[]) {
    const byPath = new PathIndex(entries);
    entries.forEach((entry, i) => {
      const { path } = entry;
      const isSelfLink = entry.type === 'hardlink' && targetOf(entry) === path;
      if (!(isSelfLink && byPath.has(path))) byPath.set(path, i);
    });
    this.#byPath = byPath;
  }

  get(path: string): PlanEntry | undefined {
    const position = this.#byPath.get(path);
    return position === undefined ? undefined : this.#byPath.entries[position];
  }

  has(path: string): boolean {
    return this.#byPath.has(path);
  }

  /** The whiteout in this layer that hides `path` of the layers below; undefined when none does. */
  whiteoutOf(path: string): string | undefined {
    for (let at = path; at !== ''; at = parentOf(at)) {
      const marker = whiteoutName(at);
      if (this.#byPath.has(marker)) return marker;
      const opaque = opaqueName(parentOf(at));
      if (this.#byPath.has(opaque)) return opaque;
    }
    return undefined;
  }
}

/** Cleaned path of the parent directory; "" for what lies in the root. */
export function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

/** Whiteout names: image-spec layer.md, "Whiteouts" and "Opaque Whiteout". */
function whiteoutName(path: string): string {
  const slash = path.lastIndexOf('/') + 1;
  return `${path.slice(0, slash)}.wh.${path.slice(slash)}`;
}

function opaqueName(directory: string): string {
  return directory === '' ? '.wh..wh..opq' : `${directory}/.wh..wh..opq`;
}

/** Collects the hot entries of one layer. */
export class HotOrder {
  readonly #index: LayerIndex;
  readonly #hot = new Map<string, PlannedEntry>();

  constructor(index: LayerIndex) {
    this.#index = index;
  }

  /**
   * Puts the entry, and before it all that must precede it. An entry that is there already stays where it is.
   * @param path cleaned; "" is the root
   * @returns false when the layer has no entry of that name (its parents are then not put either)
   */
  put(path: string, because: string): boolean {
    const entry = this.#index.get(path);
    if (!entry) return false;
    if (this.#hot.has(path)) return true;
    // Targets of targets, the last one first. A list and not a recursion: a hostile layer may chain as many hardlinks
    // as it has entries, or close the chain to a ring.
    const chain: PlanEntry[] = [entry];
    const met = new Set([path]);
    for (let at = entry; at.type === 'hardlink'; ) {
      const target = this.#index.get(targetOf(at));
      if (!target || met.has(target.path)) break;
      met.add(target.path);
      chain.push(target);
      at = target;
    }
    for (let i = chain.length - 1; i >= 0; i--) {
      const why = i === 0 ? because : `target of the hardlink ${showPath(chain[i - 1]!.path)}`;
      this.#putWithParents(chain[i]!, why);
    }
    return true;
  }

  entries(): PlannedEntry[] {
    return [...this.#hot.values()];
  }

  #putWithParents(entry: PlanEntry, because: string): void {
    for (const path of ancestorsOf(entry.path)) {
      const parent = this.#index.get(path);
      if (parent) this.#putOne(parent, `parent directory of ${showPath(entry.path)}`);
      this.#putMarker(opaqueName(path), entry.path);
    }
    this.#putOne(entry, because);
  }

  #putOne({ path, type, size }: PlanEntry, because: string): void {
    if (this.#hot.has(path)) return;
    // Whiteouts that lie before the file in the original order must not come to lie behind it: an extractor that
    // applies entries one by one would delete what it has just made.
    if (path !== '') this.#putMarker(whiteoutName(path), path);
    this.#hot.set(path, { path, because, size: type === 'reg' ? size : 0 });
  }

  #putMarker(marker: string, path: string): void {
    const entry = this.#index.get(marker);
    if (!entry || this.#hot.has(marker)) return;
    this.#hot.set(marker, { path: marker, because: `whiteout that must precede ${showPath(path)}`, size: 0 });
  }
}

/** "" first, then each directory down to the parent. */
function ancestorsOf(path: string): string[] {
  const out: string[] = [];
  for (let at = path; at !== ''; ) {
    at = parentOf(at);
    out.unshift(at);
  }
  return out;
}

/** A hardlink names its target from the root of the layer. */
export function targetOf(entry: PlanEntry): string {
  return cleanPath(entry.linkName);
}
