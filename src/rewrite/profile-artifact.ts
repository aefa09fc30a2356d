// A profile as an artifact about the image that was made by it (image-spec 1.1, "artifactType", "subject"): whoever pulls
// the image finds it beside it, and `hotlayer run` what a start needs in its annotation, without a single TOC.
import { sha256 } from '../image/digest.js';
import { serialize } from '../image/documents.js';
import { type Descriptor, type ImageSink, MEDIA } from '../image/types.js';
import type { HotFile } from '../lazy/prefetch.js';
import { PROFILE_ARTIFACT, START_ANNOTATION } from '../lazy/start-map.js';

export interface GivenProfile {
  /** As it is saved. */
  readonly json: Buffer;
  /** What it says is read, first needed first. */
  readonly hot: readonly HotFile[];
}

/** image-spec manifest.md, "Guidance for an Empty Descriptor". */
const EMPTY = { mediaType: 'application/vnd.oci.empty.v1+json', bytes: Buffer.from('{}') };

/**
 * Puts the artifact's blobs and manifest into the sink.
 * @param start as formatStart, of the image's blobs @returns for ImageSink.commit
 */
export async function putProfileArtifact(
  sink: ImageSink,
  { mediaType, digest, size }: Descriptor,
  { json }: GivenProfile,
  start: string,
): Promise<Descriptor> {
  const annotations = { [START_ANNOTATION]: start };
  const config = await sink.putBytes(EMPTY.bytes);
  const layer = await sink.putBytes(json);
  const bytes = serialize({
    schemaVersion: 2,
    mediaType: MEDIA.manifest,
    artifactType: PROFILE_ARTIFACT,
    config: { mediaType: EMPTY.mediaType, ...config },
    layers: [
      { mediaType: PROFILE_ARTIFACT, ...layer, annotations: { 'org.opencontainers.image.title': 'profile.json' } },
    ],
    subject: { mediaType, digest, size },
    annotations,
  });
  await sink.putBytes(bytes);
  return {
    mediaType: MEDIA.manifest,
    digest: sha256(bytes),
    size: bytes.length,
    artifactType: PROFILE_ARTIFACT,
    annotations,
  };
}
