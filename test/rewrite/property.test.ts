// What must hold for every image, on many random ones. A failure prints its seed:
// HOTLAYER_SEED=n runs that image alone, HOTLAYER_SEED=n-m a range.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { HotlayerError } from '../../src/errors.js';
import { Random, randomImage } from './random-image.js';
import { complaints, tarsOf, Workbench } from './workbench.js';

const [FROM, TO] = (process.env.HOTLAYER_SEED ?? '1000-1039').split('-').map(Number) as [number, number | undefined];
const SEEDS = Array.from({ length: (TO ?? FROM) - FROM + 1 }, (_, i) => FROM + i);

/**
 * Entries as raw bytes, by nothing but the size fields: POSIX header blocks, a PAX `size` record for the entry after it.
 * @returns for each: its bytes' hash, the type letter of the main header, whether it is sparse
 */
function rawEntries(tar: Buffer): { hash: string; type: string; name: string; sparse: boolean; bytes: Buffer }[] {
  const out = [];
  let start = 0;
  let size: number | undefined;
  let sparse = false;
  for (let at = 0; at + 512 <= tar.length; ) {
    if (tar.subarray(at, at + 512).every((b) => b === 0)) {
      at += 512;
      start = at;
      continue;
    }
    const type = String.fromCharCode(tar[at + 156]!);
    const field = tar.subarray(at + 124, at + 136);
    const own =
      field[0]! & 0x80
        ? Number(BigInt(`0x${field.toString('hex')}`) & 0xffffffffffffn)
        : Number.parseInt(field.toString('latin1'), 8) || 0;
    let length = own;
    if (!'xgLK'.includes(type)) length = size ?? own;
    let extra = 0;
    if (type === 'S') for (let more = tar[at + 482]; more; more = tar[at + 512 + extra - 8]) extra += 512;
    const end = at + 512 + extra + Math.ceil(length / 512) * 512;
    if (type === 'g') {
      at = end;
      start = at;
      continue;
    }
    if (type === 'x') {
      const text = tar.toString('latin1', at + 512, at + 512 + own);
      const found = /\d+ size=(\d+)\n/.exec(text);
      if (found) size = Number(found[1]);
      sparse ||= text.includes('GNU.sparse.');
    } else if (type !== 'L' && type !== 'K') {
      const bytes = tar.subarray(start, end);
      const name = tar.toString('latin1', at, at + 100).replace(/\0.*/s, '');
      out.push({
        hash: createHash('sha256').update(bytes).digest('hex'),
        type,
        name,
        sparse: sparse || type === 'S',
        bytes,
      });
      size = undefined;
      sparse = false;
      start = end;
    }
    at = end;
  }
  return out;
}

function multiset(tar: Buffer, drop: (e: ReturnType<typeof rawEntries>[number]) => boolean): string[] {
  return rawEntries(tar)
    .filter((e) => !drop(e))
    .map((e) => `${e.hash} ${e.type} ${e.name}`)
    .sort();
}

/** What is left of a sorted list when another is taken away from it. */
function minus(a: readonly string[], b: readonly string[]): string[] {
  const left = new Map<string, number>();
  for (const x of b) left.set(x, (left.get(x) ?? 0) + 1);
  return a.filter((x) => {
    const n = left.get(x) ?? 0;
    if (n > 0) left.set(x, n - 1);
    return n === 0;
  });
}

test(`${SEEDS.length} random images, seeds ${SEEDS[0]} to ${SEEDS.at(-1)}`, async (t) => {
  using bench = new Workbench();
  let broken = 0;
  for (const seed of SEEDS) {
    try {
      if (!(await holds(bench, seed))) broken += 1;
    } catch (error) {
      t.diagnostic(`HOTLAYER_SEED=${seed}`);
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
  t.diagnostic(`${broken} of them have a hardlink to nowhere and were refused`);
  if (SEEDS.length >= 40) assert.ok(broken < SEEDS.length / 3, `${broken} images were refused`);
});

/** @returns false for an image that has to be refused, and was */
async function holds(bench: Workbench, seed: number): Promise<boolean> {
  const random = new Random(seed);
  const { layers, hot } = randomImage(random);
  const before = bench.layout({ layers, gzip: random.chance(0.8), media: random.pick(['oci', 'docker']) });
  const options = { codec: random.pick(['zlib', 'libdeflate'] as const), level: 1, chunkSize: 4096 };
  let first: Awaited<ReturnType<Workbench['optimize']>>;
  try {
    first = await bench.optimize(before, hot, options);
  } catch (error) {
    assert.ok(error instanceof HotlayerError, String(error));
    assert.match(error.message, /is a hardlink to .* which is (in no layer|a directory)/);
    return false;
  }
  const report = await bench.verify(before, first.reference, first.plan);
  assert.deepEqual(complaints(report), []);

  const again = await bench.optimize(before, hot, options);
  assert.equal(again.result.manifest.digest, first.result.manifest.digest, 'same input, same bytes');
  const twice = await bench.optimize(first.reference, hot, options);
  assert.equal(twice.result.manifest.digest, first.result.manifest.digest, 'optimizing twice is optimizing once');
  assert.deepEqual(complaints(await bench.verify(first.reference, twice.reference, twice.plan)), []);

  const tars = await tarsOf(first.reference);
  tars.forEach((tar, i) => {
    const old = multiset(layers[i]!, () => false);
    const now = multiset(tar, (e) =>
      ['.prefetch.landmark', '.no.prefetch.landmark', 'stargz.index.json'].includes(e.name),
    );
    const gone = minus(old, now);
    const come = minus(now, old);
    const replaced = report.exceptions.filter((e) => e.layer === i);
    assert.equal(
      gone.length,
      replaced.length,
      `entries that changed:\n${gone.join('\n')}\n${JSON.stringify(replaced)}`,
    );
    assert.equal(come.length, replaced.length, come.join('\n'));
    execFileSync('tar', ['-tf', '-'], { input: tar, stdio: ['pipe', 'ignore', 'pipe'] });
  });
  return true;
}

test('the output does not depend on language, time zone, clock or directory', () => {
  const child = fileURLToPath(new URL('./digest-child.js', import.meta.url));
  const digests = [
    { LANG: 'C', LC_ALL: 'C', TZ: 'UTC' },
    { LANG: 'tr_TR.UTF-8', LC_ALL: 'tr_TR.UTF-8', TZ: 'Pacific/Chatham', SOURCE_DATE_EPOCH: '1' },
    { LANG: 'de_DE.ISO-8859-1', LC_ALL: '', TZ: 'America/St_Johns', UV_THREADPOOL_SIZE: '1' },
  ].map((env) => {
    const run = spawnSync(process.execPath, [child], { env: { ...process.env, ...env }, cwd: '/', encoding: 'utf8' });
    assert.equal(run.status, 0, run.stderr);
    return run.stdout;
  });
  assert.match(digests[0]!, /^(sha256:[0-9a-f]{64}\n){6}$/);
  assert.equal(digests[1], digests[0]);
  assert.equal(digests[2], digests[0]);
});
