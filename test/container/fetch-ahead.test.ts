// When what a start needs is looked for: at once where nothing was kept, later where all of it may be here.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type OpenedImage, openForReading } from '../../src/container/run-image.js';
import { linkPair } from '../../src/lazy/link-pair.js';
import { stargzImage } from '../lazy/harness.js';
import { file, tarOf } from '../support/tar.js';
import { testDir } from '../support/temp.js';

const HOT = [{ path: '/a', ranges: [[0, 1]] as const }];

async function openAgain(t: TestContext, reference: string, directory: string): Promise<OpenedImage> {
  const opened = await openForReading(reference, { cache: { directory }, hot: async () => HOT });
  t.after(() => opened.close());
  return opened;
}

const settled = (promise: Promise<void>, ms: number): Promise<boolean> =>
  Promise.race([promise.then(() => true), new Promise<boolean>((give) => setTimeout(give, ms, false))]);

test('an image that is new is fetched at once, one that is kept when something of it turns out to be missing', async (t) => {
  const reference = await stargzImage(t, [tarOf(file('a', 'hot'), file('b', 'not hot'))]);
  const directory = testDir(t);
  const first = await openAgain(t, reference, directory);
  assert.equal(first.image.kept, false);
  await first.fetchAhead();
  assert.equal(first.service.counts().chunks, 1);
  await first.close();

  const second = await openAgain(t, reference, directory);
  assert.equal(second.image.kept, true);
  const ahead = second.fetchAhead();
  assert.equal(await settled(ahead, 300), false, 'it is left alone');
  const [near, far] = linkPair();
  second.service.serve(near);
  far.listen(() => {});
  const { byPath, table } = second.image.layers[0]!;
  const [here, missing] = ['a', 'b'].map((path) => table.firstOf[byPath.get(path)!.index]!);
  far.send({ type: 'want', layer: 0, chunks: [here] });
  assert.equal(await settled(ahead, 300), false, 'that one is here');
  far.send({ type: 'want', layer: 0, chunks: [missing] });
  assert.equal(await settled(ahead, 2000), true);
});
