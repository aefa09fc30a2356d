// Images that skopeo and umoci made are read; what is written is read by them.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { openImage, openSink, sha256, withLayers } from '../../src/image/index.js';
import { addToIndex, buildLayout, putJson } from '../support/layout.js';
import { dir as dirEntry, file, symlink, tarOf } from '../support/tar.js';
import { testDir } from '../support/temp.js';
import { lacking } from '../support/tools.js';

const skopeo = (...args: string[]) =>
  execFileSync('skopeo', ['--insecure-policy', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
const TARS = [
  tarOf(dirEntry('etc/'), file('etc/a', 'alpha')),
  tarOf(file('etc/b', 'beta'.repeat(50_000)), symlink('l', 'etc/b')),
];

/** Reads every layer to its end, decompresses it and checks it against its diff_id. */
async function check(reference: string): Promise<{ diffIds: string[]; compression: string; digest: string }> {
  await using image = await openImage(reference);
  for (const layer of image.layers) {
    const parts: Buffer[] = [];
    for await (const chunk of layer.open()) parts.push(chunk as Buffer);
    const bytes = Buffer.concat(parts);
    assert.equal(sha256(layer.compression === 'gzip' ? gunzipSync(bytes) : bytes), layer.diffId);
  }
  return {
    diffIds: image.layers.map((layer) => layer.diffId),
    compression: image.layers.map((layer) => layer.compression).join(),
    digest: image.descriptor.digest,
  };
}

test('reads every form that skopeo writes', { skip: lacking('skopeo') }, async (t) => {
  const dir = testDir(t);
  const built = buildLayout(join(dir, 'src'), { layers: TARS, config: { config: { Cmd: ['/l'] } } });
  const rows: [string, string][] = [
    ['oci:l1:v', 'gzip,gzip'],
    ['oci:l2', 'gzip,gzip'],
    ['oci-archive:o.tar:v', 'gzip,gzip'],
    ['docker-archive:d.tar:me/app:1', 'none,none'],
    ['docker-archive:e.tar', 'none,none'],
  ];
  for (const [target, compression] of rows) {
    const [, scheme, path] = /^([a-z-]+:)(.*)$/.exec(target)!;
    const reference = `${scheme}${join(dir, path!)}`;
    skopeo('copy', built.reference, reference);
    const found = await check(reference);
    assert.deepEqual(found.diffIds, built.diffIds, target);
    assert.equal(found.compression, compression, target);
  }
  execFileSync('gzip', ['-k', join(dir, 'd.tar')]);
  assert.deepEqual((await check(join(dir, 'd.tar.gz'))).diffIds, built.diffIds);
});

test('skopeo copies every form that is written, without a change', { skip: lacking('skopeo') }, async (t) => {
  const dir = testDir(t);
  for (const media of ['oci', 'docker'] as const) {
    for (const gzip of [true, false]) {
      const built = buildLayout(join(dir, `src-${media}-${gzip}`), {
        layers: TARS,
        media,
        gzip,
        annotations: { note: 'n' },
      });
      await using image = await openImage(built.reference);
      const made = withLayers(
        image,
        image.layers.map(({ descriptor, diffId }) => ({ descriptor, diffId })),
      );
      for (const target of [
        `oci:${dir}/o-${media}-${gzip}:t`,
        `oci-archive:${dir}/o.tar:t`,
        `docker-archive:${dir}/d.tar:me/app:1`,
      ]) {
        const sink = await openSink(target, { fsync: false });
        for (const layer of image.layers) await sink.copyBlob(layer.descriptor, () => layer.open());
        await sink.putBytes(made.configBytes);
        await sink.putBytes(made.manifestBytes);
        await sink.commit(made.descriptor);

        const inspected = JSON.parse(skopeo('inspect', target).toString()) as { Layers: string[] };
        const docker = target.startsWith('docker-archive');
        assert.deepEqual(
          inspected.Layers,
          docker ? image.config.rootfs.diff_ids : built.layers.map((layer) => layer.digest),
        );
        const copy = `oci:${dir}/copy-${media}-${gzip}-${docker}-${target.includes('archive')}:t`;
        skopeo('copy', ...(docker ? [] : ['--preserve-digests']), target, copy);
        const found = await check(copy);
        assert.deepEqual(found.diffIds, built.diffIds);
        if (!docker) assert.equal(found.digest, made.descriptor.digest);
      }
    }
  }
});

test('a multi-platform layout that skopeo copied with --all', { skip: lacking('skopeo') }, async (t) => {
  const dir = testDir(t);
  const layout = join(dir, 'src');
  const made = ['amd64', 'arm64'].map((architecture) => {
    const built = buildLayout(layout, {
      layers: [tarOf(file('arch', architecture))],
      tag: 'x',
      platform: { os: 'linux', architecture },
    });
    const { annotations: _, ...descriptor } = built.manifest;
    return descriptor;
  });
  const type = 'application/vnd.oci.image.index.v1+json';
  const index = putJson(layout, { schemaVersion: 2, mediaType: type, manifests: made }, type);
  writeFileSync(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [] }));
  addToIndex(layout, { ...index, annotations: { 'org.opencontainers.image.ref.name': 'multi' } });
  skopeo('copy', '--all', `oci:${layout}:multi`, `oci:${dir}/copy:multi`);
  for (const [i, architecture] of ['amd64', 'arm64'].entries()) {
    await using image = await openImage(`oci:${dir}/copy:multi`, { platform: `linux/${architecture}` });
    assert.equal(image.descriptor.digest, made[i]!.digest);
    assert.equal(image.config.architecture, architecture);
  }
});

test('umoci: its layouts are read, and it adds to and unpacks ours', { skip: lacking('umoci') }, async (t) => {
  const dir = testDir(t);
  const layout = join(dir, 'l');
  const umoci = (...args: string[]) => execFileSync('umoci', args, { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] });
  umoci('init', '--layout', layout);
  umoci('new', '--image', `${layout}:a`);
  mkdirSync(join(dir, 'tree'));
  writeFileSync(join(dir, 'tree', 'f'), 'umoci made this');
  umoci('insert', '--rootless', '--image', `${layout}:a`, 'tree', '/tree');
  const { diffIds } = await check(`oci:${layout}:a`);
  assert.equal(diffIds.length, 1);

  await using image = await openImage(`oci:${layout}:a`);
  const made = withLayers(
    image,
    image.layers.map(({ descriptor, diffId }) => ({ descriptor, diffId })),
  );
  const sink = await openSink(`oci:${layout}:b`, { fsync: false });
  for (const layer of image.layers) await sink.copyBlob(layer.descriptor, () => layer.open());
  await sink.putBytes(made.configBytes);
  await sink.putBytes(made.manifestBytes);
  await sink.commit(made.descriptor);

  assert.deepEqual(umoci('ls', '--layout', layout).toString().trim().split('\n').sort(), ['a', 'b']);
  umoci('insert', '--rootless', '--image', `${layout}:b`, 'tree', '/more');
  assert.equal((await check(`oci:${layout}:b`)).diffIds.length, 2);
  umoci('unpack', '--rootless', '--image', `${layout}:b`, 'bundle');
  assert.equal(readFileSync(join(dir, 'bundle/rootfs/more/f'), 'utf8'), 'umoci made this');
});
