// Which manifest of a layout is meant: first by tag or digest in index.json, then by platform, through nested indexes.
import { HotlayerError } from '../errors.js';
import type { Digest } from './digest.js';
import { CONFIG_TYPES, INDEX_TYPES, isSchema1, MANIFEST_TYPES, platformOfConfig, schema1Error } from './documents.js';
import type { Files } from './files.js';
import { readConfig, readIndex, readManifest } from './layout.js';
import { bestMatches, formatPlatform, hostPlatform, parsePlatform } from './platform.js';
import { fullName } from './registry-name.js';
import type { Descriptor, Index, Platform } from './types.js';

/** How deep indexes may lie in each other; real ones do at most two levels. */
export const MAX_INDEX_DEPTH = 4;
/** The most manifests looked at behind one tag. */
export const MAX_INDEX_MANIFESTS = 1000;

export const REF_NAME = 'org.opencontainers.image.ref.name';
/** The full name that containerd and `docker save` write beside it. */
export const CONTAINERD_NAME = 'io.containerd.image.name';

/** What an attestation manifest is about (BuildKit, "Attestation storage"). */
export const REFERENCE_DIGEST = 'vnd.docker.reference.digest';
/** Tags that spell the digest of what the manifest is about: `sha256-HEX`, and cosign's `.sig`, `.att`, `.sbom` after it. */
export const DIGEST_TAG = /^sha256-([0-9a-f]{64})(\.[a-z]+)?$/;

export interface Wanted {
  readonly tag?: string;
  readonly digest?: Digest;
  /** As the user wrote it. Absent: this machine's, where there is a choice. */
  readonly platform?: string;
}

/**
 * @returns the descriptor of one image manifest, its platform filled in when it was needed for the choice
 * @throws HL_ERR_NOT_FOUND when nothing fits (the message lists what there is), HL_ERR_USAGE when too much does
 */
export async function selectManifest(files: Files, index: Index, wanted: Wanted): Promise<Descriptor> {
  const roots = byName(files, index, wanted);
  const leaves = await leavesOf(files, roots, wanted.digest);
  if (leaves.length === 0) {
    throw new HotlayerError('HL_ERR_NOT_FOUND', `${files.where}: no image manifest behind ${describe(wanted)}`, {
      hint: 'hotlayer reads images; other artifacts and attestations are skipped',
    });
  }
  if (leaves.length === 1 && wanted.platform === undefined) return leaves[0]!.descriptor;
  const platform = wanted.platform === undefined ? hostPlatform() : parsePlatform(wanted.platform);
  const offers: { descriptor: Descriptor & { platform: Platform }; root: number }[] = [];
  for (const { descriptor, root } of leaves) {
    offers.push({ descriptor: { ...descriptor, platform: await platformOf(files, descriptor) }, root });
  }
  const matching = bestMatches(platform, offers, (offer) => offer.descriptor.platform);
  const first = matching[0];
  if (!first) {
    const there = [...new Set(offers.map((offer) => formatPlatform(offer.descriptor.platform)))].join(', ');
    throw new HotlayerError(
      'HL_ERR_NOT_FOUND',
      `${files.where}: ${describe(wanted)} has no image for ${formatPlatform(platform)}; there is ${there}`,
      {
        hint: wanted.platform === undefined ? 'choose one with --platform' : 'name one of these with --platform',
      },
    );
  }
  // Within one index the first match is meant (image-index.md); between unnamed entries of index.json nobody says which.
  const rival = wanted.tag === undefined ? matching.find((offer) => offer.root !== first.root) : undefined;
  if (rival) {
    throw new HotlayerError(
      'HL_ERR_USAGE',
      `${files.where} holds several images for ${formatPlatform(platform)}: ${first.descriptor.digest}, ${rival.descriptor.digest}`,
      {
        hint: `choose one by digest: oci:${files.where}@${first.descriptor.digest}`,
      },
    );
  }
  return first.descriptor;
}

/** The names that index.json gives, in its order, each once. */
export function tagsOf(index: Index): string[] {
  const names = index.manifests.map((descriptor) => descriptor.annotations?.[REF_NAME]);
  return [...new Set(names.filter((name) => name !== undefined && !DIGEST_TAG.test(name)))] as string[];
}

/** The entries of index.json that are meant. @throws HL_ERR_NOT_FOUND, HL_ERR_USAGE when that is not clear */
export function byName(files: Files, index: Index, wanted: Wanted): Descriptor[] {
  const named = wanted.tag !== undefined || wanted.digest !== undefined;
  const all = index.manifests.filter((descriptor) => {
    // What is about an image is not another image to choose from.
    return !isOther(descriptor) && (named || !DIGEST_TAG.test(descriptor.annotations?.[REF_NAME] ?? ''));
  });
  if (wanted.digest !== undefined) {
    const direct = all.filter((descriptor) => descriptor.digest === wanted.digest);
    return direct.length > 0 ? direct.slice(0, 1) : all;
  }
  const tags = tagsOf(index);
  if (wanted.tag !== undefined) {
    const { tag } = wanted;
    const exact = all.filter((descriptor) => descriptor.annotations?.[REF_NAME] === tag);
    const found =
      exact.length > 0
        ? exact
        : all.filter((descriptor) => fullName(descriptor.annotations?.[CONTAINERD_NAME] ?? '') === fullName(tag));
    if (found.length > 0) return found;
    throw new HotlayerError(
      'HL_ERR_NOT_FOUND',
      `${files.where} has no tag "${tag}"; ${tags.length > 0 ? `there is ${tags.join(', ')}` : 'none of its images is tagged'}`,
      {
        context: { file: files.where },
      },
    );
  }
  const groups = new Set(all.map((descriptor) => descriptor.annotations?.[REF_NAME]));
  const digests = new Set(all.map((descriptor) => descriptor.digest));
  if (groups.size > 1 && digests.size > 1) {
    throw new HotlayerError(
      'HL_ERR_USAGE',
      `${files.where} holds several images and no tag was given; there is ${tags.join(', ')}${groups.has(undefined) ? ' and one without a tag' : ''}`,
      {
        hint: `choose one: oci:${files.where}:${tags[0]}`,
        context: { file: files.where },
      },
    );
  }
  return all.filter((descriptor, i) => all.findIndex((other) => other.digest === descriptor.digest) === i);
}

/** All image manifests beneath `roots`, in order, with the position of the root each came from. */
async function leavesOf(
  files: Files,
  roots: readonly Descriptor[],
  digest?: Digest,
): Promise<{ descriptor: Descriptor; root: number }[]> {
  const leaves: { descriptor: Descriptor; root: number }[] = [];
  const seen = new Set<Digest>();
  const direct = roots.some((root) => root.digest === digest);
  const visit = async (descriptor: Descriptor, root: number, depth: number): Promise<void> => {
    if (seen.has(descriptor.digest) || isOther(descriptor)) return;
    seen.add(descriptor.digest);
    if (isSchema1(descriptor.mediaType)) throw schema1Error(`${files.where}: manifest ${descriptor.digest}`);
    if (seen.size > MAX_INDEX_MANIFESTS) {
      throw new HotlayerError(
        'HL_ERR_LIMIT',
        `${files.where}: more than ${MAX_INDEX_MANIFESTS} manifests in one index (MAX_INDEX_MANIFESTS)`,
      );
    }
    if (MANIFEST_TYPES.includes(descriptor.mediaType)) {
      if (digest === undefined || direct || descriptor.digest === digest) leaves.push({ descriptor, root });
    } else if (INDEX_TYPES.includes(descriptor.mediaType)) {
      if (depth >= MAX_INDEX_DEPTH) {
        throw new HotlayerError(
          'HL_ERR_LIMIT',
          `${files.where}: index ${descriptor.digest} lies more than ${MAX_INDEX_DEPTH} indexes deep (MAX_INDEX_DEPTH)`,
        );
      }
      for (const inner of (await readIndex(files, descriptor)).manifests) await visit(inner, root, depth + 1);
    }
  };
  for (const [root, descriptor] of roots.entries()) await visit(descriptor, root, 0);
  return leaves;
}

async function platformOf(files: Files, descriptor: Descriptor): Promise<Platform> {
  if (descriptor.platform) return descriptor.platform;
  return platformOfConfig(await readConfig(files, await readManifest(files, descriptor)));
}

/**
 * Provenance and SBOM manifests that BuildKit puts beside images (their platform is unknown/unknown), and signatures and
 * other artifacts, whose descriptors say what they are.
 */
export function isOther(descriptor: Descriptor): boolean {
  const { artifactType } = descriptor;
  return isAttestation(descriptor) || (artifactType !== undefined && !CONFIG_TYPES.includes(artifactType));
}

export function isAttestation({ platform, annotations }: Descriptor): boolean {
  return (
    (platform?.os === 'unknown' && platform.architecture === 'unknown') ||
    annotations?.['vnd.docker.reference.type'] === 'attestation-manifest'
  );
}

function describe(wanted: Wanted): string {
  if (wanted.digest !== undefined) return wanted.digest;
  return wanted.tag === undefined ? 'its index' : `tag "${wanted.tag}"`;
}
