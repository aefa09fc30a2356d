// What lies beside the images of an index (attestations, artifacts, images that stay as they are, referrers) taken along
// when they are rewritten: unchanged, pointed to the new manifest, or named as what no longer holds.
import { type Digest, sha256 } from '../image/digest.js';
import { blobsOf, INDEX_TYPES, parseObject, serialize } from '../image/documents.js';
import { isForeign } from '../image/media.js';
import { digestTag, fateOf, statedIn } from '../image/referrers.js';
import { REF_NAME } from '../image/select.js';
import type { Descriptor, ImageIndex, ImageSink, IndexEntry, Referrer } from '../image/types.js';
import { PROFILE_ARTIFACT } from '../lazy/start-map.js';

export interface ReferrerResult {
  readonly digest: Digest;
  readonly subject: Digest;
  /** "" when nobody knows. */
  readonly artifactType: string;
  /** Absent: it was left behind. Equal to `digest`: it was copied as it is. */
  readonly copiedAs?: Digest;
  readonly because: string;
}

const STILL_TRUE = 'it lists what the image holds, which is the same; it now names the new manifest';

/** What has become of the manifests so far; filled in as companions are taken along. */
export interface Moves {
  /** New descriptors by the old digest. */
  readonly moved: Map<Digest, Descriptor>;
  /** Manifests that are in the target unchanged. */
  readonly kept: Set<Digest>;
}

/** A manifest and its blobs, unchanged. */
export async function copyManifest(index: ImageIndex, descriptor: Descriptor, sink: ImageSink): Promise<void> {
  const bytes = await index.readManifest(descriptor);
  if (isJson(descriptor)) await copyBlobs(index, bytes, descriptor, sink);
  await sink.putBytes(bytes);
}

/** An index may list what is no manifest at all (image-index.md, "manifests"). */
function isJson({ mediaType }: Descriptor): boolean {
  return /[+/]json$/.test(mediaType);
}

async function copyBlobs(index: ImageIndex, bytes: Buffer, of: Descriptor, sink: ImageSink): Promise<void> {
  for (const blob of blobsOf(bytes, `manifest ${of.digest}`, of.mediaType)) {
    // The content of foreign layers is elsewhere on purpose.
    if (isForeign(blob.mediaType) && !(await index.hasBlob(blob))) continue;
    await sink.copyBlob(blob, () => index.openBlob(blob));
  }
}

/** The same manifest with another subject. */
async function repoint(
  index: ImageIndex,
  descriptor: Descriptor,
  { mediaType, digest, size }: Descriptor,
  sink: ImageSink,
): Promise<Descriptor> {
  const old = await index.readManifest(descriptor);
  await copyBlobs(index, old, descriptor, sink);
  const bytes = serialize({
    ...parseObject(old, `manifest ${descriptor.digest}`),
    subject: { mediaType, digest, size },
  });
  await sink.putBytes(bytes);
  const { data: _, urls: __, ...kept } = descriptor as Descriptor & { data?: unknown };
  return { ...kept, digest: sha256(bytes), size: bytes.length };
}

/**
 * Takes along an entry of an index that is no image to be rewritten. Those that name a rewritten manifest as their
 * `subject` get the new one; of artifacts only those that remain true.
 * @returns what was done with one that has a subject; `copiedAs` absent: the new index must not name it
 */
export async function carryEntry(
  index: ImageIndex,
  { kind, descriptor }: IndexEntry,
  moves: Moves,
  sink: ImageSink,
): Promise<ReferrerResult | undefined> {
  const { subject, artifactType } =
    kind === 'kept' || !isJson(descriptor)
      ? { subject: undefined, artifactType: '' }
      : statedIn(await index.readManifest(descriptor), `manifest ${descriptor.digest}`);
  const target = subject && moves.moved.get(subject);
  if (!target) {
    await copyManifest(index, descriptor, sink);
    moves.kept.add(descriptor.digest);
    return undefined;
  }
  const result = { digest: descriptor.digest, subject, artifactType };
  const fate = fateOf({ artifactType });
  // An attestation of BuildKit is no signature: it stays, with a warning about what it says.
  if (kind !== 'attestation' && fate !== 'still-true') return { ...result, because: reason(fate, artifactType) };
  const copy = await repoint(index, descriptor, target, sink);
  moves.moved.set(descriptor.digest, copy);
  return { ...result, copiedAs: copy.digest, because: STILL_TRUE };
}

/**
 * Referrers that list what is in an image are still true of the rewritten one: they are written anew, with it as their
 * subject, or under its tag. Those about manifests that did not change are copied. All others are named.
 * @returns `descriptors`: for ImageSink.commit
 */
export async function carryReferrers(
  index: ImageIndex,
  sink: ImageSink,
  { moved, kept }: Moves,
): Promise<{ readonly descriptors: readonly Descriptor[]; readonly results: readonly ReferrerResult[] }> {
  const descriptors: Descriptor[] = [];
  const results: ReferrerResult[] = [];
  // In the order found: what is about a referrer comes after it.
  for (const referrer of await index.referrers()) {
    const { descriptor, subject, artifactType, tagSuffix } = referrer;
    const fate = fateOf(referrer);
    const target = moved.get(subject);
    const result = { digest: descriptor.digest, subject, artifactType };
    if (INDEX_TYPES.includes(descriptor.mediaType)) {
      results.push({ ...result, because: 'it is an index of several: attach it anew' });
    } else if (kept.has(subject)) {
      await copyManifest(index, descriptor, sink);
      kept.add(descriptor.digest);
      descriptors.push(placed(referrer, descriptor, subject));
      results.push({ ...result, copiedAs: descriptor.digest, because: 'what it is about did not change' });
    } else if (!target || fate !== 'still-true') {
      results.push({ ...result, because: target ? reason(fate, artifactType) : 'what it is about was not copied' });
    } else {
      // Under a tag it may name its subject as well.
      const names = tagSuffix === undefined || (await subjectIn(index, descriptor)) === subject;
      const copy = names ? await repoint(index, descriptor, target, sink) : descriptor;
      if (names) moved.set(descriptor.digest, copy);
      else {
        await copyManifest(index, descriptor, sink);
        kept.add(descriptor.digest);
      }
      descriptors.push(placed(referrer, copy, target.digest));
      results.push({ ...result, copiedAs: copy.digest, because: STILL_TRUE });
    }
  }
  return { descriptors, results };
}

async function subjectIn(index: ImageIndex, descriptor: Descriptor): Promise<Digest | undefined> {
  return statedIn(await index.readManifest(descriptor), `manifest ${descriptor.digest}`).subject;
}

function reason(fate: ReturnType<typeof fateOf>, artifactType: string): string {
  if (artifactType === PROFILE_ARTIFACT)
    return 'it is about the old layers: --push-profile puts a new one beside the image';
  if (fate === 'no-longer-verifies') return 'it is over the old digest and would no longer verify: make it anew';
  return 'nobody knows whether it still holds: attach it anew if it does';
}

/** As it is to stand beside the image: under the tag that spells its subject, when it is known by that; what it is shows, so that nobody takes it for an image. */
function placed({ artifactType, tagSuffix }: Referrer, descriptor: Descriptor, subject: Digest): Descriptor {
  const { annotations: { [REF_NAME]: _, ...others } = {}, ...rest } = descriptor;
  const annotations = { ...others, ...(tagSuffix === undefined ? {} : { [REF_NAME]: digestTag(subject, tagSuffix) }) };
  return {
    ...rest,
    ...(artifactType === '' ? {} : { artifactType }),
    ...(Object.keys(annotations).length > 0 ? { annotations } : {}),
  };
}
