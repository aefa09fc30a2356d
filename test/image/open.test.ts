// Layouts: what is chosen, and that nothing is believed which does not have the size and digest that name it.
import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { MAX_MANIFEST_BYTES } from '../../src/image/documents.js';
import { type Image, type Layer, MEDIA, openImage } from '../../src/image/index.js';
import { MAX_INDEX_DEPTH } from '../../src/image/select.js';
import { addToIndex, buildLayout, digestOf, HOST_ARCHITECTURE, putJson } from '../support/layout.js';
import { refused } from '../support/refused.js';
import { file, tarOf } from '../support/tar.js';
import { testDir } from '../support/temp.js';

const TAR = tarOf(file('a', 'alpha'), file('b', 'b'.repeat(300_000)));
const OTHER = tarOf(file('c', 'gamma'));

async function bytesOfLayer(layer: Layer): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const chunk of layer.open()) parts.push(chunk as Buffer);
  return Buffer.concat(parts);
}

const blobFile = (dir: string, digest: string) => join(dir, 'blobs', 'sha256', digest.slice(7));
const foreign = HOST_ARCHITECTURE === 'arm64' ? 'amd64' : 'arm64';

async function opened<T>(reference: string, use: (image: Image) => T | Promise<T>, platform?: string): Promise<T> {
  const image = await openImage(reference, platform === undefined ? {} : { platform });
  try {
    return await use(image);
  } finally {
    await image.close();
    await image.close();
  }
}

for (const media of ['oci', 'docker'] as const) {
  for (const gzip of [true, false]) {
    test(`reads a layout: ${media}, ${gzip ? 'gzip' : 'plain'} layers`, async (t) => {
      const dir = testDir(t);
      const built = buildLayout(dir, { layers: [TAR, OTHER], media, gzip, config: { config: { Cmd: ['/a'] } } });
      await opened(built.reference, async (image) => {
        assert.equal(image.descriptor.digest, built.manifest.digest);
        assert.deepEqual(image.platform, { os: 'linux', architecture: HOST_ARCHITECTURE });
        assert.deepEqual(image.config.config?.Cmd, ['/a']);
        assert.deepEqual(
          image.layers.map((layer) => layer.diffId),
          built.diffIds,
        );
        for (const [i, tar] of [TAR, OTHER].entries()) {
          const layer = image.layers[i]!;
          assert.equal(layer.compression, gzip ? 'gzip' : 'none');
          assert.equal(layer.file, blobFile(dir, built.layers[i]!.digest));
          const stored = await bytesOfLayer(layer);
          assert.ok((gzip ? gunzipSync(stored) : stored).equals(tar));
        }
      });
    });
  }
}

test('tags: one of several must be named, and the message lists them', async (t) => {
  const dir = testDir(t);
  const one = buildLayout(dir, { layers: [TAR], tag: 'one' });
  assert.equal(await opened(`oci:${dir}`, (image) => image.descriptor.digest), one.manifest.digest);
  const two = buildLayout(dir, { layers: [OTHER], tag: 'two' });
  assert.equal(await opened(`oci:${dir}:two`, (image) => image.descriptor.digest), two.manifest.digest);
  assert.equal(
    await opened(`oci:${dir}@${one.manifest.digest}`, (image) => image.descriptor.digest),
    one.manifest.digest,
  );
  await assert.rejects(openImage(`oci:${dir}`), refused('HL_ERR_USAGE', 'one, two'));
  await assert.rejects(openImage(`oci:${dir}:three`), refused('HL_ERR_NOT_FOUND', 'one, two'));
  await assert.rejects(openImage(`oci:${dir}@${digestOf(TAR)}`), refused('HL_ERR_NOT_FOUND', digestOf(TAR)));
});

test('platforms: the host by default, a choice by name, and the message lists what there is', async (t) => {
  const dir = testDir(t);
  const spec = (architecture: string) => ({ layers: [TAR], tag: null, platform: { os: 'linux', architecture } });
  const other = buildLayout(dir, spec(foreign));
  const alone = await opened(`oci:${dir}`, (image) => image.platform.architecture);
  assert.equal(alone, foreign, 'a single image is taken whatever its platform');
  await assert.rejects(
    openImage(`oci:${dir}`, { platform: 'linux/s390x' }),
    refused('HL_ERR_NOT_FOUND', `linux/${foreign}`),
  );
  const host = buildLayout(dir, spec(HOST_ARCHITECTURE));
  assert.equal(await opened(`oci:${dir}`, (image) => image.descriptor.digest), host.manifest.digest);
  assert.equal(await opened(`oci:${dir}`, (image) => image.descriptor.digest, foreign), other.manifest.digest);
  await assert.rejects(
    openImage(`oci:${dir}`, { platform: 'linux/s390x' }),
    refused('HL_ERR_NOT_FOUND', `linux/${foreign}, linux/${HOST_ARCHITECTURE}`),
  );
  await assert.rejects(openImage(`oci:${dir}`, { platform: 'a/b/c/d' }), refused('HL_ERR_USAGE'));
});

test('nested indexes, attestations skipped, platform from the config when no descriptor has it', async (t) => {
  const dir = testDir(t);
  const bare = (architecture: string, config = {}) => {
    const built = buildLayout(dir, { layers: [TAR], tag: 'scratch', platform: { os: 'linux', architecture }, config });
    const { platform: _, annotations: __, ...descriptor } = built.manifest;
    return descriptor;
  };
  const inner = [bare(foreign), bare(HOST_ARCHITECTURE)];
  const attestation = { ...bare('amd64', { attestation: true }), platform: { os: 'unknown', architecture: 'unknown' } };
  const nest = (manifests: object[]) =>
    putJson(dir, { schemaVersion: 2, mediaType: MEDIA.index, manifests }, MEDIA.index);
  const index = nest([attestation, nest(inner)]);
  rmSync(join(dir, 'index.json'));
  addToIndex(dir, index);
  assert.equal(await opened(`oci:${dir}`, (image) => image.descriptor.digest), inner[1]!.digest);
  assert.equal(await opened(`oci:${dir}`, (image) => image.descriptor.digest, `linux/${foreign}`), inner[0]!.digest);
  assert.equal(await opened(`oci:${dir}@${inner[0]!.digest}`, (image) => image.descriptor.digest), inner[0]!.digest);

  let deep = nest(inner);
  for (let i = 0; i < MAX_INDEX_DEPTH; i++) deep = nest([deep]);
  rmSync(join(dir, 'index.json'));
  addToIndex(dir, deep);
  await assert.rejects(openImage(`oci:${dir}`), refused('HL_ERR_LIMIT', 'MAX_INDEX_DEPTH'));

  const signature = { ...inner[0]!, artifactType: 'application/vnd.example.signature' };
  rmSync(join(dir, 'index.json'));
  addToIndex(dir, nest([signature, inner[1]!]));
  assert.equal(await opened(`oci:${dir}`, (image) => image.descriptor.digest), inner[1]!.digest);

  rmSync(join(dir, 'index.json'));
  addToIndex(dir, nest([attestation]));
  await assert.rejects(openImage(`oci:${dir}`), refused('HL_ERR_NOT_FOUND', 'no image manifest'));
});

test('an index that claims to hold itself fails by its digest', async (t) => {
  const dir = testDir(t);
  const digest = digestOf(Buffer.from('no such bytes'));
  const self = { mediaType: MEDIA.index, digest, size: 0 };
  const body = { schemaVersion: 2, mediaType: MEDIA.index, manifests: [{ ...self, size: 1 }] };
  const bytes = Buffer.from(JSON.stringify(body));
  mkdirSync(dirname(blobFile(dir, digest)), { recursive: true });
  writeFileSync(blobFile(dir, digest), bytes);
  addToIndex(dir, { ...self, size: bytes.length });
  await assert.rejects(openImage(`oci:${dir}`), refused('HL_ERR_DIGEST', digest));
});

test('damaged images are refused with the name of what is wrong', async (t) => {
  const rows: [string, (dir: string, built: ReturnType<typeof buildLayout>) => void, Parameters<typeof refused>][] = [
    [
      'layer missing',
      (dir, { layers }) => rmSync(blobFile(dir, layers[1]!.digest)),
      ['HL_ERR_NOT_FOUND', 'layer 1', 'blobs/sha256/'],
    ],
    [
      'layer cut off',
      (dir, { layers }) => truncateSync(blobFile(dir, layers[0]!.digest), 50),
      ['HL_ERR_DIGEST', 'layer 0', 'found 50'],
    ],
    [
      'layer too long',
      (dir, { layers }) => appendFileSync(blobFile(dir, layers[0]!.digest), 'x'),
      ['HL_ERR_DIGEST', 'layer 0'],
    ],
    ['config missing', (dir, { config }) => rmSync(blobFile(dir, config.digest)), ['HL_ERR_NOT_FOUND', 'config']],
    [
      'config changed',
      (dir, { config }) => writeFileSync(blobFile(dir, config.digest), '{'.padEnd(config.size)),
      ['HL_ERR_DIGEST', 'config'],
    ],
    [
      'manifest missing',
      (dir, { manifest }) => rmSync(blobFile(dir, manifest.digest)),
      ['HL_ERR_NOT_FOUND', 'manifest'],
    ],
    [
      'manifest longer',
      (dir, { manifest }) => appendFileSync(blobFile(dir, manifest.digest), ' '),
      ['HL_ERR_DIGEST', 'manifest'],
    ],
    ['index missing', (dir) => rmSync(join(dir, 'index.json')), ['HL_ERR_IMAGE', 'index.json']],
    ['index no JSON', (dir) => writeFileSync(join(dir, 'index.json'), 'x'), ['HL_ERR_IMAGE', 'index.json']],
    [
      'index huge',
      (dir) => writeFileSync(join(dir, 'index.json'), Buffer.alloc(MAX_MANIFEST_BYTES + 1, 0x20)),
      ['HL_ERR_LIMIT', 'MAX_MANIFEST_BYTES'],
    ],
    [
      'wrong version',
      (dir) => writeFileSync(join(dir, 'oci-layout'), '{"imageLayoutVersion":"2.0.0"}'),
      ['HL_ERR_IMAGE', '2.0.0'],
    ],
    ['all missing', (dir) => rmSync(dir, { recursive: true }), ['HL_ERR_NOT_FOUND', 'no such file']],
    [
      'layer is a link that leads out',
      (dir, { layers }) => {
        renameSync(blobFile(dir, layers[0]!.digest), join(dir, '..', 'outside'));
        symlinkSync('../../../outside', blobFile(dir, layers[0]!.digest));
      },
      ['HL_ERR_IMAGE', 'leads out'],
    ],
  ];
  for (const [name, damage, want] of rows) {
    const dir = join(testDir(t), 'layout');
    const built = buildLayout(dir, { layers: [TAR, OTHER] });
    damage(dir, built);
    await assert.rejects(openImage(built.reference), refused(...want), name);
  }
});

test('a layer whose bytes changed fails at the end of its stream, not before', async (t) => {
  const dir = testDir(t);
  const built = buildLayout(dir, { layers: [TAR], gzip: false });
  const changed = Buffer.from(TAR);
  changed[changed.length - 1] = 1;
  writeFileSync(blobFile(dir, built.layers[0]!.digest), changed);
  await opened(built.reference, async (image) => {
    let seen = 0;
    await assert.rejects(
      async () => {
        for await (const chunk of image.layers[0]!.open()) seen += (chunk as Buffer).length;
      },
      refused('HL_ERR_DIGEST', 'layer 0', built.layers[0]!.digest, digestOf(changed)),
    );
    assert.equal(seen, TAR.length);
  });
});

test('a manifest whose descriptor is absurdly large is not read', async (t) => {
  const dir = testDir(t);
  const built = buildLayout(dir, { layers: [TAR] });
  rmSync(join(dir, 'index.json'));
  addToIndex(dir, { ...built.manifest, size: 2 ** 40 });
  await assert.rejects(openImage(built.reference), refused('HL_ERR_LIMIT', 'MAX_MANIFEST_BYTES'));
});

test('an unread layer stream can be given up', async (t) => {
  const built = buildLayout(testDir(t), { layers: [TAR], gzip: false });
  await opened(built.reference, async (image) => {
    const stream = image.layers[0]!.open();
    for await (const _ of stream) break;
    assert.ok(stream.destroyed);
    image.layers[0]!.open().destroy();
  });
});

test('what cannot be opened as an image', async () => {
  await assert.rejects(openImage('localhost:1/app'), refused('HL_ERR_NETWORK', 'localhost:1', 'ECONNREFUSED'));
  await assert.rejects(openImage(`oci:${process.execPath}`), refused('HL_ERR_IMAGE', 'oci-archive:'));
  await assert.rejects(openImage('dir:/'), refused('HL_ERR_USAGE', 'root file system'));
});
