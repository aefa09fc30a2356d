// Files → packages: how much of which package a start reads.
import { comparePaths } from '../../paths.js';
import type { Bytes } from '../../units.js';
import type { PackageUse, ProfileFile } from '../types.js';

/** What is added up, file by file. */
export interface UsedFile {
  readonly path: string;
  readonly package?: string | undefined;
  readonly bytesRead: Bytes;
  readonly size: Bytes;
}

/** Of a profile's files, the regular ones whose content was asked for. */
export function packageUses(files: readonly ProfileFile[]): PackageUse[] {
  const used = files.filter(({ type, openedIn }) => type === 'reg' && openedIn > 0);
  return sumByPackage(used.map((file) => ({ ...file, bytesRead: file.bytesRead.median })));
}

/** Most bytes first, then by package; files without one are one row. */
export function sumByPackage(files: Iterable<UsedFile>): PackageUse[] {
  const rows = new Map<string, { files: number; bytesRead: Bytes; size: Bytes; largest: UsedFile }>();
  for (const file of files) {
    const row = rows.get(file.package ?? '');
    if (!row) {
      rows.set(file.package ?? '', { files: 1, bytesRead: file.bytesRead, size: file.size, largest: file });
      continue;
    }
    row.files += 1;
    row.bytesRead += file.bytesRead;
    row.size += file.size;
    if (file.bytesRead > row.largest.bytesRead) row.largest = file;
  }
  return [...rows]
    .map(
      ([name, { largest, ...sums }]): PackageUse => ({
        ...(name === '' ? undefined : { package: name }),
        ...sums,
        largest: largest.path,
      }),
    )
    .sort((a, b) => b.bytesRead - a.bytesRead || comparePaths(a.package ?? '', b.package ?? ''));
}
