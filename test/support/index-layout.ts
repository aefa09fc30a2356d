// A multi-platform image as buildx makes one: an index with an image for each platform and an attestation beside it.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest } from '../../src/image/digest.js';
import { type Descriptor, MEDIA } from '../../src/image/types.js';
import { addToIndex, type BuiltLayout, buildLayout, type LayoutSpec, putBlob, putJson } from './layout.js';

export interface PlatformSpec extends LayoutSpec {
  platform: { os: string; architecture: string; variant?: string };
  /** Default true. */
  attested?: boolean;
}

export interface BuiltIndex {
  /** `oci:DIR:TAG`. */
  reference: string;
  index: Descriptor;
  images: BuiltLayout[];
  attestations: Descriptor[];
}

export const IN_TOTO = 'application/vnd.in-toto+json';

/** An attestation manifest about an image's manifest. */
export function putAttestation(dir: string, subject: Digest): Descriptor {
  const statement = putBlob(dir, Buffer.from(JSON.stringify({ subject: [{ digest: subject }] })), IN_TOTO);
  const config = putJson(dir, { architecture: 'unknown', os: 'unknown', rootfs: { type: 'layers' } }, MEDIA.config);
  const manifest = putJson(
    dir,
    { schemaVersion: 2, mediaType: MEDIA.manifest, config, layers: [statement] },
    MEDIA.manifest,
  );
  return {
    ...manifest,
    annotations: { 'vnd.docker.reference.digest': subject, 'vnd.docker.reference.type': 'attestation-manifest' },
    platform: { architecture: 'unknown', os: 'unknown' },
  };
}

/** A manifest with a subject, as oras and cosign attach them; `tag` null: without a name in index.json. */
export function putReferrer(
  dir: string,
  subject: Descriptor,
  artifactType: string,
  content: string,
  tag: string | null = null,
): Descriptor {
  const config = putBlob(dir, Buffer.from('{}'), 'application/vnd.oci.empty.v1+json');
  const { mediaType, digest, size } = subject;
  const manifest = putJson(
    dir,
    {
      schemaVersion: 2,
      mediaType: MEDIA.manifest,
      artifactType,
      config,
      layers: [putBlob(dir, Buffer.from(content), artifactType)],
      subject: { mediaType, digest, size },
    },
    MEDIA.manifest,
  );
  const descriptor = {
    ...manifest,
    artifactType,
    ...(tag === null ? {} : { annotations: { 'org.opencontainers.image.ref.name': tag } }),
  };
  const path = join(dir, 'index.json');
  const index = JSON.parse(readFileSync(path, 'utf8')) as { manifests: Descriptor[] };
  writeFileSync(path, JSON.stringify({ ...index, manifests: [...index.manifests, descriptor] }));
  return descriptor;
}

export function buildIndex(dir: string, platforms: readonly PlatformSpec[], tag = 'multi'): BuiltIndex {
  const images: BuiltLayout[] = [];
  const attestations: Descriptor[] = [];
  for (const { attested = true, ...spec } of platforms) {
    const built = buildLayout(dir, { ...spec, tag: 'part' });
    images.push(built);
    if (attested) attestations.push(putAttestation(dir, built.manifest.digest));
  }
  const manifests = [...images.map(({ manifest: { annotations: _, ...rest } }) => rest), ...attestations];
  const annotations = { 'org.opencontainers.image.vendor': 'v' };
  const index = putJson(dir, { schemaVersion: 2, mediaType: MEDIA.index, manifests, annotations }, MEDIA.index);
  writeFileSync(join(dir, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [] }));
  addToIndex(dir, { ...index, annotations: { 'org.opencontainers.image.ref.name': tag } });
  return { reference: `oci:${dir}:${tag}`, index, images, attestations };
}
