// What two tar entries say, side by side.
import type { TarEntry } from '../../stargz/tar/entry.js';

/** What a tar entry means, apart from where its bytes lie. */
export type Meaning = Omit<TarEntry, 'index' | 'headerOffset' | 'payloadOffset' | 'payloadSize' | 'end' | 'sparse'>;

export interface FieldDifference {
  readonly field: string;
  readonly expected: string | undefined;
  readonly found: string | undefined;
}

type Show = (entry: Meaning) => string;

/** Every field that a container could see, with the way it is shown. */
const FIELDS: readonly (readonly [field: string, show: Show])[] = [
  ['name', (e) => e.name],
  ['type', (e) => e.type],
  ['link target', (e) => e.linkName],
  ['mode', (e) => `0${e.mode.toString(8)}`],
  ['uid', (e) => String(e.uid)],
  ['gid', (e) => String(e.gid)],
  ['user name', (e) => e.uname],
  ['group name', (e) => e.gname],
  ['size', (e) => String(e.size)],
  ['mtime', (e) => `${e.mtime.sec}.${String(e.mtime.nsec).padStart(9, '0')} s`],
  ['device', (e) => `${e.devMajor}:${e.devMinor}`],
];

/** @param skip fields not to compare */
export function fieldDifferences(a: Meaning, b: Meaning, skip: readonly string[] = []): FieldDifference[] {
  const out: FieldDifference[] = [];
  for (const [field, show] of FIELDS) {
    if (skip.includes(field)) continue;
    const expected = show(a);
    const found = show(b);
    if (expected !== found) out.push({ field, expected, found });
  }
  return [...out, ...xattrDifferences(a.xattrs, b.xattrs)];
}

export function xattrDifferences(
  a: ReadonlyMap<string, Buffer> | undefined,
  b: ReadonlyMap<string, Buffer> | undefined,
): FieldDifference[] {
  const out: FieldDifference[] = [];
  for (const name of new Set([...(a?.keys() ?? []), ...(b?.keys() ?? [])])) {
    const expected = a?.get(name)?.toString('hex');
    const found = b?.get(name)?.toString('hex');
    if (expected !== found) out.push({ field: `xattr ${name}`, expected, found });
  }
  return out;
}
