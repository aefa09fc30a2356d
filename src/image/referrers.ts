// What is stored beside an image and speaks of it: manifests with a `subject` (image-spec 1.1), and manifests under
// tags that spell the subject's digest (distribution-spec "Referrers Tag Schema", and cosign's `sha256-HEX.sig`). And
// which of them still hold when the image has been rewritten.
import { type Digest, hexOf, isDigest } from './digest.js';
import { CONFIG_TYPES, INDEX_TYPES, MANIFEST_TYPES, parseObject } from './documents.js';
import type { Files } from './files.js';
import { blobPath, readIndex, readManifestBytes } from './layout.js';
import { LAYER_TYPES } from './media.js';
import { DIGEST_TAG, MAX_INDEX_MANIFESTS, REF_NAME } from './select.js';
import type { Descriptor, Index, Referrer } from './types.js';

/** How many subjects a registry is asked about at once. */
const MAX_ASKED = 8;

/** The tag that names what it is about; `suffix` "" for the list of a registry without the referrers API. */
export function digestTag(subject: Digest, suffix: string): string {
  return `sha256-${hexOf(subject)}${suffix}`;
}

/**
 * Each with what it is about: one manifest may be under the tags of several subjects.
 * @param table index.json, or what stands for it
 * @param subjects digests of the index and of its entries; referrers of referrers are found as well
 * @returns what is about another referrer after that one
 */
export async function findReferrers(files: Files, table: Index, subjects: readonly Digest[]): Promise<Referrer[]> {
  const asked = new Set(subjects);
  const found = new Map<string, Referrer>();
  const stored = await candidatesOf(files, table);
  // Level by level, until nothing new comes: a signature may be about an SBOM that is about the image.
  for (let level = [...asked]; level.length > 0; ) {
    const next: Digest[] = [];
    for (const referrer of [...(await listed(files, level)), ...stored.filter((one) => level.includes(one.subject))]) {
      const { digest } = referrer.descriptor;
      const key = [digest, referrer.subject, referrer.tagSuffix].join(' ');
      // An entry of the index itself is none.
      if (subjects.includes(digest) || found.has(key) || found.size >= MAX_INDEX_MANIFESTS) continue;
      found.set(key, referrer);
      if (!asked.has(digest)) next.push(digest);
      asked.add(digest);
    }
    level = next;
  }
  return [...found.values()];
}

/** What a registry knows about these subjects. */
async function listed(files: Files, subjects: readonly Digest[]): Promise<Referrer[]> {
  const { referrers } = files;
  if (!referrers) return [];
  const found: Referrer[] = [];
  for (let at = 0; at < subjects.length; at += MAX_ASKED) {
    const some = subjects.slice(at, at + MAX_ASKED);
    const answers = await Promise.all(some.map((subject) => referrers(subject)));
    for (const [i, answer] of answers.entries()) {
      for (const { descriptor, tagSuffix } of answer) {
        const type = descriptor.artifactType ?? (await aboutWhat(files, descriptor)).artifactType;
        const suffix = tagSuffix === undefined ? {} : { tagSuffix };
        found.push({ descriptor, subject: some[i]!, artifactType: type, ...suffix });
      }
    }
  }
  return found;
}

/** Every manifest in index.json that is about another one; an index under a digest's tag is a list of them. */
async function candidatesOf(files: Files, table: Index): Promise<Referrer[]> {
  const candidates: Referrer[] = [];
  if (files.index) return candidates;
  for (const descriptor of table.manifests.slice(0, MAX_INDEX_MANIFESTS)) {
    const [, hex, suffix] = DIGEST_TAG.exec(descriptor.annotations?.[REF_NAME] ?? '') ?? [];
    const isList = INDEX_TYPES.includes(descriptor.mediaType) && hex !== undefined && suffix === undefined;
    if ((await files.size(blobPath(descriptor.digest))) === undefined) continue;
    const inner = isList ? (await readIndex(files, descriptor)).manifests : [descriptor];
    for (const one of inner.slice(0, MAX_INDEX_MANIFESTS)) {
      if (!MANIFEST_TYPES.includes(one.mediaType) && !INDEX_TYPES.includes(one.mediaType)) continue;
      if (isList && (await files.size(blobPath(one.digest))) === undefined) continue;
      const { subject, artifactType } = await aboutWhat(files, one);
      const about = subject ?? (hex === undefined ? undefined : (`sha256:${hex}` as Digest));
      if (about === undefined) continue;
      const byTag = !isList && subject === undefined && hex !== undefined;
      candidates.push({ descriptor: one, subject: about, artifactType, ...(byTag ? { tagSuffix: suffix ?? '' } : {}) });
    }
  }
  return candidates;
}

/** What a manifest or index says about itself. */
export async function aboutWhat(
  files: Files,
  descriptor: Descriptor,
): Promise<{ subject?: Digest; artifactType: string }> {
  const name = `manifest ${descriptor.digest}`;
  return statedIn(await readManifestBytes(files, descriptor, name), `${files.where}: ${name}`);
}

/**
 * Types that say nothing about the content: those of images, and the empty one (image-spec manifest.md, "Guidance for an
 * Empty Descriptor").
 */
const EMPTY_TYPES: readonly string[] = [...CONFIG_TYPES, ...LAYER_TYPES, 'application/vnd.oci.empty.v1+json'];

/** @throws HL_ERR_IMAGE */
export function statedIn(bytes: Uint8Array, where: string): { subject?: Digest; artifactType: string } {
  const { subject, artifactType, config, layers } = parseObject(bytes, where) as {
    subject?: { digest?: unknown };
    artifactType?: unknown;
    config?: { mediaType?: unknown };
    layers?: unknown;
  };
  const first: unknown = Array.isArray(layers) ? layers[0]?.mediaType : undefined;
  const types = [artifactType, config?.mediaType, first].filter((type) => typeof type === 'string');
  const type = types.find((one) => one !== '' && !EMPTY_TYPES.includes(one)) ?? types[0];
  return { ...(isDigest(subject?.digest) ? { subject: subject.digest } : {}), artifactType: type ?? '' };
}

/** What becomes of a referrer when its subject is rewritten. */
export type ReferrerFate =
  /** It lists what is in the image, which is the same as before: it is copied, with the new image as its subject. */
  | 'still-true'
  /** It is a signature or a signed statement over the old digest. */
  | 'no-longer-verifies'
  /** Nobody knows what it says. */
  | 'unknown';

/** SPDX, CycloneDX and Syft list packages and files, SARIF what a scanner found in them. */
const CONTENT_LISTS = /spdx|cyclonedx|syft|sarif/i;
const OVER_DIGESTS = /cosign|sigstore|notary|notation|signature|in-toto|dsse|slsa|attestation|pkcs7|jws|cose/i;

export function fateOf({ artifactType, tagSuffix }: Pick<Referrer, 'artifactType' | 'tagSuffix'>): ReferrerFate {
  if (OVER_DIGESTS.test(artifactType) || tagSuffix === '.sig' || tagSuffix === '.att') return 'no-longer-verifies';
  if (CONTENT_LISTS.test(artifactType) || tagSuffix === '.sbom') return 'still-true';
  return 'unknown';
}
