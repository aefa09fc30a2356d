// From a reference to all that it means: every platform of an index (nested ones flattened), the attestations and
// artifacts beside them, and what else is stored there about any of them.
import { HotlayerError, withContext } from '../errors.js';
import type { Digest } from './digest.js';
import { INDEX_TYPES } from './documents.js';
import type { Files } from './files.js';
import { entryOf, flatten, isStored } from './index-entries.js';
import { blobPath, readIndex, readLayoutIndex, readManifestBytes } from './layout.js';
import { imageIn, kindOf, nameIn, type OpenImageOptions, openFiles } from './open.js';
import { formatPlatform, parsePlatform } from './platform.js';
import { parseReference } from './reference.js';
import { findReferrers } from './referrers.js';
import {
  byName,
  isAttestation,
  MAX_INDEX_DEPTH,
  MAX_INDEX_MANIFESTS,
  REF_NAME,
  REFERENCE_DIGEST,
  selectManifest,
  type Wanted,
} from './select.js';
import type { Descriptor, Image, ImageIndex, Index, IndexEntry, Referrer } from './types.js';

/**
 * The whole index behind a reference, or its single image as an index of one; with `options.platform`, only the image of
 * that platform, without the attestations that its index has about it.
 * @throws as openImage; HL_ERR_NOT_FOUND when there is no image in it
 */
export async function openIndex(reference: string, options: OpenImageOptions = {}): Promise<ImageIndex> {
  const parsed = parseReference(reference);
  let files: Files | undefined;
  try {
    if (options.platform !== undefined) parsePlatform(options.platform);
    files = await openFiles(parsed, reference, options);
    const chosen = await kindOf(parsed, files);
    if (chosen.kind === 'docker-archive') {
      const image = await imageIn(kept(files), reference, chosen, options);
      requireLinux(image);
      return view(files, {
        reference,
        nested: new Map(),
        entries: [{ kind: 'image', descriptor: image.descriptor, image }],
      });
    }
    const table = files.index ?? (await readLayoutIndex(files));
    const wanted = files.index ? {} : nameIn(chosen);
    if (options.platform !== undefined) {
      const descriptor = await selectManifest(files, table, { ...wanted, platform: options.platform });
      const entry = await entryOf(kept(files), reference, descriptor);
      return view(files, { reference, nested: new Map(), entries: requireImage(files, reference, [entry]), table });
    }
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
  const { leaves, nested } = await flatten(
    files,
    found.document?.manifests ?? withCompanions(table, roots, wanted.digest),
  );
  const entries: IndexEntry[] = [];
  for (const descriptor of leaves) entries.push(await entryOf(kept(files), reference, descriptor));
  requireImage(files, reference, entries);
  if (!found.document && wanted.tag === undefined) requireDistinct(files, entries);
  return view(files, { reference, ...found, nested, entries, table });
}

function requireImage(files: Files, reference: string, entries: readonly IndexEntry[]): readonly IndexEntry[] {
  if (entries.some(({ kind }) => kind === 'image' || kind === 'kept')) return entries;
  throw new HotlayerError('HL_ERR_NOT_FOUND', `${files.where}: no image manifest behind ${reference}`, {
    hint: 'hotlayer reads images; other artifacts and attestations are only kept beside them',
  });
}

/** Such an archive has no manifest that could be taken along as it is. */
function requireLinux(image: Image): void {
  if (image.platform.os === 'linux') return;
  throw new HotlayerError(
    'HL_ERR_IMAGE',
    `${image.reference} is for ${formatPlatform(image.platform)}, not for Linux`,
    {
      hint: 'eStargz layers are for Linux images only',
    },
  );
}

/** Images side by side in index.json without a name are one image for several platforms only if they are for several. */
function requireDistinct(files: Files, entries: readonly IndexEntry[]): void {
  const seen = new Map<string, Digest>();
  for (const entry of entries) {
    if (entry.kind !== 'image' && entry.kind !== 'kept') continue;
    const platform = formatPlatform(entry.kind === 'image' ? entry.image.platform : entry.platform);
    const other = seen.get(platform);
    if (other) {
      throw new HotlayerError(
        'HL_ERR_USAGE',
        `${files.where} holds several images for ${platform}: ${other}, ${entry.descriptor.digest}`,
        { hint: `choose one by digest: oci:${files.where}@${other}` },
      );
    }
    seen.set(platform, entry.descriptor.digest);
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

/** The same files, closed by the index and not by its images. */
function kept(files: Files): Files {
  return { ...files, async close() {} };
}

interface Parts {
  readonly reference: string;
  readonly descriptor?: Descriptor;
  readonly document?: Index;
  readonly nested: ReadonlyMap<Digest, Index>;
  readonly entries: readonly IndexEntry[];
  /** What names referrers: index.json. Absent: nothing does. */
  readonly table?: Index;
}

function view(files: Files, { table, ...parts }: Parts): ImageIndex {
  const { entries, descriptor } = parts;
  const images = entries.flatMap((entry) => (entry.kind === 'image' ? [entry.image] : []));
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closing ??= files.close();
    return closing;
  };
  let referrers: Promise<readonly Referrer[]> | undefined;
  return {
    ...parts,
    images,
    referrers() {
      const subjects = [
        ...(descriptor ? [descriptor] : []),
        ...parts.nested.keys(),
        ...entries.map((e) => e.descriptor),
      ];
      const digests = subjects.map((subject) => (typeof subject === 'string' ? subject : subject.digest));
      referrers ??= table ? findReferrers(files, table, digests) : Promise.resolve([]);
      return referrers;
    },
    readManifest: (manifest) => readManifestBytes(files, manifest, `manifest ${manifest.digest}`),
    openBlob: (blob) => files.open(blobPath(blob.digest)),
    hasBlob: async (blob) => (await files.size(blobPath(blob.digest))) !== undefined,
    close,
    [Symbol.asyncDispose]: close,
  };
}
