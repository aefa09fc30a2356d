import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesToPath, cleanPath, comparePaths, isUtf8Path, pathToBytes, showPath } from '../../src/paths.js';

// Names as bytes: plain, UTF-8 of every length, Latin-1, lone continuation bytes, UTF-8 of a surrogate, overlong form.
const NAMES: readonly (readonly number[])[] = [
  [...Buffer.from('usr/bin/env')],
  [...Buffer.from('grüße/€/𝄞')],
  [...Buffer.from('caf\u00e9', 'latin1')],
  [0x80, 0xbf, 0xff],
  [0xed, 0xb2, 0x80],
  [0xc0, 0xaf],
  [0xf0, 0x9d, 0x84],
  [0x61, 0xff, 0xf0, 0x9d, 0x84, 0x9e, 0x80],
  Array.from({ length: 255 }, (_, i) => i + 1),
];

for (const bytes of NAMES) {
  test(`no byte is lost: ${Buffer.from(bytes.slice(0, 8)).toString('hex')}`, () => {
    const name = bytesToPath(Buffer.from(bytes));
    assert.deepEqual([...pathToBytes(name)], bytes);
    assert.equal(JSON.parse(JSON.stringify(name)), name, 'JSON keeps it');
    assert.deepEqual([...pathToBytes(JSON.parse(JSON.stringify(name)))], bytes);
  });
}

test('two names that differ in bytes differ as strings', () => {
  const strings = new Set(NAMES.map((bytes) => bytesToPath(Buffer.from(bytes))));
  assert.equal(strings.size, NAMES.length);
});

test('says which names UTF-8 cannot hold', () => {
  assert.deepEqual(
    NAMES.map((b) => isUtf8Path(bytesToPath(Buffer.from(b)))),
    [true, true, false, false, false, false, false, false, false],
  );
});

for (const [name, want] of [
  ['', ''],
  ['/', ''],
  ['./', ''],
  ['usr/bin', 'usr/bin'],
  ['./usr//bin/', 'usr/bin'],
  ['/etc/passwd', 'etc/passwd'],
  ['../../etc/shadow', 'etc/shadow'],
  ['a/../../b', 'b'],
  ['a/b/..', 'a'],
  ['..', ''],
  ['...', '...'],
  ['a/..b/.c', 'a/..b/.c'],
] as const) {
  test(`cleans ${JSON.stringify(name)}`, () => assert.equal(cleanPath(name), want));
}

test('shows nothing that a terminal would obey', () => {
  assert.equal(showPath('a\u001b[31mb\n\\c\u202ed\udcff'), 'a\\x1b[31mb\\x0a\\\\c\\u{202e}d\\xff');
  assert.equal(showPath('grüße/𝄞'), 'grüße/𝄞');
});

test('orders by bytes, not by UTF-16 units', () => {
  // U+FFFD is ef bf bd, U+1D11E is f0 9d 84 9e; as UTF-16 the second would sort first.
  assert.deepEqual(['\u{1d11e}', '\ufffd', 'a'].sort(comparePaths), ['a', '\ufffd', '\u{1d11e}']);
});
