// Which of a tar's entries a reader of the TOC sees. In a tar a later entry of the same name replaces the earlier one
// when it is extracted; in a TOC both would be mixed up (a client keys a file's chunks by its name). So the tar keeps
// every entry, in the order it had, and the TOC lists the last one only: both views end up with the same tree.
import { cleanPath } from '../paths.js';
import { isFormatEntry } from './landmark.js';
import { PathIndex } from './path-index.js';
import type { TarEntry } from './tar/entry.js';

/** By path the entry that counts. */
export interface EffectiveEntries {
  get(path: string): TarEntry | undefined;
  has(path: string): boolean;
  /** Whether the entry at this position of the list counts. */
  counts(position: number): boolean;
  /** Those that count, in order. */
  values(): Iterable<TarEntry>;
}

/**
 * The last entry of each name counts; landmarks and an earlier TOC do not. A hardlink to itself (GNU tar writes one when
 * a file is named twice) changes nothing, so it does not count, either.
 */
export function effectiveEntries(entries: readonly TarEntry[]): EffectiveEntries {
  const index = new PathIndex(entries);
  const counting = new Uint8Array(entries.length);
  entries.forEach((entry, position) => {
    const { path } = entry;
    if (isFormatEntry(path)) return;
    if (entry.type === 'hardlink' && cleanPath(entry.linkName) === path && index.has(path)) return;
    const before = index.set(path, position);
    if (before >= 0) counting[before] = 0;
    counting[position] = 1;
  });
  const get = (path: string) => {
    const position = index.get(path);
    return position === undefined ? undefined : entries[position];
  };
  return {
    get,
    has: (path) => index.has(path),
    counts: (position) => counting[position] === 1,
    *values() {
      for (let i = 0; i < entries.length; i++) if (counting[i] === 1) yield entries[i]!;
    },
  };
}

/**
 * Hardlinks whose target this tar does not have (it lies in a lower layer, or nowhere), by index. A blob with one of
 * them cannot be opened by lazy clients: give the writer something in its place (`StargzInput.before`, `.replace`).
 */
export function danglingHardlinks(entries: readonly TarEntry[]): TarEntry[] {
  const byPath = effectiveEntries(entries);
  const leads = new Map<string, boolean>();
  const dangling: TarEntry[] = [];
  for (const entry of byPath.values()) {
    const passed: string[] = [];
    let at: TarEntry | undefined = entry;
    while (at?.type === 'hardlink' && !leads.has(at.path)) {
      // False until the chain's end is known, which also closes a loop.
      leads.set(at.path, false);
      passed.push(at.path);
      at = byPath.get(cleanPath(at.linkName));
    }
    if (at && (at.type !== 'hardlink' || leads.get(at.path))) for (const path of passed) leads.set(path, true);
    if (entry.type === 'hardlink' && !leads.get(entry.path)) dangling.push(entry);
  }
  return dangling;
}

/** The entry a hardlink stands for, chains followed; undefined: not in this tar, or a loop. */
export function linkTarget(byPath: Pick<EffectiveEntries, 'get'>, entry: TarEntry): TarEntry | undefined {
  const seen = new Set<TarEntry>();
  let at: TarEntry | undefined = entry;
  while (at?.type === 'hardlink') {
    if (seen.has(at)) return undefined;
    seen.add(at);
    at = byPath.get(cleanPath(at.linkName));
  }
  return at;
}
