// What lies beside the images of an index (attestations, artifacts, referrers) taken along when they are rewritten:
// unchanged, pointed to the new manifest, or named as what no longer holds.
import { type Digest, sha256 } from '../image/digest.js';
import { blobsOf, parseObject, serialize } from '../image/documents.js';
import { isForeign } from '../image/media.js';
import { fateOf } from '../image/referrers.js';
import { REF_NAME } from '../image/select.js';
import type { Descriptor, ImageIndex, ImageSink, Referrer } from '../image/types.js';

export interface ReferrerResult {
  readonly digest: Digest;
  readonly subject: Digest;
  readonly artifactType: string;
  /** Absent: it was left behind. Equal to `digest`: it was copied as it is. */
  readonly copiedAs?: Digest;
  readonly because: string;
}

/** A manifest and its blobs, unchanged. */
export async function copyManifest(index: ImageIndex, descriptor: Descriptor, sink: ImageSink): Promise<void> {
  const bytes = await index.readManifest(descriptor);
  for (const blob of blobsOf(bytes, `manifest ${descriptor.digest}`)) await copyBlob(index, blob, sink);
  await sink.putBytes(bytes);
}

async function copyBlob(index: ImageIndex, blob: Descriptor, sink: ImageSink): Promise<void> {
  if (isForeign(blob.mediaType)) return;
  await sink.copyBlob(blob, () => index.openBlob(blob));
}

/**
 * Referrers that list what is in an image are still true of the rewritten one: they are written anew, with it as their
 * subject. Those about manifests that did not change are copied. All others are named.
 * @param moved new descriptors by the old digest, of the index and its images
 * @param kept digests of manifests that are in the target unchanged
 */
export async function carryReferrers(
  index: ImageIndex,
  sink: ImageSink,
  moved: ReadonlyMap<Digest, Descriptor>,
  kept: ReadonlySet<Digest>,
): Promise<{ readonly descriptors: readonly Descriptor[]; readonly results: readonly ReferrerResult[] }> {
  const subjects = new Map(moved);
  const unchanged = new Set(kept);
  const descriptors: Descriptor[] = [];
  const results: ReferrerResult[] = [];
  // In the order found: what is about a referrer comes after it.
  for (const referrer of index.referrers) {
    const { descriptor, subject, artifactType } = referrer;
    const fate = fateOf(referrer);
    const target = subjects.get(subject);
    const result = { digest: descriptor.digest, subject, artifactType };
    if (unchanged.has(subject) && referrer.tag === undefined) {
      await copyManifest(index, descriptor, sink);
      unchanged.add(descriptor.digest);
      descriptors.push(unnamed(referrer, descriptor));
      results.push({ ...result, copiedAs: descriptor.digest, because: 'what it is about did not change' });
    } else if (target && fate === 'still-true' && referrer.tag === undefined) {
      const copy = await repointed(index, referrer, target, sink);
      subjects.set(descriptor.digest, copy);
      descriptors.push(copy);
      results.push({
        ...result,
        copiedAs: copy.digest,
        because: 'it lists what the image holds, which is the same; its subject is the new manifest',
      });
    } else {
      results.push({ ...result, because: reason(fate, target !== undefined || unchanged.has(subject)) });
    }
  }
  return { descriptors, results };
}

function reason(fate: ReturnType<typeof fateOf>, subjectIsThere: boolean): string {
  if (!subjectIsThere) return 'what it is about was not copied';
  if (fate === 'no-longer-verifies') return 'it is over the old digest and would no longer verify: make it anew';
  return 'nobody knows whether it still holds: attach it anew if it does';
}

async function repointed(
  index: ImageIndex,
  referrer: Referrer,
  { mediaType, digest, size }: Descriptor,
  sink: ImageSink,
): Promise<Descriptor> {
  const name = `manifest ${referrer.descriptor.digest}`;
  const old = await index.readManifest(referrer.descriptor);
  for (const blob of blobsOf(old, name)) await copyBlob(index, blob, sink);
  const bytes = serialize({ ...parseObject(old, name), subject: { mediaType, digest, size } });
  await sink.putBytes(bytes);
  return unnamed(referrer, { ...referrer.descriptor, digest: sha256(bytes), size: bytes.length });
}

/** For index.json: its tag spelled the old digest; what it is shows, so that nobody takes it for an image. */
function unnamed(referrer: Referrer, descriptor: Descriptor): Descriptor {
  const { annotations: { [REF_NAME]: _, ...annotations } = {}, ...rest } = descriptor;
  return {
    ...rest,
    artifactType: referrer.artifactType,
    ...(Object.keys(annotations).length > 0 ? { annotations } : {}),
  };
}
