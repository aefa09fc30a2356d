// Whole indexes: all platforms, nested ones, attestations, what is missing, what is stored beside them.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openIndex } from '../../src/image/open-index.js';
import { formatPlatform } from '../../src/image/platform.js';
import { fateOf } from '../../src/image/referrers.js';
import { type Descriptor, type ImageIndex, MEDIA } from '../../src/image/types.js';
import { buildIndex, putReferrer } from '../support/index-layout.js';
import { addToIndex, buildLayout, putJson } from '../support/layout.js';
import { refused } from '../support/refused.js';
import { file, tarOf } from '../support/tar.js';
import { testDir } from '../support/temp.js';
import { lacking } from '../support/tools.js';

const AMD = { os: 'linux', architecture: 'amd64' };
const ARM = { os: 'linux', architecture: 'arm64', variant: 'v8' };
const S390 = { os: 'linux', architecture: 's390x' };
const specOf = (platform: typeof AMD, text: string) => ({ platform, layers: [tarOf(file('etc/name', text))] });
const platformsOf = (index: ImageIndex) => index.images.map((image) => formatPlatform(image.platform)).join(' ');
const kindsOf = (index: ImageIndex) => index.entries.map((entry) => entry.kind).join(' ');

test('an index: platforms, attestations, annotations', async (t) => {
  const dir = join(testDir(t), 'image');
  const built = buildIndex(dir, [specOf(AMD, 'a'), specOf(ARM, 'b')]);
  for (const reference of [built.reference, `oci:${dir}@${built.index.digest}`, `oci:${dir}`]) {
    await using index = await openIndex(reference);
    assert.equal(platformsOf(index), 'linux/amd64 linux/arm64/v8');
    assert.equal(kindsOf(index), 'image image attestation attestation');
    assert.equal(index.descriptor?.digest, built.index.digest);
    assert.deepEqual(index.document?.annotations, { 'org.opencontainers.image.vendor': 'v' });
    const subjects = index.entries.flatMap((entry) => (entry.kind === 'attestation' ? [entry.subject] : []));
    assert.deepEqual(
      subjects,
      built.images.map((image) => image.manifest.digest),
    );
    const bytes = await index.readManifest(built.attestations[0]!);
    assert.match(String(bytes), /in-toto/);
    for (const image of index.images) for await (const _ of image.layers[0]!.open());
    assert.deepEqual(await index.referrers(), []);
  }
});

test('one manifest of an index by digest, and single images, are indexes of one', async (t) => {
  const dir = join(testDir(t), 'image');
  const built = buildIndex(dir, [specOf(AMD, 'a'), specOf(ARM, 'b')]);
  await using one = await openIndex(`oci:${dir}@${built.images[1]!.manifest.digest}`);
  assert.equal(platformsOf(one), 'linux/arm64/v8');
  assert.equal(one.descriptor, undefined);
  const single = buildLayout(join(dir, '../single'), { layers: [tarOf(file('a', 'a'))] });
  await using plain = await openIndex(single.reference);
  assert.equal(plain.images[0]!.descriptor.digest, single.manifest.digest);
  assert.equal(plain.document, undefined);
  await assert.rejects(openIndex(`oci:${dir}@sha256:${'0'.repeat(64)}`), refused('HL_ERR_NOT_FOUND', /no manifest/));
});

test('platforms side by side in index.json, of one name, are one image', async (t) => {
  const dir = join(testDir(t), 'image');
  for (const platform of [AMD, ARM]) buildLayout(dir, { ...specOf(platform, platform.architecture), tag: 'x' });
  buildLayout(dir, { ...specOf(S390, 'other'), tag: 'y' });
  await using index = await openIndex(`oci:${dir}:x`);
  assert.equal(platformsOf(index), 'linux/amd64 linux/arm64/v8');
  assert.equal(index.document, undefined);
  const twice = join(dir, '../twice');
  buildLayout(twice, { ...specOf(AMD, 'one'), tag: null });
  const path = join(twice, 'index.json');
  const first = readFileSync(path, 'utf8');
  buildLayout(twice, { ...specOf(AMD, 'two'), tag: null });
  const both = [first, readFileSync(path, 'utf8')].flatMap((text) => JSON.parse(text).manifests as Descriptor[]);
  writeFileSync(path, JSON.stringify({ schemaVersion: 2, manifests: both }));
  await assert.rejects(openIndex(`oci:${twice}`), refused('HL_ERR_USAGE', /several images for linux\/amd64/));
});

test('nested indexes are flattened, each manifest once; what is not stored is named', async (t) => {
  const dir = join(testDir(t), 'image');
  const inner = buildIndex(dir, [specOf(AMD, 'a'), { ...specOf(ARM, 'b'), attested: false }]);
  const third = buildLayout(dir, { ...specOf(S390, 'c'), tag: 'third' });
  const { annotations: _, ...s390 } = third.manifest;
  const manifests = [s390, inner.index, { ...inner.images[0]!.manifest, annotations: {} }];
  const outer = putJson(dir, { schemaVersion: 2, mediaType: MEDIA.index, manifests }, MEDIA.index);
  addToIndex(dir, { ...outer, annotations: { 'org.opencontainers.image.ref.name': 'outer' } });
  await using index = await openIndex(`oci:${dir}:outer`);
  assert.equal(platformsOf(index), 'linux/s390x linux/amd64 linux/arm64/v8');
  assert.equal(kindsOf(index), 'image image image attestation');
  rmSync(join(dir, 'blobs/sha256', inner.images[1]!.manifest.digest.slice(7)));
  await using sparse = await openIndex(`oci:${dir}:outer`);
  assert.equal(kindsOf(sparse), 'image image absent attestation');
});

test('what is stored about an image, directly, by tag, in a list, and about what is about it', async (t) => {
  const dir = join(testDir(t), 'image');
  const built = buildIndex(dir, [{ ...specOf(AMD, 'a'), attested: false }]);
  const amd = built.images[0]!.manifest;
  const sbom = putReferrer(dir, amd, 'application/spdx+json', 'sbom');
  const signature = putReferrer(dir, sbom, 'application/vnd.dev.cosign.artifact.sig.v1+json', 'sig of sbom');
  putReferrer(dir, { ...amd, digest: `sha256:${'1'.repeat(64)}` }, 'application/spdx+json', 'of another image');
  const byTag = buildLayout(dir, {
    layers: [tarOf(file('payload', 'x'))],
    tag: `sha256-${built.index.digest.slice(7)}.sig`,
  });
  await using index = await openIndex(built.reference);
  const found = (await index.referrers()).map((r) => [r.descriptor.digest, r.subject, fateOf(r)]).sort();
  assert.deepEqual(
    found,
    [
      [sbom.digest, amd.digest, 'still-true'],
      [signature.digest, sbom.digest, 'no-longer-verifies'],
      [byTag.manifest.digest, built.index.digest, 'no-longer-verifies'],
    ].sort(),
  );
  // The referrers tag schema: an index, under the subject's digest as its tag.
  const list = putJson(dir, { schemaVersion: 2, mediaType: MEDIA.index, manifests: [sbom] }, MEDIA.index);
  const path = join(dir, 'index.json');
  const table = JSON.parse(readFileSync(path, 'utf8')) as { manifests: Descriptor[] };
  const image = table.manifests.find((d) => d.digest === built.index.digest)!;
  const tag = { 'org.opencontainers.image.ref.name': `sha256-${amd.digest.slice(7)}` };
  writeFileSync(path, JSON.stringify({ schemaVersion: 2, manifests: [image, { ...list, annotations: tag }] }));
  await using listed = await openIndex(built.reference);
  assert.deepEqual(
    (await listed.referrers()).map((r) => r.descriptor.digest),
    [sbom.digest],
  );
});

test('archives, and what skopeo copies with --all', { skip: lacking('skopeo') }, async (t) => {
  const dir = join(testDir(t), 'image');
  const built = buildIndex(dir, [specOf(AMD, 'a'), specOf(ARM, 'b')]);
  const skopeo = (...args: string[]) => execFileSync('skopeo', ['--insecure-policy', 'copy', '-q', ...args]);
  skopeo('--all', built.reference, `oci-archive:${dir}.tar:t`);
  await using index = await openIndex(`oci-archive:${dir}.tar:t`);
  assert.equal(index.descriptor?.digest, built.index.digest);
  assert.equal(kindsOf(index), 'image image attestation attestation');
  for (const image of index.images) for await (const _ of image.layers[0]!.open());
  skopeo('--override-arch', 'arm64', built.reference, `docker-archive:${dir}-docker.tar:a/b:c`);
  await using docker = await openIndex(`docker-archive:${dir}-docker.tar`);
  assert.equal(platformsOf(docker), 'linux/arm64/v8');
  assert.equal(docker.document, undefined);
});
