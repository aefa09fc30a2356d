// A new index for one whose images were rewritten. Pure.
import { type Digest, sha256 } from './digest.js';
import { serialize } from './documents.js';
import { CONTAINERD_NAME, REF_NAME, REFERENCE_DIGEST } from './select.js';
import { type Descriptor, type ImageIndex, type Index, type IndexEntry, MEDIA } from './types.js';

export interface RewrittenIndex {
  /** What is stored: nested indexes first, the index itself last. */
  readonly bytes: readonly Buffer[];
  /** For ImageSink.commit: the old one's annotations, the new bytes. */
  readonly descriptor: Descriptor;
  /** New descriptors of the nested indexes, by the old digest. */
  readonly nested: ReadonlyMap<Digest, Descriptor>;
}

/**
 * The index with other manifests in place of some; attestations are pointed to them, everything else stays: order,
 * nesting, annotations, what is listed twice. Docker's manifest lists become OCI indexes. Same input, same bytes.
 * @param moved the new descriptor of each rewritten manifest, by the old digest
 * @param dropped manifests that the new index does not name
 */
export function withManifests(
  index: Pick<ImageIndex, 'descriptor' | 'document' | 'nested' | 'entries'>,
  moved: ReadonlyMap<Digest, Descriptor>,
  dropped: ReadonlySet<Digest>,
): RewrittenIndex {
  const bytes: Buffer[] = [];
  const nested = new Map<Digest, Descriptor>();

  function rewrite(document: Index): Buffer {
    const manifests = document.manifests.filter(({ digest }) => !dropped.has(digest)).map(entryFor);
    const made = serialize({ ...document, schemaVersion: 2, mediaType: MEDIA.index, manifests });
    bytes.push(made);
    return made;
  }

  function entryFor(descriptor: Descriptor): Descriptor {
    const inner = index.nested.get(descriptor.digest);
    if (inner) {
      const known = nested.get(descriptor.digest) ?? replaced(descriptor, MEDIA.index, rewrite(inner));
      nested.set(descriptor.digest, known);
      return { ...replacing(descriptor), ...bytesOf(known) };
    }
    const target = moved.get(descriptor.digest);
    const entry = target ? { ...replacing(descriptor), ...bytesOf(target) } : descriptor;
    const subject = moved.get(entry.annotations?.[REFERENCE_DIGEST] as Digest);
    if (!subject) return entry;
    return { ...entry, annotations: { ...entry.annotations, [REFERENCE_DIGEST]: subject.digest } };
  }

  // Images side by side in index.json have their name there; in an index of their own it is the index's.
  const document = index.document ?? {
    schemaVersion: 2,
    manifests: index.entries.map(withoutName),
  };
  const made = rewrite(document);
  const name = index.descriptor ?? nameOf(index.entries[0]?.descriptor);
  return { bytes, nested, descriptor: replaced(name, MEDIA.index, made) };
}

function replaced(old: Partial<Descriptor>, mediaType: string, bytes: Buffer): Descriptor {
  return { ...replacing(old), mediaType, digest: sha256(bytes), size: bytes.length };
}

/** What held for the old bytes only goes: `data` is a copy of them, `urls` lead to them. */
function replacing<T extends Partial<Descriptor>>(old: T): Omit<T, 'data' | 'urls'> {
  const { data: _, urls: __, ...kept } = old as T & { data?: unknown };
  return kept;
}

function bytesOf({ mediaType, digest, size }: Descriptor): Pick<Descriptor, 'mediaType' | 'digest' | 'size'> {
  return { mediaType, digest, size };
}

function withoutName(entry: IndexEntry): Descriptor {
  const { annotations: { [REF_NAME]: _, [CONTAINERD_NAME]: __, ...annotations } = {}, ...rest } = entry.descriptor;
  // In an index of several somebody will look for it.
  const platform = entry.kind === 'image' ? entry.image.platform : rest.platform;
  return {
    ...rest,
    ...(platform ? { platform } : {}),
    ...(Object.keys(annotations).length > 0 ? { annotations } : {}),
  };
}

function nameOf(descriptor: Descriptor | undefined): Partial<Descriptor> {
  const name = descriptor?.annotations?.[REF_NAME];
  return name === undefined ? {} : { annotations: { [REF_NAME]: name } };
}
