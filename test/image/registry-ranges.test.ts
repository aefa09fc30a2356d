// Pieces of blobs: one range, many in one request, and servers that know only the one or neither.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { openRepository, type RegistryOptions, sha256 } from '../../src/image/index.js';
import { boundaryOf, parseByteranges, parseContentRange } from '../../src/image/registry/byteranges.js';
import { refused } from '../support/refused.js';
import { type Fault, type Seen, startProxy } from '../support/registry-proxy.js';
import { lacking } from '../support/tools.js';
import { startRegistry } from './registry-server.js';

const skip = lacking('docker-registry');
const FAST: RegistryOptions = { retry: { baseMs: 2, maxMs: 10 } };

test('Content-Range', () => {
  const rows: [string | undefined, (number | undefined)[] | undefined][] = [
    ['bytes 0-9/100', [0, 10, 100]],
    ['bytes 5-5/*', [5, 6, undefined]],
    ['bytes */100', [undefined, undefined, 100]],
    ['bytes 0-9', undefined],
    ['items 0-9/100', undefined],
    ['', undefined],
    [undefined, undefined],
  ];
  for (const [text, want] of rows) {
    const found = parseContentRange(text);
    assert.deepEqual(found && [found.start, found.end, found.total], want, text);
  }
});

test('the boundary', () => {
  const rows: [string | undefined, string | undefined][] = [
    ['multipart/byteranges; boundary=abc', 'abc'],
    ['Multipart/ByteRanges;boundary="a b:c"', 'a b:c'],
    ['multipart/x-byteranges; charset=x; boundary=abc; more=1', 'abc'],
    ['multipart/form-data; boundary=abc', undefined],
    ['application/octet-stream', undefined],
    [undefined, undefined],
  ];
  for (const [type, want] of rows) assert.equal(boundaryOf(type), want, type);
});

test('parts', () => {
  const part = (range: string, bytes: string) => `--B\r\nContent-Type: x/y\r\ncontent-range: ${range}\r\n\r\n${bytes}`;
  const one = part('bytes 0-3/90', 'abcd');
  // The boundary itself among the bytes: what counts is the length.
  const two = part('bytes 10-16/90', '\r\n--B\r\n');
  const rows: [string, string, [number, string][], boolean][] = [
    [
      'as Go writes it',
      `${one}\r\n${two}\r\n--B--\r\n`,
      [
        [0, 'abcd'],
        [10, '\r\n--B\r\n'],
      ],
      true,
    ],
    [
      'as nginx writes it',
      `\r\n${one}\r\n${two}\r\n--B--\r\n`,
      [
        [0, 'abcd'],
        [10, '\r\n--B\r\n'],
      ],
      true,
    ],
    ['text before', `ignore me\r\n${one}\r\n--B--`, [[0, 'abcd']], true],
    ['cut in the bytes', `${one}\r\n${two.slice(0, -1)}`, [[0, 'abcd']], false],
    ['cut in a header', `${one}\r\n${two.slice(0, 20)}`, [[0, 'abcd']], false],
    ['cut before the end', `${one}\r\n`, [[0, 'abcd']], false],
    ['nothing', '', [], false],
  ];
  for (const [name, body, want, complete] of rows) {
    const found = parseByteranges(Buffer.from(body), 'B');
    assert.deepEqual(
      found.parts.map((p) => [p.start, p.bytes.toString()]),
      want,
      name,
    );
    assert.equal(found.complete, complete, name);
  }
  const wrong: [string, RegExp][] = [
    ['--B\r\nContent-Type: x\r\n\r\nabcd\r\n--B--', /without a Content-Range/],
    [part('bytes 3-1/9', 'abcd'), /without a Content-Range/],
    [`${part('bytes 0-3/90', 'abcdefgh')}\r\n--B--`, /longer/],
    [`--B\r\n${'x'.repeat(9000)}`, /do not end/],
  ];
  for (const [body, message] of wrong) assert.throws(() => parseByteranges(Buffer.from(body), 'B'), message, body);
});

const BLOB = randomBytes(5_000_000);
const DIGEST = sha256(BLOB);
const SIZE = BLOB.length;

async function setUp(t: TestContext, more: RegistryOptions = {}) {
  const registry = await startRegistry(t);
  const proxy = await startProxy(t, registry.port);
  const writer = await openRepository({ host: registry.host, repository: 'a' }, 'pull,push');
  const open = (start: number, end: number) => Readable.from([BLOB.subarray(start, end)], { objectMode: false });
  await writer.pushBlob({ digest: DIGEST, size: SIZE, open });
  await writer.close();
  const repository = await openRepository({ host: proxy.host, repository: 'a' }, 'pull', { ...FAST, ...more });
  t.after(() => repository.close());
  const asked = () => proxy.seen.filter((r) => r.url.includes('/blobs/sha256:')).map((r) => r.headers.range);
  return { proxy, repository, asked };
}

const RANGES = [
  { start: 1_000_000, length: 5000 },
  { start: 0, length: 10 },
  { start: 20, length: 3 },
  { start: 3_000_000, length: 1 },
  { start: 2_999_990, length: 100 },
  { start: SIZE - 7, length: 50 },
  { start: SIZE + 1000, length: 5 },
];
/** Close ones are joined. */
const JOINED = `bytes=0-22,1000000-1004999,2999990-3000089,${SIZE - 7}-${SIZE + 42},${SIZE + 1000}-${SIZE + 1004}`;
const right = (pieces: readonly Buffer[]) =>
  assert.deepEqual(
    pieces,
    RANGES.map(({ start, length }) => BLOB.subarray(start, start + length)),
  );

test('many pieces come in one request', { skip }, async (t) => {
  const { repository, asked, proxy } = await setUp(t);
  right(await repository.readPieces(DIGEST, RANGES));
  assert.deepEqual(asked(), [JOINED]);
  proxy.seen.length = 0;
  assert.deepEqual(await repository.readPieces(DIGEST, []), []);
  assert.deepEqual(await repository.readPieces(DIGEST, [{ start: 5, length: 6 }]), [BLOB.subarray(5, 11)]);
  assert.deepEqual(asked(), ['bytes=5-10']);
  const beyond = [SIZE, SIZE + 10_000].map((start) => ({ start, length: 9 }));
  assert.deepEqual(await repository.readPieces(DIGEST, beyond), [Buffer.alloc(0), Buffer.alloc(0)]);
  // More than fit into one header line.
  proxy.seen.length = 0;
  const many = Array.from({ length: 150 }, (_, i) => ({ start: i * 1000, length: 3 }));
  const found = await repository.readPieces(DIGEST, many);
  assert.deepEqual(Buffer.concat(found), Buffer.concat(many.map((m) => BLOB.subarray(m.start, m.start + 3))));
  assert.equal(asked().length, 3);
  await assert.rejects(repository.readPieces(sha256(Buffer.from('no')), RANGES), refused('HL_ERR_NOT_FOUND'));
});

test('pieces, whatever the server makes of several ranges', { skip }, async (t) => {
  const isMulti = (r: Seen) => r.headers.range?.includes(',') ?? false;
  const answer = (status: number): Fault => ({ kind: 'answer', status });
  const rows: [string, Fault[], number][] = [
    ['only the first is served', [{ kind: 'first-range' }], 4],
    ['ranges are ignored', [{ kind: 'ignore-range' }], 6],
    [
      'cut in the middle',
      [
        { kind: 'cut', after: 3000 },
        { kind: 'truncate', after: 1000 },
      ],
      3,
    ],
    ['trouble', [answer(503), answer(429)], 3],
    ['another answer', [{ kind: 'headers', headers: { 'content-type': 'text/plain' } }], 6],
  ];
  for (const [name, faults, requests] of rows) {
    const { repository, asked, proxy } = await setUp(t);
    proxy.rule = (r) => (isMulti(r) ? faults.shift() : undefined);
    right(await repository.readPieces(DIGEST, RANGES));
    assert.equal(asked().length, requests, `${name}: ${asked().join(' | ')}`);
  }
  const { repository, asked, proxy } = await setUp(t);
  proxy.rule = () => ({ kind: 'ignore-range' });
  right(await repository.readPieces(DIGEST, RANGES));
  proxy.rule = () => undefined;
  proxy.seen.length = 0;
  right(await repository.readPieces(DIGEST, RANGES));
  assert.equal(asked().length, 5, 'a server that ignored several ranges is not asked for them again');
  proxy.rule = (r) =>
    isMulti(r) ? { kind: 'headers', headers: { 'content-type': 'multipart/byteranges; boundary=x' } } : undefined;
  const other = await openRepository({ host: proxy.host, repository: 'a' }, 'pull', FAST);
  await assert.rejects(other.readPieces(DIGEST, RANGES), refused('HL_ERR_NETWORK', 'pieces', '6 attempts'));
  await other.close();
});

test('pieces one after the other use the same connections', { skip }, async (t) => {
  const { repository, proxy } = await setUp(t);
  for (let i = 0; i < 8; i++) assert.equal((await repository.readPiece(DIGEST, i, 100)).bytes.length, 100);
  right(await repository.readPieces(DIGEST, RANGES));
  const blobs = proxy.seen.filter((r) => r.url.includes('/blobs/'));
  assert.equal(blobs.length, 9);
  // Two, because the next request may be made before the end of the last one is noticed.
  assert.ok(new Set(blobs.map((r) => r.connection)).size <= 2);
});

/** Ascending and disjoint, as `streamPieces` wants them. */
const PIECES = [
  [0, 10],
  [11, 3],
  [70_000, 5000],
  [3_000_000, 200_000],
  [SIZE - 50, 50],
] as const;
const CONTENT = Buffer.concat(PIECES.map(([at, length]) => BLOB.subarray(at, at + length)));

test('pieces as they come, whatever the server makes of several ranges, with either client for HTTP', {
  skip,
}, async (t) => {
  const isMulti = (r: Seen) => r.headers.range?.includes(',') ?? false;
  // Requests: the first, and what is then asked for one after the other, near ones together.
  const rows: [string, Fault | undefined, number][] = [
    ['as asked', undefined, 1],
    ['only the first is served', { kind: 'first-range' }, 5],
    ['ranges are ignored', { kind: 'ignore-range' }, 5],
    ['another answer', { kind: 'headers', headers: { 'content-type': 'text/plain' } }, 5],
  ];
  for (const light of [false, true]) {
    for (const [name, fault, requests] of rows) {
      const { repository, asked, proxy } = await setUp(t, { light });
      proxy.rule = (r) => (isMulti(r) ? fault : undefined);
      assert.deepEqual(await all(repository.streamPieces(DIGEST, PIECES)), CONTENT, name);
      assert.ok(asked().length <= requests, `${name}: ${asked().join(' | ')}`);
      proxy.seen.length = 0;
      assert.deepEqual(await all(repository.streamPieces(DIGEST, PIECES)), CONTENT, name);
      assert.equal(asked().filter((range) => range?.includes(',')).length, fault ? 0 : 1, `${name}, again`);
    }
    const { repository, proxy } = await setUp(t, { light });
    for (const after of [100, 4000, 205_300]) {
      for (const kind of ['cut', 'truncate'] as const) {
        proxy.rule = () => ({ kind, after });
        await assert.rejects(
          all(repository.streamPieces(DIGEST, PIECES)),
          refused('HL_ERR_NETWORK'),
          `${kind} ${after}`,
        );
      }
    }
    proxy.rule = () => ({ kind: 'headers', headers: { 'content-type': 'multipart/byteranges; boundary=x' } });
    await assert.rejects(all(repository.streamPieces(DIGEST, PIECES)), refused('HL_ERR_NETWORK'));
    proxy.rule = () => undefined;
    const stop = new AbortController();
    const stopped = all(repository.streamPieces(DIGEST, PIECES, stop.signal));
    stop.abort();
    await assert.rejects(stopped);
    assert.deepEqual(await all(repository.streamPieces(DIGEST, PIECES)), CONTENT, 'and it goes on');
  }
});

async function all(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const chunk of chunks) parts.push(Buffer.from(chunk));
  return Buffer.concat(parts);
}
