// Every kind of source and target, written and read by the command, and by skopeo.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { ImageInspection } from '../../src/rewrite/inspect/inspect.js';
import type { OptimizeResult } from '../../src/rewrite/optimize.js';
import type { VerifyReport } from '../../src/rewrite/verify/findings.js';
import { makeTempDir } from '../../src/temp.js';
import { buildLayout, HOST_ARCHITECTURE } from '../support/layout.js';
import { command } from '../support/mount.js';
import { file, tarOf } from '../support/tar.js';
import { lacking } from '../support/tools.js';
import { documentOf, expectCli } from './cli.js';
import { sampleImage, sampleLayers } from './sample.js';

interface Optimized {
  readonly result?: OptimizeResult;
}

const temp = makeTempDir(undefined, 'hl-e2e-sources');
const at = (name: string) => join(temp.path, name);
after(() => temp.remove());
const cwd = temp.path;

before(() => {
  sampleImage(at('image'));
});

describe('every kind of source and target', () => {
  const targets = ['oci:to-dir:t', 'oci-archive:to.tar:t', 'docker-archive:to-docker.tar:example.org/app:t'];
  test('oci → oci, oci-archive, docker-archive → verify each', async () => {
    for (const target of targets) {
      await expectCli(0, ['optimize', 'oci:image', target, '--no-profile'], { cwd });
      await expectCli(0, ['verify', 'oci:image', target], { cwd });
    }
    assert.ok(readdirSync(cwd).includes('to.tar'));
  });

  test('archives as sources: the same layers come out', async () => {
    const digests = new Set<string>();
    for (const [i, source] of targets.entries()) {
      const run = await expectCli(0, ['optimize', source, `oci:again-${i}`, '--no-profile', '--json'], { cwd });
      const { result } = documentOf<Optimized>(run);
      digests.add(result!.layers.map((layer) => layer.digest).join());
    }
    assert.equal(digests.size, 1);
  });

  test('a bare path is looked at', async () => {
    for (const path of ['image', 'to.tar', 'to-docker.tar']) {
      const doc = documentOf<ImageInspection>(await expectCli(0, ['inspect', path, '--json'], { cwd }));
      assert.equal(doc.layers.length, 3, path);
    }
  });

  test('skopeo reads what we wrote and we read what skopeo wrote', { skip: lacking('skopeo') }, async () => {
    for (const [from, to] of [
      ['oci:image:latest', 'docker-archive:skopeo.tar:app:x'],
      ['oci-archive:to.tar:t', 'oci:from-skopeo:x'],
    ] as const) {
      const { status, stderr } = command('skopeo', ['--insecure-policy', 'copy', '-q', from, to], cwd);
      assert.equal(status, 0, stderr);
    }
    await expectCli(0, ['verify', 'oci:image', 'oci:from-skopeo:x'], { cwd });
    await expectCli(0, ['optimize', 'docker-archive:skopeo.tar', 'oci:by-skopeo:x', '--no-profile'], { cwd });
    await expectCli(0, ['verify', 'docker-archive:skopeo.tar', 'oci:by-skopeo:x'], { cwd });
  });

  test('an image that is added to a layout leaves the others in place', async () => {
    mkdirSync(at('shared'));
    sampleImage(at('shared'), { tag: 'before' });
    await expectCli(0, ['optimize', 'oci:shared:before', 'oci:shared:after', '--no-profile'], { cwd });
    await expectCli(0, ['verify', 'oci:shared:before', 'oci:shared:after'], { cwd });
  });
});

test('the next command is shown as a shell reads it', async () => {
  const { stderr } = await expectCli(0, ['optimize', 'oci:image', "oci:it's a target:t", '--no-profile'], { cwd });
  assert.ok(stderr.includes("Next: hotlayer verify oci:image 'oci:it'\\''s a target:t'\n"), stderr);
});

test('--platform chooses from an index; profiling needs this machine, optimizing does not', async () => {
  const foreign = HOST_ARCHITECTURE === 's390x' ? 'amd64' : 's390x';
  sampleImage(at('multi'));
  buildLayout(at('multi'), {
    layers: [...sampleLayers().slice(0, 1), tarOf(file('only-here', 'x'))],
    platform: { os: 'linux', architecture: foreign },
  });
  const whole = await expectCli(0, ['inspect', 'oci:multi', '--json'], { cwd });
  const { image: own } = documentOf<{ image: ImageInspection }>(whole);
  assert.deepEqual([own.platform.architecture, own.layers.length], [HOST_ARCHITECTURE, 3]);
  const platform = ['--platform', `linux/${foreign}`];
  const other = documentOf<ImageInspection>(
    await expectCli(0, ['inspect', 'oci:multi', '--json', ...platform], { cwd }),
  );
  assert.deepEqual([other.platform.architecture, other.layers.length], [foreign, 2]);
  await expectCli(0, ['optimize', 'oci:multi', 'oci:multi-hot:t', '--no-profile', ...platform], { cwd });
  const report = documentOf<VerifyReport>(
    await expectCli(0, ['verify', 'oci:multi', 'oci:multi-hot:t', '--json', ...platform], { cwd }),
  );
  assert.equal(report.ok, true);
  const missing = await expectCli(3, ['inspect', 'oci:multi', '--platform', 'linux/mips'], { cwd });
  assert.match(missing.stderr, new RegExp(`linux/${foreign}`), 'says which there are');
  assert.equal(missing.stdout, '');
});
