// Several images one after the other: what they share is uncompressed once, kept as long as somebody will want it, and
// given back then.
import assert from 'node:assert/strict';
import { readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openImage } from '../../src/image/open.js';
import type { Image } from '../../src/image/types.js';
import { SharedSpools } from '../../src/rootfs/shared-spools.js';
import { spoolImage } from '../../src/rootfs/spooled-image.js';
import { buildLayout } from '../support/layout.js';
import { file, tarOf } from '../support/tar.js';
import { testDir } from '../support/temp.js';

const LAYERS = Object.fromEntries(['base', 'a', 'b'].map((name) => [name, tarOf(file(name, name))]));

/** An image, and a note of each layer whose blob is opened. */
async function imageOf(dir: string, names: readonly string[], opened: string[]): Promise<Image> {
  const layout = join(dir, names.join('-'));
  buildLayout(layout, { layers: names.map((name) => LAYERS[name]!), tag: 'x' });
  const image = await openImage(`oci:${layout}:x`);
  const layers = image.layers.map((layer, i) => ({
    ...layer,
    open() {
      opened.push(names[i]!);
      return layer.open();
    },
  }));
  return Object.create(image, { layers: { value: layers } }) as Image;
}

/** Spool files of this process that are open. */
function spoolFiles(): number {
  const links = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return '';
    }
  });
  return links.filter((link) => /\/\.layer-.* \(deleted\)$/.test(link)).length;
}

test('a shared layer is read once; each has it under its own number', async (t) => {
  const opened: string[] = [];
  const dir = testDir(t);
  const images = [
    await imageOf(dir, ['base', 'a'], opened),
    await imageOf(dir, ['b', 'base', 'base'], opened),
    await imageOf(dir, ['a'], opened),
  ];
  using shared = new SharedSpools(images);
  const files: number[] = [];
  for (const image of images) {
    using spooled = await spoolImage(image, { shared });
    files.push(spoolFiles());
    assert.deepEqual(
      spooled.layers.map(({ layer, scan }) => [layer.index, scan.entries.length]),
      image.layers.map((_, i) => [i, 1]),
    );
  }
  assert.deepEqual(opened, ['base', 'a', 'b']);
  assert.deepEqual([...files, spoolFiles()], [2, 3, 1, 0]);
  for (const image of images) await image.close();
});

test('one that no later image has is given back at once; what is left, at the end', async (t) => {
  const dir = testDir(t);
  const images = [await imageOf(dir, ['base', 'a'], []), await imageOf(dir, ['base'], [])];
  const shared = new SharedSpools(images);
  const first = await spoolImage(images[0]!, { shared });
  assert.equal(spoolFiles(), 2);
  first.close();
  first.close();
  assert.equal(spoolFiles(), 1);
  assert.ok(shared.has(images[1]!.layers[0]!));
  shared.close();
  shared.close();
  assert.equal(spoolFiles(), 0);
  for (const image of images) await image.close();
});

test('another claim about the same blob is another layer', async (t) => {
  const image = await imageOf(testDir(t), ['base'], []);
  const [layer] = image.layers;
  const lying = Object.create(image, {
    layers: { value: [{ ...layer!, diffId: `sha256:${'0'.repeat(64)}` }] },
  }) as Image;
  using shared = new SharedSpools([image, lying]);
  using _ = await spoolImage(image, { shared });
  await assert.rejects(spoolImage(lying, { shared }), /uncompressed bytes have the digest/);
  await image.close();
});
