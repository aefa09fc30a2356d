// From a reference to an Image: documents read and checked, layers ready to be streamed.
import { HotlayerError, withContext } from '../errors.js';
import type { Digest } from './digest.js';
import { DOCKER_MANIFEST_FILE, readDockerArchive } from './docker-archive.js';
import { platformOfConfig } from './documents.js';
import { type Files, openDirectory } from './files.js';
import { blobPath, INDEX_FILE, missingBlob, readConfig, readLayoutIndex, readManifest } from './layout.js';
import { layerCompression, SNIFF_BYTES } from './media.js';
import { formatPlatform, parsePlatform, platformMatches } from './platform.js';
import { parseReference, type Reference, takenAs } from './reference.js';
import { makeLimit } from './registry/limit.js';
import type { RegistryFilesOptions } from './registry/source.js';
import { selectManifest, type Wanted } from './select.js';
import type { Descriptor, Image, ImageConfig, Layer, Manifest, Platform } from './types.js';
import { verified, wrongSize } from './verify.js';

/** How many layers are looked at at once. */
const MAX_OPEN = 8;

export interface OpenImageOptions {
  /** `os/architecture[/variant]`. Absent: this machine's, where there is a choice. */
  platform?: string;
  /** Where a compressed archive is spooled. Absent: the system's temporary directory. */
  tempParent?: string;
  /** How registries are reached. */
  registry?: RegistryFilesOptions;
}

/**
 * Opens an OCI layout, oci-archive, docker-archive, or an image in a registry. Manifest and config are checked against their digests, the
 * layers' sizes against the manifest, their bytes whenever they are read to the end.
 * @throws HL_ERR_USAGE (reference, tag or platform not clear), HL_ERR_NOT_FOUND, HL_ERR_IMAGE, HL_ERR_DIGEST, HL_ERR_LIMIT, HL_ERR_IO;
 *   of registries also HL_ERR_AUTH, HL_ERR_NETWORK
 */
export async function openImage(reference: string, options: OpenImageOptions = {}): Promise<Image> {
  const parsed = parseReference(reference);
  let files: Files | undefined;
  try {
    if (options.platform !== undefined) parsePlatform(options.platform);
    files = await openFiles(parsed, reference, options);
    return await imageIn(files, reference, await kindOf(parsed, files), options);
  } catch (error) {
    await files?.close();
    throw withContext(error, { image: reference });
  }
}

export async function openFiles(reference: Reference, text: string, options: OpenImageOptions): Promise<Files> {
  switch (reference.kind) {
    case 'registry': {
      // Loaded here: what is on disk needs no HTTP client, and loading one takes longer than reading a small image.
      const { openRegistryFiles } = await import('./registry/source.js');
      return openRegistryFiles(reference.name, options.registry ?? {}).catch((error) => {
        throw takenAs(error, reference.name, text);
      });
    }
    case 'dir':
      throw new HotlayerError(
        'HL_ERR_USAGE',
        `${text} is a root file system, not an image; expected an image with layers here`,
      );
    case 'oci':
      return openDirectory(reference.path);
    default: {
      const { openTar } = await import('./tar-files.js');
      return openTar(reference.path, options.tempParent);
    }
  }
}

export type ImageReference = Exclude<Reference, { kind: 'dir' } | { kind: 'archive' }>;

/** Which kind of archive a bare path names. One that is both is read as docker-archive when the name fits it only. */
export async function kindOf(reference: Reference, files: Files): Promise<ImageReference> {
  if (reference.kind !== 'archive') return reference as ImageReference;
  const { kind: _, ...rest } = reference;
  if ((await files.size(INDEX_FILE)) !== undefined) return { ...rest, kind: 'oci-archive' };
  if ((await files.size(DOCKER_MANIFEST_FILE)) !== undefined) {
    return {
      kind: 'docker-archive',
      path: reference.path,
      ...(reference.tag === undefined ? {} : { name: reference.tag }),
    };
  }
  throw new HotlayerError(
    'HL_ERR_IMAGE',
    `${reference.path} is a tar, but not an image archive: it has neither ${INDEX_FILE} nor ${DOCKER_MANIFEST_FILE}`,
    {
      context: { file: reference.path },
    },
  );
}

/** The image that is meant by a reference to these files; closing it closes them. @throws as openImage */
export async function imageIn(
  files: Files,
  text: string,
  reference: ImageReference,
  options: OpenImageOptions,
): Promise<Image> {
  if (reference.kind === 'docker-archive') {
    const { layerPaths, ...image } = await readDockerArchive(files, reference);
    checkPlatform(files, image.config, options.platform);
    return makeImage(files, text, image, layerPaths);
  }
  const platform = options.platform === undefined ? {} : { platform: options.platform };
  const descriptor = files.index
    ? await selectManifest(files, files.index, platform)
    : await selectManifest(files, await readLayoutIndex(files), { ...platform, ...nameIn(reference) });
  return imageAt(files, text, descriptor);
}

/** The image of a manifest; closing it closes the files. @throws as openImage */
export async function imageAt(files: Files, text: string, descriptor: Descriptor): Promise<Image> {
  const manifest = await readManifest(files, descriptor);
  const config = await readConfig(files, manifest);
  return makeImage(
    files,
    text,
    { descriptor, manifest, config },
    manifest.layers.map((layer) => blobPath(layer.digest)),
  );
}

/** Which entry of index.json is meant. */
export function nameIn(reference: ImageReference): Wanted {
  const { tag, digest } = reference as { tag?: string; digest?: Digest };
  return { ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) };
}

function checkPlatform(files: Files, config: ImageConfig, wanted: string | undefined): void {
  const platform = platformOfConfig(config);
  if (wanted === undefined || platformMatches(parsePlatform(wanted), platform)) return;
  throw new HotlayerError(
    'HL_ERR_NOT_FOUND',
    `${files.where} has no image for ${wanted}; there is ${formatPlatform(platform)}`,
  );
}

interface Documents {
  readonly descriptor: Descriptor;
  readonly manifest: Manifest;
  readonly config: ImageConfig;
}

async function makeImage(
  files: Files,
  reference: string,
  documents: Documents,
  layerPaths: readonly string[],
): Promise<Image> {
  const { descriptor, manifest, config } = documents;
  const limit = makeLimit(MAX_OPEN);
  const layers = await Promise.all(
    manifest.layers.map((_, index) => limit.run(() => layerAt(files, manifest, config, index, layerPaths[index]!))),
  );
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= files.close();
    return closing;
  };
  return {
    reference,
    descriptor,
    platform: platformOf(descriptor, config),
    manifest,
    config,
    layers,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** The config's, with what only the index says: many configs lack the variant. */
export function platformOf({ platform: named }: Descriptor, config: ImageConfig): Platform {
  const stated = platformOfConfig(config);
  if (!named || named.os !== stated.os || named.architecture !== stated.architecture) return stated;
  const { variant, 'os.version': version } = named;
  return { ...stated, ...(variant ? { variant } : {}), ...(version ? { 'os.version': version } : {}) };
}

/** Looks at the blob's size and first bytes. @throws HL_ERR_NOT_FOUND, HL_ERR_DIGEST, HL_ERR_IMAGE */
export async function layerAt(
  files: Files,
  manifest: Manifest,
  config: ImageConfig,
  index: number,
  path: string,
): Promise<Layer> {
  const descriptor = manifest.layers[index]!;
  const diffId = config.rootfs.diff_ids[index]!;
  const name = `layer ${index} (${descriptor.digest})`;
  // What kind of layer it is comes first: a foreign layer is missing on purpose.
  layerCompression(descriptor, new Uint8Array(), name);
  const size = await files.size(path);
  if (size === undefined) throw withContext(missingBlob(files, descriptor.digest, name), { layer: descriptor.digest });
  if (size !== descriptor.size) throw wrongSize(`${files.where}: ${name}`, descriptor, `${size}`);
  const compression = layerCompression(descriptor, await files.head(path, SNIFF_BYTES), name);
  const file = await files.pathOf(path);
  return {
    index,
    descriptor,
    diffId,
    compression,
    open: () => verified(files.open(path), descriptor, `${files.where}: ${name}`),
    ...(file === undefined ? {} : { file }),
  };
}
