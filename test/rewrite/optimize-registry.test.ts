// Whole indexes from and to a registry: Debian's docker-registry, which has no referrers API, so that lists are kept
// under tags; and the same behind a proxy that has one.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openIndex } from '../../src/image/open-index.js';
import { type Descriptor, type Index, type Manifest, MEDIA } from '../../src/image/types.js';
import { startRegistry, storedTag, type TestRegistry } from '../image/registry-server.js';
import { type BuiltIndex, buildIndex, putReferrer } from '../support/index-layout.js';
import { startProxy } from '../support/registry-proxy.js';
import { file, tarOf } from '../support/tar.js';
import { testDir } from '../support/temp.js';
import { lacking } from '../support/tools.js';
import { optimizeAll, readBlob, verifyAll } from './index-bench.js';

const skip = lacking('docker-registry', 'skopeo');
const AMD = { os: 'linux', architecture: 'amd64' };
const ARM = { os: 'linux', architecture: 'arm64', variant: 'v8' };
const SIGNATURE = 'application/vnd.dev.cosign.artifact.sig.v1+json';
const SPDX = 'application/spdx+json';

const skopeo = (...args: string[]) =>
  execFileSync('skopeo', ['--insecure-policy', ...args], { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });

/** An index of two platforms with attestations, pushed by skopeo. */
function pushed(t: TestContext, host: string): BuiltIndex & { dir: string; name: string } {
  const dir = join(testDir(t), 'in');
  const built = buildIndex(dir, [
    { platform: AMD, layers: [tarOf(file('a', 'amd')), tarOf(file('b', 'b'.repeat(9_000)))] },
    { platform: ARM, layers: [tarOf(file('a', 'arm')), tarOf(file('b', 'b'.repeat(9_000)))] },
  ]);
  skopeo('copy', '-q', '--all', '--dest-tls-verify=false', built.reference, `docker://${host}/team/app:1`);
  return { ...built, dir, name: `${host}/team/app` };
}

/** Under any reference, as a client would. */
async function put(name: string, dir: string, { digest, mediaType }: Descriptor, reference: string): Promise<void> {
  const [host, ...path] = name.split('/');
  const manifest = JSON.parse(String(readBlob(dir, digest))) as Manifest;
  for (const blob of [manifest.config, ...manifest.layers]) {
    const started = await fetch(`http://${host}/v2/${path.join('/')}/blobs/uploads/`, { method: 'POST' });
    const location = `${started.headers.get('location')}&digest=${blob.digest}`;
    assert.equal((await fetch(location, { method: 'PUT', body: readBlob(dir, blob.digest) })).status, 201);
  }
  await putRaw(name, reference, mediaType, readBlob(dir, digest));
}

async function putRaw(name: string, reference: string, mediaType: string, body: Buffer | string): Promise<void> {
  const [host, ...path] = name.split('/');
  const url = `http://${host}/v2/${path.join('/')}/manifests/${reference}`;
  assert.equal((await fetch(url, { method: 'PUT', headers: { 'content-type': mediaType }, body })).status, 201);
}

async function get<T>(name: string, reference: string): Promise<T> {
  return JSON.parse(skopeo('inspect', '--raw', '--tls-verify=false', `docker://${name}${reference}`)) as T;
}

const tagOf = (digest: string, suffix = '') => `sha256-${digest.slice(7)}${suffix}`;

test('an index in a registry becomes one in the registry; skopeo copies it, and it verifies', { skip }, async (t) => {
  const registry = await startRegistry(t);
  const { name, dir, reference } = pushed(t, registry.host);
  const result = await optimizeAll(`${name}:1`, `${name}:1-hot`);
  assert.equal(storedTag(registry, 'team/app', '1-hot'), result.manifest!.digest);
  const made = await get<Index>(name, ':1-hot');
  assert.equal(made.mediaType, MEDIA.index);
  assert.deepEqual(
    made.manifests.map((d) => d.platform),
    [AMD, ARM, { architecture: 'unknown', os: 'unknown' }, { architecture: 'unknown', os: 'unknown' }],
  );
  assert.deepEqual(
    made.manifests.slice(2).map((d) => d.annotations?.['vnd.docker.reference.digest']),
    made.manifests.slice(0, 2).map((d) => d.digest),
  );
  assert.ok((await verifyAll(`${name}:1`, `${name}:1-hot`)).ok);
  assert.ok((await verifyAll(reference, `${name}:1-hot`)).ok);
  // Another tool brings it to disk with every blob.
  skopeo('copy', '-q', '--all', '--src-tls-verify=false', `docker://${name}:1-hot`, `oci:${dir}-back:b`);
  assert.ok((await verifyAll(reference, `oci:${dir}-back:b`)).ok);
  // And into another repository from the layout: the same bytes.
  const other = `${registry.host}/other/app:1`;
  assert.equal((await optimizeAll(reference, other)).manifest!.digest, result.manifest!.digest);
});

test('zstd layers and Docker manifest lists, as skopeo writes them, become OCI indexes of eStargz', {
  skip,
}, async (t) => {
  const registry = await startRegistry(t);
  const dir = join(testDir(t), 'in');
  const rows: [string, string[], RegExp, RegExp][] = [
    ['zstd', ['--dest-compress-format', 'zstd'], /oci\.image\.index/, /tar\+zstd$/],
    ['docker', ['--format', 'v2s2'], /docker\.distribution\.manifest\.list/, /docker\.image\.rootfs\.diff/],
  ];
  for (const [tag, flags, indexType, layerType] of rows) {
    const platforms = [AMD, ARM].map((platform) => ({
      platform,
      // Content of its own: skopeo would take the other row's blob for it.
      layers: [tarOf(file(tag, platform.architecture.repeat(3_000)))],
      attested: false,
      // Plain: skopeo compresses what is not compressed.
      gzip: false,
    }));
    const { reference } = buildIndex(join(dir, tag), platforms);
    const name = `${registry.host}/team/${tag}`;
    skopeo('copy', '-q', '--all', '--dest-tls-verify=false', ...flags, reference, `docker://${name}:1`);
    const before = await get<Index>(name, ':1');
    assert.match(before.mediaType!, indexType);
    const old = await get<Manifest>(name, `@${before.manifests[0]!.digest}`);
    assert.match(old.layers[0]!.mediaType, layerType);
    await optimizeAll(`${name}:1`, `${name}:1-hot`);
    const made = await get<Index>(name, ':1-hot');
    assert.equal(made.mediaType, MEDIA.index);
    for (const { digest, mediaType } of made.manifests) {
      const { mediaType: own, config, layers } = await get<Manifest>(name, `@${digest}`);
      assert.deepEqual([mediaType, own, config.mediaType], [MEDIA.manifest, MEDIA.manifest, MEDIA.config]);
      assert.equal(layers[0]!.mediaType, MEDIA.layerGzip);
      assert.match(layers[0]!.annotations!['containerd.io/snapshot/stargz/toc.digest']!, /^sha256:/);
    }
    assert.ok((await verifyAll(`${name}:1`, `${name}:1-hot`)).ok);
  }
});

test('without the referrers API: lists under tags are read, and kept for what follows', { skip }, async (t) => {
  const registry = await startRegistry(t);
  const { name, dir, images, index } = pushed(t, registry.host);
  const amd = images[0]!.manifest;
  const sbom = putReferrer(dir, amd, SPDX, 'packages');
  const signature = putReferrer(dir, index, SIGNATURE, 'signed');
  for (const one of [sbom, signature]) await put(name, dir, one, one.digest);
  const list = (manifests: Descriptor[]) => JSON.stringify({ schemaVersion: 2, mediaType: MEDIA.index, manifests });
  await putRaw(name, tagOf(amd.digest), MEDIA.index, list([sbom]));
  await putRaw(name, tagOf(index.digest), MEDIA.index, list([signature]));
  const cosigned = putReferrer(dir, amd, 'text/spdx', 'by tag');
  await put(name, dir, cosigned, tagOf(amd.digest, '.sbom'));
  await put(name, dir, signature, tagOf(amd.digest, '.sig'));

  const result = await optimizeAll(`${name}:1`, `${name}:1-hot`);
  const now = (await get<Index>(name, ':1-hot')).manifests[0]!;
  // The tagged one names its subject, too.
  const tagged = storedTag(registry, 'team/app', tagOf(now.digest, '.sbom'))!;
  const followed = (await get<Index>(name, `:${tagOf(now.digest)}`)).manifests;
  assert.deepEqual(followed.map((d) => d.artifactType).sort(), [SPDX, 'text/spdx']);
  assert.ok(followed.some((d) => d.digest === tagged));
  for (const { digest } of followed) {
    assert.equal((await get<Manifest>(name, `@${digest}`)).subject?.digest, now.digest);
  }
  assert.equal(storedTag(registry, 'team/app', tagOf(now.digest, '.sig')), undefined);
  assert.deepEqual(
    result.referrers.map((r) => [r.artifactType, r.copiedAs !== undefined]).sort(),
    [
      [SIGNATURE, false],
      [SIGNATURE, false],
      [SPDX, true],
      ['text/spdx', true],
    ].sort(),
  );
  // Once more: the list is not doubled.
  await optimizeAll(`${name}:1`, `${name}:1-hot`);
  assert.deepEqual((await get<Index>(name, `:${tagOf(now.digest)}`)).manifests, followed);
  // One platform alone has what is about it, too.
  const alone = await optimizeAll(`${name}:1`, `oci:${dir}-one:x`, 'linux/amd64');
  assert.equal(alone.referrers.filter((r) => r.copiedAs !== undefined).length, 2);
});

test('with the referrers API: every page is read; what the registry notes itself gets no list', { skip }, async (t) => {
  const registry = await startRegistry(t);
  const { name, dir, images } = pushed(t, registry.host);
  const amd = images[0]!.manifest;
  const found = [SPDX, 'application/vnd.cyclonedx+json'].map((type) => putReferrer(dir, amd, type, type));
  for (const one of found) await put(name, dir, one, one.digest);
  const proxy = await startProxy(t, registry.port, ({ method, url }) => {
    const [, subject, page] = /\/referrers\/(sha256:[0-9a-f]{64})(?:\?page=(\d))?$/.exec(url) ?? [];
    if (method === 'PUT' && url.includes('/manifests/')) return { kind: 'headers', headers: { 'oci-subject': 'x' } };
    if (subject === undefined) return undefined;
    const at = Number(page ?? 0);
    const manifests = subject === amd.digest ? found.slice(at, at + 1) : [];
    const link =
      subject === amd.digest && at === 0 ? { link: `</v2/team/app/referrers/${subject}?page=1>; rel="next"` } : {};
    const body = JSON.stringify({ schemaVersion: 2, mediaType: MEDIA.index, manifests });
    return { kind: 'answer', status: 200, headers: { 'content-type': MEDIA.index, ...link }, body };
  });
  const through = `${proxy.host}/team/app`;
  const result = await optimizeAll(`${through}:1`, `${through}:1-hot`);
  assert.deepEqual(
    result.referrers.map((r) => [r.digest, r.copiedAs === undefined]),
    found.map((d) => [d.digest, false]),
  );
  const now = (await get<Index>(name, ':1-hot')).manifests[0]!;
  for (const { copiedAs } of result.referrers) {
    assert.equal((await get<Manifest>(name, `@${copiedAs}`)).subject?.digest, now.digest);
  }
  assert.equal(storedTag(registry, 'team/app', tagOf(now.digest)), undefined);
  // The image's tag is moved when all else is there.
  const puts = proxy.seen.filter((r) => r.method === 'PUT' && r.url.includes('/manifests/')).map((r) => r.url);
  assert.match(puts.at(-1)!, /\/manifests\/1-hot$/);
  assert.equal(puts.filter((url) => url.endsWith('/1-hot')).length, 1);
});

test('a platform that the registry does not have is left out and named', { skip }, async (t) => {
  const registry = await startRegistry(t);
  const { name, index } = pushed(t, registry.host);
  const proxy = await startProxy(t, registry.port);
  const gone = (await get<Index>(name, ':1')).manifests[1]!;
  proxy.rule = ({ url }) =>
    url.endsWith(gone.digest) ? { kind: 'answer', status: 404, body: '{"errors":[]}' } : undefined;
  await using opened = await openIndex(`${proxy.host}/team/app:1`);
  assert.equal(opened.descriptor!.digest, index.digest);
  assert.deepEqual(
    opened.entries.map((entry) => entry.kind),
    ['image', 'absent', 'attestation', 'attestation'],
  );
});

/** So that a registry that fails half-way is never left with a tag on half an image. */
test('an upload that fails leaves the tag where it was', { skip }, async (t) => {
  const registry: TestRegistry = await startRegistry(t);
  const { name } = pushed(t, registry.host);
  const first = await optimizeAll(`${name}:1`, `${name}:1-hot`, 'linux/amd64');
  const proxy = await startProxy(t, registry.port, ({ method, url }) =>
    method === 'PUT' && /\/manifests\/sha256/.test(url)
      ? { kind: 'answer', status: 400, body: '{"errors":[{"code":"MANIFEST_INVALID","message":"no"}]}' }
      : undefined,
  );
  await assert.rejects(optimizeAll(`${name}:1`, `${proxy.host}/team/app:1-hot`), /MANIFEST_INVALID|answered 400/);
  assert.equal(storedTag(registry, 'team/app', '1-hot'), first.manifest!.digest);
});
