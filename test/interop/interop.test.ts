// Lists for other tools, records from them; what goes out comes in again. The formats are those in the tools' own
// documents and sources (named in src/interop); strace is the program itself.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { isHotlayerError } from '../../src/errors.js';
import { EXPORT_FORMATS, type ExportFormat, exportList, importList, type Wanted } from '../../src/interop/index.js';
import { makeTempDir } from '../../src/temp.js';
import { lacking } from '../support/tools.js';

const temp = makeTempDir(undefined, 'hl-interop');
after(() => temp.remove());

const DIGEST = `sha256:${'ab'.repeat(32)}`;
const FILES: Wanted[] = [
  { path: '/usr/bin/app', layer: 0, ranges: [[0, 4096]], executed: true },
  {
    path: '/usr/lib/libx.so.1',
    layer: 2,
    ranges: [
      [0, 832],
      [8192, 4096],
    ],
  },
  { path: '/etc/a [b]*?{c}.conf', layer: 1 },
];

const exported = (format: ExportFormat, files = FILES) => exportList(files, format, DIGEST);
const imported = (text: string | Buffer, from?: Parameters<typeof importList>[2]) =>
  importList(typeof text === 'string' ? Buffer.from(text) : text, 'some.file', from);
const paths = (list: { readonly files: readonly Wanted[] }) => list.files.map(({ path }) => path);

test('each format as its readers want it', () => {
  const text = (format: ExportFormat) => exported(format).bytes.toString();
  assert.equal(
    text('stargz-record').split('\n')[0],
    `{"path":"usr/bin/app","manifestDigest":"${DIGEST}","layerIndex":0}`,
  );
  assert.equal(
    text('prefetch-list'),
    '/usr/bin/app\n/usr/lib/libx.so.1\n/etc/a \\[b\\]\\*\\?\\{c\\}.conf\n',
    'a glob that matches this name only',
  );
  assert.equal(text('paths'), '/usr/bin/app\n/usr/lib/libx.so.1\n/etc/a [b]*?{c}.conf\n');
  assert.deepEqual(JSON.parse(text('nydus')), {
    version: 'v1',
    files: [
      { path: '/usr/bin/app', ranges: [[0, 4096]] },
      {
        path: '/usr/lib/libx.so.1',
        ranges: [
          [0, 832],
          [8192, 4096],
        ],
      },
      { path: '/etc/a [b]*?{c}.conf' },
    ],
  });
  assert.deepEqual(JSON.parse(text('soci')), ['/usr/bin/app', '/usr/lib/libx.so.1', '/etc/a [b]*?{c}.conf']);
  assert.equal(text('overlaybd'), '/usr/bin/app\n/usr/lib/libx.so.1\n');
});

test('round trips: same files, same order; nydus keeps ranges, the record keeps layers', () => {
  for (const format of EXPORT_FORMATS) {
    // A plain list with glob characters in it is read as patterns.
    const files = format === 'paths' || format === 'overlaybd' ? FILES.slice(0, 2) : FILES;
    const back = imported(exported(format, files).bytes);
    assert.deepEqual(
      paths(back),
      files.map(({ path }) => path),
      format,
    );
    if (format === 'nydus')
      assert.deepEqual(
        back.files.map((f) => f.ranges),
        files.map((f) => f.ranges),
      );
    if (format === 'stargz-record')
      assert.deepEqual(
        back.files.map((f) => f.layer),
        [0, 2, 1],
      );
    assert.deepEqual(exported(format, files).bytes, exported(format, files).bytes);
  }
});

test('what a format cannot say is left out and named, never mangled', () => {
  const odd: Wanted[] = [
    { path: '/ok' },
    { path: '/line\nbreak' },
    { path: '/not-utf8-\udcff' },
    { path: '/trailing ' },
    { path: '/"quoted" <script>\u202e' },
  ];
  const left = (format: ExportFormat) => exported(format, odd).left.map(({ what }) => what);
  assert.deepEqual(left('paths'), ['/line\\x0abreak', '/trailing ']);
  assert.deepEqual(left('nydus'), ['/not-utf8-\\xff']);
  assert.deepEqual(left('overlaybd').length, 4);
  assert.ok(exported('paths', odd).bytes.includes(Buffer.from([0x2d, 0xff, 0x0a])), 'the byte itself');
  assert.deepEqual(paths(imported(exported('soci', odd).bytes)), [
    '/ok',
    '/line\nbreak',
    '/trailing ',
    '/"quoted" <script>\u202e',
  ]);
  assert.deepEqual(paths(imported(exported('paths', odd).bytes)), [
    '/ok',
    '/not-utf8-\udcff',
    '/"quoted" <script>\u202e',
  ]);
  const long = Array.from({ length: 3000 }, (_, i) => ({ path: `/some/longer/directory/name/f${i}` }));
  const result = exported('overlaybd', long);
  assert.ok(result.bytes.length <= 65_536 && result.files + result.left.length === 3000 && result.left.length > 0);
});

test('records of other tools, known by their looks', () => {
  const log =
    '{"digest":"sha256:1","level":"debug","msg":"file accessed: /bin/sh","mode":"-rwxr-xr-x","size":5,"time":"x"}\n' +
    'time="2026-01-01T00:00:00Z" level=debug msg="file accessed: /etc/a b\\"c" digest="sha256:1" size=3\n{"msg":"other"}\n';
  const table: [string, string, string[]][] = [
    ['stargz-log', log, ['/bin/sh', '/etc/a b"c']],
    ['nydus-trace', 'path,size,elapsed\n/bin/sh,100,12\n"/a,""b""",1,20\n', ['/bin/sh', '/a,"b"']],
    ['nydus-trace', '{"path":"/bin/sh","size":1,"elapsed":5}\n{"path":"/x","size":1,"elapsed":7}\n', ['/bin/sh', '/x']],
    ['stargz-record', '{"path":"bin/sh"}\n{"path":"x","layerIndex":1}\n{"path":"bin/sh"}\n', ['/bin/sh', '/x']],
    ['paths', '# comment\n/bin/sh\n./x\n\n', ['/bin/sh', '/x']],
    // Lines that fatrace 0.17.0 of Debian 12 wrote, the second with -t.
    [
      'fatrace',
      'unknown(24676): RO  /usr/bin/ls\n15:11:51.484757 unknown(24632): RCO /etc/hostname\nbash(24295): CWO /root/w.txt\n' +
        'unknown(24676): C   /usr/bin/ls\nbash(24295): O   /etc/a b\n',
      ['/usr/bin/ls', '/etc/hostname', '/etc/a b'],
    ],
    [
      'creport',
      JSON.stringify({
        monitors: {
          fan: {
            process_files: {
              '1': { '/x': { first_eid: 9, reads: 1 }, '/bin/sh': { first_eid: 1, execs: 1 } },
              '2': { '/w': { first_eid: 2, writes: 3 } },
            },
          },
        },
      }),
      ['/bin/sh', '/x'],
    ],
    [
      'creport',
      JSON.stringify({
        monitors: {},
        image: {
          files: [
            { file_type: 'File', file_path: '/x', flags: { R: true } },
            { file_type: 'Dir', file_path: '/d' },
          ],
        },
      }),
      ['/x'],
    ],
  ];
  for (const [format, text, want] of table) {
    const list = imported(text);
    assert.deepEqual([list.format, paths(list)], [format, want]);
  }
  assert.equal(imported('path,size,elapsed\n/bin/sh,100,12\n').files[0]!.t, 12_000, 'µs');
});

test('what is none of them is refused, with its place', () => {
  const refused = (text: string, from?: Parameters<typeof importList>[2]) => {
    try {
      imported(text, from);
    } catch (error) {
      assert.ok(isHotlayerError(error) && error.code === 'HL_ERR_DATA', String(error));
      return error.message;
    }
    return 'accepted';
  };
  assert.match(refused(''), /no record or list of a known kind/);
  assert.match(refused('{"a":1}'), /no record or list/);
  assert.match(refused('{"path":"x"}\n{"path"', 'stargz-record'), /some\.file: line 2: not JSON/);
  assert.match(refused('{"version":"v1","files":[{"path":"/x","ranges":[[-1,2]]}]}'), /files\[0\] has ranges/);
  assert.match(refused('[1]', 'soci'), /is no array of paths/);
  assert.match(refused('path,size,elapsed\n/x\n'), /line 2 is not path,size,elapsed/);
  assert.match(refused('nothing here', 'strace'), /no file is named in it/);
});

test('strace, the program itself: opens, ranges, executions, odd names', { skip: lacking('strace') }, () => {
  const odd = join(temp.path, 'odd "name"\\ \n\u00e9');
  const data = join(temp.path, 'data');
  writeFileSync(odd, 'x'.repeat(100));
  writeFileSync(data, Buffer.alloc(10_000));
  writeFileSync(
    join(temp.path, 's.sh'),
    'while read -r line; do :; done <"$1"; dd if="$2" bs=1000 skip=3 count=2 of=/dev/null 2>&1\n',
  );
  const record = join(temp.path, 'trace');
  const argv = ['-f', '-y', '-ttt', '-o', record, 'sh', join(temp.path, 's.sh'), odd, data];
  execFileSync('strace', argv, { stdio: 'ignore' });
  const list = imported(readFileSync(record));
  assert.equal(list.format, 'strace');
  const of = (path: string) => list.files.find((file) => file.path === path);
  assert.deepEqual(
    of(odd)?.ranges?.reduce((sum, [, length]) => sum + length, 0),
    100,
  );
  assert.deepEqual(of(data)?.ranges, [
    [3000, 1000],
    [4000, 1000],
  ]);
  assert.ok(list.files[0]!.executed && list.files[0]!.t === 0, JSON.stringify(list.files[0]));
  assert.ok(list.files.every(({ path }) => path.startsWith('/')));
  assert.ok(!list.files.some(({ path }) => path.includes('\\')) || of(odd));
});
