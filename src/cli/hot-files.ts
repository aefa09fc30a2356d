// A saved profile as what `run` and `mount` fetch ahead.
import { readProfile } from '../analyze/saved.js';
import type { Profile } from '../analyze/types.js';
import type { HotFile } from '../lazy/prefetch.js';

/** Files that were read before ready, first needed first. @throws HL_ERR_NOT_FOUND, HL_ERR_DATA */
export async function hotFiles(file: string): Promise<HotFile[]> {
  return hotFilesOf(await readProfile(file));
}

export function hotFilesOf(profile: Profile): HotFile[] {
  return profile.files
    .filter(({ type, ranges }) => type === 'reg' && ranges.length > 0)
    .sort((a, b) => a.firstAccess.median - b.firstAccess.median)
    .map(({ path, layer, ranges }) => ({
      path,
      ...(layer === undefined ? {} : { layer }),
      ranges: ranges.map(([offset, length]) => [offset, length] as const),
    }));
}
