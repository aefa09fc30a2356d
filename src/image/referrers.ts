// What is stored beside an image and speaks of it: manifests with a `subject` (image-spec 1.1), and manifests under
// tags that spell the subject's digest (distribution-spec "Referrers Tag Schema", and cosign's `sha256-HEX.sig`). And
// which of them still hold when the image has been rewritten.
import { type Digest, isDigest } from './digest.js';
import { INDEX_TYPES, MANIFEST_TYPES, parseObject } from './documents.js';
import type { Files } from './files.js';
import { blobPath, readIndex, readManifestBytes } from './layout.js';
import { MAX_INDEX_MANIFESTS, REF_NAME } from './select.js';
import type { Descriptor, Index, Referrer } from './types.js';

/** `sha256-HEX` or `sha256-HEX.sig`, `.att`, `.sbom`. */
const DIGEST_TAG = /^sha256-([0-9a-f]{64})(?:\.[a-z]+)?$/;

/**
 * @param table index.json, or what stands for it
 * @param subjects digests of the index and of its entries; referrers of referrers are found as well
 */
export async function findReferrers(files: Files, table: Index, subjects: readonly Digest[]): Promise<Referrer[]> {
  const known = new Set(subjects);
  const found = new Map<Digest, Referrer>();
  let candidates = (await candidatesOf(files, table)).filter((candidate) => !known.has(candidate.descriptor.digest));
  // Until nothing new comes: a signature may be about an SBOM that is about the image.
  for (let more = true; more; ) {
    more = false;
    for (const candidate of candidates) {
      if (!known.has(candidate.subject) || found.has(candidate.descriptor.digest)) continue;
      found.set(candidate.descriptor.digest, candidate);
      known.add(candidate.descriptor.digest);
      more = true;
    }
    candidates = candidates.filter((candidate) => !found.has(candidate.descriptor.digest));
  }
  if (files.referrers) {
    const queue = [...known];
    for (let subject = queue.shift(); subject !== undefined; subject = queue.shift()) {
      for (const descriptor of await files.referrers(subject)) {
        if (found.has(descriptor.digest) || found.size >= MAX_INDEX_MANIFESTS) continue;
        found.set(descriptor.digest, { descriptor, subject, artifactType: descriptor.artifactType ?? '' });
        queue.push(descriptor.digest);
      }
    }
  }
  return [...found.values()];
}

/** Every manifest in index.json that is about another one; an index under a digest's tag is a list of them. */
async function candidatesOf(files: Files, table: Index): Promise<Referrer[]> {
  const candidates: Referrer[] = [];
  for (const descriptor of table.manifests.slice(0, MAX_INDEX_MANIFESTS)) {
    const tag = descriptor.annotations?.[REF_NAME];
    const hex = DIGEST_TAG.exec(tag ?? '')?.[1];
    const isIndex = INDEX_TYPES.includes(descriptor.mediaType);
    if (files.index || (isIndex && hex === undefined)) continue;
    if ((await files.size(blobPath(descriptor.digest))) === undefined) continue;
    const inner = isIndex ? (await readIndex(files, descriptor)).manifests : [descriptor];
    for (const one of inner.slice(0, MAX_INDEX_MANIFESTS)) {
      if (!MANIFEST_TYPES.includes(one.mediaType)) continue;
      if (isIndex && (await files.size(blobPath(one.digest))) === undefined) continue;
      const { subject, artifactType } = await aboutWhat(files, one);
      const named = hex === undefined ? undefined : (`sha256:${hex}` as Digest);
      const about = subject ?? named;
      if (about === undefined) continue;
      const byTag = !isIndex && subject === undefined && tag !== undefined;
      candidates.push({ descriptor: one, subject: about, artifactType, ...(byTag ? { tag } : {}) });
    }
  }
  return candidates;
}

async function aboutWhat(files: Files, descriptor: Descriptor): Promise<{ subject?: Digest; artifactType: string }> {
  const name = `manifest ${descriptor.digest}`;
  const body = parseObject(await readManifestBytes(files, descriptor, name), `${files.where}: ${name}`);
  const { subject, artifactType, config } = body as { [member: string]: Record<string, unknown> | undefined };
  const type = typeof artifactType === 'string' ? artifactType : config?.mediaType;
  return {
    ...(isDigest(subject?.digest) ? { subject: subject.digest } : {}),
    artifactType: typeof type === 'string' ? type : '',
  };
}

/** What becomes of a referrer when its subject is rewritten. */
export type ReferrerFate =
  /** It lists what is in the image, which is the same as before: it is copied, with the new image as its subject. */
  | 'still-true'
  /** It is a signature or a signed statement over the old digest. */
  | 'no-longer-verifies'
  /** Nobody knows what it says. */
  | 'unknown';

const CONTENT_LISTS = /spdx|cyclonedx|syft|sarif/i;
const OVER_DIGESTS = /cosign|sigstore|notary|notation|signature|in-toto|dsse|slsa|attestation|pkcs7|jws|cose/i;

export function fateOf({ artifactType, tag }: Pick<Referrer, 'artifactType' | 'tag'>): ReferrerFate {
  if (OVER_DIGESTS.test(artifactType) || /\.(sig|att)$/.test(tag ?? '')) return 'no-longer-verifies';
  // cosign's tags: the artifact type is that of an image, and its layers are not looked at.
  if (CONTENT_LISTS.test(artifactType)) return 'still-true';
  return 'unknown';
}
