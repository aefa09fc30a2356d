// SIGINT and SIGKILL while images are read, written and compared: no half-written target, no temporary file.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeTempDir } from '../../src/temp.js';
import { file, tarOf } from '../support/tar.js';
import { documentOf, expectCli, type RunningCli } from './cli.js';
import { endedBy, nothingLeft, SOON, startMarked, WAYS } from './leftovers.js';
import { noise, sampleImage, sampleLayers } from './sample.js';

const temp = makeTempDir(undefined, 'hl-e2e-interrupt');
const at = (name: string) => join(temp.path, name);
after(() => temp.remove());
const cwd = temp.path;

before(() => {
  mkdirSync(at('tmp'));
  sampleImage(at('image'));
  // Slow enough to be met while it is read and written: bytes that do not compress, at the best level.
  const top = tarOf(file('big.bin', noise(24 << 20)), file('two.bin', noise(8 << 20, 2)));
  sampleImage(at('big'), { layers: [...sampleLayers(), top] });
});

describe('while optimize works', () => {
  const args = ['optimize', 'oci:big', 'oci:target:t', '--no-profile', '--codec', 'zlib', '--compression-level', '9'];

  /** Resolves when the target is being written: something lies in the staging directory beside it. */
  async function writing(run: RunningCli): Promise<void> {
    for (;;) {
      const staging = readdirSync(cwd).find((name) => name.startsWith('.target'));
      const files = staging === undefined ? [] : readdirSync(at(staging), { recursive: true, withFileTypes: true });
      if (files.some((entry) => entry.isFile())) return;
      assert.equal(run.child.exitCode, null, `ended before it wrote: ${run.said().stderr}`);
      await sleep(5);
    }
  }

  for (const way of WAYS) {
    test(`writing: ${way[0]}`, async () => {
      const { run, marker } = startMarked(cwd, args);
      await writing(run);
      await endedBy(way, run, cwd, marker);
    });
  }

  test('reading the layers: SIGINT, SIGKILL', async () => {
    for (const way of [WAYS[0]!, WAYS[4]!]) {
      const { run, marker } = startMarked(cwd, args);
      while (readdirSync(at('tmp')).length === 0) {
        assert.equal(run.child.exitCode, null, run.said().stderr);
        await sleep(2);
      }
      await endedBy(way, run, cwd, marker);
    }
  });

  test('into a layout that has another image: that one stays', async () => {
    await expectCli(0, ['optimize', 'oci:image', 'oci:shared:one', '--no-profile'], { cwd });
    const before = { index: readFileSync(at('shared/index.json')), blobs: readdirSync(at('shared/blobs/sha256')) };
    for (const signal of ['SIGINT', 'SIGKILL'] as const) {
      const { run, marker } = startMarked(
        cwd,
        args.map((arg) => (arg === 'oci:target:t' ? 'oci:shared:two' : arg)),
      );
      while (!readdirSync(at('shared')).some((name) => name.startsWith('.'))) await sleep(5);
      await sleep(100);
      run.child.kill(signal);
      await run.done;
      await nothingLeft(cwd, marker);
      const until = Date.now() + SOON;
      while (readdirSync(at('shared')).some((name) => name.startsWith('.')) && Date.now() < until) await sleep(20);
      assert.deepEqual(readdirSync(at('shared')).sort(), ['blobs', 'index.json', 'oci-layout']);
      assert.deepEqual(readFileSync(at('shared/index.json')), before.index);
      assert.deepEqual(readdirSync(at('shared/blobs/sha256')), before.blobs);
    }
  });

  test('--json: the document says that it was interrupted', async () => {
    const { run, marker } = startMarked(cwd, [...args, '--json']);
    await writing(run);
    run.child.kill('SIGINT');
    const result = await run.done;
    assert.equal(result.status, 130);
    const { error } = documentOf<{ error: { code: string } }>(result);
    assert.equal(error.code, 'HL_ERR_INTERRUPTED');
    await nothingLeft(cwd, marker);
    assert.ok(!existsSync(at('target')));
  });
});

describe('while verify works', () => {
  test('SIGINT, SIGKILL', async () => {
    for (const way of [WAYS[0]!, WAYS[4]!]) {
      const { run, marker } = startMarked(cwd, ['verify', 'oci:big', 'oci:big']);
      while (readdirSync(at('tmp')).length === 0) {
        assert.equal(run.child.exitCode, null, run.said().stderr);
        await sleep(2);
      }
      await endedBy(way, run, cwd, marker);
    }
  });
});
