// An OCI image layout (image-spec, image-layout.md) in a directory or an archive: documents by digest.
import type { Readable } from 'node:stream';
import { HotlayerError } from '../errors.js';
import { type Digest, hexOf } from './digest.js';
import {
  checkLayoutFile,
  MAX_CONFIG_BYTES,
  MAX_LAYOUT_FILE_BYTES,
  MAX_MANIFEST_BYTES,
  parseConfig,
  parseIndex,
  parseManifest,
} from './documents.js';
import type { Files } from './files.js';
import type { Descriptor, ImageConfig, Index, Manifest } from './types.js';
import { readVerified } from './verify.js';

export const LAYOUT_FILE = 'oci-layout';
export const INDEX_FILE = 'index.json';
/** What `oci-layout` holds. */
export const LAYOUT_FILE_TEXT = '{"imageLayoutVersion":"1.0.0"}';

export function blobPath(digest: Digest): string {
  return `blobs/sha256/${hexOf(digest)}`;
}

/** A file that no digest names: bounded, and its name in messages is its path. */
export async function readUnnamed(files: Files, path: string, limit: number, limitName: string): Promise<Buffer> {
  const where = `${files.where}: ${path}`;
  const bytes = await files.head(path, limit + 1);
  if (bytes.length > limit) {
    throw new HotlayerError('HL_ERR_LIMIT', `${where}: more than ${limit} bytes (${limitName})`, {
      context: { file: files.where },
    });
  }
  return bytes;
}

/** index.json of a layout, after `oci-layout` was checked. @throws HL_ERR_IMAGE when it is not a layout */
export async function readLayoutIndex(files: Files): Promise<Index> {
  if ((await files.size(LAYOUT_FILE)) !== undefined) {
    checkLayoutFile(
      await readUnnamed(files, LAYOUT_FILE, MAX_LAYOUT_FILE_BYTES, 'MAX_LAYOUT_FILE_BYTES'),
      `${files.where}: ${LAYOUT_FILE}`,
    );
  }
  // A layout without the oci-layout file is read all the same: the index says all that is needed.
  if ((await files.size(INDEX_FILE)) === undefined) {
    throw new HotlayerError('HL_ERR_IMAGE', `${files.where} is not an OCI layout: it has no ${INDEX_FILE}`, {
      context: { file: files.where },
    });
  }
  return parseIndex(
    await readUnnamed(files, INDEX_FILE, MAX_MANIFEST_BYTES, 'MAX_MANIFEST_BYTES'),
    `${files.where}: ${INDEX_FILE}`,
  );
}

export async function readIndex(files: Files, descriptor: Descriptor): Promise<Index> {
  const name = `index ${descriptor.digest}`;
  return parseIndex(await readManifestBytes(files, descriptor, name), name, descriptor.mediaType);
}

export async function readManifest(files: Files, descriptor: Descriptor): Promise<Manifest> {
  const name = `manifest ${descriptor.digest}`;
  return parseManifest(await readManifestBytes(files, descriptor, name), name, descriptor.mediaType);
}

export async function readConfig(files: Files, manifest: Manifest): Promise<ImageConfig> {
  const name = `config ${manifest.config.digest}`;
  const limit = { bytes: MAX_CONFIG_BYTES, name: 'MAX_CONFIG_BYTES' };
  return parseConfig(await readDocument(files, manifest.config, limit, name), name, manifest.layers.length);
}

const manifestLimit = { bytes: MAX_MANIFEST_BYTES, name: 'MAX_MANIFEST_BYTES' };

/** Any manifest or index, as it is. @throws HL_ERR_NOT_FOUND, HL_ERR_DIGEST, HL_ERR_LIMIT */
export async function readManifestBytes(files: Files, descriptor: Descriptor, name: string): Promise<Buffer> {
  if (!files.openManifest) return readDocument(files, descriptor, manifestLimit, name);
  const open = () => files.openManifest!(descriptor);
  return readVerified(open, descriptor, manifestLimit, `${files.where}: ${name}`);
}

async function readDocument(
  files: Files,
  descriptor: Descriptor,
  limit: { bytes: number; name: string },
  name: string,
): Promise<Buffer> {
  const path = blobPath(descriptor.digest);
  if ((await files.size(path)) === undefined) throw missingBlob(files, descriptor.digest, name);
  const open = (): Readable => files.open(path);
  return readVerified(open, descriptor, limit, `${files.where}: ${name}`);
}

export function missingBlob(files: Files, digest: Digest, name: string): HotlayerError {
  return new HotlayerError('HL_ERR_NOT_FOUND', `${files.where}: ${name} is missing: no file ${blobPath(digest)}`, {
    hint: 'the layout is incomplete; copy the image again (for one of several platforms: skopeo copy --all)',
    context: { file: files.where },
  });
}
