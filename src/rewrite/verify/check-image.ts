// What surrounds the layers: config, manifest and descriptors, before and after.
import { toOciMediaType } from '../../image/media.js';
import { type Descriptor, type Image, type ImageConfig, type Manifest, MEDIA } from '../../image/types.js';
import { isBlobAnnotation, START_ANNOTATION } from '../names.js';
import type { Findings } from './findings.js';

/** Adds every difference to `findings`. Nothing of the layers' bytes is looked at here. */
export function checkImage(before: Image, after: Image, findings: Findings): void {
  const image = (message: string) => ({ message });
  findings.same('image', before.layers.length, after.layers.length, image('number of layers differs'));
  findings.same('image', before.platform, after.platform, image('platform differs'));
  compareObjects(withoutDiffIds(before.config), withoutDiffIds(after.config), 'config', findings);
  findings.same('image', before.config.rootfs.type, after.config.rootfs.type, image('config "rootfs.type" differs'));
  findings.same('image', after.layers.length, after.config.rootfs.diff_ids.length, image('number of diff_ids'));
  const kept = ({ annotations = {} }: Manifest) => {
    // About the blobs; check-start.ts holds it against them.
    const { [START_ANNOTATION]: _, ...rest } = annotations;
    return rest;
  };
  compareObjects(kept(before.manifest), kept(after.manifest), 'manifest annotation', findings);
  const manifestType = after.manifest.mediaType ?? after.descriptor.mediaType;
  findings.same('image', MEDIA.manifest, manifestType, image('media type of the manifest'));
  const configType = toOciMediaType(before.manifest.config.mediaType);
  findings.same('image', configType, after.manifest.config.mediaType, image('media type of the config'));
  compareObjects(otherMembers(before.manifest), otherMembers(after.manifest), 'manifest member', findings);
  before.layers.forEach((layer, i) => {
    const other = after.layers[i];
    if (other) compareLayerDescriptors(i, layer.descriptor, other.descriptor, findings);
  });
}

function withoutDiffIds(config: ImageConfig): Record<string, unknown> {
  const { rootfs: _, ...rest } = config;
  return rest;
}

function otherMembers(manifest: Manifest): Record<string, unknown> {
  const { config: _, layers: __, mediaType: ___, annotations: ____, ...rest } = manifest;
  return rest;
}

function compareLayerDescriptors(layer: number, before: Descriptor, after: Descriptor, findings: Findings): void {
  findings.same('image', MEDIA.layerGzip, after.mediaType, { layer, message: 'media type of the layer' });
  const keep = (annotations: Descriptor['annotations']) =>
    Object.fromEntries(Object.entries(annotations ?? {}).filter(([key]) => !isBlobAnnotation(key)));
  compareObjects(keep(before.annotations), keep(after.annotations), 'annotation', findings, layer);
}

/** Member by member, so that each difference is named; the order of members carries no meaning. */
function compareObjects(
  before: Readonly<Record<string, unknown>>,
  after: Readonly<Record<string, unknown>>,
  what: string,
  findings: Findings,
  layer?: number,
): void {
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
    findings.same('image', canonical(before[key]), canonical(after[key]), {
      ...(layer === undefined ? {} : { layer }),
      message: `${what} "${key}" differs`,
    });
  }
}

/** JSON with members in a fixed order; undefined stays undefined. */
function canonical(value: unknown): string | undefined {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : inner,
  );
}
