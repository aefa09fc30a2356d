// Layer media types, and what a blob's first bytes say about its compression.
import { HotlayerError } from '../errors.js';
import { type Descriptor, type Layer, MEDIA } from './types.js';

/** Layers whose content can be read. */
export const LAYER_TYPES: readonly string[] = [
  MEDIA.layerTar,
  MEDIA.layerGzip,
  MEDIA.layerZstd,
  MEDIA.dockerLayerGzip,
  MEDIA.dockerLayerTar,
  MEDIA.dockerLayerZstd,
];

/** Bytes of a blob that `sniffCompression` wants to see. */
export const SNIFF_BYTES = 8;

/** Magic numbers: gzip RFC 1952 §2.3.1, zstd RFC 8878 §3.1.1 (and skippable frames §3.1.2), xz and bzip2 file formats. */
export function sniffCompression(head: Uint8Array): 'gzip' | 'zstd' | 'xz' | 'bzip2' | 'none' {
  const starts = (...bytes: number[]) => bytes.every((byte, i) => head[i] === byte);
  if (starts(0x1f, 0x8b)) return 'gzip';
  if (starts(0x28, 0xb5, 0x2f, 0xfd)) return 'zstd';
  if (head.length >= 4 && (head[0]! & 0xf0) === 0x50 && head[1] === 0x2a && head[2] === 0x4d && head[3] === 0x18)
    return 'zstd';
  if (starts(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00)) return 'xz';
  if (starts(0x42, 0x5a, 0x68) && head.length >= 4 && head[3]! >= 0x31 && head[3]! <= 0x39) return 'bzip2';
  return 'none';
}

/**
 * How a layer is compressed. The media type decides whether it is a layer that can be read at all; between gzip, zstd
 * and none the bytes decide, because archives and old tools label plain tars as gzip and the other way round, and every
 * runtime looks at the bytes.
 * @param head the blob's first SNIFF_BYTES bytes, or all of a shorter one
 * @param name how messages call the layer
 * @throws HL_ERR_IMAGE
 */
export function layerCompression(descriptor: Descriptor, head: Uint8Array, name: string): Layer['compression'] {
  const { mediaType } = descriptor;
  const refuse = (what: string, hint?: string) =>
    new HotlayerError('HL_ERR_IMAGE', `${name}: ${what}`, {
      context: { layer: descriptor.digest },
      ...(hint === undefined ? {} : { hint }),
    });
  const recompress = 'recompress it: skopeo copy --dest-compress-format gzip SOURCE oci:DIR:TAG';
  if (mediaType.endsWith('+encrypted'))
    throw refuse(`is encrypted (${mediaType})`, 'decrypt the image first: skopeo copy --decryption-key …');
  if (isForeign(mediaType)) {
    throw refuse(`is a foreign layer (${mediaType}), whose content is not part of the image`);
  }
  if (!LAYER_TYPES.includes(mediaType)) throw refuse(`media type ${mediaType} is not that of an image layer`);
  const compression = sniffCompression(head);
  if (compression === 'gzip' || compression === 'zstd' || compression === 'none') return compression;
  throw refuse(`is compressed with ${compression}, though its media type is ${mediaType}`, recompress);
}

/** Whose content may not be distributed, and is found at the descriptor's `urls` (Windows base layers). */
export function isForeign(mediaType: string): boolean {
  return /nondistributable|foreign/.test(mediaType);
}

/** Docker's media types in OCI terms; others unchanged. */
export function toOciMediaType(mediaType: string): string {
  const table: Record<string, string> = {
    [MEDIA.dockerManifestList]: MEDIA.index,
    [MEDIA.dockerManifest]: MEDIA.manifest,
    [MEDIA.dockerConfig]: MEDIA.config,
    [MEDIA.dockerLayerGzip]: MEDIA.layerGzip,
    [MEDIA.dockerLayerTar]: MEDIA.layerTar,
    [MEDIA.dockerLayerZstd]: MEDIA.layerZstd,
  };
  return table[mediaType] ?? mediaType;
}
