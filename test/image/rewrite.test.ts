import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MEDIA, openImage, sha256, withLayers } from '../../src/image/index.js';
import { buildLayout } from '../support/layout.js';
import { refused } from '../support/refused.js';
import { file, tarOf } from '../support/tar.js';
import { testDir } from '../support/temp.js';

const layers = [tarOf(file('a', '1')), tarOf(file('b', '2'))];
const history = [{ created_by: 'a' }, { created_by: 'ENV', empty_layer: true }, { created_by: 'b' }];

test('only layers, diff_ids and what follows from them change; Docker becomes OCI', async (t) => {
  const built = buildLayout(testDir(t), {
    layers,
    media: 'docker',
    annotations: { 'org.example': 'kept' },
    config: { history, created: '2020-01-01T00:00:00Z', config: { Env: ['A=1'] }, moby: { x: [1] } },
  });
  await using image = await openImage(built.reference);
  const fresh = (i: number) => ({
    descriptor: {
      mediaType: MEDIA.dockerLayerGzip,
      digest: sha256(Buffer.from(`blob ${i}`)),
      size: 10 + i,
      annotations: { n: String(i) },
    },
    diffId: sha256(Buffer.from(`tar ${i}`)),
  });
  const made = withLayers(image, [fresh(0), fresh(1)]);

  const config = JSON.parse(made.configBytes.toString('utf8'));
  assert.deepEqual(config, {
    ...image.config,
    rootfs: { type: 'layers', diff_ids: [fresh(0).diffId, fresh(1).diffId] },
  });
  assert.deepEqual(Object.keys(config), Object.keys(image.config), 'the order of members stays');
  const manifest = JSON.parse(made.manifestBytes.toString('utf8'));
  assert.deepEqual(manifest, {
    schemaVersion: 2,
    mediaType: MEDIA.manifest,
    config: { mediaType: MEDIA.config, digest: sha256(made.configBytes), size: made.configBytes.length },
    layers: [0, 1].map((i) => ({ ...fresh(i).descriptor, mediaType: MEDIA.layerGzip })),
    annotations: { 'org.example': 'kept' },
  });
  assert.equal(made.descriptor.mediaType, MEDIA.manifest);
  assert.equal(made.descriptor.digest, sha256(made.manifestBytes));
  assert.equal(made.descriptor.size, made.manifestBytes.length);
  assert.deepEqual(made.descriptor.platform, image.platform);
  assert.ok(withLayers(image, [fresh(0), fresh(1)]).manifestBytes.equals(made.manifestBytes));
  assert.deepEqual(image.manifest.layers, built.layers, 'the original is as it was');
  assert.throws(() => withLayers(image, [fresh(0)]), refused('HL_ERR_BUG'));
});

test('an embedded copy of the old config does not stay', async (t) => {
  const built = buildLayout(testDir(t), { layers });
  await using image = await openImage(built.reference);
  const config = { ...image.manifest.config, data: 'e30=', urls: ['https://example.org/'], annotations: { a: 'b' } };
  const same = image.layers.map(({ descriptor, diffId }) => ({ descriptor, diffId }));
  const made = withLayers({ ...image, manifest: { ...image.manifest, config } }, same);
  assert.deepEqual(Object.keys(made.manifest.config).sort(), ['annotations', 'digest', 'mediaType', 'size']);
});
