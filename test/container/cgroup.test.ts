// Where a cgroup is made, and what is written into it: the real ones where this machine has them, and trees of
// directories that look like version 2.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { makeCgroup, type World } from '../../src/container/isolation/cgroup.js';
import { testDir } from '../support/temp.js';
import { lackingCgroup } from './cgroup-here.js';

/** A tree: what each cgroup offers, and gives to those below it. */
interface Tree {
  readonly [path: string]: { readonly offers: string; readonly gives: string };
}

const UNIT = 'user.slice/app.slice/a.scope';

function lay(top: string, tree: Tree): void {
  for (const [path, { offers, gives }] of Object.entries(tree)) {
    mkdirSync(join(top, path), { recursive: true });
    writeFileSync(join(top, path, 'cgroup.controllers'), `${offers}\n`);
    writeFileSync(join(top, path, 'cgroup.subtree_control'), `${gives}\n`);
    writeFileSync(join(top, path, 'cgroup.procs'), '');
  }
}

const both = { offers: 'cpu memory pids', gives: 'cpu memory pids' };
const none = { offers: '', gives: '' };
const leaf = { offers: 'cpu memory pids', gives: '' };

describe('a cgroup of version 2', () => {
  const cases: [what: string, tree: Tree, own: string, parent: string | RegExp, enabled?: string][] = [
    [
      'lies beside ours, which has processes in it',
      { '.': both, 'user.slice': both, 'user.slice/app.slice': both, [UNIT]: leaf },
      `/${UNIT}`,
      'user.slice/app.slice',
    ],
    [
      'lies further up where the controllers are',
      {
        '.': both,
        'user.slice': both,
        'user.slice/app.slice': { offers: 'cpu memory', gives: 'memory' },
        [UNIT]: leaf,
      },
      `/${UNIT}`,
      'user.slice',
    ],
    ['lies at the top of a machine without a manager', { '.': both }, '/', '.'],
    [
      'gets controllers that are offered and not given',
      { '.': { offers: 'cpu memory', gives: 'cpu' }, a: { offers: 'cpu', gives: '' } },
      '/a',
      '.',
      '+memory',
    ],
    ['cannot be had where nobody offers them', { '.': none, a: none }, '/a', /no cgroup gives memory and cpu/],
  ];
  for (const [what, tree, own, parent, enabled] of cases)
    test(what, async (t) => {
      const top = testDir(t);
      lay(top, tree);
      const world: World = { mountinfo: `30 25 0:26 / ${top} rw,nosuid - cgroup2 cgroup2 rw\n`, cgroup: `0::${own}\n` };
      const limits = { memory: 64_000_000, cpus: 1.5 };
      if (typeof parent !== 'string') {
        assert.throws(() => makeCgroup(limits, world), parent);
        return;
      }
      const cgroup = makeCgroup(limits, world)!;
      assert.deepEqual(cgroup.directories.map(dirname), [join(top, parent)]);
      const made = cgroup.directories[0]!;
      const text = (file: string) => readFileSync(join(made, file), 'utf8');
      assert.deepEqual([text('memory.max'), text('cpu.max')], ['64000000', '150000 100000']);
      if (enabled !== undefined)
        assert.equal(readFileSync(join(top, parent, 'cgroup.subtree_control'), 'utf8'), enabled);
      writeFileSync(join(made, 'memory.events'), 'low 0\noom 3\noom_kill 2\n');
      assert.equal(cgroup.memoryKills(), 2);
      // A real one has no files that keep it from being removed.
      for (const file of readdirSync(made)) rmSync(join(made, file));
      await cgroup[Symbol.asyncDispose]();
      assert.ok(!existsSync(made));
    });

  test('is found through a mount that shows a part of the tree', async (t) => {
    const top = testDir(t);
    lay(top, { '.': both, box: leaf });
    const world: World = {
      mountinfo: `30 25 0:26 /docker/1 ${top} rw - cgroup2 cgroup2 rw\n`,
      cgroup: '0::/docker/1/box\n',
    };
    const cgroup = makeCgroup({ cpus: 0.001 }, world)!;
    const made = cgroup.directories[0]!;
    assert.equal(dirname(made), top);
    assert.equal(readFileSync(join(made, 'cpu.max'), 'utf8'), '1000 100000', 'the least there is');
    rmSync(join(made, 'cpu.max'));
    await cgroup[Symbol.asyncDispose]();
  });
});

test('nothing to limit: no cgroup; none mounted: refused', () => {
  assert.equal(makeCgroup({}), undefined);
  assert.throws(() => makeCgroup({ cpus: 1 }, { mountinfo: '', cgroup: '0::/\n' }), /--cpus 1: no cgroup can be made/);
});

test('a real one: what a killed run left is removed, and it goes itself', { skip: lackingCgroup() }, async () => {
  const first = makeCgroup({ memory: 64 << 20 })!;
  const parent = dirname(first.directories[0]!);
  const [left, young] = [join(parent, 'hotlayer-1-1-0'), join(parent, 'hotlayer-1-2-0')];
  try {
    for (const path of [left, young]) mkdirSync(path);
    utimesSync(left, 1e9, 1e9);
    await using second = makeCgroup({ memory: 64 << 20 })!;
    assert.ok(second.directories.every((path) => existsSync(path)));
    assert.deepEqual([existsSync(left), existsSync(young)], [false, true]);
  } finally {
    for (const path of [left, young]) rmSync(path, { recursive: true, force: true });
    await first[Symbol.asyncDispose]();
  }
  assert.deepEqual(
    readdirSync(parent).filter((name) => name.startsWith(`hotlayer-${process.pid}-`)),
    [],
  );
});
