// Random archives, random wishes, random chunking: what must hold for every blob, and for the order of its entries.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cleanPath } from '../../src/paths.js';
import { CODECS, effectiveEntries } from '../../src/stargz/index.js';
import {
  charDevice,
  dir,
  fifo,
  file,
  gnuSparse,
  hardlink,
  type Meta,
  opaque,
  paxSparse,
  symlink,
  tarOf,
  whiteout,
} from '../support/tar.js';
import { build, random, sample, withTar } from './blob.js';
import { holds } from './holds.js';

const seed = Number(process.env.HOTLAYER_TEST_SEED ?? Date.now() % 1e9);

test(`random layers (seed ${seed}; repeat with HOTLAYER_TEST_SEED)`, async () => {
  const pick = random(seed);
  const one = <T>(...of: T[]): T => of[pick(of.length)]!;
  for (let round = 0; round < 30; round++) {
    const { tar, files } = randomLayer(pick, one);
    const hot = Array.from({ length: pick(10) }, () => one(...files, 'd0', 'missing'));
    const cuts: Record<string, number[]> = {};
    const size = await withTar(tar, async (_, scan) => {
      const sizes = new Map(scan.entries.map((e) => [e.path, e.type === 'reg' ? e.size : 0]));
      const name = one(...files);
      const bytes = sizes.get(cleanPath(name)) ?? 0;
      const offsets = new Set(Array.from({ length: pick(4) }, () => 1 + pick(Math.max(1, bytes - 1))));
      // A name that occurs twice has files of two sizes: leave it alone.
      const once = scan.entries.filter((e) => e.path === cleanPath(name)).length === 1;
      if (once && bytes > 1) cuts[cleanPath(name)] = [...offsets].filter((o) => o < bytes).sort((a, b) => a - b);
      return scan.entries.length;
    });
    const options = {
      ...(hot.length > 0 ? { hot } : {}),
      chunkSize: one(4096, 10_000, 1 << 22),
      codec: one(...CODECS),
      level: 1 + pick(6),
      cuts,
    };
    const built = await build(tar, options);
    await holds(built, tar);
    assert.equal((await build(tar, options)).result.digest, built.result.digest);

    await withTar(tar, async (_, scan) => {
      const effective = effectiveEntries(scan.entries);
      assert.equal(built.opened.entries.length, [...effective.values()].length + 1, `${size} entries`);
      const position = new Map(built.opened.entries.map((e, i) => [e.path, i]));
      for (const e of effective.values()) {
        const at = position.get(e.path)!;
        const moved = at < position.get(hot.length > 0 ? '.prefetch.landmark' : '.no.prefetch.landmark')!;
        if (!moved) continue;
        // What comes first has its directories and its link target before it.
        for (let path = e.path; path.includes('/'); ) {
          path = path.slice(0, path.lastIndexOf('/'));
          const parent = position.get(path);
          if (parent !== undefined) assert.ok(parent < at, `${path} before ${e.path}`);
        }
        if (e.type === 'hardlink') assert.ok(position.get(cleanPath(e.linkName))! < at);
      }
      for (const name of hot) {
        const entry = built.opened.byPath.get(cleanPath(name));
        if (!entry) continue;
        for (const c of built.opened.chunksOf(entry))
          assert.ok(c.offset < built.opened.prefetchSize, `${name} is prefetched`);
      }
    });
  }
});

function randomLayer(pick: (n: number) => number, one: <T>(...of: T[]) => T): { tar: Buffer; files: string[] } {
  const parts: Buffer[] = [];
  const files = ['f0'];
  const plain: string[] = [];
  const prefix = one('', './', '/');
  const format = one<Meta['format']>('auto', 'auto', 'gnu');
  parts.push(file(`${prefix}f0`, sample(pick(30_000) + 1, pick(100))));
  for (let i = 1; i < 4 + pick(25); i++) {
    const place = one('', 'd0/', 'd1/deep/', `${'l'.repeat(90)}/${'o'.repeat(60)}/`);
    const name = `${place}${one('f', 'caf\udce9', 'ü', '"<>\\')}${i}`;
    const meta: Meta = {
      uid: one(0, 7, 3_000_000),
      gid: pick(9),
      mode: one(0o644, 0o4755),
      mtime: pick(2 ** 31),
      format: format!,
    };
    switch (pick(12)) {
      case 0:
        parts.push(dir(`${prefix}${one('d0/', 'd1/', 'd1/deep/')}`, meta));
        break;
      case 1:
        parts.push(symlink(prefix + name, one('/x', '../f0', 'x'.repeat(150)), meta));
        break;
      case 2: {
        // To a name that is a file already, and will stay one.
        parts.push(hardlink(prefix + name, prefix + one('f0', ...plain), meta));
        files.push(name);
        break;
      }
      case 3:
        parts.push(one(charDevice(prefix + name, 1, pick(300)), fifo(prefix + name), whiteout(name), opaque('d0')));
        break;
      case 4:
        parts.push(
          file(prefix + one(...files.filter((f) => plain.includes(f) || f === 'f0')), sample(pick(9000), i), meta),
        );
        break;
      case 5:
        parts.push(
          one(gnuSparse, paxSparse)(prefix + name, 50_000, [
            [20_000, 'data'],
            [50_000, ''],
          ]),
        );
        files.push(name);
        break;
      case 6:
        parts.push(file(one('.prefetch.landmark', './stargz.index.json', 'd0/.prefetch.landmark'), 'old'));
        break;
      default: {
        const xattrs = pick(4) === 0 && format === 'auto' ? { 'user.bin': sample(20, i) } : {};
        parts.push(file(prefix + name, sample(one(0, 1, 512, pick(30_000)), i), { ...meta, xattrs }));
        files.push(name);
        plain.push(name);
      }
    }
  }
  return { tar: tarOf(...parts), files };
}
