// Tars that are broken: which code, which offset, which words. Both scanners say the same.
import assert from 'node:assert/strict';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type ErrorCode, HotlayerError } from '../../src/errors.js';
import { MAX_EXTENSION_HEADER } from '../../src/stargz/tar/entry.js';
import { scanTarFd, type TarLimits } from '../../src/stargz/tar/scan.js';
import {
  END,
  entry,
  file,
  globalPax,
  gnuLong,
  gnuNumber,
  gnuSparse,
  hardlink,
  paxRecords,
  paxSparse,
  tarOf,
} from '../support/tar.js';
import { testDir } from '../support/temp.js';
import { scanByPush, WHERE } from './scan-both.js';

interface Broken {
  readonly title: string;
  readonly tar: Buffer;
  readonly message: RegExp;
  readonly offset: number;
  readonly entry?: string;
  readonly code?: ErrorCode;
  readonly limits?: TarLimits;
}

const first = file('first', 'x');
const x = (payload: string | Buffer) => entry({ name: 'x', typeflag: 'x', payload });
const flipped = Buffer.from(file('second', 'y'));
flipped[5]! ^= 1;

const cases: Broken[] = [
  {
    title: 'not a tar',
    tar: Buffer.alloc(2048, 'text '),
    message: /tar at byte 0: this is not a tar header/,
    offset: 0,
  },
  { title: 'a bit flipped in a header', tar: tarOf(first, flipped), message: /at byte 1024: .*checksum/, offset: 1024 },
  {
    title: 'rubbish without end-of-archive blocks before it',
    tar: Buffer.concat([first, Buffer.alloc(512, 0x41)]),
    message: /not a tar header/,
    offset: 1024,
  },
  {
    title: 'cut inside a header',
    tar: tarOf(first, first).subarray(0, 1100),
    message: /ends inside a header: 436/,
    offset: 1024,
  },
  {
    title: 'cut inside the content',
    tar: tarOf(first, file('big', 'z'.repeat(5000))).subarray(0, 3000),
    message: /tar entry "big" at byte 1024: the tar ends at byte 3000, after 1464 of 5000 bytes/,
    offset: 1024,
    entry: 'big',
  },
  {
    title: 'cut inside a GNU long name',
    tar: gnuLong('L', 'n'.repeat(600)).subarray(0, 900),
    message: /ends inside a GNU long name/,
    offset: 0,
  },
  {
    title: 'cut inside a PAX header',
    tar: x(paxRecords({ comment: 'c'.repeat(3000) })).subarray(0, 2000),
    message: /ends inside a PAX header/,
    offset: 0,
  },
  {
    title: 'cut inside a global header',
    tar: Buffer.concat([first, globalPax({ comment: 'c'.repeat(3000) })]).subarray(0, 2000),
    message: /ends inside a global PAX header/,
    offset: 1024,
  },
  {
    title: 'cut after a PAX header',
    tar: x(paxRecords({ path: 'p' })),
    message: /PAX header at byte 0 has no entry after it/,
    offset: 0,
  },
  {
    title: 'a long name before the end',
    tar: Buffer.concat([gnuLong('K', 'n'), END]),
    message: /has no entry/,
    offset: 0,
  },
  {
    title: 'cut inside a sparse map (old GNU)',
    tar: gnuSparse(
      'sp',
      99_999,
      Array.from({ length: 9 }, (_, i) => [i * 100, 'a']),
    ).subarray(0, 700),
    message: /tar entry "sp" at byte 0: the tar ends inside a sparse map/,
    offset: 0,
    entry: 'sp',
  },
  {
    title: 'an octal number that is none',
    tar: tarOf(first, file('n', '', { raw: { size: '0000000008x\0' } })),
    message: /at byte 1024: the size field is "0000000008x\\u0000"/,
    offset: 1024,
  },
  {
    title: 'a negative size',
    tar: tarOf(file('n', '', { raw: { size: gnuNumber(-1, 12) } })),
    message: /negative \(-1\)/,
    offset: 0,
  },
  {
    title: 'a size beyond 2^53',
    tar: tarOf(file('n', '', { raw: { size: Buffer.from(`80${'7f'.repeat(11)}`, 'hex') } })),
    message: /size field holds a number beyond/,
    offset: 0,
  },
  {
    title: 'an absurd size',
    tar: tarOf(file('n', '', { pax: { size: String(Number.MAX_SAFE_INTEGER) } })),
    message: /tar entry "n" at byte 0: the size 9007199254740991 is absurd/,
    offset: 0,
    entry: 'n',
  },
  {
    title: 'a size that is merely too large',
    tar: tarOf(file('n', '', { pax: { size: String(2 ** 52) } })),
    message: /after 1024 of 4503599627370496 bytes/,
    offset: 0,
    entry: 'n',
  },
  ...Object.entries({
    'length too long': '99 path=p\n',
    'length too short': '5 path=p\n',
    'no length': 'path=p\n',
    'no newline': '10 path=pp',
    'no equals sign': '9 path p\n',
    'no key': '6 =pp\n',
    'zero length': '0 a=b\n',
  }).map(([title, payload]) => ({
    title: `PAX: ${title}`,
    tar: tarOf(first, Buffer.concat([x(payload), first])),
    message: /the PAX record at byte 0 of its extended header is malformed|has no key/,
    offset: 1024,
  })),
  {
    title: 'PAX: a NUL in a name',
    tar: tarOf(file('n', '', { pax: { path: 'a\0b' } })),
    message: /path contains a NUL/,
    offset: 0,
  },
  {
    title: 'PAX: a uid that is no number',
    tar: tarOf(file('n', '', { pax: { uid: '12x' } })),
    message: /uid is "12x"/,
    offset: 0,
    entry: 'n',
  },
  {
    title: 'PAX: a time that is none',
    tar: tarOf(file('n', '', { pax: { mtime: '1e9' } })),
    message: /mtime is "1e9"/,
    offset: 0,
  },
  {
    title: 'sparse: extents out of order',
    tar: tarOf(
      gnuSparse('sp', 9999, [
        [500, 'aa'],
        [100, 'b'],
      ]),
    ),
    message: /tar entry "sp" .*extent of 1 bytes at 100, but the one before ends at 502/,
    offset: 0,
    entry: 'sp',
  },
  {
    title: 'sparse: an extent beyond the file',
    tar: tarOf(paxSparse('sp', 10, [[9, 'aa']])),
    message: /the file at 10/,
    offset: 0,
    entry: 'sp',
  },
  {
    title: 'sparse: more data described than stored',
    tar: tarOf(file('sp', 'ab', { pax: { 'GNU.sparse.map': '0,1,5,9', 'GNU.sparse.size': '99' } })),
    message: /describes 10 bytes of data, the payload has 2/,
    offset: 0,
    entry: 'sp',
  },
  {
    title: 'sparse: a map that is no numbers',
    tar: tarOf(
      file('sp', 'a'.repeat(512), {
        pax: { 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.realsize': '99' },
      }),
    ),
    message: /map at the start of the payload is malformed/,
    offset: 0,
    entry: 'sp',
  },
  {
    title: 'sparse: a map longer than the payload',
    tar: tarOf(
      file('sp', `300\n${'1\n'.repeat(254)}1`, {
        pax: { 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.realsize': '9' },
      }),
    ),
    message: /map is longer than the payload/,
    offset: 0,
    entry: 'sp',
  },
  {
    title: 'sparse: an unknown version',
    tar: tarOf(
      file('sp', '', { pax: { 'GNU.sparse.major': '2', 'GNU.sparse.minor': '0', 'GNU.sparse.realsize': '9' } }),
    ),
    message: /sparse format 2\.0 is not known/,
    offset: 0,
    entry: 'sp',
  },
  {
    title: 'sparse: type S in a ustar header',
    tar: tarOf(file('sp', '', { typeflag: 'S' })),
    message: /not GNU/,
    offset: 0,
  },
  {
    title: 'the rest of a file from another volume',
    tar: tarOf(file('m', 'x', { typeflag: 'M' })),
    message: /another volume/,
    offset: 0,
  },
  {
    title: 'an extension header that would fill the memory',
    tar: Buffer.concat([first, entry({ name: 'L', typeflag: 'L', size: MAX_EXTENSION_HEADER + 1 })]),
    message: /GNU long name of 8388609 bytes, allowed are 8388608/,
    offset: 1024,
    code: 'HL_ERR_LIMIT',
  },
  {
    title: 'too many entries',
    tar: tarOf(first, hardlink('a', 'first'), first),
    message: /more than 2 entries \(MAX_ENTRIES\)/,
    offset: 1536,
    code: 'HL_ERR_LIMIT',
    limits: { maxEntries: 2 },
    entry: 'first',
  },
  {
    title: 'too much metadata',
    tar: tarOf(
      file('a', '', { xattrs: { 'user.a': 'v'.repeat(4000) } }),
      file('b', '', { xattrs: { 'user.a': 'v'.repeat(4000) } }),
    ),
    message: /MAX_METADATA_BYTES/,
    offset: 5120,
    code: 'HL_ERR_LIMIT',
    limits: { maxMetadataBytes: 5000 },
    entry: 'b',
  },
];

for (const broken of cases) {
  test(broken.title, (t) => {
    const path = join(testDir(t), 'layer.tar');
    writeFileSync(path, broken.tar);
    const fd = openSync(path, 'r');
    t.after(() => closeSync(fd));
    const scans = [
      () => scanTarFd(fd, broken.tar.length, WHERE, broken.limits),
      () => scanByPush(broken.tar, () => 100, broken.limits),
      () => scanByPush(broken.tar, () => broken.tar.length, broken.limits),
    ];
    const messages = scans.map((scan) => {
      try {
        scan();
      } catch (error) {
        assert.ok(error instanceof HotlayerError, String(error));
        assert.equal(error.code, broken.code ?? 'HL_ERR_LAYER');
        assert.equal(error.exitCode, 3);
        assert.match(error.message, /^layer sha256:feed: tar /);
        assert.match(error.message, broken.message);
        assert.equal(error.context.offset, broken.offset);
        assert.equal(error.context.image, WHERE.image);
        if (broken.entry !== undefined) assert.equal(error.context.entry, broken.entry);
        return error.message;
      }
      throw new Error('the scan accepted it');
    });
    assert.equal(new Set(messages).size, 1, messages.join('\n'));
  });
}

test('a file shorter than its size is said to be', (t) => {
  const path = join(testDir(t), 'layer.tar');
  writeFileSync(path, first);
  const fd = openSync(path, 'r');
  t.after(() => closeSync(fd));
  assert.throws(() => scanTarFd(fd, 4096, { file: 'layer.tar' }), {
    code: 'HL_ERR_IO',
    message: /ends at byte 1024, expected 4096/,
  });
});
