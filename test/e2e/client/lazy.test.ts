// An optimized image in the real lazy client, containerd with the stargz snapshotter: every layer is mounted lazily, what is
// prefetched is what lies before the landmarks, and what the startup reads is there before it asks.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Profile } from '../../../src/analyze/types.js';
import type { LazyClient } from '../../support/lab/client.js';
import { type LabImage, labImage, PYTHON } from '../../support/lab/images.js';
import { lackingClient } from '../../support/lab/tools.js';
import { noFuse } from '../cli.js';
import { predictedMisses } from './predict.js';
import { assertAllLazy, assertForetold, expectedPrefetch, optimize, profile, Workbench } from './workbench.js';

const sum = (counts: ReadonlyMap<string, number>) => [...counts.values()].reduce((a, b) => a + b, 0);

describe('the python image', { skip: lackingClient() || noFuse(), concurrency: false }, () => {
  let bench: Workbench;
  let image: LabImage;
  let hot: Profile;
  before(async () => {
    image = await labImage(PYTHON);
    bench = await Workbench.open();
    hot = await profile(image.reference, bench.at('profile.json'));
  });
  after(() => bench?.close());

  /** Pulls and runs the image in a cold client. */
  async function start<T>(target: string, check: (client: LazyClient) => Promise<T>): Promise<T> {
    const reference = bench.push(target, `${target.split(':').at(-1)}:t`);
    await using client = await bench.client();
    await client.pull(reference);
    const { status, stdout, stderr } = await client.run(reference);
    assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: 'ready\n', stderr: '' });
    return await check(client);
  }

  test('optimized by its profile: nothing is missing at the start', async () => {
    const target = `oci:${bench.at('out')}:hot`;
    const { plan, result } = await optimize(image.reference, target, ['-p', bench.at('profile.json')]);
    assert.deepEqual(plan.missed, []);
    await start(target, async (client) => {
      assertAllLazy(client, 3);
      assert.deepEqual(client.log().prefetched, expectedPrefetch(result));
      assert.deepEqual(predictedMisses(hot, plan), { least: 0, most: 0 });
      assert.equal(sum(await client.onDemandFetches()), 0);
    });
  });

  test('--no-profile: nothing is prefetched, every chunk is fetched when it is read', async () => {
    const target = `oci:${bench.at('out')}:plain`;
    const { plan, result } = await optimize(image.reference, target, ['--no-profile']);
    await start(target, async (client) => {
      assertAllLazy(client, 3);
      assert.deepEqual([sum(client.log().prefetched), sum(expectedPrefetch(result))], [0, 0]);
      assertForetold(sum(await client.onDemandFetches()), predictedMisses(hot, plan));
    });
  });
});
