// Whole indexes rewritten: what stays, what follows, what is named, and what verify says when something went wrong.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Descriptor, type Index, type Manifest, MEDIA } from '../../src/image/types.js';
import { buildIndex, putAttestation, putReferrer } from '../support/index-layout.js';
import { addToIndex, buildLayout, putBlob, putJson } from '../support/layout.js';
import { refused } from '../support/refused.js';
import { file, tarOf } from '../support/tar.js';
import { testDir } from '../support/temp.js';
import { optimizeAll, putIndex, readBlob, readJson, tableOf, tagged, unnamed, verifyAll } from './index-bench.js';

const AMD = { os: 'linux', architecture: 'amd64' };
const ARM = { os: 'linux', architecture: 'arm64' };
const REF = 'org.opencontainers.image.ref.name';
const ABOUT = 'vnd.docker.reference.digest';
const TOC = 'containerd.io/snapshot/stargz/toc.digest';
const SIGNATURE = 'application/vnd.dev.cosign.artifact.sig.v1+json';
const SPDX = 'application/spdx+json';
const FOREIGN = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';

function imageOf(dir: string, platform: { os: string; architecture: string; variant?: string }, text: string) {
  return unnamed(buildLayout(dir, { platform, layers: [tarOf(file('name', text))], tag: 'part' }).manifest);
}

/** All layers of an image manifest name their TOC, and the blob has the digest that its name says. */
function assertLazy(dir: string, { digest, mediaType, size }: Descriptor): void {
  assert.equal(mediaType, MEDIA.manifest);
  const { layers, config } = readJson<Manifest>(dir, digest);
  assert.equal(size, readBlob(dir, digest).length);
  assert.equal(config.mediaType, MEDIA.config);
  for (const layer of layers) {
    assert.equal(layer.mediaType, MEDIA.layerGzip);
    assert.match(layer.annotations?.[TOC] ?? '', /^sha256:/);
    assert.equal(`sha256:${createHash('sha256').update(readBlob(dir, layer.digest)).digest('hex')}`, layer.digest);
  }
}

async function assertVerified(before: string, after: string): Promise<void> {
  const report = await verifyAll(before, after);
  assert.deepEqual(report.mismatches, []);
  assert.ok(report.ok);
}

test('nested indexes stay nested; what is listed twice stays listed twice; order, platforms and annotations are kept', async (t) => {
  const [dir, out] = [join(testDir(t), 'in'), join(testDir(t), 'out')];
  const [amd, arm] = [imageOf(dir, AMD, 'a'), imageOf(dir, ARM, 'b')];
  const armOf = (variant: string) => ({
    // The config does not say which variant it is, as in many images.
    ...imageOf(dir, { os: 'linux', architecture: 'arm' }, variant),
    platform: { os: 'linux', architecture: 'arm', variant, 'os.features': [variant] },
  });
  const [v6, v7] = [armOf('v6'), armOf('v7')];
  const inner = putJson(
    dir,
    {
      schemaVersion: 2,
      mediaType: MEDIA.index,
      manifests: [v7, { ...putAttestation(dir, v7.digest) }],
      annotations: { inner: 'i' },
      artifactType: 'x/y',
    },
    MEDIA.index,
  );
  const twice = { ...amd, platform: { ...AMD, variant: 'v2' }, annotations: { again: 'yes' } };
  const reference = putIndex(dir, [arm, { ...inner, annotations: { on: 'nested' } }, amd, v6, twice, inner], 'm', {
    annotations: { vendor: 'v' },
    'x-unknown': { kept: 1 },
  });
  const result = await optimizeAll(reference, `oci:${out}:m`);
  assert.deepEqual(
    result.platforms.map((p) => p.platform),
    ['linux/arm64', 'linux/arm/v7', 'linux/amd64', 'linux/arm/v6'],
  );
  const made = tagged(out, 'm') as Index & Record<string, unknown>;
  assert.deepEqual([made.annotations, made['x-unknown']], [{ vendor: 'v' }, { kept: 1 }]);
  assert.deepEqual(
    made.manifests.map((d) => [d.mediaType, d.platform, d.annotations]),
    [
      [MEDIA.manifest, ARM, undefined],
      [MEDIA.index, undefined, { on: 'nested' }],
      [MEDIA.manifest, AMD, undefined],
      [MEDIA.manifest, v6.platform, undefined],
      [MEDIA.manifest, { ...AMD, variant: 'v2' }, { again: 'yes' }],
      [MEDIA.index, undefined, undefined],
    ],
  );
  const digests = made.manifests.map((d) => d.digest);
  assert.equal(digests[2], digests[4]);
  assert.equal(digests[1], digests[5]);
  for (const i of [0, 2, 3]) assertLazy(out, made.manifests[i]!);
  const nested = readJson<Index & Record<string, unknown>>(out, digests[1]!);
  assert.deepEqual([nested.annotations, nested.artifactType], [{ inner: 'i' }, 'x/y']);
  assertLazy(out, nested.manifests[0]!);
  assert.deepEqual(nested.manifests[0]!.platform, v7.platform);
  assert.equal(nested.manifests[1]!.annotations?.[ABOUT], nested.manifests[0]!.digest);
  await assertVerified(reference, `oci:${out}:m`);
});

test("Docker's manifest lists and manifests become OCI's; data and urls of what was rewritten go", async (t) => {
  const [dir, out] = [join(testDir(t), 'in'), join(testDir(t), 'out')];
  const docker = [AMD, ARM].map((platform) => {
    const { manifest } = buildLayout(dir, {
      platform,
      media: 'docker',
      layers: [tarOf(file('a', platform.architecture))],
    });
    const data = readBlob(dir, manifest.digest).toString('base64');
    return { ...unnamed(manifest), data, urls: ['https://example.com/manifest'] };
  });
  const reference = putIndex(dir, docker, 'm', { mediaType: MEDIA.dockerManifestList });
  await optimizeAll(reference, `oci:${out}:m`);
  const made = tagged(out, 'm');
  assert.equal(made.mediaType, MEDIA.index);
  assert.equal(tableOf(out).manifests[0]!.mediaType, MEDIA.index);
  for (const descriptor of made.manifests) {
    assertLazy(out, descriptor);
    assert.equal(readJson<Manifest>(out, descriptor.digest).mediaType, MEDIA.manifest);
    assert.deepEqual(Object.keys(descriptor).sort(), ['digest', 'mediaType', 'platform', 'size']);
  }
  await assertVerified(reference, `oci:${out}:m`);
});

test('images of other systems and with foreign layers are kept as they are, their attestations and signatures with them', async (t) => {
  const [dir, out] = [join(testDir(t), 'in'), join(testDir(t), 'out')];
  const amd = imageOf(dir, AMD, 'a');
  const windows = { os: 'windows', architecture: 'amd64', 'os.version': '10.0.20348.1' };
  const there = putBlob(dir, Buffer.from('stored although it is foreign'), FOREIGN);
  const layers = [
    { mediaType: FOREIGN, digest: `sha256:${'5'.repeat(64)}`, size: 99, urls: ['https://example.com/base'] },
    there,
    putBlob(dir, tarOf(file('Files/x', 'x')), MEDIA.layerTar),
  ];
  const config = (platform: object) =>
    putJson(
      dir,
      { ...platform, rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.digest) } },
      MEDIA.dockerConfig,
    );
  const body = { schemaVersion: 2, mediaType: MEDIA.dockerManifest, layers };
  const win = {
    ...putJson(dir, { ...body, config: config(windows) }, MEDIA.dockerManifest),
    platform: windows,
    urls: ['https://example.com/win'],
  };
  const foreign = { ...putJson(dir, { ...body, config: config(ARM) }, MEDIA.dockerManifest), platform: ARM };
  const about = putAttestation(dir, win.digest);
  const reference = putIndex(dir, [amd, win, foreign, about], 'm');
  const signature = putReferrer(dir, win, SIGNATURE, 'signed');
  const result = await optimizeAll(reference, `oci:${out}:m`);
  const made = tagged(out, 'm');
  assert.deepEqual(made.manifests.slice(1), JSON.parse(JSON.stringify([win, foreign, about])));
  assertLazy(out, made.manifests[0]!);
  assert.deepEqual(
    result.kept.map(({ platform, digest }) => [platform, digest]),
    [
      ['windows/amd64', win.digest],
      ['linux/arm64', foreign.digest],
    ],
  );
  assert.equal(result.warnings.length, 2);
  assert.match(result.warnings[0]!, /windows\/amd64 sha256:\S+ is kept as it is: it is for windows/);
  assert.match(result.warnings[1]!, /linux\/arm64 .* layer 0 \(sha256:5{64}\) is a foreign layer/);
  assert.deepEqual(
    result.referrers.map((r) => [r.digest, r.copiedAs]),
    [[signature.digest, signature.digest]],
  );
  assert.ok(!existsSync(join(out, 'blobs/sha256', '5'.repeat(64))));
  assert.ok(readBlob(out, there.digest).equals(readBlob(dir, there.digest)));
  await assertVerified(reference, `oci:${out}:m`);

  // Such an image alone: nothing to rewrite, and it arrives whole.
  const alone = await optimizeAll(`oci:${dir}@${foreign.digest}`, `oci:${out}:alone`);
  assert.deepEqual([alone.platforms.length, alone.kept.length, alone.manifest!.digest], [0, 1, foreign.digest]);
  assert.equal((await optimizeAll(reference, `oci:${out}:n`, 'windows/amd64')).manifest!.digest, win.digest);
  await assertVerified(`oci:${dir}@${foreign.digest}`, `oci:${out}:alone`);
});

test('manifests in the index that have a subject: attestations and SBOMs follow it, signatures are left out', async (t) => {
  const [dir, out] = [join(testDir(t), 'in'), join(testDir(t), 'out')];
  const amd = imageOf(dir, AMD, 'a');
  const plain = putAttestation(dir, amd.digest);
  const subject = { mediaType: amd.mediaType, digest: amd.digest, size: amd.size };
  const attestation = {
    ...plain,
    ...putJson(dir, { ...readJson<Manifest>(dir, plain.digest), subject }, MEDIA.manifest),
  };
  const sbom = putReferrer(dir, amd, SPDX, 'packages');
  const signature = putReferrer(dir, amd, SIGNATURE, 'signed');
  const chart = putReferrer(dir, imageOf(dir, ARM, 'elsewhere'), SIGNATURE, 'about what is not here');
  const text = { ...putBlob(dir, Buffer.from('no manifest at all'), 'text/plain'), annotations: { is: 'text' } };
  const artifact = putJson(
    dir,
    { mediaType: 'application/vnd.oci.artifact.manifest.v1+json', blobs: [putBlob(dir, Buffer.from('b'), 'x/b')] },
    'application/vnd.oci.artifact.manifest.v1+json',
  );
  writeFileSync(join(dir, 'index.json'), '{"schemaVersion":2,"manifests":[]}');
  const reference = putIndex(dir, [amd, attestation, sbom, signature, chart, text, artifact], 'm');
  const result = await optimizeAll(reference, `oci:${out}:m`);
  const { manifests } = tagged(out, 'm');
  const [image, said, list, ...rest] = manifests;
  assert.deepEqual(rest, JSON.parse(JSON.stringify([chart, text, artifact])));
  for (const one of [said!, list!]) {
    const { subject: now } = readJson<Manifest>(out, one.digest);
    assert.deepEqual(now, { mediaType: MEDIA.manifest, digest: image!.digest, size: image!.size });
  }
  assert.equal(said!.annotations?.[ABOUT], image!.digest);
  assert.equal(list!.artifactType, SPDX);
  assert.equal(String(readBlob(out, artifact.digest).toString('utf8')).includes('x/b'), true);
  assert.deepEqual(
    result.attestations.map((a) => [a.digest, a.copiedAs, a.subject]),
    [[attestation.digest, said!.digest, image!.digest]],
  );
  const named = result.warnings.filter((text) => text.includes(signature.digest));
  assert.match(named.join(), /was not copied: it is over the old digest/);
  await assertVerified(reference, `oci:${out}:m`);
});

test("cosign's tags: the SBOM gets the new image's tag, signature and attestation are named; those of what stays come along", async (t) => {
  const [dir, out] = [join(testDir(t), 'in'), join(testDir(t), 'out')];
  const built = buildIndex(dir, [{ platform: AMD, layers: [tarOf(file('a', 'a'))] }], 'm');
  const amd = built.images[0]!.manifest;
  const payload = (type: string, tag: string) => {
    const config = putJson(dir, { architecture: '', os: '', rootfs: { type: 'layers', diff_ids: [] } }, MEDIA.config);
    const layers = [putBlob(dir, Buffer.from(tag), type)];
    const body = { schemaVersion: 2, mediaType: MEDIA.manifest, config, layers };
    const made = { ...putJson(dir, body, MEDIA.manifest), annotations: { [REF]: tag } };
    addToIndex(dir, made);
    return made;
  };
  const tagOf = (digest: string, suffix: string) => `sha256-${digest.slice(7)}${suffix}`;
  const sbom = payload('text/spdx+json', tagOf(amd.digest, '.sbom'));
  const signature = payload('application/vnd.dev.cosign.simplesigning.v1+json', tagOf(amd.digest, '.sig'));
  const attested = payload('application/vnd.dsse.envelope.v1+json', tagOf(built.index.digest, '.att'));
  const ofSbom = payload('application/vnd.dev.cosign.simplesigning.v1+json', tagOf(sbom.digest, '.sig'));
  const result = await optimizeAll(`oci:${dir}`, `oci:${out}`);
  const now = tableOf(out);
  const image = readJson(out, now.manifests[0]!.digest).manifests[0]!;
  assert.deepEqual(
    now.manifests.slice(1).map((d) => [d.digest, d.annotations?.[REF]]),
    [
      [sbom.digest, tagOf(image.digest, '.sbom')],
      [ofSbom.digest, tagOf(sbom.digest, '.sig')],
    ],
  );
  for (const [left, why] of [
    [signature, /simplesigning.*no longer verify/],
    [attested, /dsse.*no longer verify/],
  ] as const) {
    assert.match(result.warnings.find((text) => text.includes(left.digest)) ?? '', why);
  }
  // It can be read again without a tag, and twice is once; now everything about it still holds.
  const again = await optimizeAll(`oci:${out}`, `oci:${out}:again`);
  assert.equal(again.manifest!.digest, now.manifests[0]!.digest);
  assert.deepEqual(again.warnings, []);
  assert.deepEqual(
    again.referrers.map((r) => [r.digest, r.copiedAs]),
    [sbom, ofSbom].map((d) => [d.digest, d.digest]),
  );
  assert.equal(tableOf(out).manifests.length, 4);
});

test('platforms side by side under one name become an index, which has the name; each can be found by its platform', async (t) => {
  const [dir, out] = [join(testDir(t), 'in'), join(testDir(t), 'out')];
  for (const platform of [AMD, ARM]) {
    const { manifest } = buildLayout(dir, { platform, layers: [tarOf(file('a', platform.architecture))], tag: 'x' });
    // An entry that does not say its platform.
    const { platform: _, ...bare } = manifest;
    const table = tableOf(dir);
    const manifests = table.manifests.map((d) => (d.digest === manifest.digest ? bare : d));
    writeFileSync(join(dir, 'index.json'), JSON.stringify({ ...table, manifests }));
  }
  await optimizeAll(`oci:${dir}:x`, `oci:${out}:y`);
  const table = tableOf(out);
  assert.deepEqual(
    table.manifests.map((d) => [d.mediaType, d.annotations]),
    [[MEDIA.index, { [REF]: 'y' }]],
  );
  const { manifests } = tagged(out, 'y');
  assert.deepEqual(
    manifests.map((d) => [d.platform, d.annotations]),
    [
      [AMD, undefined],
      [ARM, undefined],
    ],
  );
  await assertVerified(`oci:${dir}:x`, `oci:${out}:y`);
});

test('what is not stored is left out, with the attestation about it, and named', async (t) => {
  const [dir, out] = [join(testDir(t), 'in'), join(testDir(t), 'out')];
  const amd = imageOf(dir, AMD, 'a');
  const gone = { ...amd, digest: `sha256:${'7'.repeat(64)}` as const, platform: ARM };
  const reference = putIndex(dir, [gone, amd, putAttestation(dir, gone.digest)], 'm');
  const result = await optimizeAll(reference, `oci:${out}:m`);
  assert.equal(tagged(out, 'm').manifests.length, 1);
  assert.match(result.warnings.join('\n'), /7{64} \(linux\/arm64\) is named by the index, but not stored there/);
  assert.match(result.warnings.join('\n'), /attestation sha256:\S+ is about a manifest that is not stored there/);
  await assertVerified(reference, `oci:${out}:m`);
});

test('encrypted layers and schema 1 are refused; nothing is written', async (t) => {
  const [dir, out] = [join(testDir(t), 'in'), join(testDir(t), 'out')];
  const amd = imageOf(dir, AMD, 'a');
  const config = putJson(
    dir,
    { ...ARM, rootfs: { type: 'layers', diff_ids: [`sha256:${'1'.repeat(64)}`] } },
    MEDIA.config,
  );
  const layers = [putBlob(dir, Buffer.from('secret'), `${MEDIA.layerGzip}+encrypted`)];
  const encrypted = putJson(dir, { schemaVersion: 2, mediaType: MEDIA.manifest, config, layers }, MEDIA.manifest);
  const reference = putIndex(dir, [amd, { ...encrypted, platform: ARM }], 'm');
  await assert.rejects(optimizeAll(reference, `oci:${out}:m`), refused('HL_ERR_IMAGE', /layer 0 .*is encrypted/));
  const signed = 'application/vnd.docker.distribution.manifest.v1+prettyjws';
  const old = putJson(dir, { schemaVersion: 1, name: 'a/b', tag: 'c', fsLayers: [], history: [] }, signed);
  addToIndex(dir, { ...old, annotations: { [REF]: 'old' } });
  for (const platform of [undefined, 'linux/amd64']) {
    await assert.rejects(
      optimizeAll(`oci:${dir}:old`, `oci:${out}:m`, platform),
      refused('HL_ERR_IMAGE', /Docker schema 1 manifest, which is not supported/),
    );
  }
  assert.ok(!existsSync(out));
  // The other platform alone can be had.
  await optimizeAll(reference, `oci:${out}:m`, 'linux/amd64');
});

test('verify names what an index lost, changed or points to wrongly', async (t) => {
  const [dir, out] = [join(testDir(t), 'in'), join(testDir(t), 'out')];
  const [amd, arm] = [imageOf(dir, AMD, 'a'), imageOf(dir, ARM, 'b')];
  const inner = putJson(dir, { schemaVersion: 2, mediaType: MEDIA.index, manifests: [arm] }, MEDIA.index);
  const sbom = putReferrer(dir, amd, SPDX, 'packages');
  writeFileSync(join(dir, 'index.json'), '{"schemaVersion":2,"manifests":[]}');
  const about = putAttestation(dir, amd.digest);
  const reference = putIndex(dir, [amd, inner, about, sbom], 'm', { annotations: { a: 'b' } });
  await optimizeAll(reference, `oci:${out}:m`);
  await assertVerified(reference, `oci:${out}:m`);
  const good = tagged(out, 'm');
  const [one, nested, said, list] = good.manifests as [Descriptor, Descriptor, Descriptor, Descriptor];
  let count = 0;
  const mutant = async (change: Partial<Index> | Descriptor[], want: RegExp): Promise<void> => {
    count += 1;
    const more = Array.isArray(change) ? { manifests: change } : change;
    const broken = putIndex(out, good.manifests, `bad${count}`, { annotations: good.annotations, ...more });
    const { ok, mismatches } = await verifyAll(reference, broken);
    const text = mismatches.map((m) => `${m.message}: ${m.expected} → ${m.found}`).join('\n');
    assert.equal(ok, false, String(want));
    assert.match(text, want);
  };
  await mutant({ annotations: { a: 'c' } }, /members of the index/);
  await mutant({ artifactType: 'x/y' } as Partial<Index>, /members of the index/);
  await mutant([nested, one, said, list], /entry 0 of the index/);
  await mutant([one, nested, list], /no longer lists unknown\/unknown sha256/);
  await mutant([one, said, list], /the image for linux\/arm64 is missing[\s\S]*no longer lists sha256/);
  await mutant([one, nested, said, list, list], /how many manifests/);
  const stale = { ...said, annotations: { ...said.annotations, [ABOUT]: amd.digest } };
  await mutant([one, nested, stale, list], /what is said of entry 2/);
  await mutant([{ ...one, platform: { ...AMD, variant: 'v3' } }, nested, said, list], /linux\/amd64\/v3 was added/);
  await mutant([{ ...one, annotations: { x: 'y' } }, nested, said, list], /what is said of entry 0/);
  await mutant([one, nested, said, sbomAs(out, list, amd)], /digest of entry 3/);
  await mutant([one, { ...nested, ...rewritten(out, nested) }, said, list], /members of index/);
  const { layers } = readJson<Manifest>(out, said.digest);
  writeFileSync(join(out, 'blobs/sha256', layers[0]!.digest.slice(7)), 'not what it was');
  const damaged = await verifyAll(reference, `oci:${out}:m`);
  assert.match(damaged.mismatches.map((m) => m.message).join(), /manifest sha256:\S+: blob sha256/);
});

/** The SBOM with the subject that it had before. */
function sbomAs(dir: string, list: Descriptor, { mediaType, digest, size }: Descriptor): Descriptor {
  const body = { ...readJson<Manifest>(dir, list.digest), subject: { mediaType, digest, size } };
  return { ...list, ...putJson(dir, body, MEDIA.manifest) };
}

function rewritten(dir: string, nested: Descriptor): Descriptor {
  return putJson(dir, { ...readJson<Index>(dir, nested.digest), annotations: { new: 'one' } }, MEDIA.index);
}

test('a layer that two platforms have is made once', async (t) => {
  const [dir, out] = [join(testDir(t), 'in'), join(testDir(t), 'out')];
  const shared = tarOf(file('shared', 'of both'.repeat(1000)));
  const image = (platform: { os: string; architecture: string }, text: string) =>
    unnamed(buildLayout(dir, { platform, layers: [shared, tarOf(file('own', text))], tag: 'part' }).manifest);
  const source = putIndex(dir, [image(AMD, 'a'), image(ARM, 'b')], '1');
  const result = await optimizeAll(source, `oci:${out}:1`);
  const [one, two] = result.platforms.map((platform) => platform.result!.layers);
  assert.deepEqual(
    [one, two].map((layers) => layers!.map((layer) => layer.reused ?? false)),
    [
      [false, false],
      [true, false],
    ],
  );
  assert.equal(one![0]!.digest, two![0]!.digest);
  assert.equal(two![0]!.sameAs, undefined);
  await assertVerified(source, `oci:${out}:1`);
});
