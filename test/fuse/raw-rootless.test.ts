// The behaviour suite on the raw transport, as an ordinary user in a user namespace.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { rawTransport } from '../../src/fuse/index.js';
import { errnoFrom, output, withMount } from '../support/mount.js';
import { enterNamespace } from '../support/namespace.js';
import { behaviourSuite } from './behaviour.js';

const reason = enterNamespace(import.meta.url, 'rootless');
if (reason !== undefined) test('raw transport, rootless', { skip: reason }, () => {});
else {
  behaviourSuite({ transport: rawTransport, realRoot: false });

  test('we are who we claim to be: an ordinary user, root of a namespace with one id', () => {
    assert.match(readFileSync('/proc/self/uid_map', 'utf8').trim(), /^0 +[1-9]\d* +1$/);
  });

  test('owners the namespace does not know are shown as its root, and so readable', () =>
    withMount(
      rawTransport,
      { nodes: [{ path: 'shadow', type: 'reg', mode: 0o600, uid: 33, gid: 42, content: { text: 'hidden' } }] },
      ({ path }) => {
        assert.equal(output('stat', ['-c', '%u %g %a', 'shadow'], path).trim(), '0 0 600');
        assert.equal(output('cat', ['shadow'], path), 'hidden');
      },
    ));

  test('device nodes are closed, as the kernel has it in a user namespace', () =>
    withMount(rawTransport, { nodes: [{ path: 'null', type: 'char', mode: 0o666, rdev: [1, 3] }] }, ({ path }) =>
      assert.equal(
        errnoFrom(() => readFileSync(join(path, 'null'))),
        'EACCES',
      ),
    ));

  test("overlayfs over the mount: a foreign owner's directory can be written to", () =>
    withMount(
      rawTransport,
      {
        nodes: [
          { path: 'app', type: 'dir', uid: 33, gid: 42 },
          { path: 'app/f', type: 'reg', uid: 33, content: { text: 'old' } },
        ],
      },
      ({ path }) => {
        const top = mkdtempSync(join(tmpdir(), 'hotlayer-overlay-'));
        try {
          for (const name of ['upper', 'overlay-work', 'merged']) mkdirSync(join(top, name));
          const options = `lowerdir=${path},upperdir=${top}/upper,workdir=${top}/overlay-work,userxattr`;
          output('mount', ['-i', '-n', '-t', 'overlay', '-o', options, 'overlay', `${top}/merged`]);
          output('sh', ['-c', 'cat app/f && echo more >> app/f && echo new > app/g'], `${top}/merged`);
          assert.equal(readFileSync(`${top}/merged/app/f`, 'utf8'), 'oldmore\n');
          assert.equal(readFileSync(join(path, 'app/f'), 'utf8'), 'old');
          output('umount', [`${top}/merged`]);
        } finally {
          chmodSync(`${top}/overlay-work/work`, 0o700);
          rmSync(top, { recursive: true });
        }
      },
    ));
}
