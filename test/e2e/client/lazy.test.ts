// Optimized images in the real lazy client, containerd with the stargz snapshotter: every layer is mounted lazily, what
// is prefetched is what lies before the landmarks, and what the startup reads is there before it asks.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Profile } from '../../../src/analyze/types.js';
import type { LazyClient } from '../../support/lab/client.js';
import { type LabImage, labImage, NGINX, PYTHON } from '../../support/lab/images.js';
import { ThrottlingProxy } from '../../support/lab/proxy.js';
import { lackingClient } from '../../support/lab/tools.js';
import { addChanged } from '../../support/layout.js';
import { noFuse } from '../cli.js';
import { predictedMisses } from './predict.js';
import {
  assertAllLazy,
  assertForetold,
  expectedPrefetch,
  type Optimized,
  optimize,
  profile,
  total,
  Workbench,
} from './workbench.js';

const skip = lackingClient('curl') || noFuse();

/**
 * The client fetches blobs in whole pieces of 50,000 bytes: at most one too many at the end of the prefetch and one at
 * the beginning of the TOC, in each layer. And there are HTTP's headers, the manifest and the config.
 */
const OVERHEAD = 3 * 2 * 50_000 + 64 * 1024;

/** On a line like this nothing is cheaper behind the landmark: all that is read is prefetched. */
const ALL = ['--network', '10gbit/1s'];

/** Python: user, group, further groups. */
const IDS = 'import os; print(os.getuid(), os.getgid(), *os.getgroups())';

describe('the python image, which prints a line and ends', { skip, concurrency: false }, () => {
  let bench: Workbench;
  let image: LabImage;
  let hot: Profile;
  let optimized: Optimized;
  before(async () => {
    image = await labImage(PYTHON);
    bench = await Workbench.open();
    hot = await profile(image.reference, bench.at('profile.json'));
  });
  after(() => bench?.close());

  async function startIn(client: LazyClient, reference: string): Promise<void> {
    await client.pull(reference);
    const { status, stdout, stderr } = await client.run(reference);
    assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: 'ready\n', stderr: '' });
  }

  test('with all that is read before the landmarks: nothing is missing at the start, and nothing else is fetched', async () => {
    const target = `oci:${bench.at('out')}:hot`;
    optimized = await optimize(image.reference, target, ['-p', bench.at('profile.json'), ...ALL]);
    const { plan, result } = optimized;
    assert.deepEqual(plan.missed, []);
    assert.deepEqual(predictedMisses(hot, plan), { least: 0, most: 0 });
    await bench.push(target, 'hot:t');
    await using proxy = await ThrottlingProxy.start(bench.registry.port);
    await using client = await bench.client();
    await startIn(client, `${proxy.host}/hot:t`);
    assertAllLazy(client, 3);
    assert.deepEqual(client.log().prefetched, expectedPrefetch(result));
    assert.equal(total(await client.onDemandFetches()), 0);

    const wanted = total(expectedPrefetch(result)) + bench.tocBytes(result, 'out');
    const { down } = proxy.traffic();
    assert.ok(down >= wanted && down <= wanted + OVERHEAD, `${down} bytes on the wire, ${wanted} are wanted`);
  });

  test('run as other users: what tells who they are is not missing either', async () => {
    const { plan, result } = optimized;
    const read = new Set(plan.layers.flatMap((layer) => layer.hot.map((entry) => entry.path)));
    assert.deepEqual([read.has('etc/passwd'), read.has('etc/group')], [true, true]);
    await using client = await bench.client();
    for (const [user, ids] of [
      ['www-data', '33 33 33'],
      ['list:adm', '38 4 4'],
      ['34:35', '34 35 35'],
    ] as const) {
      const tag = user.replace(':', '-');
      const source = addChanged(bench.at('out'), result.manifest.digest, tag, {
        config: (config) => ({ ...config, config: { ...config.config, User: user, Cmd: ['python3', '-c', IDS] } }),
      });
      const reference = await bench.push(source, `users:${tag}`);
      await client.pull(reference);
      const { stdout, stderr } = await client.run(reference);
      assert.deepEqual([stdout.trim(), stderr], [ids, '']);
    }
    assert.deepEqual(client.log().refused, []);
    assert.equal(total(await client.onDemandFetches()), 0);
  });

  test('as planned by default: what is left behind the landmarks is fetched when it is read', async () => {
    const target = `oci:${bench.at('out')}:default`;
    const args = ['-p', bench.at('profile.json'), '--compression-level', '1'];
    const { plan, result } = await optimize(image.reference, target, args);
    await using client = await bench.client();
    await startIn(client, await bench.push(target, 'default:t'));
    assertAllLazy(client, 3);
    assert.deepEqual(client.log().prefetched, expectedPrefetch(result));
    assertForetold(total(await client.onDemandFetches()), predictedMisses(hot, plan));
  });

  test('--no-profile: nothing is prefetched, every chunk is fetched when it is read', async () => {
    const target = `oci:${bench.at('out')}:plain`;
    const { plan, result } = await optimize(image.reference, target, ['--no-profile', '--compression-level', '1']);
    await using client = await bench.client();
    await startIn(client, await bench.push(target, 'plain:t'));
    assertAllLazy(client, 3);
    assert.deepEqual([total(client.log().prefetched), total(expectedPrefetch(result))], [0, 0]);
    const foretold = predictedMisses(hot, plan);
    assert.ok(foretold.least > 100, `only ${foretold.least} chunks are read`);
    assertForetold(total(await client.onDemandFetches()), foretold);
  });
});

describe('the nginx image, which serves', { skip, concurrency: false }, () => {
  test('with all that is read before the landmarks: the first page comes without a miss', async () => {
    await using bench = await Workbench.open();
    const image = await labImage(NGINX);
    const args = ['--until', 'http:http://127.0.0.1:8080/', '--net', 'none'];
    const hot = await profile(image.reference, bench.at('profile.json'), args);
    const target = `oci:${bench.at('out')}:hot`;
    const { plan, result } = await optimize(image.reference, target, ['-p', bench.at('profile.json'), ...ALL]);
    assert.deepEqual(plan.missed, []);
    assert.deepEqual(predictedMisses(hot, plan), { least: 0, most: 0 });
    const reference = await bench.push(target, 'nginx:t');
    await using client = await bench.client();
    await client.pull(reference);
    const { name, ended } = await client.startContainer(reference);
    const curl = ['curl', '-sS', '--fail', '--retry', '40', '--retry-delay', '1', '--retry-connrefused'];
    const page = await client.inNetworkOf(name, [...curl, 'http://127.0.0.1:8080/']);
    assert.deepEqual([page.status, page.stdout], [0, 'ready\n'], page.stderr);
    assertAllLazy(client, 3);
    assert.deepEqual(client.log().prefetched, expectedPrefetch(result));
    assert.equal(total(await client.onDemandFetches()), 0);
    await client.kill(name);
    await ended;
  });
});
