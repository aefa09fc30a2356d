// The order of a layer's entries: planned paths first, each after its parent directories and its link target, then
// (behind the landmark) everything else as it was. The rule is estargz's sortEntries/moveRec; what is added keeps
// tars right in which the order carries meaning: several entries of one name, a file that replaces a directory
// which had children, a whiteout beside the name it hides.
import { HotlayerError } from '../errors.js';
import { cleanPath, showPath } from '../paths.js';
import { PathIndex } from '../stargz/path-index.js';
import type { TarEntry } from '../stargz/tar/entry.js';

export interface LayerOrder {
  /** Entries before the landmark. */
  readonly hot: readonly TarEntry[];
  /** Entries behind it, in their original order. */
  readonly rest: readonly TarEntry[];
  /** Planned paths that the layer does not have, in plan order. */
  readonly missed: readonly string[];
}

/** No file system has paths this deep (PATH_MAX is 4096 bytes); the bound keeps a hostile name from costing hours. */
const MAX_DEPTH = 4096;

type Aliases = ReadonlyMap<number, string>;
const NO_ALIASES: Aliases = new Map();

const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';

/** Ancestors of a cleaned path, the root (`""`) first, the path itself not included; none for the root. */
export function ancestors(path: string): string[] {
  if (path === '') return [];
  const out = [''];
  for (let slash = path.indexOf('/'); slash >= 0; slash = path.indexOf('/', slash + 1)) {
    out.push(path.slice(0, slash));
    if (out.length > MAX_DEPTH) {
      throw new HotlayerError('HL_ERR_LIMIT', `entry "${showPath(path.slice(0, 80))}…" is more than ${MAX_DEPTH} deep`);
    }
  }
  return out;
}

/** Finds all positions in `entries` of a cleaned path, ascending; undefined when there is none. */
function positionsByPath(entries: readonly TarEntry[]): (path: string) => readonly number[] | undefined {
  const last = new PathIndex(entries);
  /** By position, of those that have one of the same name before them: which. */
  const before = new Map<number, number>();
  entries.forEach((entry, i) => {
    const other = last.set(entry.path, i);
    if (other >= 0) before.set(i, other);
  });
  /** Of paths that several entries have: they may be many, and be asked for as often. */
  const known = new Map<string, number[]>();
  return (path) => {
    const end = last.get(path);
    if (end === undefined) return undefined;
    if (!before.has(end)) return [end];
    let found = known.get(path);
    if (!found) {
      found = [];
      for (let i: number | undefined = end; i !== undefined; i = before.get(i)) found.push(i);
      known.set(path, found.reverse());
    }
    return found;
  };
}

/**
 * The entry that counts for each path, by position: the last of its name. A hardlink to itself (GNU tar writes one
 * for a file that it was given twice) says nothing new, so the entry before it keeps its place.
 */
export function effectivePositions(entries: readonly TarEntry[]): Pick<PathIndex<TarEntry>, 'get' | 'has'> {
  const last = new PathIndex(entries);
  entries.forEach((entry, i) => {
    const { path } = entry;
    if (!(isSelfLink(entry) && last.has(path))) last.set(path, i);
  });
  return last;
}

function isSelfLink(entry: TarEntry): boolean {
  return entry.type === 'hardlink' && cleanPath(entry.linkName) === entry.path;
}

/**
 * For every hardlink the position of the entry it is another name of; -1 for all other entries and for links that
 * the layer alone cannot resolve. A target counts only when no later entry of its name replaces it: a TOC, where
 * the last entry of a name wins, could not say which one was meant.
 */
export function linkTargets(entries: readonly TarEntry[]): Int32Array {
  const targets = new Int32Array(entries.length).fill(-1);
  if (!entries.some((entry) => entry.type === 'hardlink')) return targets;
  const effective = effectivePositions(entries);
  entries.forEach((entry, i) => {
    if (entry.type !== 'hardlink') return;
    const target = effective.get(cleanPath(entry.linkName));
    if (target !== undefined && target < i) targets[i] = target;
  });
  return targets;
}

/**
 * @param entries the layer's entries without landmarks and TOC
 * @param planned cleaned paths, most wanted first; repeated ones count once
 * @param targets see `linkTargets`; an entry whose target is -1 depends on no other
 * @param aliases see aliases.ts: where entries that are written through symlinks really lie, by position
 */
export function orderEntries(
  entries: readonly TarEntry[],
  planned: readonly string[],
  targets: Int32Array = linkTargets(entries),
  aliases: Aliases = NO_ALIASES,
): LayerOrder {
  if (planned.length === 0) return { hot: [], rest: entries, missed: [] };
  const positionsOf = positionsByPath(entries);
  const missed: string[] = [];
  const wanted: number[] = [];
  for (const path of new Set(planned.map(cleanPath))) {
    const at = positionsOf(path);
    if (at) wanted.push(...at);
    else missed.push(path);
  }
  if (wanted.length === 0) return { hot: [], rest: entries, missed };

  const tangled = tangles(entries, targets, aliases);
  const before = (i: number): number[] => {
    const entry = entries[i]!;
    const out: number[] = [];
    // One edge to the last of several entries is enough: each depends on the one before it.
    const add = (j: number | undefined) => {
      if (j !== undefined && j >= 0) out.push(j);
    };
    for (const parent of ancestors(entry.path)) {
      // What was made after its directory had been emptied is made after that again.
      add(lastBelow(positionsOf(parent === '' ? OPAQUE : `${parent}/${OPAQUE}`) ?? [], i));
      const at = positionsOf(parent);
      if (!at) continue;
      // A directory may also come after its children (cpio -depth); then it is moved before them.
      add(tangled.has(at.at(-1)!) ? lastBelow(at, i) : at.at(-1));
    }
    add(lastBelow(positionsOf(entry.path)!, i));
    for (const j of tangled.get(i) ?? []) add(j);
    add(targets[i]);
    return out;
  };

  const placed = new Uint8Array(entries.length);
  const hot: TarEntry[] = [];
  for (const i of wanted) place(i, before, placed, (j) => hot.push(entries[j]!));
  return { hot, rest: entries.filter((_, i) => placed[i] !== DONE), missed };
}

const VISITING = 1;
const DONE = 2;

/** Paths of the entries whose order among themselves carries meaning, so that a parent may have to come after a child. */
export function tangledPaths(entries: readonly TarEntry[]): ReadonlySet<string> {
  return new Set([...tangles(entries, linkTargets(entries), NO_ALIASES).keys()].map((i) => entries[i]!.path));
}

/** Depth first with a stack of its own: a chain of hardlinks may be as long as the layer. */
function place(root: number, before: (i: number) => number[], state: Uint8Array, emit: (i: number) => void): void {
  if (state[root] !== 0) return;
  const stack = [{ i: root, before: before(root), next: 0 }];
  state[root] = VISITING;
  while (stack.length > 0) {
    const top = stack.at(-1)!;
    const j = top.before[top.next++];
    if (j === undefined) {
      state[top.i] = DONE;
      emit(top.i);
      stack.pop();
    } else if (state[j] === 0) {
      state[j] = VISITING;
      stack.push({ i: j, before: before(j), next: 0 });
    }
  }
}

/** The greatest number in an ascending list that is less than `limit`. */
function lastBelow(ascending: readonly number[], limit: number): number | undefined {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ascending[middle]! < limit) low = middle + 1;
    else high = middle;
  }
  return ascending[low - 1];
}

/**
 * Groups of entries that must keep their order among themselves: everything at and under a path that has both a
 * non-directory entry and descendants; a whiteout with the entries at and under the name it hides; entries that lie
 * in one place under different names.
 * @returns each such entry with those right before it in its groups, -1 where it is the first
 */
function tangles(
  entries: readonly TarEntry[],
  targets: Int32Array,
  aliases: Aliases,
): ReadonlyMap<number, readonly number[]> {
  /** Where an entry lies, by name and in truth; for a whiteout, what it hides. */
  const places = (i: number): string[] => {
    const { path } = entries[i]!;
    const real = aliases.get(i);
    return (real === undefined ? [path] : [path, real]).map((place) => hiddenBy(place) ?? place);
  };
  const inner = new Set<string>();
  const knots = new Set<string>();
  /** Places where an entry lies under another name than the place's. */
  const foreign = new Set<string>();
  entries.forEach((entry, i) => {
    const { path } = entry;
    for (const place of places(i)) {
      if (place !== path) foreign.add(place);
      // From the deepest up, stopping where a sibling has been: linear in the number of directories.
      for (let end = place.lastIndexOf('/'); end > 0; end = place.lastIndexOf('/', end - 1)) {
        const parent = place.slice(0, end);
        if (inner.has(parent)) break;
        inner.add(parent);
      }
    }
  });
  // Two entries of different names in one place: at least one of them is a foreigner there.
  const named = new Map<string, string>();
  if (foreign.size > 0) {
    entries.forEach((entry, i) => {
      const { path } = entry;
      for (const place of places(i)) {
        if (!foreign.has(place)) continue;
        const other = named.get(place);
        if (other === undefined) named.set(place, path);
        else if (other !== path) knots.add(place);
      }
    });
  }
  entries.forEach((entry, i) => {
    if (entry.type !== 'dir') for (const place of places(i)) if (inner.has(place)) knots.add(place);
  });
  const previous = new Map<number, number[]>();
  if (knots.size === 0) return previous;
  const last = new Map<string, number>();
  entries.forEach((entry, i) => {
    // A link to what is being replaced has to stay before or behind that, too.
    const touched = targets[i]! >= 0 ? [...places(i), cleanPath(entry.linkName)] : places(i);
    // The outermost knot holds all inner ones.
    const groups = touched.map((place) => [...ancestors(place), place].find((candidate) => knots.has(candidate)));
    for (const group of new Set(groups)) {
      if (group === undefined) continue;
      previous.set(i, [...(previous.get(i) ?? []), last.get(group) ?? -1]);
      last.set(group, i);
    }
  });
  return previous;
}

/** The path that a whiteout entry hides; undefined for anything else, the opaque marker included. */
function hiddenBy(path: string): string | undefined {
  const slash = path.lastIndexOf('/') + 1;
  if (!path.startsWith(WHITEOUT, slash) || path.endsWith(OPAQUE)) return undefined;
  return path.slice(0, slash) + path.slice(slash + WHITEOUT.length);
}
