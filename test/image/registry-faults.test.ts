// A proxy that breaks connections and answers stands before the real registry: every case is resumed, or refused with
// an error that says why; never is there a wrong image.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import {
  type Descriptor,
  type ImageSink,
  openImage,
  openRepository,
  openSink,
  type RegistryOptions,
  sha256,
} from '../../src/image/index.js';
import { DEFAULT_RETRY } from '../../src/image/registry/index.js';
import { refused } from '../support/refused.js';
import { type Fault, type FaultyProxy, type Seen, startProxy } from '../support/registry-proxy.js';
import { testDir } from '../support/temp.js';
import { lacking } from '../support/tools.js';
import { startRegistry, storedTag, type TestRegistry } from './registry-server.js';
import { putImage } from './sink-image.js';
import { startSpecRegistry } from './spec-registry.js';

const skip = lacking('docker-registry');
const FAST: RegistryOptions = { retry: { baseMs: 2, maxMs: 10 } };
const BLOB = randomBytes(1_500_000);
const DIGEST = sha256(BLOB);
const DESCRIPTOR: Descriptor = { mediaType: '', digest: DIGEST, size: BLOB.length };
const SOURCE = {
  digest: DIGEST,
  size: BLOB.length,
  open: (start: number, end: number) => Readable.from([BLOB.subarray(start, end)], { objectMode: false }),
};

interface Setup {
  registry: TestRegistry;
  proxy: FaultyProxy;
}

async function setUp(t: TestContext): Promise<Setup> {
  const registry = await startRegistry(t);
  return { registry, proxy: await startProxy(t, registry.port) };
}

async function put(host: string): Promise<void> {
  const repository = await openRepository({ host, repository: 'a' }, 'pull,push');
  await repository.pushBlob(SOURCE);
  await repository.close();
}

async function get(host: string, options: RegistryOptions = FAST, name = 'a'): Promise<string> {
  const repository = await openRepository({ host, repository: name }, 'pull', options);
  try {
    const hash = createHash('sha256');
    for await (const chunk of repository.openBlob(DESCRIPTOR)) hash.update(chunk as Buffer);
    return `sha256:${hash.digest('hex')}`;
  } finally {
    await repository.close();
  }
}

const isBlob = (r: Seen): boolean => r.method === 'GET' && r.url.includes('/blobs/sha256:');

/** The faults one after the other, for the requests that `which` takes; then none. */
function inTurn(
  which: (request: Seen) => boolean,
  ...faults: (Fault | undefined)[]
): (request: Seen) => Fault | undefined {
  let next = 0;
  return (request) => (which(request) ? faults[next++] : undefined);
}

test('downloads that break are resumed', { skip }, async (t) => {
  const { registry, proxy } = await setUp(t);
  await put(registry.host);
  const cut = (after: number): Fault => ({ kind: 'cut', after });
  const answer = (status: number): Fault => ({ kind: 'answer', status });
  const rows: [string, (Fault | undefined)[], string[]][] = [
    ['reset', [cut(400_000), cut(0), cut(700_000)], ['', 'bytes=400000-', 'bytes=400000-', 'bytes=1100000-']],
    ['ended early', [{ kind: 'truncate', after: 123_456 }], ['', 'bytes=123456-']],
    [
      'reset, then errors',
      [cut(200_000), answer(500), answer(503), answer(429)],
      ['', ...Array(4).fill('bytes=200000-')],
    ],
    ['no answer at all', [{ kind: 'no-answer' }, { kind: 'no-answer' }], ['', '', '']],
    ['ranges ignored', [cut(1_000_000), { kind: 'ignore-range' }], ['', 'bytes=1000000-']],
    [
      'ranges ignored and reset',
      [cut(1_000_000), { kind: 'ignore-range' }, { kind: 'ignore-range' }].map((f, i) =>
        i === 1 ? cut(100_000) : f,
      ) as Fault[],
      ['', 'bytes=1000000-', 'bytes=1100000-'],
    ],
  ];
  for (const [name, faults, ranges] of rows) {
    proxy.rule = inTurn(isBlob, ...faults);
    proxy.seen.length = 0;
    assert.equal(await get(proxy.host), DIGEST, name);
    const asked = proxy.seen.filter(isBlob).map((r) => r.headers.range ?? '');
    assert.deepEqual(asked, ranges, name);
  }
});

test('downloads of the wrong bytes are refused', { skip }, async (t) => {
  const { registry, proxy } = await setUp(t);
  await put(registry.host);
  proxy.rule = inTurn(isBlob, { kind: 'flip', at: 777_777 });
  await assert.rejects(get(proxy.host), refused('HL_ERR_DIGEST', DIGEST));
  // Wrong bytes before a break do not get lost in the resuming.
  let n = 0;
  proxy.rule = (r) => (isBlob(r) ? (n++ === 0 ? { kind: 'cut', after: 500_000 } : { kind: 'flip', at: 3 }) : undefined);
  await assert.rejects(get(proxy.host), refused('HL_ERR_DIGEST', DIGEST));
  // A range that was not asked for.
  proxy.rule = inTurn(
    isBlob,
    { kind: 'cut', after: 500_000 },
    {
      kind: 'headers',
      headers: { 'content-range': `bytes 0-${BLOB.length - 1}/${BLOB.length}` },
    },
  );
  await assert.rejects(get(proxy.host), refused('HL_ERR_NETWORK', 'bytes 0-', 'bytes 500000-'));
});

test('a download that never gets on is given up', { skip }, async (t) => {
  const { registry, proxy } = await setUp(t);
  await put(registry.host);
  proxy.rule = (r) => (isBlob(r) ? { kind: 'cut', after: 100 } : undefined);
  await assert.rejects(get(proxy.host), refused('HL_ERR_NETWORK', proxy.host, '6 attempts'));
  assert.equal(proxy.seen.filter(isBlob).length, DEFAULT_RETRY.attempts);
  proxy.rule = (r) => (isBlob(r) ? { kind: 'answer', status: 503, body: '<html>' } : undefined);
  await assert.rejects(get(proxy.host), refused('HL_ERR_NETWORK', '503', '6 attempts', 'run it again later'));
});

test('Retry-After is waited for, unless it is too long', { skip }, async (t) => {
  const { registry, proxy } = await setUp(t);
  await put(registry.host);
  const later = (seconds: string): Fault => ({ kind: 'answer', status: 429, headers: { 'retry-after': seconds } });
  proxy.rule = inTurn(isBlob, later('1'));
  const said: string[] = [];
  const onRetry = (message: string, ms: number) => said.push(`${message}; ${ms} ms`);
  assert.equal(await get(proxy.host, { ...FAST, onRetry }), DIGEST);
  assert.equal(said.length, 1);
  assert.match(said[0]!, /answered 429; 1000 ms/);
  const [first, second] = proxy.seen.filter(isBlob);
  assert.ok(second!.at - first!.at >= 990, `${second!.at - first!.at} ms`);
  proxy.seen.length = 0;
  proxy.rule = inTurn(isBlob, later('3600'));
  await assert.rejects(get(proxy.host), refused('HL_ERR_NETWORK', '429', '3600 s'));
  assert.equal(proxy.seen.filter(isBlob).length, 1);
});

test('manifests: changed, too large, of an unknown kind, claimed to be another', { skip }, async (t) => {
  const { registry, proxy } = await setUp(t);
  const sink = await openSink(`${registry.host}/a:1`);
  const manifest = await putImage(sink, 'x');
  await sink.commit(manifest);
  const isManifest = (r: Seen) => r.url.includes('/manifests/');
  const rows: [Fault, Parameters<typeof refused>][] = [
    [{ kind: 'flip', at: 30 }, ['HL_ERR_DIGEST', manifest.digest]],
    [{ kind: 'headers', headers: { 'docker-content-digest': DIGEST } }, ['HL_ERR_DIGEST', DIGEST]],
    [{ kind: 'truncate', after: 100 }, ['HL_ERR_DIGEST', manifest.digest]],
    [{ kind: 'answer', status: 200, body: ' '.repeat(5_000_000) }, ['HL_ERR_LIMIT', 'MAX_MANIFEST_BYTES']],
    [{ kind: 'answer', status: 200, body: '{"schemaVersion":1,"fsLayers":[]}' }, ['HL_ERR_IMAGE', 'schema 1']],
    [{ kind: 'answer', status: 200, body: '<html>' }, ['HL_ERR_IMAGE', 'not JSON']],
  ];
  for (const tag of ['1', manifest.digest]) {
    for (const [fault, want] of rows) {
      proxy.rule = inTurn(isManifest, fault);
      const name = `${proxy.host}/a${tag === '1' ? ':1' : `@${tag}`}`;
      const code = tag !== '1' && fault.kind === 'answer' && want[0] === 'HL_ERR_IMAGE' ? ['HL_ERR_DIGEST'] : want;
      await assert.rejects(
        openImage(name, { registry: FAST }),
        refused(...(code as typeof want)),
        `${fault.kind} ${tag}`,
      );
    }
  }
  // A type that says nothing is no reason to fail; a reset is none either.
  for (const fault of [
    { kind: 'headers', headers: { 'content-type': 'text/plain' } },
    { kind: 'cut', after: 50 },
  ] as Fault[]) {
    proxy.rule = inTurn(isManifest, fault);
    await using image = await openImage(`${proxy.host}/a:1`, { registry: FAST });
    assert.equal(image.descriptor.digest, manifest.digest);
  }
});

const CHUNKS: RegistryOptions = { ...FAST, chunkSize: 400_000 };

/** Uploads the blob through the proxy; its bytes must then be those in the registry. */
async function push({ registry, proxy }: Setup, repository: string, options: RegistryOptions): Promise<string[]> {
  proxy.seen.length = 0;
  const opened = await openRepository({ host: proxy.host, repository }, 'pull,push', options);
  try {
    await opened.pushBlob(SOURCE);
  } finally {
    await opened.close();
  }
  assert.equal(await get(registry.host, FAST, repository), DIGEST);
  return proxy.seen.filter((r) => r.url.includes('/uploads/')).map((r) => r.method);
}

test('uploads that break are resumed or begun again', { skip }, async (t) => {
  const is = (method: string) => (r: Seen) => r.method === method && r.url.includes('/uploads/');
  const cut = (after: number): Fault => ({ kind: 'cut-request', after });
  const answer = (status: number, headers?: Record<string, string>): Fault => ({
    kind: 'answer',
    status,
    ...(headers ? { headers } : {}),
  });
  const patches = (n: number) => Array<string>(n).fill('PATCH');
  const rows: [string, RegistryOptions, FaultyProxy['rule'], string[] | undefined][] = [
    ['untouched', CHUNKS, () => undefined, ['POST', ...patches(4), 'PUT']],
    ['in one', FAST, () => undefined, ['POST', 'PUT']],
    ['a chunk is cut', CHUNKS, inTurn(is('PATCH'), undefined, cut(150_000)), undefined],
    ['all in one is cut', FAST, inTurn(is('PUT'), cut(900_000)), undefined],
    [
      'a chunk arrives, its answer does not',
      CHUNKS,
      inTurn(is('PATCH'), { kind: 'no-answer' }),
      ['POST', 'PATCH', 'GET', 'DELETE', 'POST', ...patches(4), 'PUT'],
    ],
    ['the last answer is lost', CHUNKS, inTurn(is('PUT'), { kind: 'no-answer' }), ['POST', ...patches(4), 'PUT']],
    [
      'a moment of trouble',
      CHUNKS,
      inTurn(is('PATCH'), answer(500), undefined, answer(503)),
      ['POST', 'PATCH', 'GET', 'PATCH', 'PATCH', 'GET', ...patches(3), 'PUT'],
    ],
    ['too many requests', FAST, inTurn(is('POST'), answer(429, { 'retry-after': '0' })), ['POST', 'POST', 'PUT']],
    [
      'the upload is forgotten',
      CHUNKS,
      inTurn(is('PATCH'), undefined, answer(404)),
      ['POST', 'PATCH', 'PATCH', 'DELETE', 'POST', ...patches(4), 'PUT'],
    ],
    [
      'not asked how far it got',
      CHUNKS,
      (r) =>
        is('GET')(r)
          ? answer(404)
          : r.url.includes('/uploads/') && r.headers['content-range'] === '400000-799999' && ++lost === 1
            ? answer(502)
            : undefined,
      ['POST', 'PATCH', 'PATCH', 'GET', 'DELETE', 'POST', ...patches(4), 'PUT'],
    ],
    [
      'chunks are not taken',
      CHUNKS,
      (r) => (is('PATCH')(r) ? answer(405) : undefined),
      ['POST', 'PATCH', 'DELETE', 'POST', 'PUT'],
    ],
    [
      'no more than so much at once',
      { ...FAST, chunkSize: 1_400_000 },
      (r) => (is('PATCH')(r) && Number(r.headers['content-length']) > 1_048_576 ? answer(413) : undefined),
      ['POST', 'PATCH', 'DELETE', 'POST', ...patches(2), 'PUT'],
    ],
    [
      'larger chunks are asked for',
      CHUNKS,
      (r) => (is('POST')(r) ? { kind: 'headers', headers: { 'oci-chunk-min-length': '800000' } } : undefined),
      ['POST', ...patches(2), 'PUT'],
    ],
  ];
  let lost = 0;
  const setup = await setUp(t);
  for (const [i, [name, options, rule, want]] of rows.entries()) {
    setup.proxy.rule = rule;
    const methods = await push(setup, `row${i}`, options);
    if (want) assert.deepEqual(methods, want, name);
    else assert.ok(methods.includes('GET') && methods.filter((m) => m === 'POST').length > 1, `${name} ${methods}`);
  }
});

test('where the registry keeps what arrived, nothing is sent twice', async (t) => {
  const is = (method: string) => (r: Seen) => r.method === method;
  const cut = (after: number): Fault => ({ kind: 'cut-request', after });
  const rows: [string, RegistryOptions, FaultyProxy['rule'], number][] = [
    ['a chunk is cut twice', CHUNKS, inTurn(is('PATCH'), undefined, cut(150_000), cut(50_000)), 0],
    ['all in one is cut', FAST, inTurn(is('PUT'), cut(900_000)), 0],
    ['a chunk arrives, its answer does not', CHUNKS, inTurn(is('PATCH'), { kind: 'no-answer' }), 0],
    ['the last answer is lost', CHUNKS, inTurn(is('PUT'), { kind: 'no-answer' }), 0],
    // Bytes changed in a chunk that was then resumed: found by the registry, begun again, right in the end.
    [
      'a chunk is changed and cut',
      CHUNKS,
      inTurn(is('PATCH'), { kind: 'flip', at: 9, request: true }, cut(1000)),
      BLOB.length,
    ],
  ];
  for (const [name, options, rule, twice] of rows) {
    const registry = await startSpecRegistry(t);
    const proxy = await startProxy(t, registry.port, rule);
    const reported: number[] = [];
    const repository = await openRepository({ host: proxy.host, repository: 'a' }, 'pull,push', {
      ...options,
      onProgress: ({ bytes }) => reported.push(bytes),
    });
    assert.equal(await repository.pushBlob(SOURCE), 'uploaded', name);
    await repository.close();
    assert.deepEqual(registry.blobs.get(DIGEST), BLOB, name);
    assert.equal(registry.received(), BLOB.length + twice, name);
    assert.equal(reported.at(-1), BLOB.length);
  }
});

test('an upload of wrong bytes, or without end of trouble, moves no tag', { skip }, async (t) => {
  const setup = await setUp(t);
  const { registry, proxy } = setup;
  const before = await openSink(`${registry.host}/img:1`);
  const old = await putImage(before, 'old');
  await before.commit(old);
  const rows: [string, FaultyProxy['rule'], Parameters<typeof refused>][] = [
    [
      'bytes',
      (r) => (r.method === 'PUT' && r.url.includes('/uploads/') ? { kind: 'flip', at: 5, request: true } : undefined),
      ['HL_ERR_NETWORK', 'DIGEST_INVALID'],
    ],
    [
      'manifest',
      (r) =>
        r.method === 'PUT' && r.url.includes('/manifests/') ? { kind: 'flip', at: 30, request: true } : undefined,
      ['HL_ERR_NETWORK', 'MANIFEST_INVALID'],
    ],
    [
      'full',
      (r) =>
        r.method === 'PUT' && r.url.includes('/uploads/')
          ? { kind: 'answer', status: 500, body: '{"errors":[{"code":"UNKNOWN","message":"no space left on device"}]}' }
          : undefined,
      ['HL_ERR_NETWORK', 'UNKNOWN: no space left on device', '6 attempts'],
    ],
    [
      'quota',
      (r) =>
        r.method === 'POST' && r.url.includes('/uploads/') && proxy.seen.length > 4
          ? { kind: 'answer', status: 403, body: '{"errors":[{"code":"DENIED","message":"quota"}]}' }
          : undefined,
      ['HL_ERR_AUTH', 'DENIED: quota'],
    ],
    [
      'manifest trouble',
      (r) => (r.url.includes('/manifests/') ? { kind: 'answer', status: 502 } : undefined),
      ['HL_ERR_NETWORK', '502'],
    ],
    [
      'another digest',
      (r) =>
        r.method === 'PUT' && r.url.includes('/manifests/')
          ? { kind: 'answer', status: 201, headers: { 'docker-content-digest': DIGEST } }
          : undefined,
      ['HL_ERR_NETWORK', DIGEST],
    ],
  ];
  for (const [i, [name, rule, want]] of rows.entries()) {
    proxy.seen.length = 0;
    proxy.rule = rule;
    const temp = testDir(t);
    const sink: ImageSink = await openSink(`${proxy.host}/img:1`, { registry: FAST, tempParent: temp });
    const work = async () => {
      try {
        await sink.commit(await putImage(sink, `new ${i}`));
      } finally {
        await sink.abort();
      }
    };
    await assert.rejects(work(), (error) => refused(...want)(error), name);
    assert.equal(storedTag(registry, 'img', '1'), old.digest, name);
    assert.deepEqual(readdirSync(temp), [], 'nothing is left behind');
  }
});

test('an interrupted transfer ends at once', { skip }, async (t) => {
  const { registry, proxy } = await setUp(t);
  await put(registry.host);
  const stop = new AbortController();
  proxy.rule = (r) => {
    if (!isBlob(r)) return undefined;
    setTimeout(() => stop.abort(), 20);
    return { kind: 'answer', status: 503, headers: { 'retry-after': '60' } };
  };
  await assert.rejects(get(proxy.host, { signal: stop.signal }), refused('HL_ERR_INTERRUPTED'));
  await assert.rejects(get(proxy.host, { signal: stop.signal }), refused('HL_ERR_INTERRUPTED'));
});
