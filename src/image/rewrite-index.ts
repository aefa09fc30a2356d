// A new index for one whose images were rewritten. Pure.
import { type Digest, sha256 } from './digest.js';
import { serialize } from './documents.js';
import { REFERENCE_DIGEST } from './open-index.js';
import { type Descriptor, type ImageIndex, type Index, type IndexEntry, MEDIA } from './types.js';

export interface RewrittenIndex {
  readonly document: Index;
  /** What is stored, and what the digest is of. */
  readonly bytes: Buffer;
  /** For ImageSink.commit: the old one's annotations, the new bytes. */
  readonly descriptor: Descriptor;
  /** Entries that the new index does not have: what is not stored, and what is about it. */
  readonly dropped: readonly IndexEntry[];
}

/**
 * The index with other manifests for its images; attestations are pointed to them, everything else stays, nested
 * indexes are flattened. Same input, same bytes.
 * @param moved the new descriptor of each image, by the old digest
 */
export function withManifests(
  index: Pick<ImageIndex, 'descriptor' | 'document' | 'entries'>,
  moved: ReadonlyMap<Digest, Descriptor>,
): RewrittenIndex {
  const absent = new Set(index.entries.filter((entry) => entry.kind === 'absent').map((e) => e.descriptor.digest));
  const dropped = index.entries.filter(
    (entry) => entry.kind === 'absent' || (entry.kind === 'attestation' && absent.has(entry.subject!)),
  );
  const manifests = index.entries.filter((entry) => !dropped.includes(entry)).map((entry) => entryFor(entry, moved));
  const document: Index = { ...index.document, schemaVersion: 2, mediaType: MEDIA.index, manifests };
  const bytes = serialize(document);
  const { data: _, urls: __, ...old } = (index.descriptor ?? {}) as Partial<Descriptor> & { data?: unknown };
  return {
    document,
    bytes,
    descriptor: { ...old, mediaType: MEDIA.index, digest: sha256(bytes), size: bytes.length },
    dropped,
  };
}

function entryFor(entry: IndexEntry, moved: ReadonlyMap<Digest, Descriptor>): Descriptor {
  const { descriptor } = entry;
  if (entry.kind === 'image') return moved.get(descriptor.digest) ?? descriptor;
  if (entry.kind !== 'attestation' || entry.subject === undefined) return descriptor;
  const subject = moved.get(entry.subject);
  if (!subject) return descriptor;
  return { ...descriptor, annotations: { ...descriptor.annotations, [REFERENCE_DIGEST]: subject.digest } };
}
