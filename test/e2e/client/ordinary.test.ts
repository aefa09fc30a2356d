// An optimized image is an ordinary image to every program that knows nothing of lazy pulling: it is copied, unpacked
// and run like the original, and the tree is the original's.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import type { ImageConfig } from '../../../src/image/types.js';
import { type LabImage, labImage, PYTHON } from '../../support/lab/images.js';
import { Podman } from '../../support/lab/podman.js';
import { lackingClient } from '../../support/lab/tools.js';
import { LIST_TREE, type TreeListing, treeDifference, treeLines } from '../../support/lab/tree-listing.js';
import { noFuse } from '../cli.js';
import { assertAllLazy, type Optimized, optimize, PATIENCE, profile, Workbench } from './workbench.js';

const skip = lackingClient('umoci', 'podman', 'newuidmap', 'setpriv') || noFuse();

/** The stdout of a command that must succeed. */
async function output(program: string, ...args: string[]): Promise<string> {
  const env = { ...process.env, LC_ALL: 'C' };
  const { stdout } = await promisify(execFile)(program, args, { cwd: '/', env, maxBuffer: 1 << 26, ...PATIENCE });
  return stdout;
}

/** With umoci, into a new directory. */
async function unpack(reference: string, bundle: string): Promise<TreeListing> {
  await output('umoci', 'unpack', '--image', reference.replace(/^oci:/, ''), bundle);
  return { status: 0, stderr: '', stdout: await output('sh', '-c', LIST_TREE, 'sh', join(bundle, 'rootfs')) };
}

const LISTED = ['sh', '-c', LIST_TREE, 'sh', '/'];

const skopeo = (...args: string[]) => output('skopeo', '--insecure-policy', 'copy', '-q', ...args);

describe('an optimized image is as good as any other for', { skip, concurrency: false }, () => {
  let bench: Workbench;
  let image: LabImage;
  let optimized: Optimized;
  let hot: string;
  let original: TreeListing;
  before(async () => {
    bench = await Workbench.open();
    image = await labImage(PYTHON);
    hot = `oci:${bench.at('out')}:hot`;
    await profile(image.reference, bench.at('profile.json'));
    optimized = await optimize(image.reference, hot, ['-p', bench.at('profile.json'), '--compression-level', '6']);
    original = await unpack(image.reference, bench.at('original'));
  });
  after(() => bench?.close());

  test('skopeo copy to a directory and back: the same image, annotations included', async () => {
    await skopeo(hot, `dir:${bench.at('dir')}`);
    await skopeo('--preserve-digests', `dir:${bench.at('dir')}`, `oci:${bench.at('back')}:hot`);
    const index = JSON.parse(readFileSync(bench.at('back/index.json'), 'utf8'));
    assert.equal(index.manifests[0].digest, optimized.result.manifest.digest);
  });

  test('skopeo copy to a docker-archive: the layers are what the config says', async () => {
    const archive = bench.at('image.tar');
    await skopeo(hot, `docker-archive:${archive}:app:hot`);
    mkdirSync(bench.at('archive'));
    await output('tar', '-C', bench.at('archive'), '-xf', archive);
    const read = (name: string) => readFileSync(join(bench.at('archive'), name));
    const [manifest] = JSON.parse(read('manifest.json').toString()) as { Config: string; Layers: string[] }[];
    const config: ImageConfig = JSON.parse(read(manifest!.Config).toString());
    const diffIds = manifest!.Layers.map((name) => `sha256:${createHash('sha256').update(read(name)).digest('hex')}`);
    assert.deepEqual(diffIds, config.rootfs.diff_ids);
    assert.deepEqual(
      diffIds,
      optimized.result.layers.map((layer) => layer.diffId),
    );
  });

  test('umoci unpack: the same tree', async () => {
    const tree = await unpack(hot, bench.at('umoci'));
    assert.deepEqual(treeDifference(treeLines(original), treeLines(tree)), []);
  });

  test('ctr: pulled in full and run on overlayfs, the same tree', async () => {
    await using client = await bench.client();
    const reference = await bench.push(hot, 'hot:t');
    await client.pull(reference, 'overlayfs');
    const ready = await client.run(reference, { snapshotter: 'overlayfs' });
    assert.deepEqual([ready.status, ready.stdout, ready.stderr], [0, 'ready\n', '']);
    const tree = await client.run(reference, { snapshotter: 'overlayfs', args: LISTED });
    const options = { container: true };
    assert.deepEqual(treeDifference(treeLines(original, options), treeLines(tree, options)), []);
    assert.equal(client.log().accepted, 0, 'nothing was lazy here');
  });

  test('ctr-remote: mounted lazily, the same tree', async () => {
    await using client = await bench.client();
    const reference = await bench.push(hot, 'hot:t');
    await client.pull(reference);
    const tree = await client.run(reference, { args: LISTED });
    assertAllLazy(client, 3);
    const options = { container: true, roundTimes: true };
    assert.deepEqual(treeDifference(treeLines(original, options), treeLines(tree, options)), []);
  });

  test('podman run, by an ordinary user', async () => {
    const reference = await bench.push(hot, 'podman:t');
    await using podman = await Podman.start();
    const info = await podman.run(['info', '--format', '{{.Host.Security.Rootless}}']);
    assert.equal(info.stdout, 'true\n', info.stderr);
    const { status, stdout, stderr } = await podman.run([
      ...['run', '--rm', '--quiet', '--network=none', '--tls-verify=false', reference],
    ]);
    assert.deepEqual({ status, stdout }, { status: 0, stdout: 'ready\n' }, stderr);
  });
});
