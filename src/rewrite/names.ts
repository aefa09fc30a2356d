// Names that the stargz format keeps for itself, in the root of a layer (estargz.md "TOC", "Landmarks").
// Spelled out here a second time on purpose: verification shares no constant with the writer.

export const TOC_NAME = 'stargz.index.json';
export const PREFETCH_LANDMARK = '.prefetch.landmark';
export const NO_PREFETCH_LANDMARK = '.no.prefetch.landmark';

/** Whether a cleaned path is a landmark's or the TOC's. */
export function isReserved(path: string): boolean {
  return path === PREFETCH_LANDMARK || path === NO_PREFETCH_LANDMARK || path === TOC_NAME;
}

export const TOC_DIGEST_ANNOTATION = 'containerd.io/snapshot/stargz/toc.digest';
export const UNCOMPRESSED_SIZE_ANNOTATION = 'io.containers.estargz.uncompressed-size';

/** Of the manifest: which bytes of the blobs a start needs. */
export const START_ANNOTATION = 'io.hotlayer.start';
/** Of a layer: where its TOC's member begins. */
export const TOC_OFFSET_ANNOTATION = 'io.hotlayer.toc-offset';

/** BuildKit's note of the DiffID: kept where it is, with the new value. */
export const UNCOMPRESSED_ANNOTATION = 'containerd.io/uncompressed';

/** Annotations that describe one particular blob of a lazy format; none of them survives a rewrite as it was. */
export function isBlobAnnotation(key: string): boolean {
  return (
    key === UNCOMPRESSED_ANNOTATION ||
    key.startsWith('containerd.io/snapshot/stargz/') ||
    key.startsWith('containerd.io/snapshot/remote/') ||
    key.startsWith('io.containers.estargz.') ||
    key.startsWith('io.containers.zstd-chunked.') ||
    key.startsWith('io.github.containers.zstd-chunked.') ||
    key === TOC_OFFSET_ANNOTATION
  );
}
