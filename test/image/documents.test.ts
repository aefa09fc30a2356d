import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_LAYERS, parseConfig, parseIndex, parseManifest } from '../../src/image/documents.js';
import { layerCompression, sniffCompression } from '../../src/image/media.js';
import { bestMatches, formatPlatform, hostPlatform, parsePlatform, platformMatches } from '../../src/image/platform.js';
import { type Descriptor, MEDIA } from '../../src/image/types.js';
import { refused } from '../support/refused.js';

const bytes = (value: unknown) => Buffer.from(JSON.stringify(value));
const blob = (mediaType: string, more: object = {}) => ({
  mediaType,
  digest: `sha256:${'0'.repeat(64)}`,
  size: 1,
  ...more,
});
const manifest = (more: object = {}) =>
  bytes({ schemaVersion: 2, config: blob(MEDIA.config), layers: [blob(MEDIA.layerGzip)], ...more });
const config = (more: object = {}) =>
  bytes({
    os: 'linux',
    architecture: 'amd64',
    rootfs: { type: 'layers', diff_ids: [`sha256:${'1'.repeat(64)}`] },
    ...more,
  });

test('members that are not known stay', () => {
  const parsed = parseManifest(manifest({ mediaType: MEDIA.manifest, 'x-vendor': [1] }), 'm', MEDIA.manifest);
  assert.deepEqual((parsed as unknown as Record<string, unknown>)['x-vendor'], [1]);
  assert.deepEqual(parseConfig(config({ moby: { a: 1 } }), 'c', 1).moby, { a: 1 });
  const none = bytes({ os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: null }, config: null });
  assert.deepEqual(parseConfig(none, 'c', 0).rootfs.diff_ids, []);
});

test('malformed manifests say what is wrong', () => {
  const rows: [Buffer, RegExp][] = [
    [Buffer.from('{'), /not JSON/],
    [Buffer.from('[]'), /an array, expected a JSON object/],
    [Buffer.from('null'), /null, expected a JSON object/],
    [Buffer.from([0x7b, 0xff, 0x7d]), /not UTF-8/],
    [bytes({ schemaVersion: 1, fsLayers: [] }), /schema 1/],
    [manifest({ schemaVersion: 3 }), /schemaVersion is 3/],
    [manifest({ manifests: [] }), /cannot have "manifests"/],
    [manifest({ mediaType: MEDIA.index }), /expected that of an image manifest/],
    [manifest({ mediaType: MEDIA.dockerManifest }), /but its descriptor says/],
    [manifest({ config: blob('application/vnd.oci.empty.v1+json') }), /artifact/],
    [manifest({ config: undefined }), /config/],
    [manifest({ layers: {} }), /no "layers" array/],
    [manifest({ layers: [blob('t', { size: -1 })] }), /layers\[0\]: size is -1/],
    [manifest({ layers: [blob('t', { size: 1.5 })] }), /size is 1.5/],
    [manifest({ layers: [blob('t', { digest: 'sha256:XYZ' })] }), /is not a digest/],
    [manifest({ layers: [blob('t', { digest: 'sha256:../../../../etc/passwd' })] }), /is not a digest/],
    [manifest({ layers: [blob('t', { annotations: { a: 1 } })] }), /object of strings/],
    [manifest({ layers: [7] }), /not a descriptor/],
  ];
  for (const [input, want] of rows) {
    assert.throws(() => parseManifest(input, 'm', MEDIA.manifest), refused('HL_ERR_IMAGE', want), input.toString());
  }
  const many = manifest({ layers: Array.from({ length: MAX_LAYERS + 1 }, () => blob(MEDIA.layerTar)) });
  assert.throws(() => parseManifest(many, 'm'), refused('HL_ERR_LIMIT', 'MAX_LAYERS'));
});

test('malformed indexes and configs say what is wrong', () => {
  for (const body of [
    { schemaVersion: 2 },
    { schemaVersion: 2, manifests: [], layers: [] },
    { schemaVersion: 2, manifests: [{}] },
  ]) {
    assert.throws(() => parseIndex(bytes(body), 'i'), refused('HL_ERR_IMAGE', 'i'));
  }
  const rows: [Buffer, RegExp][] = [
    [config({ os: '' }), /"os" is ""/],
    [config({ architecture: undefined }), /"architecture" is undefined/],
    [config({ rootfs: { type: 'layers', diff_ids: [] } }), /0 entries, but the manifest has 1 layers/],
    [config({ rootfs: undefined }), /no "rootfs"/],
    [config({ rootfs: { type: 'layers', diff_ids: ['x'] } }), /diff_ids\[0\]/],
    [config({ config: { Env: [1] } }), /config.Env/],
    [config({ config: { Cmd: 'sh' } }), /config.Cmd/],
    [config({ config: { User: 0 } }), /config.User/],
  ];
  for (const [input, want] of rows) assert.throws(() => parseConfig(input, 'c', 1), refused('HL_ERR_IMAGE', want));
});

test('compression: the media type says whether, the bytes say how', () => {
  const gz = Buffer.from([0x1f, 0x8b, 8, 0]);
  const tar = Buffer.from('usr/bin\0');
  const of = (mediaType: string, head: Buffer) => layerCompression(blob(mediaType) as Descriptor, head, 'layer 3');
  assert.equal(of(MEDIA.layerGzip, gz), 'gzip');
  assert.equal(of(MEDIA.layerTar, gz), 'gzip');
  assert.equal(of(MEDIA.dockerLayerGzip, tar), 'none');
  assert.equal(of(MEDIA.layerTar, Buffer.alloc(0)), 'none');
  const zstd = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
  for (const type of [MEDIA.layerZstd, MEDIA.layerGzip, MEDIA.dockerLayerZstd]) assert.equal(of(type, zstd), 'zstd');
  assert.equal(of(MEDIA.layerZstd, gz), 'gzip');
  const rows: [string, Buffer, RegExp][] = [
    [MEDIA.layerTar, Buffer.from('fd377a585a00', 'hex'), /xz/],
    [MEDIA.layerTar, Buffer.from('BZh9'), /bzip2/],
    ['application/vnd.oci.image.layer.v1.tar+gzip+encrypted', gz, /encrypted/],
    ['application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', gz, /foreign/],
    ['application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', gz, /foreign/],
    ['application/vnd.in-toto+json', tar, /not that of an image layer/],
  ];
  for (const [type, head, want] of rows) assert.throws(() => of(type, head), refused('HL_ERR_IMAGE', want));
  assert.equal(sniffCompression(Buffer.from([0x5a, 0x2a, 0x4d, 0x18])), 'zstd');
  assert.equal(sniffCompression(Buffer.from('BZhunt')), 'none');
});

test('platforms', () => {
  assert.deepEqual(parsePlatform('linux/arm64/v8'), { os: 'linux', architecture: 'arm64', variant: 'v8' });
  assert.deepEqual(parsePlatform('x86_64'), { os: 'linux', architecture: 'amd64' });
  assert.deepEqual(parsePlatform('linux/armhf'), { os: 'linux', architecture: 'arm', variant: 'v7' });
  for (const bad of ['', 'linux/', '/amd64', 'a/b/c/d', 'linux/amd64/', 'li nux/amd64']) {
    assert.throws(() => parsePlatform(bad), refused('HL_ERR_USAGE'), bad);
  }
  const hosts = { x64: 'amd64', ia32: '386', arm64: 'arm64', s390x: 's390x', riscv64: 'riscv64' };
  for (const [arch, want] of Object.entries(hosts)) assert.equal(hostPlatform(arch).architecture, want);
  assert.ok(platformMatches(parsePlatform('arm64/v8'.replace('arm64', 'linux/arm64')), parsePlatform('arm64')));
  assert.ok(!platformMatches(parsePlatform('linux/arm/v6'), parsePlatform('linux/arm/v7')));
  const offers = ['linux/arm/v5', 'linux/arm/v7', 'linux/arm64', 'linux/arm/v6'].map(parsePlatform);
  const best = bestMatches(parsePlatform('linux/arm'), offers, (offer) => offer).map(formatPlatform);
  assert.deepEqual(best, ['linux/arm/v7', 'linux/arm/v5', 'linux/arm/v6']);
});
