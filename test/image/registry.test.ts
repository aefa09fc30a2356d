// Images into and out of Debian's docker-registry, with skopeo on the other side.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import {
  type BlobProgress,
  MEDIA,
  openImage,
  openIndex,
  openRepository,
  openSink,
  sha256,
} from '../../src/image/index.js';
import { addToIndex, buildLayout, putJson } from '../support/layout.js';
import { refused } from '../support/refused.js';
import { startProxy } from '../support/registry-proxy.js';
import { file, tarOf } from '../support/tar.js';
import { testDir } from '../support/temp.js';
import { lacking } from '../support/tools.js';
import { startRegistry, storedTag } from './registry-server.js';
import { putImage } from './sink-image.js';

const skip = lacking('docker-registry', 'skopeo');

const skopeo = (...args: string[]) =>
  execFileSync('skopeo', ['--insecure-policy', ...args], { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });

const TARS = [tarOf(file('a', randomBytes(300_000))), tarOf(file('b', 'beta'.repeat(50_000)))];

async function digestOfStream(stream: AsyncIterable<unknown>): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of stream) hash.update(chunk as Buffer);
  return `sha256:${hash.digest('hex')}`;
}

test('what skopeo pushed is read by tag and by digest, every layer whole', { skip }, async (t) => {
  const registry = await startRegistry(t);
  const built = buildLayout(join(testDir(t), 'l'), { layers: TARS, config: { config: { Cmd: ['/a'] } } });
  skopeo('copy', '--dest-tls-verify=false', built.reference, `docker://${registry.host}/team/app:1`);
  for (const name of [
    `${registry.host}/team/app:1`,
    `docker://${registry.host}/team/app:1`,
    `${registry.host}/team/app@${built.manifest.digest}`,
  ]) {
    await using image = await openImage(name);
    assert.equal(image.descriptor.digest, built.manifest.digest);
    assert.deepEqual(image.config.config?.Cmd, ['/a']);
    assert.deepEqual(
      image.layers.map((layer) => layer.diffId),
      built.diffIds,
    );
    for (const layer of image.layers) assert.equal(await digestOfStream(layer.open()), layer.descriptor.digest);
  }
});

test('what is not there', { skip }, async (t) => {
  const registry = await startRegistry(t);
  const name = `${registry.host}/team/app`;
  await assert.rejects(openImage(`${name}:1`), refused('HL_ERR_NOT_FOUND', 'tag "1"', registry.host));
  await assert.rejects(openImage(`${name}@sha256:${'0'.repeat(64)}`), refused('HL_ERR_NOT_FOUND', '0000'));
  const closed = `127.0.0.1:${1}`;
  await assert.rejects(openImage(`${closed}/a:1`), refused('HL_ERR_NETWORK', closed, /ECONNREFUSED/));
});

test('what is pushed is copied by skopeo without a change; the tag comes last', { skip }, async (t) => {
  const registry = await startRegistry(t);
  const target = `${registry.host}/team/app:1-hot`;
  const sink = await openSink(target);
  const manifest = await putImage(sink, 'one');
  assert.equal(storedTag(registry, 'team/app', '1-hot'), undefined);
  await sink.commit(manifest);
  await sink.abort();
  assert.equal(storedTag(registry, 'team/app', '1-hot'), manifest.digest);
  const out = join(testDir(t), 'out');
  skopeo('copy', '--preserve-digests', '--src-tls-verify=false', `docker://${target}`, `oci:${out}:x`);
  await using image = await openImage(`oci:${out}:x`);
  assert.equal(image.descriptor.digest, manifest.digest);
  assert.deepEqual(
    image.layers.map((layer) => layer.descriptor.annotations?.seed),
    ['one', 'one'],
  );
  for (const layer of image.layers) assert.equal(await digestOfStream(layer.open()), layer.descriptor.digest);

  const other = await openSink(target);
  await putImage(other, 'two');
  await other.abort();
  assert.equal(storedTag(registry, 'team/app', '1-hot'), manifest.digest, 'aborted: the tag stays');
});

test('blobs that are there are not sent again, those of a repository beside are mounted', { skip }, async (t) => {
  const registry = await startRegistry(t);
  const built = buildLayout(join(testDir(t), 'l'), { layers: TARS });
  skopeo('copy', '--dest-tls-verify=false', built.reference, `docker://${registry.host}/from:1`);
  await using image = await openImage(`${registry.host}/from:1`);
  const seen: BlobProgress[] = [];
  const sink = await openSink(`${registry.host}/to:1`, {
    mountFrom: [`${registry.host}/from:1`, 'elsewhere.example/x:1'],
    registry: { onProgress: (progress) => seen.push(progress) },
  });
  for (const layer of image.layers) await sink.copyBlob(layer.descriptor, () => assert.fail('is mounted, not read'));
  await sink.copyBlob(image.manifest.config, () => assert.fail('is mounted, not read'));
  await sink.putBytes(readFileSync(join(registry.root, blobFile(image.descriptor.digest))));
  await sink.commit(image.descriptor);
  assert.deepEqual(
    seen.map(({ skipped }) => skipped),
    ['mounted', 'mounted', 'mounted'],
  );
  assert.equal(storedTag(registry, 'to', '1'), image.descriptor.digest);

  seen.length = 0;
  const again = await openSink(`${registry.host}/to:2`, { registry: { onProgress: (p) => seen.push(p) } });
  for (const layer of image.layers) await again.copyBlob(layer.descriptor, () => assert.fail('is there, not read'));
  await again.commit(image.descriptor);
  assert.deepEqual(
    seen.map(({ skipped }) => skipped),
    ['present', 'present'],
  );
  assert.equal(storedTag(registry, 'to', '2'), image.descriptor.digest);
});

function blobFile(digest: string): string {
  const hex = digest.slice(7);
  return `docker/registry/v2/blobs/sha256/${hex.slice(0, 2)}/${hex}/data`;
}

test('a blob is streamed from one registry to another and checked on the way', { skip }, async (t) => {
  const [from, to] = [await startRegistry(t), await startRegistry(t)];
  const built = buildLayout(join(testDir(t), 'l'), { layers: TARS });
  skopeo('copy', '--dest-tls-verify=false', built.reference, `docker://${from.host}/a:1`);
  await using image = await openImage(`${from.host}/a:1`);
  const sink = await openSink(`${to.host}/b:1`);
  for (const layer of image.layers) await sink.copyBlob(layer.descriptor, () => layer.open());
  const [first] = image.layers;
  const wrong = { ...first!.descriptor, digest: sha256(Buffer.from('other')) };
  await assert.rejects(
    sink.copyBlob(wrong, () => first!.open()),
    refused('HL_ERR_DIGEST', wrong.digest),
  );
  await sink.abort();
  await using repository = closing(await openRepository({ host: to.host, repository: 'b' }, 'pull'));
  for (const { descriptor } of image.layers)
    assert.ok(await repository.value.hasBlob(descriptor.digest, descriptor.size));
  assert.ok(!(await repository.value.hasBlob(wrong.digest, wrong.size)));
});

function closing<T extends { close(): Promise<void> }>(value: T): { value: T } & AsyncDisposable {
  return { value, [Symbol.asyncDispose]: () => value.close() };
}

test('large blobs go in chunks, small ones in one request', { skip }, async (t) => {
  const registry = await startRegistry(t);
  const bytes = randomBytes(1_000_000);
  const rows: [number, number][] = [
    [1_000_000, 0],
    [300_000, 4],
    [250_000, 4],
    [999_999, 2],
  ];
  for (const [chunkSize, patches] of rows) {
    const repository = `chunks/${chunkSize}`;
    await using r = closing(await openRepository({ host: registry.host, repository }, 'pull,push', { chunkSize }));
    const digest = sha256(bytes);
    const open = (start: number, end: number) => readableOf(bytes.subarray(start, end));
    assert.equal(await r.value.pushBlob({ digest, size: bytes.length, open }), 'uploaded');
    assert.equal(await r.value.pushBlob({ digest, size: bytes.length, open }), 'present');
    const stored = r.value.openBlob({ mediaType: '', digest, size: bytes.length });
    assert.equal(await digestOfStream(stored), digest);
    const sent = registry
      .log()
      .split('\n')
      .filter((l) => /"PATCH|method=PATCH/.test(l) && l.includes(repository));
    assert.equal(new Set(sent.filter((l) => l.includes('response completed'))).size, patches, `chunks of ${chunkSize}`);
  }
});

function readableOf(bytes: Buffer) {
  return Readable.from([bytes], { objectMode: false });
}

test('an index is pushed with all its manifests, and read by platform', { skip }, async (t) => {
  const registry = await startRegistry(t);
  const dir = join(testDir(t), 'l');
  const platforms = ['amd64', 'arm64'].map((architecture) => ({ os: 'linux', architecture }));
  const built = platforms.map((platform) =>
    buildLayout(dir, { layers: [tarOf(file('arch', platform.architecture))], platform, tag: platform.architecture }),
  );
  const manifests = built.map(({ manifest: { annotations: _, ...rest } }) => rest);
  const index = putJson(dir, { schemaVersion: 2, mediaType: MEDIA.index, manifests }, MEDIA.index);
  addToIndex(dir, { ...index, annotations: { 'org.opencontainers.image.ref.name': 'all' } });

  const sink = await openSink(`${registry.host}/multi:1`);
  const blob = (digest: string) => readFileSync(join(dir, 'blobs/sha256', digest.slice(7)));
  for (const b of built)
    for (const d of [b.config, ...b.layers, b.manifest, index]) await sink.putBytes(blob(d.digest));
  await sink.commit(index);
  assert.equal(storedTag(registry, 'multi', '1'), index.digest);
  for (const [i, { architecture }] of platforms.entries()) {
    await using image = await openImage(`${registry.host}/multi:1`, { platform: `linux/${architecture}` });
    assert.equal(image.descriptor.digest, built[i]!.manifest.digest);
    assert.equal(image.config.architecture, architecture);
  }
  await using one = await openImage(`${registry.host}/multi@${built[1]!.manifest.digest}`);
  assert.equal(one.config.architecture, 'arm64');
  const raw = skopeo('inspect', '--raw', '--tls-verify=false', `docker://${registry.host}/multi:1`);
  assert.equal(sha256(Buffer.from(raw)), index.digest);
});

test('pieces of a blob', { skip }, async (t) => {
  const registry = await startRegistry(t);
  const bytes = gzipSync(randomBytes(50_000));
  await using r = closing(await openRepository({ host: registry.host, repository: 'p' }, 'pull,push'));
  const digest = sha256(bytes);
  await r.value.pushBlob({ digest, size: bytes.length, open: (a, b) => readableOf(bytes.subarray(a, b)) });
  const rows: [number, number][] = [
    [0, 8],
    [100, 1],
    [bytes.length - 5, 5],
    [bytes.length - 5, 500],
    [0, bytes.length + 9],
    [bytes.length, 10],
  ];
  for (const [start, length] of rows) {
    const piece = await r.value.readPiece(digest, start, length);
    assert.deepEqual(piece.bytes, bytes.subarray(start, start + length), `${start}+${length}`);
    assert.equal(piece.total, bytes.length);
  }
  await assert.rejects(r.value.readPiece(sha256(Buffer.from('no')), 0, 8), refused('HL_ERR_NOT_FOUND'));
});

test('no more blobs at once than allowed; progress is told for each', { skip }, async (t) => {
  const registry = await startRegistry(t);
  const tars = Array.from({ length: 6 }, (_, i) => tarOf(file(`f${i}`, randomBytes(200_000))));
  const built = buildLayout(join(testDir(t), 'l'), { layers: tars });
  let [now, most] = [0, 0];
  const proxy = await startProxy(t, registry.port, async (r) => {
    if (r.method !== 'PUT' || !r.url.includes('/uploads/')) return undefined;
    most = Math.max(most, ++now);
    await new Promise((resolve) => setTimeout(resolve, 50));
    now -= 1;
    return undefined;
  });
  const seen: BlobProgress[] = [];
  const options = { parallel: 3, onProgress: (p: BlobProgress) => seen.push(p) };
  await using index = await openIndex(built.reference);
  const sink = await openSink(`${proxy.host}/a:1`, { registry: options });
  const blobs = [...built.layers, built.config];
  await Promise.all(blobs.map((blob) => sink.copyBlob(blob, () => index.openBlob(blob))));
  await sink.putBytes(await index.readManifest(built.manifest));
  await sink.commit(built.manifest);
  assert.equal(most, 3);

  await using image = await openImage(`${proxy.host}/a:1`, { registry: options });
  for (const layer of image.layers) await digestOfStream(layer.open());
  for (const [direction, expected] of [
    ['upload', blobs],
    ['download', built.layers],
  ] as const) {
    for (const { digest, size } of expected) {
      const bytes = seen.filter((p) => p.direction === direction && p.digest === digest).map((p) => p.bytes);
      assert.ok(bytes.length > 0, `${direction} ${digest}`);
      assert.deepEqual(
        bytes,
        [...bytes].sort((a, b) => a - b),
      );
      assert.equal(bytes.at(-1), size);
    }
  }
});
