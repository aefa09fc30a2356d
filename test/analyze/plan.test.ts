// Layers (as real tar bytes) and hot paths in, order of each layer out.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type PlanInput, planLayers } from '../../src/analyze/plan.js';
import { type Candidate, type Policy, touchedFiles } from '../../src/analyze/policy.js';
import { formatSaved } from '../../src/analyze/saved.js';
import type { Plan, Profile, ProfileFile } from '../../src/analyze/types.js';
import { mergeLayers } from '../../src/rootfs/merge.js';
import { effectiveEntries } from '../../src/stargz/names.js';
import { prioritize } from '../../src/stargz/order.js';
import type { TarEntry } from '../../src/stargz/tar/entry.js';
import { TarScanner } from '../../src/stargz/tar/scan.js';
import { charDevice, dir, fifo, file, hardlink, opaque, symlink, tarOf, whiteout } from '../support/tar.js';
import { DIGEST, newSeed, random } from './support.js';

function entriesOf(tar: Buffer): readonly TarEntry[] {
  const scanner = new TarScanner();
  scanner.push(tar);
  return scanner.end().entries;
}

function input(layers: readonly Buffer[], hot: readonly string[], more: Partial<PlanInput> = {}): PlanInput {
  const entries = layers.map(entriesOf);
  return {
    image: { reference: 'oci:app', digest: DIGEST },
    layers: entries.map((list, index) => ({
      index,
      digest: `sha256:${String(index).repeat(64)}`,
      diffId: `sha256:${'d'.repeat(63)}${index}`,
      entries: list,
    })),
    tree: mergeLayers(entries.map((list) => [...list])),
    ranking: hot.map((path, i) => ({ path, score: 1 - i / 1000, because: 'wanted' })),
    ...more,
  };
}

const hotOf = (plan: Plan) => plan.layers.map((layer) => layer.hot.map(({ path }) => path));

interface Case {
  readonly in: readonly Buffer[];
  readonly hot: readonly string[];
  /** Entries before the landmark, a list for each layer. */
  readonly want: readonly (readonly string[])[];
  readonly missed?: Readonly<Record<string, RegExp>>;
}

const CASES: Record<string, Case> = {
  'nothing is hot': {
    in: [tarOf(file('a', 'a')), tarOf()],
    hot: [],
    want: [[], []],
  },
  'an image without layers': { in: [], hot: ['/a'], want: [], missed: { '/a': /in no layer/ } },
  'parents first, each once, in the order of the ranking': {
    in: [
      tarOf(dir('usr/'), dir('usr/bin/'), file('usr/bin/a', 'a'), file('usr/b', 'b'), dir('var/'), file('var/c', 'c')),
    ],
    hot: ['/var/c', '/usr/bin/a', '/usr/b'],
    want: [['var', 'var/c', 'usr', 'usr/bin', 'usr/bin/a', 'usr/b']],
  },
  'the root entry comes first when there is one': {
    in: [tarOf(dir('./'), dir('./a/'), file('./a/b', 'b'), file('./c', 'c'))],
    hot: ['/c', '/a/b'],
    want: [['', 'c', 'a', 'a/b']],
  },
  'names with a leading slash, ./ and ../': {
    in: [tarOf(dir('/a/'), file('/a/b', 'b'), file('./c', 'c'), file('../d', 'd'))],
    hot: ['/a/b', '/c', '/d'],
    want: [['a', 'a/b', 'c', 'd']],
  },
  'missing parents do not matter': {
    in: [tarOf(file('usr/lib/x.so', 'x'))],
    hot: ['/usr/lib/x.so'],
    want: [['usr/lib/x.so']],
  },
  'a parent that lies behind its child in the tar, too': {
    in: [tarOf(file('a/b', 'b'), dir('a/'))],
    hot: ['/a/b'],
    want: [['a', 'a/b']],
  },
  'the layer that owns a file, not the one that is shadowed': {
    in: [tarOf(file('conf', 'old'), file('app', 'a')), tarOf(dir('x/'), file('conf', 'new'))],
    hot: ['/conf', '/app'],
    want: [['app'], ['conf']],
  },
  'a parent is taken from the same layer as the file': {
    in: [tarOf(dir('etc/'), file('etc/a', 'a')), tarOf(dir('etc/', { mode: 0o700 }), file('etc/b', 'b'))],
    hot: ['/etc/a', '/etc/b'],
    want: [
      ['etc', 'etc/a'],
      ['etc', 'etc/b'],
    ],
  },
  'a symlink on the way is hot, in its own layer': {
    in: [tarOf(dir('usr/'), dir('usr/lib/'), file('usr/lib/x.so.1', 'x')), tarOf(symlink('usr/lib/x.so', 'x.so.1'))],
    hot: ['/usr/lib/x.so'],
    want: [['usr', 'usr/lib', 'usr/lib/x.so.1'], ['usr/lib/x.so']],
  },
  'a symlinked directory, an absolute target, a chain': {
    in: [
      tarOf(symlink('lib', 'usr/lib'), symlink('lib64', '/lib'), dir('usr/lib/'), file('usr/lib/ld.so', 'l')),
      tarOf(symlink('usr/lib/ld-linux.so', '../../lib64/ld.so')),
    ],
    hot: ['/lib64/ld-linux.so'],
    want: [['lib64', 'lib', 'usr/lib', 'usr/lib/ld.so'], ['usr/lib/ld-linux.so']],
  },
  '.. in a link stops at the root': {
    in: [tarOf(symlink('a', '../../../b'), file('b', 'b'))],
    hot: ['/a'],
    want: [['a', 'b']],
  },
  'a file written through a symlinked directory lies under the name that its layer gives it': {
    in: [tarOf(symlink('lib', 'usr/lib'), dir('usr/'), dir('usr/lib/')), tarOf(file('lib/x.so', 'x'))],
    hot: ['/usr/lib/x.so'],
    want: [[], ['lib/x.so']],
  },
  'two paths that mean one file are one': {
    in: [tarOf(symlink('l', 'f'), file('f', 'f'))],
    hot: ['/f', '/l'],
    want: [['f']],
  },
  'symlink loops end': {
    in: [tarOf(symlink('a', 'b'), symlink('b', 'a'), symlink('self', 'self'))],
    hot: ['/a', '/self/x'],
    want: [[]],
    missed: { '/a': /40 symlinks/, '/self/x': /40 symlinks/ },
  },
  'a hardlink puts its target first, parents of both included': {
    in: [tarOf(dir('bin/'), dir('opt/'), file('bin/a', 'a'), hardlink('opt/b', 'bin/a'))],
    hot: ['/opt/b'],
    want: [['bin', 'bin/a', 'opt', 'opt/b']],
  },
  'a chain of hardlinks': {
    in: [tarOf(file('a', 'a'), hardlink('b', './a'), hardlink('c', '/b'))],
    hot: ['/c'],
    want: [['a', 'b', 'c']],
  },
  'a hardlink whose target is in a lower layer: both are hot': {
    in: [tarOf(dir('d/'), file('d/a', 'a')), tarOf(dir('e/'), hardlink('e/b', 'd/a'))],
    hot: ['/e/b'],
    want: [
      ['d', 'd/a'],
      ['e', 'e/b'],
    ],
  },
  'a hardlink whose target was deleted above': {
    in: [tarOf(file('a', 'a')), tarOf(hardlink('b', 'a')), tarOf(whiteout('a'))],
    hot: ['/b', '/a'],
    want: [['a'], ['b'], []],
    missed: { '/a': /deleted: layer 0 has it, \.wh\.a in layer 2 removes it/ },
  },
  'the name of the content does not pull its other names': {
    in: [tarOf(file('a', 'a'), hardlink('b', 'a'))],
    hot: ['/a'],
    want: [['a']],
  },
  'deleted by a whiteout, by one of a parent, by an opaque directory': {
    in: [
      tarOf(file('a', 'a'), file('d/x', 'x'), file('e/y', 'y'), file('e/z', 'z')),
      tarOf(whiteout('a'), whiteout('d'), opaque('e'), file('e/z', 'new')),
    ],
    hot: ['/a', '/d/x', '/e/y', '/e/z'],
    want: [[], ['e/.wh..wh..opq', 'e/z']],
    missed: {
      '/a': /layer 0 has it, \.wh\.a in layer 1/,
      '/d/x': /layer 0 has it, \.wh\.d in layer 1/,
      '/e/y': /layer 0 has it, e\/\.wh\.\.wh\.\.opq in layer 1/,
    },
  },
  'deleted and made again': {
    in: [tarOf(file('a', 'one')), tarOf(whiteout('a')), tarOf(file('a', 'two'))],
    hot: ['/a'],
    want: [[], [], ['a']],
  },
  'a whiteout stays before what replaces the file': {
    in: [tarOf(dir('d/'), file('d/f', 'f')), tarOf(dir('d/'), opaque('d'), whiteout('d/f'), file('d/f', 'g'))],
    hot: ['/d/f'],
    want: [[], ['d', 'd/.wh..wh..opq', 'd/.wh.f', 'd/f']],
  },
  'a whiteout of a parent directory, too': {
    in: [tarOf(dir('d/')), tarOf(whiteout('d'), dir('d/'), file('d/f', 'g'))],
    hot: ['/d/f'],
    want: [[], ['.wh.d', 'd', 'd/f']],
  },
  'a file stands where a directory was': {
    in: [tarOf(file('d/f', 'f')), tarOf(file('d', 'now a file'))],
    hot: ['/d/f', '/d'],
    want: [[], ['d']],
    missed: { '/d/f': /hidden: layer 0 has it, but a file of a higher layer/ },
  },
  'what has no content': {
    in: [tarOf(dir('d/'), fifo('pipe'), charDevice('null', 1, 3), file('empty', ''))],
    hot: ['/d', '/pipe', '/null', '/empty', '/'],
    want: [['empty']],
    missed: { '/d': /is a directory/, '/': /is a directory/, '/pipe': /is a fifo node/, '/null': /is a char node/ },
  },
  'in no layer, also through a symlink': {
    in: [tarOf(symlink('tmp', 'var/tmp'), dir('var/tmp/'))],
    hot: ['/tmp/made', '/never/was'],
    want: [[]],
    missed: { '/tmp/made': /in no layer of the image/, '/never/was': /in no layer of the image/ },
  },
  'landmarks and the TOC of the input are dropped anyway': {
    in: [tarOf(file('.prefetch.landmark', '\x0f'), file('a', 'a'), file('stargz.index.json', '{}'))],
    hot: ['/stargz.index.json', '/.prefetch.landmark', '/a'],
    want: [['a']],
    missed: { '/stargz.index.json': /written anew/, '/.prefetch.landmark': /written anew/ },
  },
  'names that are not UTF-8': {
    in: [tarOf(dir(Buffer.from('d\xe9/', 'latin1')), file(Buffer.from('d\xe9/f\xff', 'latin1'), 'x'))],
    hot: ['/d\udce9/f\udcff'],
    want: [['d\udce9', 'd\udce9/f\udcff']],
  },
  'long names': {
    in: [tarOf(file(`${'n'.repeat(120)}/${'m'.repeat(200)}`, 'x'))],
    hot: [`/${'n'.repeat(120)}/${'m'.repeat(200)}`],
    want: [[`${'n'.repeat(120)}/${'m'.repeat(200)}`]],
  },
  'names that JavaScript objects know': {
    in: [tarOf(file('__proto__/constructor', 'x'), file('toString', 'x'))],
    hot: ['/__proto__/constructor', '/toString', '/valueOf'],
    want: [['__proto__/constructor', 'toString']],
    missed: { '/valueOf': /in no layer/ },
  },
  'a name twice in a layer: the later entry': {
    in: [tarOf(file('a', 'first'), file('b', 'b'), file('a', 'second one'))],
    hot: ['/a'],
    want: [['a']],
  },
};

for (const [name, { in: layers, hot, want, missed = {} }] of Object.entries(CASES)) {
  test(name, () => {
    const plan = planLayers(input(layers, hot));
    assert.deepEqual(hotOf(plan), want);
    assert.deepEqual(plan.missed.map(({ path }) => path).sort(), Object.keys(missed).sort());
    for (const { path, reason } of plan.missed) assert.match(reason, missed[path]!);
    for (const layer of plan.layers) {
      assert.equal(layer.landmark, layer.hot.length > 0 ? 'prefetch' : 'no-prefetch');
      assert.equal(
        layer.hotBytes,
        layer.hot.reduce((sum, entry) => sum + entry.size, 0),
      );
    }
  });
}

test('sizes are those of the content; the later of two equal names counts', () => {
  const plan = planLayers(input([tarOf(dir('d/'), file('d/a', 'first'), file('d/a', 'second one'))], ['/d/a']));
  assert.deepEqual(plan.layers[0]?.hot, [
    { path: 'd', because: 'parent directory of d/a', size: 0 },
    { path: 'd/a', because: 'wanted', size: 10 },
  ]);
  assert.equal(plan.layers[0]?.hotBytes, 10);
});

test('a file that GNU tar was given twice: the link to itself is not its content', () => {
  const plan = planLayers(input([tarOf(file('a', 'content'), hardlink('a', 'a'))], ['/a']));
  assert.deepEqual(plan.layers[0]?.hot, [{ path: 'a', because: 'wanted', size: 7 }]);
});

test('a hostile chain of hardlinks, and a ring, do not overflow anything', () => {
  const links = Array.from({ length: 5_000 }, (_, i) => hardlink(`l${i + 1}`, `l${i}`));
  const plan = planLayers(
    input([tarOf(file('l0', 'x'), ...links, hardlink('r', 's'), hardlink('s', 'r'))], ['/l5000', '/r']),
  );
  assert.equal(plan.layers[0]?.hot.length, 5_001);
  assert.equal(plan.layers[0]?.hot.at(-1)?.path, 'l5000');
  assert.deepEqual(
    plan.missed.map(({ path }) => path),
    ['/r'],
  );
});

test('what lay on a mount is not of the image', () => {
  const plan = planLayers(input([tarOf(symlink('d', 'data'), file('data/f', 'f'))], ['/d/f'], { mounts: ['/data'] }));
  assert.deepEqual(hotOf(plan), [[]]);
  assert.match(plan.missed[0]!.reason, /mounted at \/data/);
});

function use(path: string, type: ProfileFile['type']): ProfileFile {
  const spread = { median: 0, mad: 0, min: 0, max: 0 };
  const probability = { estimate: 1, low: 0.206549, high: 1 };
  const counts = { size: 0, seenIn: 1, openedIn: 1, probability, reads: 0, ranges: [], comms: [] };
  return { path, type, firstAccess: spread, bytesRead: spread, ...counts };
}

test('a symlink that was only read as a link does not pull what it leads to', () => {
  const profile = { complete: false, files: [use('/l', 'symlink')] } as unknown as Profile;
  const plan = planLayers(input([tarOf(symlink('l', 'f'), file('f', 'f'))], ['/l'], { profile }));
  assert.deepEqual(hotOf(plan), [['l']]);
  assert.equal(plan.complete, false);
});

test('a cap passes over what does not fit and says so', () => {
  const layers = [
    tarOf(file('a', 'x'.repeat(600)), file('b', 'x'.repeat(500)), file('c', 'x'.repeat(400)), symlink('l', 'b')),
  ];
  const plan = planLayers(input(layers, ['/a', '/l', '/c'], { policy: touchedFiles({ maxPrefetch: 1000 }) }));
  assert.deepEqual(hotOf(plan), [['a', 'c']]);
  assert.deepEqual(plan.missed, [
    { path: '/l', reason: 'left out by --max-prefetch 0.98 KiB: it has 500 B, 400 B were left' },
  ]);
});

test('a policy gets each file once with layer, size and use, and may set chunk boundaries', () => {
  let seen: readonly Candidate[] = [];
  const policy: Policy = {
    name: 'reverse',
    choose(candidates) {
      seen = candidates;
      return {
        chosen: candidates.toReversed(),
        cut: [],
        chunks: new Map([
          ['/b', [4096, 8192]],
          ['/a', []],
        ]),
      };
    },
  };
  const profile = { complete: true, files: [use('/b', 'reg')] } as unknown as Profile;
  const plan = planLayers(
    input([tarOf(file('a', 'a')), tarOf(file('b', 'bb'))], ['/a', '/b'], { policy, profile, chunkSize: 65536 }),
  );
  assert.deepEqual(
    seen.map(({ rank, layer, size, use }) => [rank.path, layer, size, use?.path]),
    [
      ['/a', 0, 1, undefined],
      ['/b', 1, 2, '/b'],
    ],
  );
  assert.deepEqual(plan.layers[1]?.chunks, { b: [4096, 8192] });
  assert.equal('chunks' in plan.layers[0]!, false);
  assert.equal(plan.chunkSize, 65536);
});

test('random layers: parents and link targets precede, nothing twice, nothing lost, same bytes again', () => {
  const seed = newSeed('plan');
  const draw = random(seed);
  // Directories and files have names of their own: a file in the place of a directory of its own layer has no order
  // that is right, nor has a ring of hardlinks (h leads to files, i also to h). Symlinks may stand anywhere.
  const folder = () => Array.from({ length: 1 + draw(2) }, () => 'ab'[draw(2)]!).join('/');
  const path = (names = 'cde') => `${draw(4) > 0 ? `${folder()}/` : ''}${names[draw(names.length)]!}`;
  for (let round = 0; round < 200; round++) {
    const layers = Array.from({ length: 1 + draw(3) }, () =>
      tarOf(
        ...Array.from({ length: draw(16) }, () => {
          const kind = draw(11);
          if (kind < 3) return dir(`${folder()}/`);
          if (kind < 4) return symlink(draw(2) ? path() : folder(), draw(2) ? path() : `/${folder()}`);
          if (kind < 5) return hardlink(path('h'), path());
          if (kind < 6) return hardlink(path('i'), path('cdeh'));
          if (kind < 7) return whiteout(draw(2) ? path() : folder());
          if (kind < 8) return opaque(folder());
          return file(path(), 'x'.repeat(draw(5)));
        }),
      ),
    );
    const hot = [...new Set(Array.from({ length: draw(8) }, () => `/${path('cdehi')}`))];
    const plan = planLayers(input(layers, hot));
    const where = `SEED=${seed} round ${round}`;
    const tree = mergeLayers(layers.map((tar) => [...entriesOf(tar)]));
    for (const [i, layer] of plan.layers.entries()) {
      const entries = new Map(entriesOf(layers[i]!).map((entry) => [entry.path, entry]));
      const placed = new Set<string>();
      for (const { path: at } of layer.hot) {
        assert.ok(!placed.has(at), `${where}: ${at} twice`);
        const entry = entries.get(at);
        assert.ok(entry, `${where}: ${at} is not in layer ${i}`);
        for (let up = at; up.includes('/'); ) {
          up = up.slice(0, up.lastIndexOf('/'));
          assert.ok(placed.has(up) || !entries.has(up) || up === at, `${where}: ${up} must precede ${at}`);
        }
        if (entry.type === 'hardlink' && entries.get(entry.linkName)?.type === 'reg') {
          assert.ok(placed.has(entry.linkName), `${where}: ${entry.linkName} must precede ${at}`);
        }
        placed.add(at);
      }
      // The writer's own ordering finds nothing to add and nothing to move.
      const order = prioritize(
        entriesOf(layers[i]!),
        layer.hot.map((entry) => entry.path),
      );
      assert.deepEqual(order.missed, []);
      const effective = new Set([...effectiveEntries(entriesOf(layers[i]!)).values()].map(({ index }) => index));
      assert.deepEqual(
        order.hot.filter((index) => effective.has(index)).map((index) => entriesOf(layers[i]!)[index]!.path),
        layer.hot.map((entry) => entry.path),
        `${where}: layer ${i}`,
      );
    }
    const missed = new Set(plan.missed.map((miss) => miss.path));
    for (const wanted of hot) {
      const node = tree.find(wanted);
      const placed =
        node?.type === 'reg' && plan.layers[node.layer]!.hot.some(({ path: at }) => at === node.entry?.path);
      assert.equal(placed, !missed.has(wanted), `${where}: ${wanted} is ${placed ? 'placed and missed' : 'lost'}`);
    }
    assert.equal(formatSaved(planLayers(input(layers, hot))), formatSaved(plan));
  }
});
