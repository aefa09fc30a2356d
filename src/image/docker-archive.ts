// Docker's archive (`docker save`, `podman save`, skopeo's docker-archive): manifest.json names a config file and one
// tar per layer. It has no descriptors, so they are made here; an archive that is an OCI layout as well (docker 25 and
// later, and hotlayer's own) has them, with annotations, and they are used.
import { createHash } from 'node:crypto';
import { HotlayerError } from '../errors.js';
import { showPath } from '../paths.js';
import { type Digest, isDigest, sha256 } from './digest.js';
import { MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES, parseConfig, serialize } from './documents.js';
import type { Files } from './files.js';
import { blobPath, INDEX_FILE, LAYOUT_FILE, readLayoutIndex, readManifest, readUnnamed } from './layout.js';
import { SNIFF_BYTES, sniffCompression } from './media.js';
import { fullName } from './registry-name.js';
import { selectManifest } from './select.js';
import { type Descriptor, type ImageConfig, type Manifest, MEDIA } from './types.js';

export const DOCKER_MANIFEST_FILE = 'manifest.json';

/** One element of manifest.json. */
export interface DockerImage {
  readonly Config: string;
  readonly RepoTags?: readonly string[] | null;
  readonly Layers: readonly string[];
}

/** What openImage needs of an image: documents, and the member that holds each layer. */
export interface ArchivedImage {
  readonly descriptor: Descriptor;
  readonly manifest: Manifest;
  readonly config: ImageConfig;
  readonly layerPaths: readonly string[];
}

/** @throws HL_ERR_IMAGE, HL_ERR_NOT_FOUND, HL_ERR_USAGE when the archive holds several images and none was chosen */
export async function readDockerArchive(
  files: Files,
  wanted: { name?: string; position?: number },
): Promise<ArchivedImage> {
  const image = chooseImage(files, await readDockerManifest(files), wanted);
  const configBytes = await readUnnamed(files, memberPath(image.Config), MAX_CONFIG_BYTES, 'MAX_CONFIG_BYTES');
  const configDigest = sha256(configBytes);
  const claimed = digestInName(image.Config);
  if (claimed !== undefined && claimed !== configDigest) {
    throw new HotlayerError(
      'HL_ERR_DIGEST',
      `${files.where}: config "${showPath(image.Config)}" has digest ${configDigest}, its name says ${claimed}`,
    );
  }
  const config = parseConfig(configBytes, `${files.where}: config "${showPath(image.Config)}"`, image.Layers.length);
  const layerPaths = image.Layers.map(memberPath);

  const named = await manifestOfLayout(files, configDigest);
  if (named?.manifest.layers.every((layer, i) => blobPath(layer.digest) === layerPaths[i])) {
    return { ...named, config, layerPaths };
  }
  const layers: Descriptor[] = [];
  for (const [i, path] of layerPaths.entries()) {
    layers.push(await describeLayer(files, path, config.rootfs.diff_ids[i]!, i));
  }
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: MEDIA.manifest,
    config: { mediaType: MEDIA.config, digest: configDigest, size: configBytes.length },
    layers,
  };
  const bytes = serialize(manifest);
  return {
    descriptor: { mediaType: MEDIA.manifest, digest: sha256(bytes), size: bytes.length },
    manifest,
    config,
    layerPaths,
  };
}

async function readDockerManifest(files: Files): Promise<DockerImage[]> {
  const where = `${files.where}: ${DOCKER_MANIFEST_FILE}`;
  if ((await files.size(DOCKER_MANIFEST_FILE)) === undefined) {
    throw new HotlayerError(
      'HL_ERR_IMAGE',
      `${files.where} is not a docker archive: it has no ${DOCKER_MANIFEST_FILE}`,
      {
        hint:
          (await files.size(INDEX_FILE)) === undefined
            ? 'save it again with docker save or podman save'
            : `write oci-archive:${files.where}`,
        context: { file: files.where },
      },
    );
  }
  const bytes = await readUnnamed(files, DOCKER_MANIFEST_FILE, MAX_MANIFEST_BYTES, 'MAX_MANIFEST_BYTES');
  let images: unknown;
  try {
    images = JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw new HotlayerError('HL_ERR_IMAGE', `${where}: is not JSON: ${(cause as Error).message}`, { cause });
  }
  const isList = (value: unknown): value is string[] =>
    Array.isArray(value) && value.every((item) => typeof item === 'string');
  const isImage = (value: unknown): value is DockerImage => {
    const image = value as Partial<DockerImage> | null;
    return (
      typeof image === 'object' &&
      image !== null &&
      typeof image.Config === 'string' &&
      isList(image.Layers) &&
      isList(image.RepoTags ?? [])
    );
  };
  if (!Array.isArray(images) || images.length === 0 || !images.every(isImage)) {
    throw new HotlayerError('HL_ERR_IMAGE', `${where}: expected an array of images with Config, RepoTags and Layers`);
  }
  return images;
}

function chooseImage(
  files: Files,
  images: readonly DockerImage[],
  wanted: { name?: string; position?: number },
): DockerImage {
  const names = images.flatMap((image) => image.RepoTags ?? []);
  const there = names.length > 0 ? `there is ${names.join(', ')}` : 'none of its images is tagged';
  if (wanted.position !== undefined) {
    const image = images[wanted.position];
    if (image) return image;
    throw new HotlayerError(
      'HL_ERR_NOT_FOUND',
      `${files.where} holds ${images.length} images, there is no @${wanted.position}`,
    );
  }
  if (wanted.name !== undefined) {
    const full = fullName(wanted.name);
    const image = images.find((candidate) => candidate.RepoTags?.some((name) => fullName(name) === full));
    if (image) return image;
    throw new HotlayerError('HL_ERR_NOT_FOUND', `${files.where} has no image "${wanted.name}"; ${there}`, {
      context: { file: files.where },
    });
  }
  if (images.length > 1) {
    throw new HotlayerError(
      'HL_ERR_USAGE',
      `${files.where} holds ${images.length} images and none was chosen; ${there}`,
      {
        hint: `choose one: docker-archive:${files.where}:${names[0] ?? '@0'}`,
        context: { file: files.where },
      },
    );
  }
  return images[0]!;
}

function memberPath(name: string): string {
  return name.replace(/^(?:\.?\/)+/, '');
}

/** `blobs/sha256/HEX`, `HEX.json`: what the file's name says its digest is. */
function digestInName(name: string): Digest | undefined {
  const hex = /(?:^|\/)([0-9a-f]{64})(?:\.json)?$/.exec(name)?.[1];
  const digest = `sha256:${hex}`;
  return isDigest(digest) ? digest : undefined;
}

/** The manifest with that config in the archive's OCI part, if it has one. */
async function manifestOfLayout(
  files: Files,
  config: Digest,
): Promise<Pick<ArchivedImage, 'descriptor' | 'manifest'> | undefined> {
  if ((await files.size(INDEX_FILE)) === undefined || (await files.size(LAYOUT_FILE)) === undefined) return undefined;
  const index = await readLayoutIndex(files);
  for (const { digest } of index.manifests) {
    try {
      const descriptor = await selectManifest(files, index, { digest });
      const manifest = await readManifest(files, descriptor);
      if (manifest.config.digest === config) return { descriptor, manifest };
    } catch (error) {
      // An artifact, or an image of which only another platform was saved: not what manifest.json means.
      const passed = error instanceof HotlayerError && ['HL_ERR_NOT_FOUND', 'HL_ERR_IMAGE'].includes(error.code);
      if (!passed) throw error;
    }
  }
  return undefined;
}

/**
 * An uncompressed layer has the digest that the config names; a compressed one in blobs/ has it as its name; any other
 * is hashed now. All are checked when they are read.
 */
async function describeLayer(files: Files, path: string, diffId: Digest, index: number): Promise<Descriptor> {
  const size = await files.size(path);
  if (size === undefined) {
    throw new HotlayerError(
      'HL_ERR_NOT_FOUND',
      `${files.where}: layer ${index} is missing: no member "${showPath(path)}"`,
      {
        context: { file: files.where, layer: diffId },
      },
    );
  }
  const compression = sniffCompression(await files.head(path, SNIFF_BYTES));
  if (compression === 'none') return { mediaType: MEDIA.layerTar, digest: diffId, size };
  // Named for what it is; the reader refuses what it cannot read.
  const mediaType =
    compression === 'zstd' ? MEDIA.layerZstd : compression === 'gzip' ? MEDIA.layerGzip : MEDIA.layerTar;
  const claimed = digestInName(path);
  if (claimed !== undefined && path === blobPath(claimed)) return { mediaType, digest: claimed, size };
  const hash = createHash('sha256');
  for await (const chunk of files.open(path) as AsyncIterable<Buffer>) hash.update(chunk);
  return { mediaType, digest: `sha256:${hash.digest('hex')}`, size };
}
