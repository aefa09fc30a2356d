// Against a Map, with names that come twice, that are not ASCII, and with very many of them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PathIndex } from '../../src/stargz/path-index.js';
import { random } from './blob.js';

const LISTS: Record<string, string[]> = {
  none: [],
  one: ['a'],
  'the root, and names like it': ['', '.', '/', 'a', 'a/', 'a/b'],
  'twice and thrice': ['a', 'b', 'a', 'c', 'b', 'a'],
  'not ASCII': ['ä', 'a\u0308', '\udcff', '\udcfe', '日本', '😀', '😁'],
  'fifty thousand, some twice': Array.from({ length: 50_000 }, (_, i) => `usr/lib/${(i * 7919) % 45_000}/f`),
};

for (const [title, paths] of Object.entries(LISTS)) {
  test(title, () => {
    const index = new PathIndex(paths.map((path) => ({ path })));
    const map = new Map<string, number>();
    const order = paths.map((_, i) => i);
    const next = random(7);
    for (let i = order.length - 1; i > 0; i--) {
      const j = next(i + 1);
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    for (const position of order) {
      const path = paths[position]!;
      assert.equal(index.set(path, position), map.get(path) ?? -1);
      map.set(path, position);
    }
    for (const path of paths) assert.equal(index.get(path), map.get(path));
    for (const absent of ['nothing', 'usr/lib/45000/f', '\udcfd', 'A']) {
      assert.equal(index.get(absent), undefined);
      assert.equal(index.has(absent), false);
    }
  });
}
