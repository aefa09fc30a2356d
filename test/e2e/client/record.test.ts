// Our record in the hands of the tool it is for: ctr-remote's converter puts first what `export` lists, in that order,
// and the real client prefetches it.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import type { Manifest } from '../../../src/image/types.js';
import { type LabImage, labImage, PYTHON } from '../../support/lab/images.js';
import { lackingClient } from '../../support/lab/tools.js';
import { expectCli, noFuse } from '../cli.js';
import { assertAllLazy, PATIENCE, profile, Workbench } from './workbench.js';

const LANDMARK = '.prefetch.landmark';

interface Line {
  readonly path: string;
  readonly manifestDigest: string;
  readonly layerIndex: number;
}

describe('ctr-remote image convert --estargz-record-in', {
  skip: lackingClient() || noFuse(),
  concurrency: false,
}, () => {
  let bench: Workbench;
  let image: LabImage;
  let original: string;
  let record: readonly Line[];
  before(async () => {
    image = await labImage(PYTHON);
    bench = await Workbench.open();
    await profile(image.reference, bench.at('profile.json'));
    const { stdout } = await expectCli(0, ['export', bench.at('profile.json'), '--to', 'stargz-record']);
    writeFileSync(bench.at('record'), stdout);
    record = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Line);
    original = await bench.push(image.reference, 'python:full');
  });
  after(() => bench?.close());

  test('takes our record: before each landmark lie the files it lists for that layer, in its order, and nothing else', async () => {
    const converted = `${bench.registry.host}/python:converted`;
    {
      await using client = await bench.client();
      await client.pull(original, 'overlayfs');
      const how = ['--oci', '--estargz', '--estargz-compression-level', '1', '--estargz-record-in', bench.at('record')];
      await client.tool(['ctr-remote', 'image', 'convert', ...how, original, converted], PATIENCE);
      await client.tool(['ctr', 'image', 'push', '--plain-http', converted], PATIENCE);
    }
    await output(
      ...['skopeo', '--insecure-policy', 'copy', '-q', '--preserve-digests', '--src-tls-verify=false'],
      ...[`docker://${converted}`, `dir:${bench.at('copy')}`],
    );
    const manifest = JSON.parse(readFileSync(bench.at('copy/manifest.json'), 'utf8')) as Manifest;
    assert.equal(manifest.layers.length, 3);
    for (const [index, { digest }] of manifest.layers.entries()) {
      const names = await listing(join(bench.at('copy'), digest.slice('sha256:'.length)));
      const there = new Set(names);
      // The converter offers every path to every layer, wherever the record says that it lies.
      const expected = record.map(({ path }) => path).filter((path) => there.has(path));
      const missing = record.filter(({ path, layerIndex }) => layerIndex === index && !there.has(path));
      assert.deepEqual(missing, [], `layer ${index}`);
      const hot = names.slice(0, names.indexOf(LANDMARK)).filter((name) => name !== '' && !name.endsWith('/'));
      assert.deepEqual(hot, expected, `layer ${index}`);
    }
    assert.ok(new Set(record.map(({ layerIndex }) => layerIndex)).size > 1, 'files of several layers');
    assert.ok(record.length > 50, `${record.length} files`);

    await using client = await bench.client();
    await client.pull(converted);
    const { status, stdout } = await client.run(converted);
    assert.deepEqual({ status, stdout }, { status: 0, stdout: 'ready\n' });
    assertAllLazy(client, manifest.layers.length);
  });
});

/** The stdout of a command that must succeed. */
async function output(program: string, ...args: readonly string[]): Promise<string> {
  const env = { ...process.env, LC_ALL: 'C' };
  return (await promisify(execFile)(program, args, { env, maxBuffer: 1 << 26, ...PATIENCE })).stdout;
}

/** Names in a layer as GNU tar lists them, without a leading `./`; the root is "". */
async function listing(blob: string): Promise<string[]> {
  const names = await output('tar', '--quoting-style=literal', '-tzf', blob);
  const list = names.split('\n').map((name) => name.replace(/^\.\//, ''));
  assert.ok(list.includes(LANDMARK), `${blob} has a landmark`);
  return list;
}
