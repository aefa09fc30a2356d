// Layers spooled to a nameless file: compressed by the real gzip, odd, broken, hostile.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { fstatSync, readdirSync, readlinkSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { type ErrorCode, HotlayerError } from '../../src/errors.js';
import type { Digest } from '../../src/image/digest.js';
import type { Layer } from '../../src/image/types.js';
import { type SpoolOptions, spoolLayer } from '../../src/stargz/spool.js';
import { readPayload } from '../../src/stargz/tar/scan.js';
import { dir, END, file, gnuSparse, symlink, tarOf } from '../support/tar.js';
import { testDir } from '../support/temp.js';
import { lacking } from '../support/tools.js';
import { random } from './scan-both.js';

const sha = (bytes: Uint8Array): Digest => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

const NOISE = Buffer.alloc(700_000);
{
  const next = random(5);
  for (let i = 0; i < NOISE.length; i++) NOISE[i] = Math.floor(next() * 64);
}
const TAR = tarOf(
  dir('usr/'),
  file('usr/noise', NOISE),
  symlink('usr/link', 'noise'),
  gnuSparse('usr/sparse', 5_000_000, [[4_000_000, 'end']]),
  file('usr/zeros', Buffer.alloc(3_000_000)),
  file('last', 'the last content'),
);

interface LayerParts {
  blob: Buffer;
  tar?: Buffer;
  compression?: 'gzip' | 'none';
  diffId?: Digest;
  path?: string;
  chunk?: number;
  /** What the stream fails with at its end. */
  fails?: Error;
  /** Streams that were opened, to be checked for having been closed. */
  opened?: Readable[];
}

function layerOf(parts: LayerParts): Layer {
  const { blob, tar = TAR, compression = 'gzip', chunk = 60_000 } = parts;
  async function* pieces() {
    for (let at = 0; at < blob.length; at += chunk) yield blob.subarray(at, at + chunk);
    if (parts.fails) throw parts.fails;
  }
  return {
    index: 2,
    descriptor: { mediaType: 'application/octet-stream', digest: sha(blob), size: blob.length },
    diffId: parts.diffId ?? sha(tar),
    compression,
    open() {
      const stream = Readable.from(pieces(), { objectMode: false });
      parts.opened?.push(stream);
      return stream;
    },
    ...(parts.path === undefined ? {} : { file: parts.path }),
  };
}

function openFiles(below: string): string[] {
  const links = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return '';
    }
  });
  return links.filter((link) => link.startsWith(below));
}

/** Spools, checks the bytes and that nothing stays behind. */
async function accept(t: TestContext, parts: LayerParts, options: SpoolOptions = {}): Promise<readonly string[]> {
  const where = testDir(t);
  const layer = layerOf(parts);
  const spooled = await spoolLayer(layer, where, options);
  try {
    const tar = parts.tar ?? TAR;
    assert.deepEqual(readdirSync(where), [], 'the spool file has a name');
    assert.equal(spooled.layer, layer);
    assert.equal(spooled.size, tar.length);
    assert.equal(fstatSync(spooled.fd).size, tar.length);
    const bytes = Buffer.alloc(tar.length);
    assert.equal(readSync(spooled.fd, bytes, 0, bytes.length, 0), tar.length);
    assert.ok(bytes.equals(tar));
    if (tar === TAR) {
      assert.deepEqual(
        spooled.scan.entries.map(({ path }) => path),
        ['usr', 'usr/noise', 'usr/link', 'usr/sparse', 'usr/zeros', 'last'],
      );
      const tail = Buffer.alloc(100);
      const got = readPayload(spooled.fd, spooled.scan.entries[3]!, 3_999_999, tail);
      assert.equal(tail.subarray(0, got).toString('latin1', 0, 5), '\0end\0');
    }
    return spooled.warnings;
  } finally {
    spooled.close();
    spooled.close();
    assert.deepEqual(openFiles(where), []);
  }
}

async function refuse(
  t: TestContext,
  parts: LayerParts,
  code: ErrorCode,
  message: RegExp,
  options: SpoolOptions = {},
): Promise<HotlayerError> {
  const where = testDir(t);
  const opened: Readable[] = [];
  const layer = layerOf({ ...parts, opened });
  const error = await spoolLayer(layer, where, options).then(
    () => assert.fail('it was accepted'),
    (error) => error,
  );
  assert.ok(error instanceof HotlayerError, String(error?.stack));
  assert.equal(error.code, code, error.message);
  assert.match(error.message, message);
  if (code !== 'HL_ERR_INTERRUPTED' && !parts.fails) assert.ok(error.message.includes(layer.descriptor.digest));
  assert.deepEqual(readdirSync(where), []);
  assert.deepEqual(openFiles(where), []);
  for (const stream of opened) assert.ok(stream.destroyed, 'the blob is still open');
  return error;
}

const members = (...parts: Buffer[]) => Buffer.concat(parts.map((part) => gzipSync(part, { level: 1 })));

test('one gzip member', async (t) => {
  assert.deepEqual(await accept(t, { blob: gzipSync(TAR) }), []);
});

test('gzip(1)', { skip: lacking('gzip') }, async (t) => {
  const { stdout } = spawnSync('gzip', ['-9c'], { input: TAR, maxBuffer: 1 << 26 });
  assert.deepEqual(await accept(t, { blob: stdout, chunk: 777 }), []);
});

test('many members, some empty, as in eStargz', async (t) => {
  const cuts = Array.from({ length: 300 }, (_, i) => TAR.subarray(i * 40_000, (i + 1) * 40_000));
  assert.deepEqual(await accept(t, { blob: members(...cuts) }), []);
});

test('zeros become holes', async (t) => {
  const where = testDir(t);
  const spooled = await spoolLayer(layerOf({ blob: gzipSync(TAR) }), where);
  try {
    // 3 MB of the 3.7 MB are zeros.
    assert.ok(fstatSync(spooled.fd).blocks * 512 < 1_200_000, `${fstatSync(spooled.fd).blocks} blocks`);
  } finally {
    spooled.close();
  }
});

for (const [title, rest, count] of [
  ['text', Buffer.from('not gzip'), 8],
  ['one byte that gzip could begin with', Buffer.from([0x1f]), 1],
  ['zeros', Buffer.alloc(1000), 1000],
  ['zeros and another member', Buffer.concat([Buffer.alloc(600), gzipSync('x')]), 600 + gzipSync('x').length],
] as const) {
  for (const chunk of [100, 1 << 20]) {
    test(`after the last member, ${title}, in chunks of ${chunk}: ignored, as gzip does`, async (t) => {
      const warnings = await accept(t, {
        blob: Buffer.concat([members(TAR.subarray(0, 900_000), TAR.subarray(900_000)), rest]),
        chunk,
      });
      assert.equal(warnings.length, 1);
      assert.match(warnings[0]!, new RegExp(` ${count} bytes after the last gzip member`));
    });
  }
}

test('a small blob with zeros after it, in one chunk', async (t) => {
  const tar = tarOf(file('a', 'x'));
  const blob = Buffer.concat([gzipSync(tar), Buffer.alloc(300)]);
  assert.match((await accept(t, { blob, tar }))[0]!, / 300 bytes after the last gzip member/);
});

test('not compressed: from the stream, or the file as it is', async (t) => {
  assert.deepEqual(await accept(t, { blob: TAR, compression: 'none' }), []);
  const path = join(testDir(t), 'blob');
  writeFileSync(path, TAR);
  const unread = { fails: new Error('the stream must not be opened') };
  assert.deepEqual(await accept(t, { blob: TAR, compression: 'none', path, ...unread }), []);
});

test('bytes win over the media type, with a warning', async (t) => {
  assert.match((await accept(t, { blob: TAR }))[0]!, /not compressed, though/);
  const blob = gzipSync(TAR);
  assert.match((await accept(t, { blob, compression: 'none' }))[0]!, /is gzip, though/);
  const path = join(testDir(t), 'blob');
  writeFileSync(path, blob);
  assert.match((await accept(t, { blob, compression: 'none', path }))[0]!, /is gzip, though/);
});

test('odd but harmless tars warn', async (t) => {
  const tar = Buffer.concat([TAR, Buffer.from('rubbish')]);
  assert.match((await accept(t, { blob: gzipSync(tar), tar }))[0]!, /^layer sha256:.* 7 bytes that are not zero/);
});

test('empty layers', async (t) => {
  assert.deepEqual(await accept(t, { blob: gzipSync(END), tar: END }), []);
  assert.deepEqual(await accept(t, { blob: END, tar: END, compression: 'none' }), []);
});

test('progress reaches the end', async (t) => {
  const blob = gzipSync(TAR);
  const seen: number[] = [];
  await accept(t, { blob }, { onProgress: (done, total) => void seen.push(done, total) });
  assert.ok(seen.length > 4);
  assert.deepEqual(seen.slice(-2), [blob.length, blob.length]);
});

const GZIP = members(TAR.subarray(0, 500_000), TAR.subarray(500_000));
const SECOND = gzipSync(TAR.subarray(0, 500_000), { level: 1 }).length;

test('a gzip stream that is cut off', async (t) => {
  const blob = GZIP.subarray(0, GZIP.length - 100);
  const error = await refuse(
    t,
    { blob },
    'HL_ERR_LAYER',
    /the gzip stream is cut off at byte \d+ of the blob, in gzip member 2/,
  );
  assert.equal(error.context.offset, blob.length);
  assert.match(error.message, new RegExp(`from byte ${SECOND}\\b`));
  await refuse(t, { blob: GZIP.subarray(0, 5) }, 'HL_ERR_LAYER', /cut off at byte 5/);
  await refuse(t, { blob: Buffer.concat([GZIP, Buffer.from([0x1f, 0x8b, 8])]) }, 'HL_ERR_LAYER', /cut off .* member 3/);
});

test('a gzip stream that is corrupt', async (t) => {
  // A reserved block type, at the start of the second member's data (RFC 1951 3.2.3).
  const blocks = Buffer.from(GZIP);
  blocks[SECOND + 10] = 0xff;
  const error = await refuse(t, { blob: blocks }, 'HL_ERR_LAYER', /corrupt \(invalid block type\) .* member 2/);
  assert.ok(Math.abs(error.context.offset! - SECOND - 10) < 8, `${error.context.offset}`);
  const crc = Buffer.from(GZIP);
  crc[crc.length - 8]! ^= 1;
  await refuse(t, { blob: crc }, 'HL_ERR_LAYER', /corrupt \(incorrect data check\)/);
  const length = Buffer.from(GZIP);
  length[length.length - 1]! ^= 1;
  await refuse(t, { blob: length }, 'HL_ERR_LAYER', /corrupt \(incorrect length check\)/);
});

test('neither gzip nor tar', async (t) => {
  await refuse(
    t,
    { blob: Buffer.alloc(5000, 'text') },
    'HL_ERR_LAYER',
    /neither gzip, zstd nor tar: it starts with 74657874/,
  );
  await refuse(t, { blob: Buffer.alloc(0) }, 'HL_ERR_LAYER', /neither gzip, zstd nor tar: it is empty/);
});

test('a tar that is broken', async (t) => {
  const cut = TAR.subarray(0, 400_000);
  const error = await refuse(
    t,
    { blob: gzipSync(cut), tar: cut },
    'HL_ERR_LAYER',
    /tar entry "usr\/noise" at byte 512: the tar ends/,
  );
  assert.equal(error.context.entry, 'usr/noise');
  const path = join(testDir(t), 'blob');
  writeFileSync(path, cut);
  await refuse(t, { blob: cut, tar: cut, compression: 'none', path }, 'HL_ERR_LAYER', /the tar ends at byte 400000/);
});

test('the wrong content: both digests are named', async (t) => {
  const diffId = sha(Buffer.from('other'));
  const { message } = await refuse(t, { blob: gzipSync(TAR), diffId }, 'HL_ERR_DIGEST', /diff_ids\[2\]/);
  assert.ok(message.includes(diffId) && message.includes(sha(TAR)));
  // A tar that is broken as well is the lesser news.
  const cut = TAR.subarray(0, 400_000);
  await refuse(t, { blob: gzipSync(cut) }, 'HL_ERR_DIGEST', /diff_ids/);
});

test('the blob is not what its digest says: that is the news, whatever else is wrong', async (t) => {
  const fails = new HotlayerError('HL_ERR_DIGEST', 'the blob is another one');
  await refuse(t, { blob: gzipSync(TAR), fails }, 'HL_ERR_DIGEST', /another one/);
  await refuse(t, { blob: GZIP.subarray(0, 5000), fails }, 'HL_ERR_DIGEST', /another one/);
  const corrupt = Buffer.from(GZIP);
  corrupt[10] = 0xff;
  await refuse(t, { blob: corrupt, fails, chunk: 100 }, 'HL_ERR_DIGEST', /another one/);
  await refuse(t, { blob: Buffer.from('nonsense'), fails }, 'HL_ERR_DIGEST', /another one/);
  const path = join(testDir(t), 'blob');
  const damaged = Buffer.from(TAR);
  damaged[3]! ^= 1;
  writeFileSync(path, damaged);
  await refuse(
    t,
    { blob: TAR, compression: 'none', path },
    'HL_ERR_DIGEST',
    new RegExp(`has the digest ${sha(damaged)}`),
  );
  writeFileSync(path, TAR.subarray(0, 512));
  await refuse(t, { blob: TAR, compression: 'none', path }, 'HL_ERR_DIGEST', /has 512 bytes, expected/);
});

test('a gzip bomb meets a named limit before it meets the disk', async (t) => {
  const blob = gzipSync(Buffer.alloc(50_000_000));
  assert.ok(blob.length < 60_000);
  const limits = { maxLayerBytes: 20_000_000 };
  await refuse(t, { blob, chunk: 1000 }, 'HL_ERR_LIMIT', /exceeds 19\.1 MiB \(MAX_LAYER_BYTES\)/, { limits });
  await refuse(t, { blob: TAR, compression: 'none' }, 'HL_ERR_LIMIT', /MAX_LAYER_BYTES/, {
    limits: { maxLayerBytes: 1000 },
  });
  await refuse(t, { blob: gzipSync(TAR) }, 'HL_ERR_LIMIT', /more than 3 entries/, { limits: { maxEntries: 3 } });
});

test('interrupted: before, between chunks, and while the source hangs', async (t) => {
  const blob = gzipSync(TAR);
  await refuse(t, { blob }, 'HL_ERR_INTERRUPTED', /interrupted/, { signal: AbortSignal.abort() });
  const midway = new AbortController();
  const onProgress = (done: number) => {
    if (done > 50_000) midway.abort();
  };
  await refuse(t, { blob, chunk: 20_000 }, 'HL_ERR_INTERRUPTED', /interrupted/, { signal: midway.signal, onProgress });
  const hanging = new AbortController();
  const layer = layerOf({ blob });
  const stream = new Readable({ read() {} });
  stream.push(blob.subarray(0, 1000));
  setTimeout(() => hanging.abort(), 20);
  const where = testDir(t);
  await assert.rejects(spoolLayer({ ...layer, open: () => stream }, where, { signal: hanging.signal }), {
    code: 'HL_ERR_INTERRUPTED',
  });
  assert.deepEqual(openFiles(where), []);
});

test('a directory that cannot be written to', async (t) => {
  const where = join(testDir(t), 'absent');
  await assert.rejects(spoolLayer(layerOf({ blob: gzipSync(TAR) }), where), {
    code: 'HL_ERR_IO',
    message: /cannot write the spool file in .*ENOENT/,
    hint: /--tmpdir/,
  });
});
