// What a serving thread does before there is anything to serve: each request is answered, and nothing is left behind.
import assert from 'node:assert/strict';
import { closeSync, openSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { warmUp } from '../../src/fuse/warm-up.js';
import * as dirModule from '../../src/rootfs/dir-fs-module.js';
import type { RootFs } from '../../src/rootfs/types.js';
import * as traceModule from '../../src/trace/trace-fs-module.js';
import { testDir } from '../support/temp.js';

const USED = ['lookup', 'getattr', 'readdir', 'open', 'read', 'release', 'forget', 'close'] as const;
const source = { kind: 'dir', path: '/nowhere', exclude: [] } as const;

function traceFile(t: TestContext): { fd: number; path: string } {
  const path = join(testDir(t), 'trace');
  const fd = openSync(path, 'w');
  t.after(() => closeSync(fd));
  return { fd, path };
}

/** How often each operation succeeded. */
function counting(fs: RootFs): Map<string, number> {
  const counts = new Map<string, number>(USED.map((name) => [name, 0]));
  for (const name of USED) {
    const method = fs[name]!.bind(fs) as (...args: unknown[]) => unknown;
    const counted = (...args: unknown[]) => {
      const result = method(...args);
      counts.set(name, counts.get(name)! + 1);
      return result;
    };
    Object.assign(fs, { [name]: counted });
  }
  return counts;
}

const MODULES: readonly [name: string, practice: (traceFd: number) => RootFs | undefined][] = [
  ['a directory', () => dirModule.practice()],
  ['a traced directory', (traceFd) => traceModule.practice({ source, traceFd, t0: 0n })],
  ['a directory that is not traced', () => traceModule.practice({ source, t0: 0n })],
];

for (const [name, practice] of MODULES) {
  test(`${name} is asked for everything, closed, and not recorded`, (t) => {
    const { fd, path } = traceFile(t);
    const before = readdirSync('/proc/self/fd').length;
    const fs = practice(fd)!;
    const counts = counting(fs);
    warmUp(fs);
    for (const [operation, count] of counts)
      if (operation !== 'close') assert.ok(count >= 4, `${count} times ${operation}`);
    assert.equal(counts.get('close'), 1);
    assert.equal(readdirSync('/proc/self/fd').length, before, 'nothing stays open');
    assert.equal(statSync(path).size, 0);
  });
}

test('without one, an image that is made up; layers need no other', () => {
  const before = readdirSync('/proc/self/fd').length;
  warmUp();
  assert.equal(readdirSync('/proc/self/fd').length, before, 'nothing stays open');
  assert.equal(traceModule.practice({ source: { kind: 'layers', layers: [] }, t0: 0n }), undefined);
});
