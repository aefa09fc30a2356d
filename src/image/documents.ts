// The JSON documents of an image: parsed, checked for shape, otherwise left as they are (members that hotlayer
// does not know stay in the object). Everything here is pure.
import { isUtf8 } from 'node:buffer';
import { HotlayerError } from '../errors.js';
import { KIB, MIB } from '../units.js';
import { parseDigest } from './digest.js';
import { type Descriptor, type ImageConfig, type Index, type Manifest, MEDIA, type Platform } from './types.js';

/** The most bytes of a manifest or index that are read; what registries accept (distribution-spec, "Pushing Manifests"). */
export const MAX_MANIFEST_BYTES = 4 * MIB;
/** The most bytes of an image config. Long histories make some tens of KiB. */
export const MAX_CONFIG_BYTES = 8 * MIB;
/** The most bytes of `oci-layout`. */
export const MAX_LAYOUT_FILE_BYTES = 4 * KIB;
/** The most layers of an image. Docker's own limit is 127. */
export const MAX_LAYERS = 1000;

export const INDEX_TYPES: readonly string[] = [MEDIA.index, MEDIA.dockerManifestList];
export const MANIFEST_TYPES: readonly string[] = [MEDIA.manifest, MEDIA.dockerManifest];
export const CONFIG_TYPES: readonly string[] = [MEDIA.config, MEDIA.dockerConfig];

type Json = Record<string, unknown>;

function bad(where: string, what: string, hint?: string): HotlayerError {
  return new HotlayerError('HL_ERR_IMAGE', `${where}: ${what}`, hint === undefined ? {} : { hint });
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** @throws HL_ERR_IMAGE when the bytes are not a JSON object in UTF-8 */
export function parseObject(bytes: Uint8Array, where: string): Json {
  if (!isUtf8(bytes)) throw bad(where, 'is not UTF-8 text');
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (cause) {
    throw new HotlayerError('HL_ERR_IMAGE', `${where}: is not JSON: ${(cause as Error).message}`, { cause });
  }
  if (!isObject(value))
    throw bad(where, `is ${Array.isArray(value) ? 'an array' : String(value)}, expected a JSON object`);
  return value;
}

/** `oci-layout`. @throws HL_ERR_IMAGE */
export function checkLayoutFile(bytes: Uint8Array, where: string): void {
  const { imageLayoutVersion } = parseObject(bytes, where);
  if (imageLayoutVersion !== '1.0.0') {
    throw bad(where, `imageLayoutVersion is ${JSON.stringify(imageLayoutVersion)}, expected "1.0.0"`);
  }
}

/** An image index, index.json or a Docker manifest list. @throws HL_ERR_IMAGE */
export function parseIndex(bytes: Uint8Array, where: string, mediaType?: string): Index {
  const body = parseObject(bytes, where);
  checkKind(body, where, 'index', INDEX_TYPES, mediaType);
  if (!Array.isArray(body.manifests)) throw bad(where, 'has no "manifests" array');
  for (const [i, item] of body.manifests.entries()) checkDescriptor(item, `${where}: manifests[${i}]`);
  return body as unknown as Index;
}

/** An image manifest. @throws HL_ERR_IMAGE also for artifacts, which have a config that is no image config */
export function parseManifest(bytes: Uint8Array, where: string, mediaType?: string): Manifest {
  const body = parseObject(bytes, where);
  checkKind(body, where, 'manifest', MANIFEST_TYPES, mediaType);
  checkDescriptor(body.config, `${where}: config`);
  const configType = (body.config as Descriptor).mediaType;
  if (!CONFIG_TYPES.includes(configType)) {
    throw bad(where, `its config has media type ${configType}: an artifact, not a container image`);
  }
  if (!Array.isArray(body.layers)) throw bad(where, 'has no "layers" array');
  if (body.layers.length > MAX_LAYERS) {
    throw new HotlayerError(
      'HL_ERR_LIMIT',
      `${where}: ${body.layers.length} layers, at most ${MAX_LAYERS} are accepted (MAX_LAYERS)`,
    );
  }
  for (const [i, layer] of body.layers.entries()) checkDescriptor(layer, `${where}: layers[${i}]`);
  return body as unknown as Manifest;
}

/**
 * The blobs that any manifest names, an image's or an artifact's: its config, then its layers. Those of the OCI artifact
 * manifest, which was withdrawn before 1.1, are in `blobs`; a manifest of a kind that nobody knows may name none.
 * @param mediaType as its descriptor says
 * @throws HL_ERR_IMAGE
 */
export function blobsOf(bytes: Uint8Array, where: string, mediaType: string): Descriptor[] {
  const body = parseObject(bytes, where);
  const known = MANIFEST_TYPES.includes(mediaType);
  if (known) checkKind(body, where, 'manifest', MANIFEST_TYPES);
  const found: Descriptor[] = [];
  if (known || (body.config !== undefined && body.config !== null)) {
    checkDescriptor(body.config, `${where}: config`);
    found.push(body.config);
  }
  for (const member of ['layers', 'blobs'] as const) {
    const list: unknown = body[member] ?? [];
    if (!Array.isArray(list)) throw bad(where, `"${member}" is not an array`);
    for (const [i, one] of list.entries()) {
      checkDescriptor(one, `${where}: ${member}[${i}]`);
      found.push(one);
    }
  }
  return found;
}

/** An image config that belongs to a manifest with `layerCount` layers. @throws HL_ERR_IMAGE */
export function parseConfig(bytes: Uint8Array, where: string, layerCount: number): ImageConfig {
  const body = parseObject(bytes, where);
  for (const member of ['os', 'architecture'] as const) {
    if (typeof body[member] !== 'string' || body[member] === '') {
      throw bad(
        where,
        `"${member}" is ${JSON.stringify(body[member])}, expected a name like "${member === 'os' ? 'linux' : 'amd64'}"`,
      );
    }
  }
  const { rootfs } = body;
  if (!isObject(rootfs) || rootfs.type !== 'layers') throw bad(where, 'has no "rootfs" of type "layers"');
  // Go writes an empty list as null.
  const diffIds = rootfs.diff_ids ?? [];
  if (!Array.isArray(diffIds)) throw bad(where, '"rootfs.diff_ids" is not an array');
  if (diffIds.length !== layerCount) {
    throw bad(where, `rootfs.diff_ids has ${diffIds.length} entries, but the manifest has ${layerCount} layers`);
  }
  for (const [i, id] of diffIds.entries()) parseDigest(id, `${where}: rootfs.diff_ids[${i}]`);
  if (body.config !== undefined && body.config !== null) checkProcess(body.config, where);
  if (body.history !== undefined && body.history !== null && !Array.isArray(body.history)) {
    throw bad(where, '"history" is not an array');
  }
  return { ...body, rootfs: { ...rootfs, type: 'layers', diff_ids: diffIds } } as unknown as ImageConfig;
}

/** The platform that a config states. */
export function platformOfConfig(config: ImageConfig): Platform {
  const version = config['os.version'];
  return {
    os: config.os,
    architecture: config.architecture,
    ...(config.variant ? { variant: config.variant } : {}),
    ...(typeof version === 'string' && version !== '' ? { 'os.version': version } : {}),
  };
}

/** One serialisation for all documents that hotlayer writes: compact, members in the order they have. */
export function serialize(document: unknown): Buffer {
  return Buffer.from(JSON.stringify(document), 'utf8');
}

/** `application/vnd.docker.distribution.manifest.v1+json`, and `+prettyjws`, the signed one. */
export function isSchema1(mediaType: string): boolean {
  return mediaType.startsWith('application/vnd.docker.distribution.manifest.v1');
}

export function schema1Error(where: string): HotlayerError {
  return bad(
    where,
    'is a Docker schema 1 manifest, which is not supported',
    'copy the image with skopeo, which converts it',
  );
}

/** A document that could be read as index and as manifest is refused (CVE-2021-41190), as is one that contradicts its descriptor. */
function checkKind(
  body: Json,
  where: string,
  kind: 'index' | 'manifest',
  types: readonly string[],
  expected?: string,
): void {
  if (body.schemaVersion === 1) throw schema1Error(where);
  if (body.schemaVersion !== 2) throw bad(where, `schemaVersion is ${JSON.stringify(body.schemaVersion)}, expected 2`);
  const { mediaType } = body;
  if (mediaType !== undefined && mediaType !== '') {
    if (typeof mediaType !== 'string' || !types.includes(mediaType)) {
      throw bad(where, `mediaType is ${JSON.stringify(mediaType)}, expected that of an image ${kind}`);
    }
    if (expected !== undefined && mediaType !== expected) {
      throw bad(where, `mediaType is ${mediaType}, but its descriptor says ${expected}`);
    }
  }
  const other = kind === 'index' ? ['config', 'layers'] : ['manifests'];
  for (const member of [...other, 'fsLayers']) {
    if (body[member] !== undefined) throw bad(where, `an image ${kind} cannot have "${member}"`);
  }
}

function checkDescriptor(value: unknown, where: string): asserts value is Descriptor {
  if (!isObject(value)) throw bad(where, 'is not a descriptor object');
  if (typeof value.mediaType !== 'string' || value.mediaType === '') throw bad(where, 'has no mediaType');
  parseDigest(value.digest, `${where}: digest`);
  if (!Number.isSafeInteger(value.size) || (value.size as number) < 0) {
    throw bad(where, `size is ${JSON.stringify(value.size)}, expected bytes`);
  }
  if (value.annotations !== undefined && value.annotations !== null) {
    if (!isObject(value.annotations) || !Object.values(value.annotations).every((text) => typeof text === 'string')) {
      throw bad(where, '"annotations" is not an object of strings');
    }
  }
  if (value.platform !== undefined && value.platform !== null) {
    const { platform } = value;
    if (!isObject(platform) || typeof platform.os !== 'string' || typeof platform.architecture !== 'string') {
      throw bad(where, '"platform" has no "os" and "architecture"');
    }
  }
  if (value.urls !== undefined && value.urls !== null && !Array.isArray(value.urls))
    throw bad(where, '"urls" is not an array');
}

/** The members that start a container: their types are relied on later. */
function checkProcess(value: unknown, where: string): void {
  if (!isObject(value)) throw bad(where, '"config" is not an object');
  for (const member of ['Env', 'Entrypoint', 'Cmd']) {
    const list = value[member] ?? [];
    if (!Array.isArray(list) || !list.every((item) => typeof item === 'string')) {
      throw bad(where, `config.${member} is not an array of strings`);
    }
  }
  for (const member of ['User', 'WorkingDir', 'StopSignal']) {
    if (typeof (value[member] ?? '') !== 'string') throw bad(where, `config.${member} is not a string`);
  }
}
