// Threads leave no trace: the same bytes for any number of them, a bounded number of batches under way, and whatever
// goes wrong in one of them ends the layer with an error that says so, with nothing still running.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { HotlayerError } from '../../src/errors.js';
import { CompressionPool, openCodec, prioritize, type StargzResult, writeStargz } from '../../src/stargz/index.js';
import { KIB, MIB } from '../../src/units.js';
import { dir, file, gnuSparse, hardlink, symlink, tarOf } from '../support/tar.js';
import { build, sample, sha256Of, withTar } from './blob.js';

/** Small files, one of several chunks, one larger than a batch, holes, and headers in between that ride along. */
const TAR = tarOf(
  dir('usr/'),
  ...Array.from({ length: 900 }, (_, i) => file(`usr/f${i}`, sample((i * 977) % 9000, i + 1), { mtime: i })),
  file('usr/several', sample(700_000, 5)),
  symlink('usr/l', 'f1'),
  hardlink('usr/h', 'usr/several'),
  file('usr/large', sample(3 * MIB, 6)),
  gnuSparse('usr/sparse', 3 * MIB, [
    [5000, 'data'],
    [2 * MIB, sample(100_000, 7)],
    [3 * MIB, ''],
  ]),
  ...Array.from({ length: 300 }, (_, i) => file(`var${i}`, i % 3 === 0 ? '' : sample(700, i))),
);
const HOT = ['usr/h', 'usr/f7', 'var10', 'usr/large'];
const SPECIFIC = { chunkSize: 256 * KIB, hotLevel: 9, level: 1, hot: HOT, cuts: { 'usr/large': [1000, 2_000_000] } };

const PLAIN = tarOf(...Array.from({ length: 50 }, (_, i) => file(`f${i}`, sample(2000, i + 1))));

const withPool = async <T>(
  options: ConstructorParameters<typeof CompressionPool>[1],
  use: (pool: CompressionPool) => Promise<T>,
): Promise<T> => {
  await using pool = new CompressionPool(await openCodec('libdeflate', 1), options);
  return await use(pool);
};

describe('the same bytes', () => {
  let alone: { blob: Buffer; result: StargzResult };
  before(async () => {
    alone = await build(TAR, SPECIFIC);
  });

  for (const jobs of [1, 2, 8]) {
    test(`${jobs} threads`, async () => {
      const built = await withPool({ jobs }, (compressor) => build(TAR, { ...SPECIFIC, compressor }));
      assert.equal(sha256Of(built.blob), sha256Of(alone.blob));
      assert.deepEqual(built.result, alone.result);
      assert.equal(built.result.digest, sha256Of(built.blob));
      assert.equal(built.result.diffId, sha256Of(execFileSync('gzip', ['-dc'], { input: built.blob, maxBuffer: 1e9 })));
    });
  }

  test('three layers at once in one pool, each as if alone', async () => {
    const other = tarOf(file('a', sample(900_000, 9)), file('b', 'b'));
    const otherAlone = await build(other, { level: 1 });
    await withPool({ jobs: 2 }, async (compressor) => {
      const [x, y, z] = await Promise.all([
        build(TAR, { ...SPECIFIC, compressor }),
        build(other, { level: 1, compressor }),
        build(TAR, { ...SPECIFIC, compressor }),
      ]);
      assert.ok(x.blob.equals(alone.blob) && y.blob.equals(otherAlone.blob) && z.blob.equals(alone.blob));
    });
  });
});

test('batches under way are bounded, however slow the sink', async () => {
  await withPool({ jobs: 2 }, async (pool) => {
    await withTar(tarOf(file('big', sample(40 * MIB))), async (fd, scan) => {
      const order = prioritize(scan.entries, []);
      const slow = () => new Promise<void>((resolve) => setTimeout(resolve, 5));
      const input = { fd, scan, order, landmark: 'no-prefetch' as const, codec: pool.codec, chunkSize: MIB };
      await writeStargz({ ...input, compressor: pool }, slow);
    });
    assert.ok(pool.room.peakBatches > 2 && pool.room.peakBatches <= 6, `${pool.room.peakBatches} at most`);
    assert.equal(pool.room.batches, 0);
    assert.equal(pool.room.bytes, 0);
  });
});

describe('what goes wrong', () => {
  const failing = (how: string, afterwards: number) => {
    Object.assign(process.env, { THREAD_GOES_WRONG: how, THREAD_AFTER: String(afterwards) });
    return new URL('./worker-that.js', import.meta.url);
  };
  let expected: string;
  before(async () => {
    expected = (await build(TAR, { level: 1 })).result.digest;
  });
  const layer = (compressor: CompressionPool, extra: object = {}) => build(TAR, { level: 1, compressor, ...extra });
  const code = (wanted: string, message: RegExp) => (error: unknown) => {
    assert.ok(error instanceof HotlayerError, String(error));
    assert.match(`${error.code} ${error.message}`, new RegExp(`^${wanted} ${message.source}`));
    return true;
  };
  /** A thread or timer that is left would keep this process, and so the test, from ending. */
  const threadsBefore = threads();
  after(() => assert.equal(threads(), threadsBefore));

  const cases: [how: string, wanted: string, message: RegExp][] = [
    ['exits', 'HL_ERR_BUG', /a compression thread ended by itself \(status 7\)/],
    ['throws', 'HL_ERR_BUG', /a compression thread failed: this thread has had enough/],
    ['runs out of memory', 'HL_ERR_MACHINE', /.*memory/],
  ];
  for (const [how, wanted, message] of cases) {
    for (const afterwards of how === 'exits' ? [0, 2] : [1]) {
      test(`a thread ${how} after ${afterwards} batches; another pool works`, async () => {
        await withPool({ jobs: 2, module: failing(how, afterwards) }, async (pool) => {
          await assert.rejects(layer(pool), code(wanted, message));
          // And stays so, at once, for whoever comes next.
          await assert.rejects(layer(pool), code(wanted, message));
        });
        const { result } = await withPool({ jobs: 2 }, (pool) => layer(pool));
        assert.equal(result.digest, expected);
      });
    }
  }

  test('a tar that has become shorter: the error names layer and byte', async () => {
    await withPool({ jobs: 2 }, (pool) =>
      withTar(PLAIN, async (_, scan) => {
        await withTar(PLAIN.subarray(0, 5 * 512), async (fd) => {
          const order = prioritize(scan.entries, []);
          const input = { fd, scan, order, landmark: 'no-prefetch' as const, codec: pool.codec, name: 'layer 3 (x)' };
          const writing = writeStargz({ ...input, compressor: pool }, async () => {});
          await assert.rejects(
            writing,
            code('HL_ERR_IO', /layer 3 \(x\): .* ends at byte 2560; expected \d+ bytes from 0$/),
          );
        });
      }),
    );
  });

  test('interrupted while a thread does not answer', async () => {
    const interrupt = new AbortController();
    const options = { jobs: 1, signal: interrupt.signal, module: failing('never answers', 1) };
    await withPool(options, async (pool) => {
      setTimeout(() => interrupt.abort(new HotlayerError('HL_ERR_INTERRUPTED', 'enough')), 100);
      await assert.rejects(layer(pool, { signal: interrupt.signal }), code('HL_ERR_INTERRUPTED', /enough/));
    });
  });

  test('a sink that fails: its error, and the pool is free for the next', async () => {
    await withPool({ jobs: 2 }, async (pool) => {
      await withTar(TAR, async (fd, scan) => {
        const order = prioritize(scan.entries, []);
        const input = { fd, scan, order, landmark: 'no-prefetch' as const, codec: pool.codec, compressor: pool };
        let calls = 0;
        const full = async () => {
          if (++calls === 2) throw new Error('no space left');
        };
        await assert.rejects(writeStargz(input, full), /no space left/);
        assert.equal(pool.room.batches, 0);
      });
      assert.equal((await layer(pool)).result.digest, expected);
    });
  });

  test('closed: a batch for it is a bug of ours', async () => {
    const pool = new CompressionPool(await openCodec('libdeflate', 1), { jobs: 1 });
    await pool.close();
    await assert.rejects(layer(pool), code('HL_ERR_BUG', /.*closed/));
  });
});

/** Threads of this process that compress, by the kernel's list of their names. */
function threads(): number {
  const names = execFileSync('sh', ['-c', `cat /proc/${process.pid}/task/*/comm`])
    .toString()
    .split('\n');
  return names.length;
}
