// As an ordinary user, where /dev/fuse may be opened: the whole flow, in a user namespace.
import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Profile } from '../../src/analyze/types.js';
import { makeTempDir } from '../../src/temp.js';
import { documentOf, expectCli, noFuse } from './cli.js';
import { SAYS, sampleImage, writeRoot } from './sample.js';
import { asNobody, NOBODY } from './users.js';

const temp = makeTempDir(undefined, 'hl-e2e-nobody');
const at = (name: string) => join(temp.path, name);
after(() => temp.remove());
const { through, skip } = asNobody(0o666);
const isRoot = process.getuid!() === 0;
/** A directory of the user's own; the image and a root file system beside it belong to whoever runs the tests. */
const cwd = at('home');
const options = { through, cwd };

before(() => {
  chmodSync(temp.path, 0o755);
  mkdirSync(cwd);
  if (isRoot) chownSync(cwd, NOBODY, NOBODY);
  sampleImage(at('image'));
  mkdirSync(at('root'));
  writeRoot(at('root'), ['sh', 'cat']);
});

describe('an ordinary user', { skip: skip || noFuse() }, () => {
  test('doctor says that it can be done', async () => {
    const { stdout } = await expectCli(0, ['doctor'], options);
    assert.match(stdout, /without root, in a user namespace/);
  });

  test('profile → optimize → verify → inspect', async () => {
    const profiled = await expectCli(0, ['profile', 'oci:../image', '-r', '2', '-o', 'p.json', '--json'], options);
    assert.equal(profiled.stderr.split(SAYS).length - 1, 2);
    assert.equal(statSync(join(cwd, 'p.json')).uid, isRoot ? NOBODY : process.getuid!());
    const profile = documentOf<Profile>(profiled);
    await expectCli(0, ['optimize', 'oci:../image', 'oci:hot', '-p', 'p.json'], options);
    await expectCli(0, ['verify', 'oci:../image', 'oci:hot'], options);
    await expectCli(0, ['inspect', 'oci:hot', '-p', 'p.json'], options);
    if (!isRoot) return;
    // What root sees is the same, and so is what comes of it.
    const asRoot = await expectCli(0, ['profile', 'oci:image', '-r', '2', '-o', 'root.json', '--json'], {
      cwd: temp.path,
    });
    const files = (p: Profile) => p.files.filter((f) => f.type === 'reg').map((f) => [f.path, f.ranges, f.executed]);
    assert.deepEqual(files(profile), files(documentOf<Profile>(asRoot)));
    await expectCli(0, ['optimize', 'oci:image', 'oci:root-hot', '-p', 'root.json'], { cwd: temp.path });
    const layersOf = (layout: string) => {
      const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8'));
      const manifest = readFileSync(join(layout, 'blobs/sha256', index.manifests[0].digest.slice(7)), 'utf8');
      return JSON.parse(manifest).layers.map((layer: { digest: string }) => layer.digest);
    };
    assert.deepEqual(layersOf(join(cwd, 'hot')), layersOf(at('root-hot')));
  });

  test("the workload is the image's user by number as far as one id goes, and can write", async () => {
    const script = 'cat /proc/self/status; echo mine > /app/new; cat /app/new; echo x > /etc/motd; cat /etc/motd';
    const args = ['profile', 'oci:../image', '-r', '1', '-o', 'w.json', '--entrypoint', '/bin/sh', '--user', '0'];
    const { stderr } = await expectCli(0, [...args, '--', '-c', script], options);
    assert.match(stderr, /^Uid:\s+0\s/m);
    assert.match(stderr, /^mine\nx$/m);
  });

  test('dir:PATH', async () => {
    const args = ['profile', 'dir:../root', '-r', '1', '-o', 'd.json', '--json'];
    const result = await expectCli(0, [...args, '--', '/bin/sh', '-c', 'cat /usr/bin/cat > /copy; echo done'], options);
    assert.match(result.stderr, /^done$/m);
    const cat = documentOf<Profile>(result).files.find((f) => f.path === '/usr/bin/cat')!;
    assert.deepEqual(cat.ranges, [[0, cat.size, 1]]);
  });

  test('--net none', async () => {
    const args = ['profile', 'oci:../image', '-r', '1', '-o', 'n.json', '--net', 'none', '--entrypoint', '/bin/cat'];
    const { stderr } = await expectCli(0, [...args, '--', '/proc/net/dev'], options);
    assert.deepEqual(
      [...stderr.matchAll(/^\s*(\S+):\s+\d+\s+\d+/gm)].map((match) => match[1]),
      ['lo'],
    );
  });

  test('a failing workload is 5 here, too', async () => {
    const args = ['profile', 'oci:../image', '-r', '1', '--entrypoint', '/bin/sh', '--', '-c', 'echo oh; exit 4'];
    const { stderr } = await expectCli(5, args, options);
    assert.match(stderr, /exit status 4/);
    assert.match(stderr, /^ {2}\| oh$/m);
  });
});
