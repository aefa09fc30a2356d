// Global PAX headers: every entry means after the move what it meant before, for our scanner and for GNU tar, which
// takes global headers differently (each replaces the one before).
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { dir, entry, file, globalPax, tarOf } from '../support/tar.js';
import { build, random, withDir, withTar } from './blob.js';

const G = globalPax;

/** path → what matters of it, as our scanner reads the tar. */
async function meanings(tar: Buffer): Promise<Record<string, unknown>> {
  return withTar(tar, async (_, scan) =>
    Object.fromEntries(
      scan.entries.map((e) => [e.path, { uid: e.uid, gid: e.gid, uname: e.uname, mtime: e.mtime, xattrs: e.xattrs }]),
    ),
  );
}

async function gnuListing(tar: Buffer): Promise<string[]> {
  return withDir((work) => {
    writeFileSync(join(work, 't.tar'), tar);
    const out = execFileSync('tar', ['--full-time', '-tvf', 't.tar'], {
      cwd: work,
      env: { ...process.env, TZ: 'UTC', LC_ALL: 'C' },
    });
    return out
      .toString()
      .trim()
      .split('\n')
      .map((l) => l.replace(/ +/g, ' '))
      .sort();
  });
}

const own = /prefetch\.landmark$|stargz\.index\.json$/;
const plain = { uid: 0, gid: 0, uname: '', mtime: { sec: 0, nsec: 0 }, xattrs: undefined };

const CASES: Record<string, { tar: Buffer; hot: string[]; gnu?: false }> = {
  'git archive: a comment, first': { tar: tarOf(G({ comment: 'f00d' }), file('a', 'a'), file('b', 'b')), hot: ['b'] },
  'records that rule all': {
    tar: tarOf(G({ uname: 'builder', mtime: '1000.5' }), dir('d/'), file('d/a', 'a'), file('b', 'b')),
    hot: ['b'],
  },
  'a ruled entry moves before unruled ones': {
    tar: tarOf(file('a', 'a'), G({ uname: 'late' }), file('b', 'b'), file('c', 'c')),
    hot: ['c'],
  },
  'an unruled entry moves behind ruled ones': {
    tar: tarOf(file('a', 'a'), file('b', 'b'), G({ uname: 'late' }), file('c', 'c')),
    hot: ['c', 'a'],
  },
  'states that replace each other': {
    tar: tarOf(
      G({ uname: 'one', mtime: '1' }),
      file('a', 'a'),
      G({ uname: 'two', mtime: '2' }),
      file('b', 'b'),
      G({ uname: 'three', mtime: '3' }),
      file('c', 'c'),
    ),
    hot: ['b', 'a'],
  },
  'states that add up (POSIX)': {
    tar: tarOf(
      G({ uname: 'one' }),
      file('a', 'a'),
      G({ mtime: '2' }),
      file('b', 'b'),
      G({ uname: '' }),
      file('c', 'c'),
      entry({ name: 'd', typeflag: '0', payload: 'd', pax: { uname: 'own' } }),
    ),
    hot: ['c', 'd', 'a'],
    gnu: false,
  },
  'an xattr for all': { tar: tarOf(file('a', 'a'), G({ 'SCHILY.xattr.user.all': 'yes' }), file('b', 'b')), hot: ['b'] },
};

for (const [name, { tar, hot, gnu }] of Object.entries(CASES)) {
  test(name, async () => {
    const before = await meanings(tar);
    for (const options of [{ hot }, {}]) {
      const { tar: out } = await build(tar, options);
      const {
        '.prefetch.landmark': p,
        '.no.prefetch.landmark': n,
        'stargz.index.json': toc,
        ...rest
      } = await meanings(out);
      assert.deepEqual(rest, before);
      assert.deepEqual(p ?? n, plain);
      assert.deepEqual(toc, plain);
      if (gnu !== false)
        assert.deepEqual(
          (await gnuListing(out)).filter((l) => !own.test(l)),
          await gnuListing(tar),
        );
      for (const line of (await gnuListing(out)).filter((l) => own.test(l)))
        assert.match(line, /^---------- 0\/0 \d+ 1970-01-01 00:00:00 /);
      // And again: nothing piles up.
      const again = await build(out, options);
      assert.ok(again.tar.equals(out));
    }
  });
}

test('headers that rule nothing are dropped with a word', async () => {
  const { result } = await build(tarOf(file('a', 'a'), G({ uname: 'nobody' })));
  assert.deepEqual(
    result.warnings.map((w) => w.code),
    ['global-header-dropped'],
  );
});

test('volume labels stay in front', async () => {
  const label = entry({ name: 'label', typeflag: 'V' });
  const { tar } = await build(tarOf(label, file('a', 'a'), file('b', 'b')), { hot: ['b'] });
  assert.ok(tar.subarray(0, 512).equals(label));
});

const seed = Number(process.env.HOTLAYER_TEST_SEED ?? Date.now() % 1e9);
test(`random archives of global headers keep their meaning (seed ${seed})`, async () => {
  const pick = random(seed);
  for (let round = 0; round < 40; round++) {
    const parts: Buffer[] = [];
    for (let i = 0; i < 12; i++) {
      const key = ['uname', 'gname', 'mtime', 'comment'][pick(4)]!;
      if (pick(3) === 0) parts.push(G({ [key]: pick(3) === 0 ? '' : String(pick(5)) }));
      parts.push(file(`f${i}`, `${i}`.repeat(pick(600)), pick(4) === 0 ? { pax: { uname: 'own' } } : {}));
    }
    const input = tarOf(...parts);
    const hot = Array.from({ length: pick(8) }, () => `f${pick(12)}`);
    const { tar } = await build(input, hot.length > 0 ? { hot } : {});
    const {
      '.prefetch.landmark': p,
      '.no.prefetch.landmark': n,
      'stargz.index.json': toc,
      ...rest
    } = await meanings(tar);
    assert.deepEqual(rest, await meanings(input));
    assert.deepEqual([p ?? n, toc], [plain, plain]);
  }
});
