// The reader against blobs that are old, odd, broken or hostile; those are put together here, not by the writer.
import assert from 'node:assert/strict';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { type BlobSource, bufferSource, buildFooter, fileSource, openStargz } from '../../src/stargz/index.js';
import { refused } from '../support/refused.js';
import { dir, file, hardlink, symlink, tarOf } from '../support/tar.js';
import { build, sample, sha256Of, withDir } from './blob.js';

type Json = Record<string, unknown>;

interface Crafted {
  /** Members before the TOC, as they are. */
  members?: Buffer[];
  entries?: unknown;
  version?: unknown;
  /** In place of the JSON that the above make. */
  json?: string | Buffer;
  tocName?: string;
  footer?: (tocOffset: number) => Buffer;
}

function craft({ members = [], entries = [], version = 1, json, tocName, footer = buildFooter }: Crafted): Buffer {
  const body = Buffer.concat(members);
  const toc = json ?? JSON.stringify({ version, entries });
  return Buffer.concat([body, gzipSync(tarOf(file(tocName ?? 'stargz.index.json', toc))), footer(body.length)]);
}

const legacy = (tocOffset: number) =>
  Buffer.concat([
    Buffer.from('1f8b08040000000000ff1600', 'hex'),
    Buffer.from(`${tocOffset.toString(16).padStart(16, '0')}STARGZ`),
    Buffer.from('010000ffff0000000000000000', 'hex'),
  ]);

const open = (blob: Buffer, options = {}) => openStargz(bufferSource(blob, 'layer 7'), options);

const head = gzipSync(Buffer.alloc(512, 'h'));
const HELLO = Buffer.from('hello');
const hello = gzipSync(Buffer.concat([HELLO, Buffer.alloc(507)]));
const helloEntry = (more: Json = {}): Json => ({
  name: 'f',
  type: 'reg',
  size: 5,
  offset: head.length,
  digest: sha256Of(HELLO),
  chunkDigest: sha256Of(HELLO),
  ...more,
});
const at = (entries: unknown): Crafted => ({ members: [head, hello], entries });

test('a crafted blob opens, so that what the table breaks is what is refused', async () => {
  const blob = await open(craft(at([helloEntry()])));
  assert.equal(blob.format, 'estargz');
  assert.equal((await blob.readFile(blob.byPath.get('f')!)).toString(), 'hello');
  assert.deepEqual(blob.memberOffsets(), [0, head.length, head.length + hello.length, blob.size - 51]);
  assert.equal(blob.landmark, undefined);
  assert.equal(blob.prefetchSize, 0);
});

const h = head.length;
const end = head.length + hello.length;
const BROKEN: Record<string, [Buffer, ...(string | RegExp)[]]> = {
  'nothing at all': [Buffer.alloc(0), 'footer', '0 bytes'],
  'a plain gzip': [gzipSync('x'), 'stargz footer'],
  'a cut-off blob': [craft(at([helloEntry()])).subarray(0, -1), 'stargz footer'],
  'a TOC offset behind the footer': [craft({ ...at([]), footer: () => buildFooter(1 << 30) }), `offset ${1 << 30}`],
  'a TOC offset in the middle of a member': [craft({ ...at([]), footer: () => buildFooter(5) }), 'offset 5'],
  'a TOC offset at another member': [
    craft({ ...at([]), footer: () => buildFooter(0) }),
    'expected a tar entry named stargz.index.json',
  ],
  'another name': [craft({ tocName: './stargz.index.json' }), '"./stargz.index.json"'],
  'no JSON': [craft({ json: '{"version":1,' }), 'not JSON'],
  'another version': [craft({ version: 2 }), 'version 2', 'expected 1'],
  'JSON that is no object': [craft({ json: 'null' }), 'version'],
  'entries that are no list': [craft({ entries: {} }), 'no list'],
  'an entry that is no object': [craft({ entries: [7] }), 'record 0', 'found 7'],
  'an unknown type': [craft({ entries: [{ name: 'x', type: 'door' }] }), '"door"'],
  'a number as name': [craft({ entries: [{ name: 3, type: 'dir' }] }), '"name" a string'],
  'NUL in a name': [craft({ entries: [{ name: 'a\0b', type: 'dir' }] }), 'NUL', 'a\\x00b'],
  'a negative size': [craft(at([helloEntry({ size: -5 })])), '"size"', '-5'],
  'half a byte': [craft(at([helloEntry({ size: 4.5 })])), '"size"', '4.5'],
  'a size beyond numbers': [craft({ entries: [{ name: 'x', type: 'reg', size: 1e300 }] }), '"size"'],
  'no offset': [craft(at([helloEntry({ offset: undefined })])), '"offset"', 'found 0'],
  'an offset in the TOC': [craft(at([helloEntry({ offset: end })])), `the TOC's offset ${end}`],
  'offsets that fall': [
    craft(at([helloEntry({ offset: h + 3 }), helloEntry({ name: 'g' })])),
    `"offset" above ${h + 3}`,
    `found ${h}`,
  ],
  'offsets that stay': [craft(at([helloEntry(), helloEntry({ name: 'g' })])), `above ${h}`],
  'a chunk of nothing': [craft({ entries: [{ name: 'x', type: 'chunk', offset: 3 }] }), '"chunk" right after'],
  'a chunk of a directory': [
    craft({
      entries: [
        { name: 'd', type: 'dir' },
        { name: 'd', type: 'chunk', offset: 3 },
      ],
    }),
    '"chunk" right after',
  ],
  'a gap between chunks': [
    craft(at([helloEntry({ chunkSize: 2 }), { name: 'f', type: 'chunk', offset: h + 2, chunkOffset: 3 }])),
    '"chunkOffset" 2',
    'found 3',
  ],
  'a chunk beyond the file': [craft(at([helloEntry({ chunkSize: 6 })])), '6 at 0'],
  'a chunk behind the last': [
    craft(at([helloEntry(), { name: 'f', type: 'chunk', offset: h + 2, chunkOffset: 5 }])),
    '0 at 5',
  ],
  'missing chunks': [craft(at([helloEntry({ chunkSize: 2 })])), 'cover 2 bytes', 'its size, 5'],
  'a digest that is none': [
    craft(at([helloEntry({ chunkDigest: 'sha256:beef' })])),
    '"chunkDigest" a sha256 digest',
    'sha256:beef',
  ],
  'a digest of another kind': [craft(at([helloEntry({ digest: 'md5:00' })])), '"digest"'],
  'xattrs not in base64': [craft({ entries: [{ name: 'd', type: 'dir', xattrs: { 'user.a': '*' } }] }), 'user.a'],
  'xattrs in a list': [craft({ entries: [{ name: 'd', type: 'dir', xattrs: [1] }] }), '"xattrs"'],
  'a hardlink to nowhere': [
    craft({ entries: [{ name: 'l', type: 'hardlink', linkName: 'gone' }] }),
    '"gone"',
    'found none',
  ],
  'hardlinks in a ring': [
    craft({
      entries: [
        { name: 'a', type: 'hardlink', linkName: 'b' },
        { name: 'b', type: 'hardlink', linkName: './a' },
      ],
    }),
    'a is a hardlink',
  ],
};

for (const [name, [blob, ...mentions]] of Object.entries(BROKEN)) {
  test(`refused: ${name}`, () => assert.rejects(open(blob), refused('HL_ERR_STARGZ', /^layer 7: /, ...mentions)));
}

test('limits: TOC, entries, chunks, and a TOC that is a bomb', async () => {
  const good = craft(at([helloEntry()]));
  const limited = (limits: object, ...mentions: string[]) =>
    assert.rejects(open(good, { limits }), refused('HL_ERR_LIMIT', 'layer 7', ...mentions));
  await limited({ maxTocCompressed: 20 }, 'compressed TOC', 'limit is 20');
  await limited({ maxTocJson: 100 }, 'the limit is 100');
  await limited({ maxEntries: 0 }, 'has 1 entries');
  await limited({ maxChunk: 4 }, 'a chunk of 5 bytes', 'limit is 4');
  const bomb = craft({ json: Buffer.alloc(80 * 1024 * 1024, ' ') });
  assert.ok(bomb.length < 200_000);
  await assert.rejects(open(bomb, { limits: { maxTocJson: 1 << 20 } }), refused('HL_ERR_LIMIT', `${1 << 20}`));
});

test('a TOC with another digest than expected is refused', async () => {
  const blob = craft(at([helloEntry()]));
  const { tocDigest } = await open(blob);
  await open(blob, { tocDigest });
  await assert.rejects(
    open(blob, { tocDigest: sha256Of(HELLO) }),
    refused('HL_ERR_STARGZ', tocDigest, sha256Of(HELLO)),
  );
});

test('damaged content is found before it is given away, and only where it is damaged', async () => {
  const content = sample(40_000);
  const { blob, opened } = await build(tarOf(file('d/a', content), file('b', 'b')), { chunkSize: 8192 });
  const chunk = opened.byPath.get('d/a')!.chunks[2]!;
  for (const [change, mention] of [
    [(b: Buffer) => void b.writeUInt8(b[chunk.offset + 300]! ^ 0x10, chunk.offset + 300), /expected|decompress/],
    [(b: Buffer) => void b.fill(0, chunk.offset, chunk.offset + 10), /decompress/],
  ] as [(b: Buffer) => void, RegExp][]) {
    const bad = Buffer.from(blob);
    change(bad);
    const reader = await open(bad);
    const a = reader.byPath.get('d/a')!;
    await assert.rejects(
      reader.readFile(a),
      refused('HL_ERR_STARGZ', 'layer 7', 'd/a', `chunk at 16384`, `offset ${chunk.offset}`, mention),
    );
    await assert.rejects(reader.readFile(a, 16_384, 1), refused('HL_ERR_STARGZ'));
    assert.ok((await reader.readFile(a, 0, 16_384)).equals(content.subarray(0, 16_384)));
    assert.ok((await reader.readFile(a, 24_576)).equals(content.subarray(24_576)));
  }
});

test('a wrong digest in the TOC is told with both sides', async () => {
  const blob = await open(craft(at([helloEntry({ chunkDigest: sha256Of(Buffer.from('HELLO')) })])));
  const entry = blob.byPath.get('f')!;
  await assert.rejects(blob.readFile(entry), refused('HL_ERR_STARGZ', sha256Of(HELLO), sha256Of(Buffer.from('HELLO'))));
});

test('a file that is shorter than its TOC says', async () => {
  const blob = await open(craft(at([helloEntry({ size: 5000 })])));
  await assert.rejects(
    blob.readFile(blob.byPath.get('f')!),
    refused('HL_ERR_STARGZ', 'expected 5000 bytes, found 512'),
  );
});

test('a member that is a bomb is not inflated beyond the chunk', async () => {
  const bomb = gzipSync(Buffer.concat([HELLO, Buffer.alloc(300 * 1024 * 1024)]));
  const blob = await open(craft({ members: [head, bomb], entries: [helloEntry()] }));
  const before = process.memoryUsage().arrayBuffers;
  assert.equal((await blob.readFile(blob.byPath.get('f')!)).toString(), 'hello');
  assert.ok(process.memoryUsage().arrayBuffers - before < 20 * 1024 * 1024);
});

test('a source that gives fewer bytes than it promised', async () => {
  const blob = craft(at([helloEntry()]));
  const short: BlobSource = { name: 'layer 7', size: blob.length, read: async (o, n) => blob.subarray(o, o + n - 1) };
  await assert.rejects(openStargz(short), refused('HL_ERR_STARGZ', /expected \d+ bytes.*found \d+/));
  const later: BlobSource = {
    ...short,
    read: async (o, n) => (o === h ? blob.subarray(o, o + 1) : blob.subarray(o, o + n)),
  };
  const opened = await openStargz(later);
  await assert.rejects(opened.readFile(opened.byPath.get('f')!), refused('HL_ERR_STARGZ', `at offset ${h}`, 'found 1'));
});

test('members shared by several files (innerOffset)', async () => {
  const shared = gzipSync(
    Buffer.concat([HELLO, Buffer.alloc(507), Buffer.alloc(512, 'h'), Buffer.from('world'), Buffer.alloc(507)]),
  );
  const world = sha256Of(Buffer.from('world'));
  const blob = await open(
    craft({
      members: [head, shared],
      entries: [helloEntry(), helloEntry({ name: 'g', innerOffset: 1024, digest: world, chunkDigest: world })],
    }),
  );
  assert.equal((await blob.readFile(blob.byPath.get('g')!, 1, 3)).toString(), 'orl');
  assert.equal((await blob.readFile(blob.byPath.get('f')!)).toString(), 'hello');
  const [f, g] = ['f', 'g'].map((name) => blob.chunksOf(blob.byPath.get(name)!)[0]!);
  assert.equal(f!.nextOffset, blob.tocOffset);
  assert.equal(g!.nextOffset, blob.tocOffset);
});

test('a legacy blob: 47 bytes of footer, NumLink, no chunk digests', async () => {
  const two = [gzipSync(Buffer.from('he')), gzipSync(Buffer.from('llo'))];
  const blob = await open(
    craft({
      members: [head, hello, ...two],
      entries: [
        helloEntry({ NumLink: 0, chunkDigest: undefined }),
        { name: 'c', type: 'reg', size: 5, NumLink: 0, offset: end, chunkSize: 2, digest: sha256Of(HELLO) },
        { name: 'c', type: 'chunk', NumLink: 0, offset: end + two[0]!.length, chunkOffset: 2 },
      ],
      footer: legacy,
    }),
  );
  assert.equal(blob.format, 'legacy');
  // The digest of a file of one chunk does; the other file cannot be verified by pieces.
  assert.equal((await blob.readFile(blob.byPath.get('f')!)).toString(), 'hello');
  assert.match(blob.unverifiable!, /^c has a chunk/);
  const c = blob.byPath.get('c')!;
  await assert.rejects(blob.readFile(c), refused('HL_ERR_STARGZ', 'no digest'));
  assert.equal((await blob.readFile(c, 1, 3, { unverified: true })).toString(), 'ell');
  assert.equal(blob.memberOffsets().at(-1), blob.size - 47);
});

test('names are cleaned, the last of a name wins, owners are carried forward', async () => {
  const blob = await open(
    craft({
      entries: [
        { name: '/a//b/../x', type: 'dir', uid: 5, userName: 'five', groupName: 'zero' },
        { name: '../../etc/', type: 'dir', uid: 5, modtime: '2001-02-03T04:05:06Z' },
        { name: './a/x', type: 'symlink', linkName: '/etc', modtime: 'never' },
      ],
    }),
  );
  assert.deepEqual([...blob.byPath.keys()], ['a/x', 'etc']);
  assert.equal(blob.byPath.get('a/x')!.type, 'symlink');
  assert.equal(blob.byPath.get('a/x')!.mtimeSec, undefined);
  const etc = blob.byPath.get('etc')!;
  assert.deepEqual([etc.uname, etc.gname, etc.mtimeSec], ['five', 'zero', Date.UTC(2001, 1, 3, 4, 5, 6) / 1000]);
  await assert.rejects(blob.readFile(etc), refused('HL_ERR_NOT_FOUND', 'is a dir'));
});

test('entries: null, as Go writes an empty list', async () => {
  assert.deepEqual((await open(craft({ entries: null }))).entries, []);
});

test('with both landmarks, no prefetch', async () => {
  const mark = (name: string, offset: number) => helloEntry({ name, offset });
  const both = await open(
    craft({
      members: [head, hello, hello],
      entries: [mark('.prefetch.landmark', h), mark('./.no.prefetch.landmark', end)],
    }),
  );
  assert.deepEqual([both.landmark?.kind, both.landmark?.offset, both.prefetchSize], ['no-prefetch', end, 0]);
  const one = await open(craft(at([mark('.prefetch.landmark', h)])));
  assert.deepEqual([one.landmark?.kind, one.prefetchSize], ['prefetch', h]);
});

test('from a file: hardlinks share content, every range of every file is right', async () => {
  const content = sample(30_000, 5);
  const { blob } = await build(
    tarOf(dir('d/'), file('d/a', content), hardlink('l', 'd/a'), symlink('s', 'l'), file('e')),
    {
      hot: ['d/a'],
      chunkSize: 4096,
    },
  );
  await withDir(async (work) => {
    writeFileSync(join(work, 'blob'), blob);
    const fd = openSync(join(work, 'blob'), 'r');
    try {
      const reader = await openStargz(fileSource(fd, blob.length, 'a file'));
      const link = reader.byPath.get('l')!;
      assert.equal(reader.resolve(link).path, 'd/a');
      for (let at = 0; at < content.length; at += 3517) {
        for (const length of [1, 4096, 9999]) {
          const got = await reader.readFile(link, at, length);
          assert.ok(got.equals(content.subarray(at, at + length)), `${length} at ${at}`);
        }
      }
      assert.equal((await reader.readFile(link, 30_000)).length, 0);
      assert.equal((await reader.readFile(link, 99_999, 5)).length, 0);
      assert.equal((await reader.readFile(reader.byPath.get('e')!)).length, 0);
    } finally {
      closeSync(fd);
    }
  });
});
