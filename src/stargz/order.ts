// Puts a layer's entries in a new order: what is wanted first, each after the directories above it and the file it is
// linked to, then the rest as it was. The same order as estargz's for the same list, except that a directory's
// opaque marker moves along with it and that nothing is dropped.
import { cleanPath } from '../paths.js';
import { isFormatEntry } from './landmark.js';
import { type EffectiveEntries, effectiveEntries } from './names.js';
import type { TarEntry } from './tar/entry.js';

export interface EntryOrder {
  /** Indexes of entries before the landmark. */
  readonly hot: readonly number[];
  /** All others, in the order they had. */
  readonly rest: readonly number[];
}

/** Hides what lower layers have in its directory (OCI image specification, layer.md "Opaque Whiteout"). */
const OPAQUE = '.wh..wh..opq';

/**
 * @param wanted names in the order they are wanted; cleaned here, so `./` and `/` before them do not matter
 * @returns `missed`: those that this layer does not have, as given. They move nothing.
 */
export function prioritize(
  entries: readonly TarEntry[],
  wanted: readonly string[],
): EntryOrder & { readonly missed: readonly string[] } {
  const byPath = effectiveEntries(entries);
  const earlier = earlierOfSameName(entries, byPath);
  const moved = new Set<number>();
  const missed: string[] = [];

  const add = (entry: TarEntry) => {
    // Where a name occurs more than once the last one counts: it must stay the last.
    for (const index of earlier.get(entry.path) ?? []) moved.add(index);
    moved.add(entry.index);
  };
  const put = (path: string) => {
    const entry = byPath.get(path);
    if (!entry || moved.has(entry.index)) return;
    add(entry);
    const marker = entry.type === 'dir' ? byPath.get(path === '' ? OPAQUE : `${path}/${OPAQUE}`) : undefined;
    if (marker) add(marker);
  };
  const move = (path: string) => {
    const chain = chainOf(byPath, path, moved);
    for (const link of chain) for (const directory of ancestors(link)) put(directory);
    for (const link of chain.reverse()) put(link);
  };

  for (const name of wanted) {
    const path = cleanPath(name);
    if (byPath.has(path)) move(path);
    else missed.push(name);
  }
  const rest = entries.filter((entry) => !moved.has(entry.index) && !isFormatEntry(entry.path));
  return { hot: [...moved], rest: rest.map((entry) => entry.index), missed };
}

/** The entry's path, and for a hardlink those it leads to, until one that has been moved (or the loop closes). */
function chainOf(byPath: EffectiveEntries, path: string, moved: ReadonlySet<number>): string[] {
  const chain = new Set<string>();
  for (let at = path; !chain.has(at); ) {
    const entry = byPath.get(at);
    if (!entry || (moved.has(entry.index) && chain.size > 0)) break;
    chain.add(at);
    if (entry.type !== 'hardlink') break;
    at = cleanPath(entry.linkName);
  }
  return [...chain];
}

/** The directories above a cleaned path, the root (`""`) first; of the root, none. */
function* ancestors(path: string): Generator<string> {
  if (path === '') return;
  yield '';
  for (let slash = path.indexOf('/'); slash >= 0; slash = path.indexOf('/', slash + 1)) yield path.slice(0, slash);
}

function earlierOfSameName(entries: readonly TarEntry[], byPath: EffectiveEntries): Map<string, number[]> {
  const earlier = new Map<string, number[]>();
  for (const [position, entry] of entries.entries()) {
    if (byPath.counts(position)) continue;
    const last = byPath.get(entry.path);
    if (last === undefined || entry.index > last.index) continue;
    earlier.set(entry.path, [...(earlier.get(entry.path) ?? []), entry.index]);
  }
  return earlier;
}
