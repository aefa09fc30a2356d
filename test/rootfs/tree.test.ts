// Path resolution inside the tree and the questions that other rooms ask it.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { mergeLayers } from '../../src/rootfs/merge.js';
import { ERRNO, FsError } from '../../src/rootfs/types.js';
import { dir, hard, layer, reg, sym, wh } from './entries.js';

const chain = (n: number) => Array.from({ length: n }, (_, i) => sym(`c${i}`, i === 0 ? 'usr/lib/f' : `c${i - 1}`));

const tree = mergeLayers([
  layer(
    dir('usr/lib'),
    reg('usr/lib/f'),
    sym('lib', 'usr/lib'),
    sym('abs', '/usr/lib/f'),
    sym('out', '../../../../usr/lib/f'),
    sym('usr/lib/rel', '../lib/./f'),
    sym('loop1', 'loop2'),
    sym('loop2', 'loop1'),
    sym('dangling', 'nowhere'),
    sym('slash', 'usr/lib/f/'),
    sym('dirslash', 'usr/lib/'),
    ...chain(42),
  ),
  layer(reg('usr/lib/g'), hard('usr/lib/h', 'usr/lib/f'), reg('top/new'), wh('dangling2')),
]);

const errno = (fn: () => unknown): number => {
  try {
    fn();
  } catch (error) {
    if (error instanceof FsError) return error.errno;
    throw error;
  }
  return 0;
};

describe('Tree.resolve', () => {
  const found: [path: string, want: string, followLast?: boolean][] = [
    ['/', '/'],
    ['', '/'],
    ['/../..', '/'],
    ['/usr/lib/f', '/usr/lib/f'],
    ['usr//lib/./f', '/usr/lib/f'],
    ['/lib/f', '/usr/lib/f'],
    ['/lib/../lib/f', '/usr/lib/f'],
    ['/lib/..', '/usr'],
    ['/abs', '/usr/lib/f'],
    ['/out', '/usr/lib/f'],
    ['/lib/rel', '/usr/lib/f'],
    ['/lib', '/usr/lib'],
    ['/lib', '/lib', false],
    ['/lib/', '/usr/lib', false],
    ['/dirslash', '/usr/lib'],
    ['/dangling', '/dangling', false],
    ['/c39', '/usr/lib/f'],
  ];
  for (const [path, want, followLast] of found) {
    test(`"${path}"${followLast === false ? ' not followed' : ''} is ${want}`, () => {
      assert.equal(tree.pathOf(tree.resolve(path, followLast === undefined ? {} : { followLast })), want);
    });
  }

  const failing: [path: string, errno: number][] = [
    ['/nope', ERRNO.ENOENT],
    ['/nope/..', ERRNO.ENOENT],
    ['/dangling', ERRNO.ENOENT],
    ['/usr/lib/f/x', ERRNO.ENOTDIR],
    ['/usr/lib/f/', ERRNO.ENOTDIR],
    ['/usr/lib/f/..', ERRNO.ENOTDIR],
    ['/usr/lib/f/.', ERRNO.ENOTDIR],
    ['/slash', ERRNO.ENOTDIR],
    ['/loop1', ERRNO.ELOOP],
    ['/loop1/x', ERRNO.ELOOP],
    ['/c40', ERRNO.ELOOP],
  ];
  for (const [path, want] of failing) {
    test(`"${path}" is errno ${want}`, () => {
      assert.equal(
        errno(() => tree.resolve(path)),
        want,
      );
      assert.equal(tree.find(path), undefined);
    });
  }

  test('says which symlinks it went through', () => {
    const through: Parameters<typeof tree.pathOf>[0][] = [];
    tree.resolve('/lib/rel', { through });
    assert.deepEqual(
      through.map((node) => tree.pathOf(node)),
      ['/lib', '/usr/lib/rel'],
    );
  });
});

test('originOf names the entry of the content and of the link', () => {
  assert.deepEqual(tree.originOf('/usr/lib/f'), { layer: 0, entryIndex: 1 });
  assert.deepEqual(tree.originOf('/lib/g'), { layer: 1, entryIndex: 0 });
  assert.deepEqual(tree.originOf('/lib/h'), { layer: 0, entryIndex: 1, link: { layer: 1, entryIndex: 1 } });
  assert.deepEqual(tree.originOf('/lib'), { layer: 0, entryIndex: 2 });
  assert.deepEqual(tree.originOf('/top'), { layer: 1 });
  assert.deepEqual(tree.originOf('/'), { layer: 0 });
  assert.equal(tree.originOf('/nope'), undefined);
});

test('a name that was a hardlink and is a file now has no link origin, and hides nothing of a lower layer', () => {
  const relinked = mergeLayers([
    layer(reg('f'), hard('h', 'f'), hard('i', 'f')),
    layer(reg('h'), hard('i', 'h')),
    layer(wh('i'), reg('g'), reg('i')),
  ]);
  assert.deepEqual(relinked.originOf('/h'), { layer: 1, entryIndex: 0 });
  assert.deepEqual(relinked.originOf('/i'), { layer: 2, entryIndex: 2 });
  assert.deepEqual(relinked.pathsOf(relinked.resolve('/f')), ['/f']);
});

test('a node that was never numbered is ENOENT', () => {
  assert.equal(
    errno(() => tree.node(0xffff)),
    ERRNO.ENOENT,
  );
});
