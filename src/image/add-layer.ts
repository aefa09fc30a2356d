// A manifest and config with one more layer, on top of an image's or of none. Pure.
import { sha256 } from './digest.js';
import { serialize } from './documents.js';
import { toOciMediaType } from './media.js';
import type { NewLayer, RewrittenImage } from './rewrite.js';
import { type HistoryStep, type Image, type ImageConfig, type Manifest, MEDIA, type Platform } from './types.js';

/**
 * What starts the image stays as it is; annotations that name the image's own manifest or build go, `created` is the
 * step's. Same input, same bytes.
 */
export function withAddedLayer(
  base: Pick<Image, 'manifest' | 'config' | 'platform'> | { readonly platform: Platform },
  layer: NewLayer,
  step: HistoryStep,
): RewrittenImage {
  const image = 'config' in base ? base : undefined;
  const { os, architecture, variant } = base.platform;
  const config: ImageConfig = {
    ...(image?.config ?? { architecture, os, ...(variant === undefined ? {} : { variant }) }),
    ...(step.created === undefined ? {} : { created: step.created }),
    rootfs: { type: 'layers', diff_ids: [...(image?.config.rootfs.diff_ids ?? []), layer.diffId] },
    history: [...(image?.config.history ?? []), step],
  };
  const configBytes = serialize(config);
  const lower = (image?.manifest.layers ?? []).map((l) => ({ ...l, mediaType: toOciMediaType(l.mediaType) }));
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: MEDIA.manifest,
    config: { mediaType: MEDIA.config, digest: sha256(configBytes), size: configBytes.length },
    layers: [...lower, layer.descriptor],
  };
  const manifestBytes = serialize(manifest);
  const descriptor = {
    mediaType: MEDIA.manifest,
    digest: sha256(manifestBytes),
    size: manifestBytes.length,
    platform: base.platform,
  };
  return { manifest, config, manifestBytes, configBytes, descriptor };
}
