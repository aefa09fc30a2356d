import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { ensureInRoot, resolveInRoot } from '../../src/container/process/resolve-in-root.js';
import { HotlayerError } from '../../src/errors.js';

describe('paths of the container, seen from outside', () => {
  const outside = mkdtempSync(join(tmpdir(), 'hotlayer-resolve-'));
  const root = join(outside, 'root');
  after(() => rmSync(outside, { recursive: true }));
  mkdirSync(join(root, 'usr/bin'), { recursive: true });
  mkdirSync(join(root, 'real'));
  writeFileSync(join(root, 'usr/bin/sh'), '');
  writeFileSync(join(outside, 'secret'), 'of the host');
  symlinkSync('usr/bin', join(root, 'bin'));
  symlinkSync('/real', join(root, 'abs'));
  symlinkSync('../../../../secret', join(root, 'up'));
  symlinkSync('/usr/bin/../../nowhere/deep', join(root, 'dangling'));
  symlinkSync('loop2', join(root, 'loop1'));
  symlinkSync('/loop1', join(root, 'loop2'));

  for (const [path, where, type] of [
    ['/', '', 'dir'],
    ['/bin/sh', '/usr/bin/sh', 'file'],
    ['bin/../bin/./sh', '/usr/bin/sh', 'file'],
    ['/abs', '/real', 'dir'],
    ['/abs/x/y', '/real/x/y', 'missing'],
    ['/../../../etc', '/etc', 'missing'],
    ['/up', '/secret', 'missing'],
    ['/dangling/more', '/nowhere/deep/more', 'missing'],
    ['/missing/../real', '/real', 'dir'],
  ] as const) {
    test(path, () => assert.deepEqual(resolveInRoot(root, path), { path: root + where, type }));
  }

  test('loops and files in the way are errors', () => {
    const refused = (text: RegExp) => (e: unknown) =>
      e instanceof HotlayerError && e.code === 'HL_ERR_WORKLOAD' && text.test(e.message);
    assert.throws(() => resolveInRoot(root, '/loop1/x'), refused(/^\/loop1\/x of the container .* loop/));
    assert.throws(() => resolveInRoot(root, '/bin/sh/x'), refused(/\/usr\/bin\/sh is not a directory/));
    assert.throws(() => ensureInRoot(root, '/bin/sh', 'dir'), refused(/not a directory/));
    assert.throws(() => ensureInRoot(root, '/abs', 'file'), refused(/is a directory/));
  });

  test('what is missing is made where the container would have it', () => {
    const file = ensureInRoot(root, '/up', 'file');
    assert.equal(file, join(root, 'secret'));
    assert.ok(statSync(join(root, 'secret')).isFile());
    const dir = ensureInRoot(root, '/dangling/x', 'dir', 0o700);
    assert.equal(dir, join(root, 'nowhere/deep/x'));
    assert.equal(statSync(dir ?? '').mode & 0o7777, 0o700);
    assert.equal(statSync(join(root, 'nowhere')).mode & 0o7777, 0o755);
    assert.ok(!existsSync(join(outside, 'nowhere')));
    assert.equal(ensureInRoot(root, '/bin', 'dir'), join(root, 'usr/bin'));
  });
});
