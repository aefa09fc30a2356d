// Which of a tar's entries a reader of the TOC sees. In a tar a later entry of the same name replaces the earlier one
// when it is extracted; in a TOC both would be mixed up (a client keys a file's chunks by its name). So the tar keeps
// every entry, in the order it had, and the TOC lists the last one only: both views end up with the same tree.
import { cleanPath } from '../paths.js';
import { isFormatEntry } from './landmark.js';
import type { TarEntry } from './tar-entry.js';

/**
 * Path → the entry that counts: the last of its name. Landmarks and an earlier TOC do not count. A hardlink to itself
 * (GNU tar writes one when a file is named twice) changes nothing, so it does not count, either.
 */
export function effectiveEntries(entries: readonly TarEntry[]): Map<string, TarEntry> {
  const byPath = new Map<string, TarEntry>();
  for (const entry of entries) {
    if (isFormatEntry(entry.path)) continue;
    if (entry.type === 'hardlink' && cleanPath(entry.linkName) === entry.path && byPath.has(entry.path)) continue;
    byPath.set(entry.path, entry);
  }
  return byPath;
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
export function linkTarget(byPath: ReadonlyMap<string, TarEntry>, entry: TarEntry): TarEntry | undefined {
  const seen = new Set<TarEntry>();
  let at: TarEntry | undefined = entry;
  while (at?.type === 'hardlink') {
    if (seen.has(at)) return undefined;
    seen.add(at);
    at = byPath.get(cleanPath(at.linkName));
  }
  return at;
}
