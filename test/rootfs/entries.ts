// TarEntry lists written by hand, so that the merge is tested apart from the tar scanner.
import { cleanPath } from '../../src/paths.js';
import type { EntryType, TarEntry } from '../../src/stargz/tar/entry.js';

export type Spec = { type: EntryType; name: string } & Partial<TarEntry>;

export const reg = (name: string, fields: Partial<TarEntry> = {}): Spec => ({ type: 'reg', name, size: 1, ...fields });
export const dir = (name: string, fields: Partial<TarEntry> = {}): Spec => ({
  type: 'dir',
  name,
  mode: 0o750,
  ...fields,
});
export const sym = (name: string, linkName: string): Spec => ({ type: 'symlink', name, linkName, mode: 0o777 });
export const hard = (name: string, linkName: string): Spec => ({ type: 'hardlink', name, linkName });
export const wh = (path: string): Spec => reg(path.replace(/([^/]+)$/, '.wh.$1'), { size: 0 });
export const opq = (path: string): Spec => reg(`${path}/.wh..wh..opq`, { size: 0 });

/** One layer: its specs as entries, one block of header each. */
export function layer(...specs: Spec[]): TarEntry[] {
  return specs.map((spec, index) => ({
    index,
    headerOffset: index * 512,
    payloadOffset: index * 512 + 512,
    payloadSize: 0,
    end: index * 512 + 512,
    path: cleanPath(spec.name),
    linkName: '',
    mode: 0o644,
    uid: 0,
    gid: 0,
    uname: '',
    gname: '',
    size: 0,
    mtime: { sec: 0, nsec: 0 },
    devMajor: 0,
    devMinor: 0,
    ...spec,
  }));
}
