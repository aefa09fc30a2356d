// Layers in, tree out, as a table: each row is a rule of layer.md or of containerd's archive.Apply.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LAYER_BOOKKEEPING, mergeLayers } from '../../src/rootfs/merge.js';
import type { Tree } from '../../src/rootfs/tree.js';
import { dir, hard, layer, opq, reg, type Spec, sym, wh } from './entries.js';

/** `path type layer:entry` per name below the root, directories without an entry as `layer:-`, hardlink names `=first`. */
function show(tree: Tree): string[] {
  const lines: string[] = [];
  for (const { path, node } of tree.walk()) {
    if (path === '/') continue;
    const from = `${node.layer}:${node.entry ? node.entry.index : '-'}`;
    const first = tree.pathOf(node);
    const what = node.type === 'symlink' ? `-> ${node.linkTarget}` : first === path ? node.type : `= ${first}`;
    lines.push(`${path} ${what} ${from}`);
  }
  return lines;
}

const TABLE: { name: string; layers: Spec[][]; want: string[]; warn?: string[] }[] = [
  {
    name: 'files add up, the upper one wins',
    layers: [
      [reg('a'), reg('b')],
      [reg('b'), reg('c')],
    ],
    want: ['/a reg 0:0', '/b reg 1:0', '/c reg 1:1'],
  },
  {
    name: 'parents that no entry names are implied',
    layers: [[reg('x/y/z')]],
    want: ['/x dir 0:-', '/x/y dir 0:-', '/x/y/z reg 0:0'],
  },
  {
    name: 'a directory over a directory keeps what is in it and takes the upper metadata',
    layers: [[dir('d'), reg('d/a')], [dir('d/')]],
    want: ['/d dir 1:0', '/d/a reg 0:1'],
  },
  {
    name: 'an implied parent leaves the lower metadata alone',
    layers: [[dir('d')], [reg('d/a')]],
    want: ['/d dir 0:0', '/d/a reg 1:0'],
  },
  {
    name: 'a directory entry after its content names the implied one',
    layers: [[reg('d/a'), dir('d')]],
    want: ['/d dir 0:1', '/d/a reg 0:0'],
  },
  {
    name: 'a file over a directory takes all of it away',
    layers: [[dir('d'), reg('d/a'), reg('d/e/f')], [reg('d')]],
    want: ['/d reg 1:0'],
  },
  {
    name: 'a directory over a file, and over a symlink to a directory',
    layers: [
      [reg('f'), dir('t'), reg('t/old'), sym('s', 't')],
      [dir('f'), reg('f/a'), dir('s'), reg('s/b')],
    ],
    want: ['/f dir 1:0', '/f/a reg 1:1', '/s dir 1:2', '/s/b reg 1:3', '/t dir 0:1', '/t/old reg 0:2'],
  },
  {
    name: 'a whiteout removes a file, a tree, a symlink but not its target',
    layers: [
      [reg('a'), reg('d/x/y'), reg('t'), sym('s', 't')],
      [wh('a'), wh('d'), wh('s')],
    ],
    want: ['/t reg 0:2'],
  },
  {
    name: 'a whiteout for nothing is nothing, though its directory then exists as it would on disk',
    layers: [[reg('a')], [wh('nope'), wh('p/q')]],
    want: ['/a reg 0:0', '/p dir 1:-'],
  },
  {
    name: 'whiteouts hide lower layers only: before or after a file of the same layer',
    layers: [[reg('a'), reg('b')], [wh('a'), reg('a'), reg('b'), wh('b')], [wh('nothing')]],
    want: ['/a reg 1:1', '/b reg 1:2'],
  },
  {
    name: 'a whiteout after a directory of the same layer leaves only what the layer put there',
    layers: [
      [dir('d'), reg('d/low'), dir('d/sub'), reg('d/sub/low')],
      [dir('d'), reg('d/up'), reg('d/sub/up'), wh('d')],
    ],
    want: ['/d dir 1:0', '/d/sub dir 1:-', '/d/sub/up reg 1:2', '/d/up reg 1:1'],
  },
  {
    name: 'a whiteout in a directory does not keep that directory from being removed',
    layers: [
      [dir('d'), reg('d/c/f')],
      [wh('d/c/f'), wh('d')],
    ],
    want: [],
  },
  {
    name: 'opaque first, in the middle, last: the same',
    layers: [
      [dir('d'), reg('d/low'), dir('e'), reg('e/low'), dir('f'), reg('f/low'), reg('f/deep/low')],
      [opq('d'), reg('d/up'), reg('e/up1'), opq('e'), reg('e/up2'), reg('f/deep/up'), opq('f')],
    ],
    want: [
      '/d dir 0:0',
      '/d/up reg 1:1',
      '/e dir 0:2',
      '/e/up1 reg 1:2',
      '/e/up2 reg 1:4',
      '/f dir 0:4',
      '/f/deep dir 1:-',
      '/f/deep/up reg 1:5',
    ],
  },
  {
    name: 'opaque at the root',
    layers: [
      [reg('a'), reg('d/b')],
      [reg('.wh..wh..opq'), reg('c')],
    ],
    want: ['/c reg 1:1'],
  },
  {
    name: 'a third layer brings back what the second removed',
    layers: [[reg('d/a'), reg('d/b')], [wh('d')], [reg('d/c')]],
    want: ['/d dir 2:-', '/d/c reg 2:0'],
  },
  {
    name: 'a whiteout in a directory that replaced a symlink leaves the symlink’s target alone',
    layers: [
      [dir('real'), reg('real/keep'), sym('d', 'real')],
      [dir('d'), opq('d'), reg('d/new')],
    ],
    want: ['/d dir 1:0', '/d/new reg 1:2', '/real dir 0:0', '/real/keep reg 0:1'],
  },
  {
    name: 'aufs and stargz bookkeeping is not shown, but the same names further down are',
    layers: [[...[...LAYER_BOOKKEEPING].map((name) => reg(name)), reg('.wh..wh.plnk'), reg('d/.prefetch.landmark')]],
    want: ['/d dir 0:-', '/d/.prefetch.landmark reg 0:4'],
  },
  {
    name: 'whiteouts of "", "." and ".." do nothing',
    layers: [[reg('d/a')], [reg('d/.wh.'), reg('d/.wh..'), reg('d/.wh...')]],
    want: ['/d dir 0:-', '/d/a reg 0:0'],
    warn: ['entry-ignored d/.wh.', 'entry-ignored d/.wh..', 'entry-ignored d/.wh...'],
  },
  {
    name: 'a name twice in one layer: the last one',
    layers: [[reg('a'), reg('d/x'), reg('a'), sym('d', 'a')]],
    want: ['/a reg 0:2', '/d -> a 0:3'],
  },
  {
    name: 'names are cleaned: absolute, ./, .. above the root',
    layers: [[reg('/a'), reg('./b'), reg('../../c'), reg('d/./../e')]],
    want: ['/a reg 0:0', '/b reg 0:1', '/c reg 0:2', '/e reg 0:3'],
  },
  {
    name: 'a name through a symlink of a lower layer lands where that leads',
    layers: [
      [dir('usr/lib'), sym('lib', 'usr/lib'), sym('abs', '/usr/lib'), sym('up', '../../usr')],
      [reg('lib/a'), reg('abs/b'), reg('up/lib/c'), wh('lib/none')],
    ],
    want: [
      '/abs -> /usr/lib 0:2',
      '/lib -> usr/lib 0:1',
      '/up -> ../../usr 0:3',
      '/usr dir 0:-',
      '/usr/lib dir 0:0',
      '/usr/lib/a reg 1:0',
      '/usr/lib/b reg 1:1',
      '/usr/lib/c reg 1:2',
    ],
  },
  {
    name: 'whiteout and opaque through a symlink',
    layers: [
      [reg('t/a'), reg('t/b'), reg('u/c'), sym('s', 't'), sym('v', 'u')],
      [wh('s/a'), opq('v')],
    ],
    want: ['/s -> t 0:3', '/t dir 0:-', '/t/b reg 0:1', '/u dir 0:-', '/v -> u 0:4'],
  },
  {
    name: 'a name through a dangling symlink makes its target',
    layers: [[sym('s', 'not/there')], [reg('s/a')]],
    want: ['/not dir 1:-', '/not/there dir 1:-', '/not/there/a reg 1:0', '/s -> not/there 0:0'],
  },
  {
    name: 'a parent that is a symlink loop',
    layers: [[sym('a', 'b'), sym('b', 'a'), sym('self', 'self/x'), reg('a/x'), reg('self/y'), reg('ok')]],
    want: ['/a -> b 0:0', '/b -> a 0:1', '/ok reg 0:5', '/self -> self/x 0:2'],
    warn: ['symlink-loop a/x', 'symlink-loop self/y'],
  },
  {
    name: 'a parent that is a file is replaced by a directory',
    layers: [[reg('a')], [reg('a/b')]],
    want: ['/a dir 1:-', '/a/b reg 1:0'],
    warn: ['parent-not-directory a/b'],
  },
  {
    name: 'a parent changes from symlink to directory in the middle of a layer',
    layers: [[sym('p', 't'), reg('p/a'), dir('p'), reg('p/b')]],
    want: ['/p dir 0:2', '/p/b reg 0:3', '/t dir 0:-', '/t/a reg 0:1'],
  },
  {
    name: 'hardlinks: before their target, chained backwards, through a symlinked parent, to a symlink',
    layers: [
      [
        hard('a', 'z'),
        hard('y', 'a'),
        reg('z'),
        sym('l', 'z'),
        hard('m', './l'),
        sym('dd', 'd'),
        reg('d/f'),
        hard('n', '/dd/f'),
      ],
    ],
    want: [
      '/a = /z 0:2',
      '/d dir 0:-',
      '/d/f reg 0:6',
      '/dd -> d 0:5',
      '/l -> z 0:3',
      '/m -> z 0:3',
      '/n = /d/f 0:6',
      '/y = /z 0:2',
      '/z reg 0:2',
    ],
  },
  {
    name: 'a hardlink to a lower layer shares that file, whatever becomes of its name',
    layers: [[reg('a'), reg('b')], [hard('c', 'a'), hard('d', 'b'), reg('b')], [wh('a')]],
    want: ['/b reg 1:2', '/c reg 0:0', '/d reg 0:1'],
  },
  {
    name: 'a hardlink to a file that this layer whited out is lost',
    layers: [[reg('a')], [wh('a'), hard('b', 'a')]],
    want: [],
    warn: ['link-target-missing b > a'],
  },
  {
    name: 'hardlinks without a target, in a loop, to a directory, over a lower file',
    layers: [
      [reg('over'), reg('dir/f')],
      [hard('x', 'nope'), hard('p', 'q'), hard('q', 'p'), hard('over', 'nope'), hard('h', 'dir'), hard('self', 'self')],
    ],
    want: ['/dir dir 0:-', '/dir/f reg 0:1'],
    warn: [
      'link-to-directory h > dir',
      'link-target-missing x > nope',
      'link-target-missing p > q',
      'link-target-missing q > p',
      'link-target-missing over > nope',
      'link-target-missing self > self',
    ],
  },
  {
    name: 'a hardlink to itself changes nothing where the file exists',
    layers: [[reg('a')], [hard('a', 'a')]],
    want: ['/a reg 0:0'],
  },
  {
    name: 'a later entry takes the name of a link that was waiting',
    layers: [[hard('a', 'later'), reg('a'), reg('later')]],
    want: ['/a reg 0:1', '/later reg 0:2'],
  },
  {
    name: 'a waiting link whose target turns out to be a directory',
    layers: [[hard('a', 'd'), dir('d')]],
    want: ['/d dir 0:1'],
    warn: ['link-to-directory a > d'],
  },
  {
    name: 'an opaque directory drops a lower name of a hardlink but not this layer’s',
    layers: [
      [reg('f'), hard('d/low', 'f')],
      [hard('d/up', 'f'), opq('d')],
    ],
    want: ['/d dir 0:-', '/d/up = /f 0:0', '/f reg 0:0'],
  },
  {
    name: 'names that no file system takes',
    layers: [
      [
        reg('n'.repeat(255)),
        reg('n'.repeat(256)),
        reg('é'.repeat(127)),
        reg('é'.repeat(128)),
        reg('\udcff'.repeat(255)),
        sym('s', 't'.repeat(4096)),
        reg('a\0b'),
        reg(`${'v'.repeat(300)}/x`),
      ],
    ],
    want: [`/${'n'.repeat(255)} reg 0:0`, `/${'é'.repeat(127)} reg 0:2`, `/${'\udcff'.repeat(255)} reg 0:4`],
    warn: [
      `name-invalid ${'n'.repeat(256)}`,
      `name-invalid ${'é'.repeat(128)}`,
      `name-invalid s > ${'t'.repeat(4096)}`,
      'name-invalid a\0b',
      `name-invalid ${'v'.repeat(300)}/x`,
    ],
  },
  {
    name: 'byte order of names, not UTF-16 order',
    layers: [[reg('😀'), reg('\uff5e'), reg('b'), reg('\udc80'), reg('a')]],
    want: ['/a reg 0:4', '/b reg 0:2', '/\udc80 reg 0:3', '/\uff5e reg 0:1', '/😀 reg 0:0'],
  },
];

describe('mergeLayers', () => {
  for (const row of TABLE) {
    test(row.name, () => {
      const tree = mergeLayers(row.layers.map((specs) => layer(...specs)));
      assert.deepEqual(show(tree), row.want);
      const warned = tree.warnings.map(
        (w) => `${w.problem} ${w.path}${w.target === undefined ? '' : ` > ${w.target}`}`,
      );
      assert.deepEqual(warned, row.warn ?? []);
    });
  }

  test('the root takes the metadata of "./", the upper one’s; without one it is 0755', () => {
    const bare = mergeLayers([layer(reg('a'))]).root;
    assert.deepEqual([bare.mode, bare.uid, bare.mtime, bare.entry], [0o755, 0, { sec: 0, nsec: 0 }, undefined]);
    const root = mergeLayers([
      layer(dir('./', { mode: 0o40711, uid: 3, gid: 4 })),
      layer(dir('/', { mode: 0o700, uid: 5, gid: 6 }), reg('a')),
    ]).root;
    assert.deepEqual([root.mode, root.uid, root.gid, root.layer], [0o700, 5, 6, 1]);
  });

  test('link counts: names of a file, subdirectories of a directory', () => {
    const tree = mergeLayers([
      layer(reg('a'), hard('d/b', 'a'), dir('d/e'), dir('d/f')),
      layer(hard('c', 'd/b'), wh('d/e')),
    ]);
    assert.equal(tree.resolve('/a').nlink, 3);
    assert.equal(tree.resolve('/a'), tree.resolve('/d/b'));
    assert.deepEqual(tree.pathsOf(tree.resolve('c')), ['/a', '/c', '/d/b']);
    assert.equal(tree.resolve('/d').nlink, 3);
    assert.equal(tree.root.nlink, 3);
  });

  test('ids are dense, start at the root and do not depend on the order in the tar', () => {
    const specs = ['d/b', 'a', 'd/a', 'c/x/y', 'é', '\udcc3'].map((name) => reg(name));
    const forwards = mergeLayers([layer(...specs)]);
    const backwards = mergeLayers([layer(...[...specs].reverse())]);
    const ids = (tree: Tree) => [...tree.walk()].map(({ path, node }) => [node.id, path]);
    assert.deepEqual(ids(forwards), ids(backwards));
    assert.deepEqual(
      [...forwards.walk()].map(({ node }) => node.id),
      Array.from({ length: 10 }, (_, i) => i + 1),
    );
    for (const { node } of forwards.walk()) assert.equal(forwards.node(node.id), node);
  });

  test('totals count a hardlinked file once', () => {
    const tree = mergeLayers([
      layer(
        reg('a', { size: 10 }),
        hard('b', 'a'),
        sym('s', 'a'),
        { type: 'fifo', name: 'p' },
        reg('gone', { size: 7 }),
      ),
      layer(reg('d/c', { size: 5 }), wh('gone')),
    ]);
    assert.deepEqual(tree.totals, { files: 2, bytes: 15, directories: 2, symlinks: 1, others: 1, names: 6 });
    assert.deepEqual(
      [...tree.files()].map(({ path, size, layer: from }) => [path, size, from]),
      [
        ['/a', 10, 0],
        ['/b', 10, 0],
        ['/d/c', 5, 1],
      ],
    );
  });

  test('a chain of 50 000 hardlinks, each before its target, and one that ends nowhere', () => {
    const chain = (prefix: string) =>
      Array.from({ length: 50_000 }, (_, i) => hard(`${prefix}${i}`, `${prefix}${i + 1}`));
    const started = process.cpuUsage();
    const tree = mergeLayers([layer(...chain('a'), reg('a50000'), ...chain('b'))]);
    assert.ok(process.cpuUsage(started).user < 5_000_000, 'not quadratic');
    assert.equal(tree.resolve('/a0').nlink, 50_001);
    assert.equal(tree.totals.names, 50_001);
    assert.equal(tree.warnings.length, 50_000);
    const fan = [hard('first', 'last')];
    for (let i = 0; i < 150_000; i++) fan.push(hard(`h${i}`, 'first'));
    const entries = [...fan, reg('last')].map((spec, index) => ({ ...layer(spec)[0]!, index }));
    assert.equal(mergeLayers([entries]).resolve('/first').nlink, 150_002);
  });

  test('symlinks that make ever longer ways end soon', () => {
    const long = '../x/'.repeat(800);
    const specs = [dir('x'), sym('x/l', `../l/${long}`), sym('l', `x/l/${long}`)];
    for (let i = 0; i < 2000; i++) specs.push(reg(`l/${i}/f`));
    const started = process.cpuUsage();
    const tree = mergeLayers([layer(...specs)]);
    assert.ok(process.cpuUsage(started).user < 5_000_000, 'soon');
    assert.deepEqual([tree.warnings.length, tree.warnings[0]?.problem], [2000, 'symlink-loop']);
  });

  test('a layer of 100 000 names in one directory, and a path of 2000 directories', () => {
    const many = Array.from({ length: 100_000 }, (_, i) => reg(`d/n${(i * 7919) % 100_000}`));
    const tree = mergeLayers([layer(...many, reg(`${'x/'.repeat(2000)}end`))]);
    assert.equal(tree.resolve('/d').children!.size, 100_000);
    assert.equal(tree.resolve('/d/n99999').entry?.name, 'd/n99999');
    assert.equal(tree.resolve(`${'x/'.repeat(2000)}end`).type, 'reg');
    const deep = mergeLayers([layer(reg(`${'x/'.repeat(1_000_000)}end`), reg('a'))]);
    assert.deepEqual(
      deep.warnings.map((w) => w.problem),
      ['name-invalid'],
    );
    assert.equal(deep.totals.names, 1);
  });
});
