// What a layer's descriptor has to say about its blob, so that a lazy client dares to mount it.
import type { Digest } from '../image/digest.js';

export const ANNOTATION = {
  /** Digest of the TOC's JSON. Without it, or with a wrong one, the snapshotter refuses the layer. */
  tocDigest: 'containerd.io/snapshot/stargz/toc.digest',
  /** Decimal bytes of the whole decompressed blob; podman's stargz-store needs it. */
  uncompressedSize: 'io.containers.estargz.uncompressed-size',
  /** The DiffID; BuildKit writes it. Kept up to date where it is there. */
  uncompressed: 'containerd.io/uncompressed',
  /** Where the TOC's member begins, decimal: a reader that knows it asks for no byte too many. Only hotlayer writes it. */
  tocOffset: 'io.hotlayer.toc-offset',
} as const;

/**
 * Annotations that describe other bytes than the new blob's. A layer that carries both an eStargz and a
 * zstd:chunked TOC annotation is an error for containers/storage.
 */
const STALE = [
  'containerd.io/snapshot/stargz/',
  'containerd.io/snapshot/remote/',
  'io.containers.estargz.',
  'io.containers.zstd-chunked.',
  'io.github.containers.zstd-chunked.',
  'io.hotlayer.',
];

/**
 * The annotations of a rewritten layer: the layer's own ones without those that spoke of the old blob, then the new
 * blob's. Member order is that of `existing`, so that the same input gives the same manifest.
 */
export function stargzAnnotations(
  blob: {
    readonly tocDigest: Digest;
    readonly uncompressedSize: number;
    readonly diffId: Digest;
    /** Absent: it is not said. */
    readonly tocOffset?: number | undefined;
  },
  existing: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const kept = Object.entries(existing).filter(([key]) => !STALE.some((prefix) => key.startsWith(prefix)));
  const annotations = Object.fromEntries(kept);
  if (ANNOTATION.uncompressed in annotations) annotations[ANNOTATION.uncompressed] = blob.diffId;
  annotations[ANNOTATION.tocDigest] = blob.tocDigest;
  annotations[ANNOTATION.uncompressedSize] = String(blob.uncompressedSize);
  if (blob.tocOffset !== undefined) annotations[ANNOTATION.tocOffset] = String(blob.tocOffset);
  return annotations;
}
