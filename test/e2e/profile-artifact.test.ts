// A profile beside its image in a registry: other tools see it, and `hotlayer run` starts by it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Profile } from '../../src/analyze/types.js';
import { openImage } from '../../src/image/open.js';
import { MEDIA } from '../../src/image/types.js';
import { PROFILE_ARTIFACT, parseStart, START_ANNOTATION } from '../../src/lazy/start-map.js';
import { startRegistry } from '../image/registry-server.js';
import { startProxy } from '../support/registry-proxy.js';
import { documentOf, expectCli } from './cli.js';
import { lackingLazy, lazyImage } from './lazy-image.js';
import { SAYS } from './sample.js';

interface Fetched {
  readonly fetched: { readonly onDemand: number; readonly chunks: number; readonly bytes: number };
}

/** An image and its profile in a registry of its own. */
async function published(t: TestContext) {
  const image = await lazyImage(t);
  const profile = join(image.dir, 'profile.json');
  await expectCli(0, ['profile', '--runs', '2', '-o', profile, image.original]);
  const registry = await startRegistry(t);
  const proxy = await startProxy(t, registry.port);
  const name = `${registry.host}/app`;
  const args = ['optimize', '--plain-http', '-p', profile, '--push-profile', '--json', image.original, `${name}:1`];
  const { platforms, ...single } = documentOf<{ platforms?: object; result: { manifest: { digest: string } } }>(
    await expectCli(0, args),
  );
  assert.equal(platforms, undefined);
  const { digest } = single.result.manifest;
  const list = JSON.parse(skopeo('inspect', '--raw', `docker://${name}:${digest.replace(':', '-')}`));
  const run = async (cache: string, ...more: string[]) => {
    const words = ['run', '--plain-http', '--cache-dir', join(image.dir, cache), '--json', ...more];
    const result = await expectCli(0, [...words, `${proxy.host}/app:1`]);
    assert.match(result.stderr, new RegExp(SAYS.trim().split('\n')[0]!));
    return { ...documentOf<Fetched>(result), stderr: result.stderr };
  };
  return { ...image, name, digest, proxy, profile, run, list };
}

function skopeo(command: string, ...args: string[]): string {
  const tls = command === 'copy' ? '--src-tls-verify=false' : '--tls-verify=false';
  return execFileSync('skopeo', ['--insecure-policy', command, tls, ...args], { encoding: 'utf8' });
}

test('a profile as an artifact: pushed, seen by others, used by run', { skip: lackingLazy() }, async (t) => {
  const { dir, name, digest, proxy, profile, run, list } = await published(t);
  const [listed] = list.manifests as { digest: string; artifactType: string; annotations: Record<string, string> }[];

  await t.test('docker-registry keeps no list: it is under the subject’s tag', () => {
    assert.equal(list.mediaType, MEDIA.index);
    assert.equal(list.manifests.length, 1);
    assert.equal(listed!.artifactType, PROFILE_ARTIFACT);
    assert.ok(listed!.annotations[START_ANNOTATION]);
  });

  await t.test('skopeo shows it and copies it', async () => {
    const manifest = JSON.parse(skopeo('inspect', '--raw', `docker://${name}@${listed!.digest}`));
    assert.equal(manifest.artifactType, PROFILE_ARTIFACT);
    assert.equal(manifest.subject.digest, digest);
    assert.equal(manifest.annotations[START_ANNOTATION], listed!.annotations[START_ANNOTATION]);
    skopeo('copy', '-q', '--preserve-digests', `docker://${name}@${listed!.digest}`, `oci:${join(dir, 'copy')}:p`);
    const blob = join(dir, 'copy/blobs/sha256', manifest.layers[0].digest.slice('sha256:'.length));
    const files = (p: Profile) => p.files.map(({ path, ranges }) => [path, ranges]);
    const [copied, own] = [blob, profile].map((file) => JSON.parse(readFileSync(file, 'utf8')) as Profile);
    assert.deepEqual(files(copied!), files(own!));
  });

  await t.test('run fetches what a start needs, in few requests, and asks for the profile once', async () => {
    await using optimized = await openImage(`docker://${name}:1`);
    assert.equal(optimized.manifest.annotations?.[START_ANNOTATION], undefined, 'the image itself says nothing');
    const sizes = optimized.layers.map(({ descriptor }) => descriptor.size);
    const groups = parseStart(listed!.annotations[START_ANNOTATION]!, sizes);
    const bytes = groups.flatMap(({ pieces }) => pieces).reduce((sum, [, length]) => sum + length, 0);
    const { fetched } = await run('cache');
    assert.ok(fetched.chunks > 0 && fetched.bytes <= bytes * 1.2, `${fetched.bytes} fetched, ${bytes} needed`);
    const asked = proxy.seen.filter(({ url }) => /referrers|sha256-/.test(url)).map(({ method }) => method);
    assert.ok(asked.length >= 2 && asked.length <= 3, String(asked));
    const before = proxy.seen.length;
    await run('cache');
    assert.equal(proxy.seen.length, before, 'the second start asks for nothing');
    // Landmarks alone would bring more.
    proxy.rule = ({ url }) =>
      /referrers|sha256-/.test(url) ? { kind: 'answer', status: 404, headers: {}, body: '' } : undefined;
    const without = await run('cache-without');
    assert.ok(without.fetched.bytes >= fetched.bytes, `${without.fetched.bytes} without, ${fetched.bytes} with`);
  });

  await t.test('a registry with the referrers API is asked nothing else', async () => {
    for (const [how, annotations, manifests] of [
      ['with annotations', listed!.annotations, 0],
      ['without', undefined, 1],
    ] as const) {
      const entry = {
        mediaType: MEDIA.manifest,
        digest: listed!.digest,
        size: sizeIn(list),
        artifactType: PROFILE_ARTIFACT,
      };
      const body = { schemaVersion: 2, mediaType: MEDIA.index, manifests: [{ ...entry, annotations }] };
      proxy.rule = ({ url }) =>
        url.includes('/referrers/')
          ? { kind: 'answer', status: 200, headers: { 'content-type': MEDIA.index }, body: JSON.stringify(body) }
          : undefined;
      const before = proxy.seen.length;
      await run(`cache-api-${manifests}`);
      const asked = proxy.seen.slice(before).map(({ url }) => url);
      assert.equal(asked.filter((url) => url.includes('/referrers/')).length, 1, how);
      assert.deepEqual(
        asked.filter((url) => url.includes('sha256-')),
        [],
        how,
      );
      assert.equal(asked.filter((url) => url.endsWith(`/manifests/${listed!.digest}`)).length, manifests, how);
    }
  });

  await t.test('a list that fails, that lies or that never comes costs nothing but the gain', async () => {
    const lie = { ...listed!, size: sizeIn(list), annotations: { [START_ANNOTATION]: '0:1+99999999999' } };
    const index = JSON.stringify({ schemaVersion: 2, mediaType: MEDIA.index, manifests: [lie] });
    const answers = {
      fails: { kind: 'answer', status: 500, headers: {}, body: 'no' },
      lies: { kind: 'answer', status: 200, headers: { 'content-type': MEDIA.index }, body: index },
    } as const;
    for (const [how, answer] of Object.entries(answers)) {
      proxy.rule = ({ url }) => (/referrers|sha256-/.test(url) ? answer : undefined);
      await run(`cache-${how}`);
    }
    proxy.rule = ({ url }) => (url.includes('/referrers/') ? new Promise(() => {}) : undefined);
    await run('cache-never');
  });
});

function sizeIn(list: { manifests: readonly { size: number }[] }): number {
  return list.manifests[0]!.size;
}

test('--push-profile where it cannot be', { skip: lackingLazy() }, async (t) => {
  const { dir, original } = await lazyImage(t);
  const args = ['optimize', '--push-profile', original];
  const without = await expectCli(2, [...args, '--no-profile', `oci:${join(dir, 'a')}:1`]);
  assert.match(without.stderr, /--push-profile needs a profile/);
  const archive = await expectCli(2, [...args, `docker-archive:${join(dir, 'a.tar')}:a:1`]);
  assert.match(archive.stderr, /no place for a profile beside the image/);
});
