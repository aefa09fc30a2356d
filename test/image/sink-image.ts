// A small image put into a sink, different for each seed but for its first layer.
import { gzipSync } from 'node:zlib';
import { sha256 } from '../../src/image/digest.js';
import { type Descriptor, type ImageSink, MEDIA, serialize } from '../../src/image/index.js';
import { HOST_ARCHITECTURE } from '../support/layout.js';
import { file, tarOf } from '../support/tar.js';

export const SHARED = tarOf(file('shared', 's'.repeat(10_000)));

export async function putImage(sink: ImageSink, seed: string): Promise<Descriptor> {
  const tars = [SHARED, tarOf(file('seed', seed))];
  const layers: Descriptor[] = [];
  for (const tar of tars) {
    const annotations = { seed };
    layers.push({ mediaType: MEDIA.layerGzip, ...(await sink.putBytes(gzipSync(tar))), annotations });
  }
  const config = {
    os: 'linux',
    architecture: HOST_ARCHITECTURE,
    rootfs: { type: 'layers', diff_ids: tars.map(sha256) },
  };
  const stored = { mediaType: MEDIA.config, ...(await sink.putBytes(serialize(config))) };
  const manifest = { schemaVersion: 2, mediaType: MEDIA.manifest, config: stored, layers };
  return { mediaType: MEDIA.manifest, ...(await sink.putBytes(serialize(manifest))) };
}
