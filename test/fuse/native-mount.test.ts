// The behaviour suite on fuse-native, in a mount namespace with the rights of root where there are any.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { nativeTransport } from '../../src/fuse/index.js';
import { memoryFsModule } from '../support/memory-fs.js';
import { command, mountLines } from '../support/mount.js';
import { enterNamespace, isRealRoot } from '../support/namespace.js';
import { behaviourSuite } from './behaviour.js';
import { NATIVE_LACKS } from './native.js';

const FILE = { path: 'f', type: 'reg', content: { text: 'served' } } as const;

const reason = enterNamespace(import.meta.url, 'mount');
if (reason !== undefined) test('fuse-native', { skip: reason }, () => {});
else {
  behaviourSuite({ transport: nativeTransport, realRoot: isRealRoot(), lacks: NATIVE_LACKS });

  const directory = (t: TestContext) => {
    const path = mkdtempSync(join(tmpdir(), 'hotlayer-over-'));
    t.after(() => rmSync(path, { recursive: true }));
    return path;
  };

  test('a directory named by a symlink: nothing stays mounted', async (t) => {
    const path = directory(t);
    const link = join(directory(t), 'link');
    symlinkSync(path, link);
    const mounted = await nativeTransport.mount({ mountpoint: link, module: memoryFsModule, args: { nodes: [FILE] } });
    assert.equal(mountLines(path).length, 1);
    assert.equal(readFileSync(join(path, 'f'), 'utf8'), 'served');
    await mounted.unmount();
    assert.deepEqual(mountLines(path), []);
  });

  for (const [what, module, says] of [
    ['the directory is in use', memoryFsModule, /in use/],
    ['the file system cannot be made', 'file:///none.js', /none\.js/],
  ] as const)
    test(`a mount that fails, ${what}, takes nothing away that was there before`, async (t) => {
      const path = directory(t);
      assert.equal(command('mount', ['-n', '-t', 'tmpfs', 'below', path]).status, 0);
      try {
        const before = mountLines(path);
        assert.equal(before.length, 1);
        await assert.rejects(nativeTransport.mount({ mountpoint: path, module, args: { nodes: [FILE] } }), says);
        assert.deepEqual(mountLines(path), before);
      } finally {
        command('umount', [path]);
      }
    });
}
