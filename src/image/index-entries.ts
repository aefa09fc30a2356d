// What an index lists, one by one: images, those that are kept as they are, attestations, artifacts, what is missing.
import { HotlayerError, isHotlayerError } from '../errors.js';
import type { Digest } from './digest.js';
import { CONFIG_TYPES, INDEX_TYPES, isSchema1, MANIFEST_TYPES, parseObject, schema1Error } from './documents.js';
import type { Files } from './files.js';
import { blobPath, readConfig, readIndex, readManifest, readManifestBytes } from './layout.js';
import { isForeign } from './media.js';
import { imageAt, platformOf } from './open.js';
import { isAttestation, isOther, MAX_INDEX_DEPTH, MAX_INDEX_MANIFESTS, REFERENCE_DIGEST } from './select.js';
import type { Descriptor, Index, IndexEntry, Manifest, Platform } from './types.js';

/**
 * Manifests in order, nested indexes replaced by what they hold, each once.
 * @throws HL_ERR_LIMIT for too many, or too deep ones
 */
export async function flatten(
  files: Files,
  roots: readonly Descriptor[],
): Promise<{ readonly leaves: readonly Descriptor[]; readonly nested: ReadonlyMap<Digest, Index> }> {
  const seen = new Set<Digest>();
  const leaves: Descriptor[] = [];
  const nested = new Map<Digest, Index>();
  const visit = async (descriptor: Descriptor, depth: number): Promise<void> => {
    if (seen.has(descriptor.digest)) return;
    seen.add(descriptor.digest);
    if (seen.size > MAX_INDEX_MANIFESTS) {
      throw new HotlayerError(
        'HL_ERR_LIMIT',
        `${files.where}: more than ${MAX_INDEX_MANIFESTS} manifests in one index (MAX_INDEX_MANIFESTS)`,
      );
    }
    if (!INDEX_TYPES.includes(descriptor.mediaType) || !(await isStored(files, descriptor))) {
      leaves.push(descriptor);
      return;
    }
    if (depth >= MAX_INDEX_DEPTH) {
      throw new HotlayerError(
        'HL_ERR_LIMIT',
        `${files.where}: index ${descriptor.digest} lies more than ${MAX_INDEX_DEPTH} indexes deep (MAX_INDEX_DEPTH)`,
      );
    }
    const document = await readIndex(files, descriptor);
    nested.set(descriptor.digest, document);
    for (const inner of document.manifests) await visit(inner, depth + 1);
  };
  for (const root of roots) await visit(root, 0);
  return { leaves, nested };
}

/** Layouts may lack the platforms that nobody copied (docker save, for one), and some registries let them be left out. */
export async function isStored(files: Files, descriptor: Descriptor): Promise<boolean> {
  if (!files.openManifest) return (await files.size(blobPath(descriptor.digest))) !== undefined;
  try {
    await readManifestBytes(files, descriptor, `manifest ${descriptor.digest}`);
    return true;
  } catch (error) {
    if (isHotlayerError(error) && error.code === 'HL_ERR_NOT_FOUND') return false;
    throw error;
  }
}

/** @param files not closed with the image @throws as openImage */
export async function entryOf(files: Files, reference: string, descriptor: Descriptor): Promise<IndexEntry> {
  if (isSchema1(descriptor.mediaType)) throw schema1Error(`${files.where}: manifest ${descriptor.digest}`);
  if (!(await isStored(files, descriptor))) return { kind: 'absent', descriptor };
  if (isAttestation(descriptor)) {
    const subject = descriptor.annotations?.[REFERENCE_DIGEST];
    return { kind: 'attestation', descriptor, ...(subject === undefined ? {} : { subject: subject as Digest }) };
  }
  if (isOther(descriptor) || !MANIFEST_TYPES.includes(descriptor.mediaType)) return { kind: 'other', descriptor };
  const name = `manifest ${descriptor.digest}`;
  const body = parseObject(await readManifestBytes(files, descriptor, name), `${files.where}: ${name}`);
  const configType = (body.config as Partial<Descriptor> | undefined)?.mediaType;
  if (configType !== undefined && !CONFIG_TYPES.includes(configType)) return { kind: 'other', descriptor };
  const manifest = await readManifest(files, descriptor);
  const platform = platformOf(descriptor, await readConfig(files, manifest));
  const because = whyKept(manifest, platform);
  if (because !== undefined) return { kind: 'kept', descriptor, platform, because };
  const image = await imageAt(files, reference, descriptor);
  return { kind: 'image', descriptor: image.descriptor, image };
}

/** Why the layers of an image cannot be rewritten; undefined: they can. */
function whyKept(manifest: Manifest, platform: Platform): string | undefined {
  if (platform.os !== 'linux') return `it is for ${platform.os}, and eStargz layers are for Linux`;
  const foreign = manifest.layers.findIndex((layer) => isForeign(layer.mediaType));
  if (foreign < 0) return undefined;
  // A lazy layer must not lie on one that is not, so that the other layers would gain nothing.
  return `layer ${foreign} (${manifest.layers[foreign]!.digest}) is a foreign layer, whose content is not part of the image`;
}
