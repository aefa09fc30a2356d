// A new manifest and config for an image whose layers were replaced. Pure.
import { HotlayerError } from '../errors.js';
import { type Digest, sha256 } from './digest.js';
import { serialize } from './documents.js';
import { toOciMediaType } from './media.js';
import { type Descriptor, type Image, type ImageConfig, type Manifest, MEDIA } from './types.js';

export interface NewLayer {
  readonly descriptor: Descriptor;
  /** Digest of the uncompressed tar. */
  readonly diffId: Digest;
}

export interface RewrittenImage {
  readonly manifest: Manifest;
  readonly config: ImageConfig;
  /** What is stored, and what the digests are of. */
  readonly manifestBytes: Buffer;
  readonly configBytes: Buffer;
  /** For ImageSink.commit: the manifest's, with the platform and annotations of the index entry that named the original. */
  readonly descriptor: Descriptor;
}

/**
 * The image with other layers, one for each it has. Annotations, history and members that hotlayer does not know stay
 * as they are; Docker's media types become OCI's (Docker's descriptors have no annotations, and the TOC digest needs one).
 * Same input, same bytes.
 * @param annotations of the manifest: those that are undefined are taken away
 */
export function withLayers(
  image: Pick<Image, 'manifest' | 'config' | 'descriptor' | 'platform'>,
  layers: readonly NewLayer[],
  annotations: Readonly<Record<string, string | undefined>> = {},
): RewrittenImage {
  if (layers.length !== image.manifest.layers.length) {
    throw new HotlayerError(
      'HL_ERR_BUG',
      `withLayers: ${layers.length} new layers for an image that has ${image.manifest.layers.length}`,
    );
  }
  const config: ImageConfig = {
    ...image.config,
    rootfs: { ...image.config.rootfs, diff_ids: layers.map((layer) => layer.diffId) },
  };
  const configBytes = serialize(config);
  const manifest: Manifest = {
    ...withAnnotations(image.manifest, annotations),
    mediaType: MEDIA.manifest,
    config: moved(image.manifest.config, configBytes),
    layers: layers.map(({ descriptor }) => ({ ...descriptor, mediaType: toOciMediaType(descriptor.mediaType) })),
  };
  const manifestBytes = serialize(manifest);
  const descriptor = moved(
    { ...image.descriptor, platform: image.descriptor.platform ?? image.platform },
    manifestBytes,
  );
  return { manifest, config, manifestBytes, configBytes, descriptor };
}

/** Unchanged, member order included, when there is nothing to change. */
function withAnnotations(manifest: Manifest, changes: Readonly<Record<string, string | undefined>>): Manifest {
  const { annotations: old = {}, ...rest } = manifest;
  const changed = Object.entries(changes).filter(([key, value]) => old[key] !== value);
  if (changed.length === 0) return manifest;
  const kept = Object.entries(old).filter(([key]) => !Object.hasOwn(changes, key));
  const added = Object.entries(changes).filter((one): one is [string, string] => one[1] !== undefined);
  const annotations = Object.fromEntries([...kept, ...added]);
  return Object.keys(annotations).length === 0 ? rest : { ...manifest, annotations };
}

/** A descriptor for new bytes. What held for the old ones only goes: `data` is a copy of them, `urls` lead to them. */
function moved(old: Descriptor, bytes: Buffer): Descriptor {
  const { data: _, urls: __, ...kept } = old as Descriptor & { data?: unknown };
  return { ...kept, mediaType: toOciMediaType(old.mediaType), digest: sha256(bytes), size: bytes.length };
}
