// Changes by directory. A directory all of whose hot files changed in the same way is named as a whole, at the top of
// what is so; within it, the deepest directory that holds them all. Files beside others that did not change are added
// up where they lie.
import { compareGroups, groupChanges, sumChanges } from './groups.js';
import type { FileChange, Place } from './types.js';

interface Directory {
  readonly path: string;
  /** Files hot in the profile in question, and those of them that changed, at any depth. */
  all: number;
  changed: number;
  readonly files: FileChange[];
  readonly children: Map<string, Directory>;
}

/**
 * @param hot paths of the files hot in a profile: after the change, or before it (for what became cold)
 */
export function changesByPlace(
  changes: readonly FileChange[],
  hot: (kind: FileChange['kind']) => readonly string[],
): Place[] {
  return groupChanges(changes, () => '')
    .flatMap(([, files]) => placesOf(files, hot(files[0]!.kind)))
    .sort(compareGroups);
}

function placesOf(changes: readonly FileChange[], hot: readonly string[]): Place[] {
  const root = newDirectory('/');
  const changed = new Map(changes.map((change) => [change.path, change]));
  for (const path of new Set([...hot, ...changed.keys()])) {
    const change = changed.get(path);
    let at = root;
    count(at, change);
    // From the second slash on: every directory on the way.
    for (let slash = path.indexOf('/', 1); slash > 0; slash = path.indexOf('/', slash + 1)) {
      const name = path.slice(0, slash);
      let next = at.children.get(name);
      if (!next) {
        next = newDirectory(name);
        at.children.set(name, next);
      }
      at = next;
      count(at, change);
    }
    if (change) at.files.push(change);
  }
  const places: Place[] = [];
  const pending = [root];
  for (let at = pending.pop(); at; at = pending.pop()) {
    if (at.changed === 0) continue;
    if (at.changed === at.all) {
      const { path, files } = deepest(at);
      places.push({ name: path, ...sumChanges(files), whole: files.length > 1 });
      continue;
    }
    if (at.files.length > 0) places.push({ name: at.path, ...sumChanges(at.files), whole: false });
    pending.push(...at.children.values());
  }
  return places;
}

/** The directory that holds all of these files, and the files; of one file its own path. */
function deepest(from: Directory): { readonly path: string; readonly files: readonly FileChange[] } {
  let at = from;
  while (at.files.length === 0 && at.children.size === 1) at = [...at.children.values()][0]!;
  const files = below(at);
  return { path: files.length === 1 ? files[0]!.path : at.path, files };
}

function below(directory: Directory): FileChange[] {
  const out: FileChange[] = [];
  const pending = [directory];
  for (let at = pending.pop(); at; at = pending.pop()) {
    out.push(...at.files);
    pending.push(...at.children.values());
  }
  return out;
}

function newDirectory(path: string): Directory {
  return { path, all: 0, changed: 0, files: [], children: new Map() };
}

function count(directory: Directory, change: FileChange | undefined): void {
  directory.all += 1;
  if (change) directory.changed += 1;
}
