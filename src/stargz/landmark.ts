// The entry that tells a lazy client where prefetching ends: everything before it is fetched at once, before the
// container starts. Exactly one of the two is in every layer that hotlayer writes.

export const PREFETCH_LANDMARK = '.prefetch.landmark';
export const NO_PREFETCH_LANDMARK = '.no.prefetch.landmark';
/** Name of the TOC's tar entry. Reserved: an entry of this name in an input is a TOC of an earlier conversion. */
export const TOC_NAME = 'stargz.index.json';

export type LandmarkKind = 'prefetch' | 'no-prefetch';

/** A landmark is a regular file of one byte, 0x0f ("4 bits contents 0xf" in the eStargz specification). */
export const LANDMARK_CONTENT: Buffer = Buffer.from([0x0f]);

export function landmarkName(kind: LandmarkKind): string {
  return kind === 'prefetch' ? PREFETCH_LANDMARK : NO_PREFETCH_LANDMARK;
}

/** @param path cleaned (paths.ts); only names in the root directory count */
export function landmarkKind(path: string): LandmarkKind | undefined {
  if (path === PREFETCH_LANDMARK) return 'prefetch';
  return path === NO_PREFETCH_LANDMARK ? 'no-prefetch' : undefined;
}

/** Whether an input's entry belongs to the format, not to the image: landmarks and TOC, which are made anew. */
export function isFormatEntry(path: string): boolean {
  return path === TOC_NAME || landmarkKind(path) !== undefined;
}
