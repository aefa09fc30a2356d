// An image made for hotlayer's own reader: what it says of its start is true, and a start fetches that and little else.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { openImage } from '../../src/image/open.js';
import { parseStart, START_ANNOTATION } from '../../src/lazy/start-map.js';
import { documentOf, expectCli } from './cli.js';
import { lackingLazy, lazyImage, serve } from './lazy-image.js';
import { SAYS } from './sample.js';

test('optimize --reader hotlayer, verify, run', { skip: lackingLazy() }, async (t) => {
  const image = await lazyImage(t);
  const profile = join(image.dir, 'profile.json');
  const target = `oci:${join(image.dir, 'start')}:1`;
  await expectCli(0, ['profile', '--runs', '2', '-o', profile, image.original]);
  await expectCli(0, ['optimize', '--reader', 'hotlayer', '-p', profile, image.original, target]);
  await expectCli(0, ['verify', image.original, target]);

  await using optimized = await openImage(target);
  const { annotations = {}, layers } = optimized.manifest;
  const sizes = layers.map(({ size }) => size);
  const groups = parseStart(annotations[START_ANNOTATION]!, sizes);
  const bytes = groups.flatMap(({ pieces }) => pieces).reduce((sum, [, length]) => sum + length, 0);
  const whole = sizes.reduce((a, b) => a + b, 0);
  assert.ok(bytes > 0 && bytes < whole / 2, `${bytes} of ${whole} bytes`);

  const { reference, proxy } = await serve(t, target);
  const run = async (...more: string[]) => {
    const cache = join(image.dir, 'cache');
    return documentOf<{ fetched: { onDemand: number; chunks: number; bytes: number } }>(
      await expectCli(0, ['run', '--plain-http', '--cache-dir', cache, '--json', ...more, reference]),
    );
  };
  const { fetched } = await run();
  assert.ok(fetched.chunks > 0, JSON.stringify(fetched));
  assert.ok(fetched.bytes <= bytes * 1.2, `${fetched.bytes} bytes were fetched, ${bytes} are said to be needed`);
  const blobs = proxy.seen.filter(({ url }) => url.includes('/blobs/'));
  // Each TOC by exactly its place, so that nothing has to be asked for twice.
  const tails = layers.map(({ size, annotations: own }) => `bytes=${own!['io.hotlayer.toc-offset']}-${size - 1}`);
  for (const tail of tails)
    assert.ok(
      blobs.some(({ headers }) => headers.range === tail),
      tail,
    );
  const before = proxy.seen.length;
  await run();
  assert.equal(proxy.seen.length, before, 'the second start asks for nothing');

  // An image that was made for others afterwards says nothing any more.
  const plain = `oci:${join(image.dir, 'plain')}:1`;
  await expectCli(0, ['optimize', '--no-profile', target, plain]);
  await using remade = await openImage(plain);
  const kept = [remade.manifest.annotations, ...remade.manifest.layers.map((layer) => layer.annotations)];
  assert.ok(!JSON.stringify(kept).includes('io.hotlayer'), JSON.stringify(kept));
});

test('a start that is said wrongly is fetched as it is needed, and nothing of it believed', {
  skip: lackingLazy(),
}, async (t) => {
  const image = await lazyImage(t);
  for (const [name, text, said] of [
    ['nonsense', 'x', /LAYER:OFFSET/],
    ['not whole members', '0:3+5', /not whole members/],
  ] as const) {
    const { reference, proxy } = await serve(t, image.optimized);
    proxy.rule = () => undefined;
    await using original = await openImage(image.optimized);
    const manifest = { ...original.manifest, annotations: { [START_ANNOTATION]: text } };
    proxy.rule = ({ url, method }) =>
      method === 'GET' && url.includes('/manifests/')
        ? {
            kind: 'answer',
            status: 200,
            headers: { 'content-type': 'application/vnd.oci.image.manifest.v1+json' },
            body: JSON.stringify(manifest),
          }
        : undefined;
    const args = ['run', '--plain-http', '--cache-dir', join(image.dir, `cache-${name}`), reference];
    const { stdout, stderr } = await expectCli(0, args);
    assert.equal(stdout, SAYS, name);
    assert.match(stderr, said, name);
  }
});
