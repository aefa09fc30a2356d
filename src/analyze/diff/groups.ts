// Changes added up: by package, by what made the layer, or by any other name.
import { median } from 'simple-statistics';
import { comparePaths } from '../../paths.js';
import { parsePurl } from '../packages/purl.js';
import { isHot } from './changes.js';
import { CHANGE_KINDS, type ChangeGroup, type DiffSide, type FileChange, type PackageChange } from './types.js';

/** @param files at least one, all of one kind */
export function sumChanges(files: readonly FileChange[]): Omit<ChangeGroup, 'name'> {
  const firsts = files.flatMap(({ first }) => (first === undefined ? [] : [first]));
  const shifts = files.flatMap(({ shift }) => (shift === undefined ? [] : [shift]));
  const sum = (of: (file: FileChange) => number): number => files.reduce((total, file) => total + of(file), 0);
  return {
    kind: files[0]!.kind,
    files: files.length,
    bytes: sum(({ bytes }) => bytes),
    size: sum(({ size }) => size),
    ...(firsts.length === 0 ? undefined : { first: firsts.reduce((a, b) => Math.min(a, b)) }),
    ...(shifts.length === 0 ? undefined : { shift: Math.round(median(shifts)) }),
    largest: files.reduce((a, b) => (weightOf(b) > weightOf(a) ? b : a)).path,
  };
}

/** What "most" means: bytes; where only the time changed, how far it moved. */
function weightOf({ bytes, shift }: { readonly bytes: number; readonly shift?: number | undefined }): number {
  return Math.abs(shift ?? bytes);
}

/** By kind, then the heaviest first. */
export function compareGroups(a: ChangeGroup, b: ChangeGroup): number {
  return (
    CHANGE_KINDS.indexOf(a.kind) - CHANGE_KINDS.indexOf(b.kind) ||
    (a.shift === undefined ? weightOf(b) - weightOf(a) : 0) ||
    b.files - a.files ||
    comparePaths(a.name ?? '', b.name ?? '')
  );
}

/** One list for each kind and key. */
export function groupChanges<Key>(
  changes: readonly FileChange[],
  keyOf: (change: FileChange) => Key,
): (readonly [Key, readonly FileChange[]])[] {
  return CHANGE_KINDS.flatMap((kind) => {
    const groups = new Map<Key, FileChange[]>();
    for (const change of changes) {
      if (change.kind !== kind) continue;
      const key = keyOf(change);
      const list = groups.get(key);
      if (list) list.push(change);
      else groups.set(key, [change]);
    }
    return [...groups];
  });
}

/** Empty when no layer's origin is known. */
export function changesByStep(changes: readonly FileChange[]): ChangeGroup[] {
  if (changes.every(({ step }) => step === undefined)) return [];
  return groupChanges(changes, ({ step }) => step)
    .map(([name, files]): ChangeGroup => ({ ...(name === undefined ? undefined : { name }), ...sumChanges(files) }))
    .sort(compareGroups);
}

/** By package; a new version of a package is the same package. Empty when no changed file belongs to one. */
export function changesByPackage(changes: readonly FileChange[], before: DiffSide, after: DiffSide): PackageChange[] {
  if (changes.every((change) => change.package === undefined)) return [];
  const [old, now] = [hotPackages(before), hotPackages(after)];
  return groupChanges(changes, (change) => unversioned(change.package))
    .map(([key, files]): PackageChange => {
      const { kind } = files[0]!;
      const other = kind === 'hot' ? old : kind === 'cold' ? now : undefined;
      const name = files[0]!.package;
      return {
        ...(name === undefined ? undefined : { name }),
        ...sumChanges(files),
        whole: key !== undefined && other !== undefined && !other.has(key),
      };
    })
    .sort(compareGroups);
}

function hotPackages({ files }: DiffSide): Set<string> {
  return new Set(files.flatMap((file) => (isHot(file) && file.package ? [unversioned(file.package)!] : [])));
}

function unversioned(purl: string | undefined): string | undefined {
  if (purl === undefined) return undefined;
  const known = parsePurl(purl);
  return known ? `${known.kind}/${known.name}` : purl;
}
