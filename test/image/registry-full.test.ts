// Full disks: the registry's (behind the proxy), the one that an image is pulled to, the one that blobs are staged on.
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { openImage, openSink, type RegistryOptions } from '../../src/image/index.js';
import { MIB } from '../../src/units.js';
import { buildLayout } from '../support/layout.js';
import { refused } from '../support/refused.js';
import { startProxy } from '../support/registry-proxy.js';
import { file, tarOf } from '../support/tar.js';
import { testDir } from '../support/temp.js';
import { lacking, notHere } from '../support/tools.js';
import { startRegistry, storedTag, withDisk } from './registry-server.js';
import { putImage } from './sink-image.js';

const FAST: RegistryOptions = { retry: { baseMs: 2, maxMs: 10 } };
const LARGE = tarOf(file('large', randomBytes(2 * MIB)));

function noDisk(): string | false {
  const [program, ...args] = withDisk('/tmp', MIB, ['true']);
  const { status, stderr } = spawnSync(program!, args, { encoding: 'utf8' });
  return status === 0 ? false : notHere([`a mount namespace (${stderr})`]);
}

const skip = lacking('docker-registry', 'skopeo') || noDisk();

test('the disk of the registry is full: the push is refused, what was there stays whole', { skip }, async (t) => {
  const registry = await startRegistry(t, { diskBytes: MIB });
  const proxy = await startProxy(t, registry.port);
  const name = `${proxy.host}/a:1`;
  const before = await openSink(name, { registry: FAST });
  const old = await putImage(before, 'old');
  await before.commit(old);

  const dir = join(testDir(t), 'l');
  const built = buildLayout(dir, { layers: [LARGE] });
  const temp = testDir(t);
  await using image = await openImage(built.reference);
  for (const chunkSize of [64 * MIB, MIB / 4]) {
    proxy.seen.length = 0;
    const work = async () => {
      const sink = await openSink(name, { registry: { ...FAST, chunkSize }, tempParent: temp });
      try {
        const writer = await sink.createBlob();
        for await (const chunk of image.layers[0]!.open() as AsyncIterable<Buffer>) await writer.write(chunk);
        await writer.finish();
        for (const { digest } of [built.config, built.manifest])
          await sink.putBytes(readFileSync(join(dir, 'blobs/sha256', digest.slice(7))));
        await sink.commit(image.descriptor);
      } finally {
        await sink.abort();
      }
    };
    await assert.rejects(work(), refused('HL_ERR_NETWORK', proxy.host, /cannot push .*answered 500.*6 attempts/));
    assert.ok(proxy.seen.every((r) => r.method !== 'PUT' || !r.url.includes('/manifests/')));
    assert.deepEqual(readdirSync(temp), []);
  }
  await using left = await openImage(name, { registry: FAST });
  assert.equal(left.descriptor.digest, old.digest);
  for (const layer of left.layers) for await (const _ of layer.open());
});

test('a disk here is full: nothing appears, nothing is left behind', { skip }, async (t) => {
  const registry = await startRegistry(t);
  const proxy = await startProxy(t, registry.port);
  const built = buildLayout(join(testDir(t), 'l'), { layers: [LARGE] });
  const source = `${proxy.host}/a:1`;
  execFileSync(
    'skopeo',
    ['--insecure-policy', 'copy', '--dest-tls-verify=false', built.reference, `docker://${registry.host}/a:1`],
    { stdio: 'pipe' },
  );
  const script = fileURLToPath(new URL('./full-disk-child.js', import.meta.url));
  const disk = testDir(t);
  for (const target of [`oci:${disk}/out:1`, `oci-archive:${disk}/out.tar:1`, `${proxy.host}/b:1`]) {
    const argv = withDisk(disk, MIB, [process.execPath, script, source, target, disk]);
    // Not execFileSync: the proxy is in this process.
    const { stdout } = await promisify(execFile)(argv[0]!, argv.slice(1), { timeout: 120_000 });
    const { code, message, hint, left } = JSON.parse(stdout) as Record<string, string>;
    assert.equal(code, 'HL_ERR_IO', `${target}: ${message}`);
    assert.match(message!, /cannot write .*ENOSPC/);
    assert.match(hint!, /free some space/);
    assert.deepEqual(left, []);
  }
  assert.equal(storedTag(registry, 'b', '1'), undefined);
});
