// From a reference to all that it means: every platform of an index (nested ones flattened), the attestations and
// artifacts beside them, and what else is stored there about any of them.
import { HotlayerError, withContext } from '../errors.js';
import type { Digest } from './digest.js';
import { CONFIG_TYPES, INDEX_TYPES, MANIFEST_TYPES, parseObject } from './documents.js';
import type { Files } from './files.js';
import { blobPath, readIndex, readLayoutIndex, readManifestBytes } from './layout.js';
import { imageAt, imageIn, kindOf, nameIn, type OpenImageOptions, openFiles } from './open.js';
import { formatPlatform, parsePlatform } from './platform.js';
import { parseReference } from './reference.js';
import { findReferrers } from './referrers.js';
import {
  byName,
  isAttestation,
  isOther,
  MAX_INDEX_DEPTH,
  MAX_INDEX_MANIFESTS,
  REF_NAME,
  type Wanted,
} from './select.js';
import type { Descriptor, Image, ImageIndex, Index, IndexEntry } from './types.js';

/** What an attestation manifest is about (BuildKit, "Attestation storage"). */
export const REFERENCE_DIGEST = 'vnd.docker.reference.digest';

/**
 * The whole index behind a reference, or its single image as an index of one; with `options.platform`, only the image of
 * that platform, without anything that lies beside it.
 * @throws as openImage; HL_ERR_NOT_FOUND when there is no image in it
 */
export async function openIndex(reference: string, options: OpenImageOptions = {}): Promise<ImageIndex> {
  const parsed = parseReference(reference);
  let files: Files | undefined;
  try {
    if (options.platform !== undefined) parsePlatform(options.platform);
    files = await openFiles(parsed, reference, options);
    const chosen = await kindOf(parsed, files);
    if (chosen.kind === 'docker-archive' || options.platform !== undefined) {
      const image = await imageIn(kept(files), reference, chosen, options);
      const entry = { kind: 'image', descriptor: image.descriptor, image } as const;
      return view(files, { reference, entries: [entry], images: [image], referrers: [] });
    }
    const table = files.index ?? (await readLayoutIndex(files));
    const wanted = nameIn(chosen);
    let roots = files.index ? table.manifests : byName(files, table, wanted);
    if (wanted.digest !== undefined) roots = [await findBelow(files, roots, wanted.digest)];
    return await indexOf(files, reference, table, roots, wanted);
  } catch (error) {
    await files?.close();
    throw withContext(error, { image: reference });
  }
}

async function indexOf(
  files: Files,
  reference: string,
  table: Index,
  roots: readonly Descriptor[],
  wanted: Wanted,
): Promise<ImageIndex> {
  const found = await rootOf(files, roots);
  const leaves = await flatten(files, found.document?.manifests ?? withCompanions(table, roots, wanted.digest));
  const entries: IndexEntry[] = [];
  for (const descriptor of leaves) entries.push(await entryOf(files, reference, descriptor));
  const images = entries.flatMap((entry) => (entry.kind === 'image' ? [entry.image] : []));
  if (images.length === 0) {
    throw new HotlayerError('HL_ERR_NOT_FOUND', `${files.where}: no image manifest behind ${reference}`, {
      hint: 'hotlayer reads images; other artifacts and attestations are only kept beside them',
    });
  }
  if (!found.document && wanted.tag === undefined) requireDistinct(files, images);
  const subjects = [...(found.descriptor ? [found.descriptor] : []), ...leaves].map((d) => d.digest);
  const referrers = await findReferrers(files, table, subjects);
  return view(files, { reference, ...found, entries, images, referrers });
}

/** Images side by side in index.json without a name are one image for several platforms only if they are for several. */
function requireDistinct(files: Files, images: readonly Image[]): void {
  const seen = new Map<string, Image>();
  for (const image of images) {
    const platform = formatPlatform(image.platform);
    const other = seen.get(platform);
    if (other) {
      throw new HotlayerError(
        'HL_ERR_USAGE',
        `${files.where} holds several images for ${platform}: ${other.descriptor.digest}, ${image.descriptor.digest}`,
        { hint: `choose one by digest: oci:${files.where}@${other.descriptor.digest}` },
      );
    }
    seen.set(platform, image);
  }
}

/** The index document, when that is what is meant. */
async function rootOf(
  files: Files,
  roots: readonly Descriptor[],
): Promise<{ descriptor?: Descriptor; document?: Index }> {
  const [descriptor, ...others] = roots;
  if (!descriptor || others.length > 0 || !INDEX_TYPES.includes(descriptor.mediaType)) return {};
  return { descriptor, document: await readIndex(files, descriptor) };
}

/** The manifest or index of that digest among or beneath these. @throws HL_ERR_NOT_FOUND */
async function findBelow(files: Files, roots: readonly Descriptor[], wanted: Digest): Promise<Descriptor> {
  let level = roots;
  for (let depth = 0; depth <= MAX_INDEX_DEPTH && level.length > 0; depth++) {
    const found = level.find((descriptor) => descriptor.digest === wanted);
    if (found) return found;
    const below: Descriptor[] = [];
    for (const descriptor of level.slice(0, MAX_INDEX_MANIFESTS)) {
      if (!INDEX_TYPES.includes(descriptor.mediaType) || !(await isStored(files, descriptor))) continue;
      below.push(...(await readIndex(files, descriptor)).manifests);
    }
    level = below;
  }
  throw new HotlayerError('HL_ERR_NOT_FOUND', `${files.where} has no manifest ${wanted}`, {
    context: { file: files.where },
  });
}

/** Image manifests that stand in index.json itself, under one name or none: with the attestations that stand there, too. */
function withCompanions(table: Index, roots: readonly Descriptor[], wanted: Digest | undefined): readonly Descriptor[] {
  if (wanted !== undefined) return roots;
  const digests = new Set(roots.map((root) => root.digest));
  const name = roots[0]?.annotations?.[REF_NAME];
  return table.manifests.filter(
    (descriptor) =>
      digests.has(descriptor.digest) ||
      (isAttestation(descriptor) &&
        descriptor.annotations?.[REF_NAME] === name &&
        digests.has(descriptor.annotations?.[REFERENCE_DIGEST] as Digest)),
  );
}

/** Manifests in order, nested indexes replaced by what they hold, each once. */
async function flatten(files: Files, roots: readonly Descriptor[]): Promise<Descriptor[]> {
  const seen = new Set<Digest>();
  const leaves: Descriptor[] = [];
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
    for (const inner of (await readIndex(files, descriptor)).manifests) await visit(inner, depth + 1);
  };
  for (const root of roots) await visit(root, 0);
  return leaves;
}

/** Layouts may lack the platforms that nobody copied (docker save, for one). Registries refuse such indexes. */
async function isStored(files: Files, descriptor: Descriptor): Promise<boolean> {
  return files.openManifest !== undefined || (await files.size(blobPath(descriptor.digest))) !== undefined;
}

async function entryOf(files: Files, reference: string, descriptor: Descriptor): Promise<IndexEntry> {
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
  const image = await imageAt(kept(files), reference, descriptor);
  return { kind: 'image', descriptor: image.descriptor, image };
}

/** The same files, closed by the index and not by its images. */
function kept(files: Files): Files {
  return { ...files, async close() {} };
}

function view(
  files: Files,
  parts: Omit<ImageIndex, 'readManifest' | 'openBlob' | 'close' | typeof Symbol.asyncDispose>,
): ImageIndex {
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closing ??= files.close();
    return closing;
  };
  return {
    ...parts,
    readManifest: (descriptor) => readManifestBytes(files, descriptor, `manifest ${descriptor.digest}`),
    openBlob: (descriptor) => files.open(blobPath(descriptor.digest)),
    close,
    [Symbol.asyncDispose]: close,
  };
}
