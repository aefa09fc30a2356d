import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { gunzipSync, gzipSync } from 'node:zlib';
import { gzip as libdeflateGzip } from 'libdeflate';
import { HotlayerError } from '../../src/errors.js';
import { embeddedIn } from '../../src/stargz/codec/libdeflate.js';
import { widened } from '../../src/stargz/codec/libdeflate-wide.js';
import { fingerprint, goldenVector, selfTest } from '../../src/stargz/codec/selftest.js';
import { CODECS, type CodecName, LEVELS, openCodec } from '../../src/stargz/index.js';
import { codecOf, sample } from './blob.js';

const INPUTS = [
  Buffer.alloc(0),
  Buffer.from('a'),
  Buffer.alloc(100_000),
  sample(3000),
  sample(70_001, 2),
  goldenVector(),
  Buffer.concat([sample(200_000, 3), Buffer.alloc(512)]),
];

function levelsOf(name: CodecName): number[] {
  const { max, between } = LEVELS[name];
  return [...Array.from({ length: max }, (_, i) => i + 1), ...between];
}

for (const name of CODECS) {
  test(`${name}: every level gives one plain gzip member that others read`, async () => {
    for (const level of levelsOf(name)) {
      const codec = await codecOf(name, level);
      for (const input of INPUTS) {
        const member = codec.gzip(input);
        const xfl = level >= 9 ? '02' : level === 1 ? '04' : '00';
        assert.equal(member.toString('hex', 0, 10), `1f8b080000000000${xfl}ff`);
        assert.ok(gunzipSync(member).equals(input), `${name} ${level}, ${input.length} bytes`);
      }
    }
    const member = (await codecOf(name)).gzip(INPUTS[3]!);
    assert.ok(execFileSync('gzip', ['-dc'], { input: member }).equals(INPUTS[3]!));
  });
}

test('zlib and pako make the same bytes, and those are what node:zlib makes', async () => {
  for (const level of [1, 4, 6, 9]) {
    const zlib = await codecOf('zlib', level);
    const pako = await codecOf('pako', level);
    for (const input of INPUTS) {
      const member = zlib.gzip(input);
      assert.ok(pako.gzip(input).equals(member), `level ${level}, ${input.length} bytes`);
      assert.ok(gzipSync(input, { level }).subarray(10).equals(member.subarray(10)));
    }
  }
});

test("libdeflate: a reused compressor makes the package's own bytes, whatever came before", async () => {
  const codec = await codecOf('libdeflate', 6);
  for (const input of [...INPUTS, ...[...INPUTS].reverse()]) {
    for (let level = 1; level <= 12; level++) {
      const own = Buffer.from(libdeflateGzip(input, level));
      assert.ok(
        codec.gzip(input, level).subarray(10).equals(own.subarray(10)),
        `level ${level}, ${input.length} bytes`,
      );
    }
  }
});

test("libdeflate: levels of ours lie between the package's, and leave those as they are", async () => {
  const codec = await codecOf('libdeflate');
  // Text of a pinned package: what is made up is too regular for levels to differ as they do.
  const text = readFileSync(new URL(import.meta.resolve('pako')));
  const sizes = [4.5, 5, 9, 9.5, 10].map((level) => codec.gzip(text, level).length);
  assert.ok(
    sizes.every((size, i) => i === 0 || size < sizes[i - 1]!),
    `${sizes}`,
  );
  for (const level of [5, 10]) {
    assert.ok(
      codec
        .gzip(text, level)
        .subarray(10)
        .equals(Buffer.from(libdeflateGzip(text, level)).subarray(10)),
    );
  }
});

test('what one thread has opened another makes the same bytes with', async () => {
  for (const name of CODECS) {
    const { given, level } = await codecOf(name);
    const script = `const { parentPort, workerData } = require('node:worker_threads');
      import(workerData.codec).then(({ openGivenCodec }) => openGivenCodec(workerData.given)).then((codec) => {
        parentPort.postMessage({ level: codec.level, member: codec.gzip(workerData.input) });
      });`;
    const codec = new URL('../../src/stargz/codec/codec.js', import.meta.url).href;
    const worker = new Worker(script, { eval: true, workerData: { codec, given, input: INPUTS[6] } });
    const [made] = (await once(worker, 'message')) as [{ level: number; member: Uint8Array }];
    await worker.terminate();
    assert.equal(made.level, level);
    assert.ok((await codecOf(name)).gzip(INPUTS[6]!).equals(made.member), name);
  }
});

test("libdeflate: the package's slow loops are found, and nothing else is changed", () => {
  const script = readFileSync(new URL('./dist/libdeflate.wasm.mjs', import.meta.resolve('libdeflate')), 'latin1');
  const wasm = embeddedIn(script)!;
  const wide = widened(wasm)!;
  assert.equal(wide.length, wasm.length);
  let changed = 0;
  for (let i = 0; i < wasm.length; i++) if (wasm[i] !== wide[i]) changed += 1;
  // Five loops of 138 bytes, fifteen of 150.
  assert.ok(changed > 1500 && changed <= 5 * 138 + 15 * 150, `${changed} bytes`);
  assert.equal(widened(wide), undefined, 'a module without those loops is left alone');
});

test('libdeflate takes members far larger than its first buffers, and small ones after them', async () => {
  const codec = await codecOf('libdeflate', 1);
  const large = Buffer.alloc(40 * 1024 * 1024, 'hotlayer ');
  assert.ok(gunzipSync(codec.gzip(large)).equals(large));
  assert.ok(gunzipSync(codec.gzip(INPUTS[1]!)).equals(INPUTS[1]!));
});

test('opening libdeflate leaves no listeners for uncaught errors behind', async () => {
  const before = ['uncaughtException', 'unhandledRejection'].map((event) => process.listeners(event as 'exit').length);
  await openCodec('libdeflate');
  const after = ['uncaughtException', 'unhandledRejection'].map((event) => process.listeners(event as 'exit').length);
  assert.deepEqual(after, before);
  const script = `import { openCodec } from ${JSON.stringify(new URL('../../src/stargz/codec/codec.js', import.meta.url).href)};
    await openCodec('libdeflate'); throw new Error('deliberate');`;
  // The package's own start-up code has listeners that rethrow, which would end the process with status 7 instead of 1.
  assert.throws(
    () => execFileSync(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'pipe'] }),
    (error: { status: number; stderr: Buffer }) => error.status === 1 && /deliberate/.test(error.stderr.toString()),
  );
});

test('the self-test tells other bytes from the known ones', async () => {
  const pako = await codecOf('pako', 6);
  // pako's classic hash is what a Node with a system zlib would make.
  const { gzip } = await import('pako');
  const other = {
    ...(await codecOf('zlib', 6)),
    gzip: (bytes: Uint8Array) => Buffer.from(gzip(bytes, { level: 6, legacyHash: true })),
  };
  selfTest('pako', pako);
  assert.notEqual(fingerprint(other, 6), fingerprint(pako, 6));
  assert.throws(
    () => selfTest('zlib', other),
    (error: HotlayerError) => error.code === 'HL_ERR_MACHINE' && /--codec pako/.test(error.hint ?? ''),
  );
});

test('levels and names out of range are refused', async () => {
  for (const [name, level] of [
    ['zlib', 0],
    ['zlib', 10],
    ['pako', 1.5],
    ['libdeflate', 13],
    ['libdeflate', 5.5],
    ['zlib', 4.5],
    ['brotli', 5],
  ] as [CodecName, number][]) {
    await assert.rejects(openCodec(name, level), { code: 'HL_ERR_USAGE' });
  }
  const codec = await codecOf('zlib');
  assert.throws(() => codec.gzip(Buffer.alloc(1), 12), { code: 'HL_ERR_USAGE' });
  assert.equal(codec.level, LEVELS.zlib.default);
  assert.ok(HotlayerError);
});
