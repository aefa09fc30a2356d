import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { buildFooter, FOOTER_SIZE, LEGACY_FOOTER_SIZE, parseFooter } from '../../src/stargz/index.js';

/** As CRFS writes it, spelled out. */
function legacyFooter(tocOffset: number): Buffer {
  return Buffer.concat([
    Buffer.from('1f8b08040000000000ff1600', 'hex'),
    Buffer.from(`${tocOffset.toString(16).padStart(16, '0')}STARGZ`),
    Buffer.from('010000ffff0000000000000000', 'hex'),
  ]);
}

function externalFooter(): Buffer {
  return Buffer.concat([
    Buffer.from('1f8b08040000000000ff1500', 'hex'),
    Buffer.from('SG\x11\x00STARGZEXTERNALTOC', 'latin1'),
    Buffer.from('010000ffff0000000000000000', 'hex'),
  ]);
}

test('the footer is the one of the specification, byte by byte', () => {
  assert.equal(
    buildFooter(0x1234abcd).toString('hex'),
    `1f8b08040000000000ff1a0053471600${Buffer.from('000000001234abcdSTARGZ').toString('hex')}010000ffff0000000000000000`,
  );
});

test('a sweep over offsets comes back, in both kinds, behind any bytes', () => {
  const offsets = [0, 1, 255, 4096, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 40 + 7, Number.MAX_SAFE_INTEGER];
  for (let i = 0; i < 200; i++) offsets.push(i * 200_011);
  for (const tocOffset of offsets) {
    const footer = buildFooter(tocOffset);
    assert.equal(footer.length, FOOTER_SIZE);
    assert.equal(gunzipSync(footer).length, 0);
    assert.deepEqual(parseFooter(footer), { kind: 'estargz', size: 51, tocOffset });
    const legacy = legacyFooter(tocOffset);
    assert.equal(legacy.length, LEGACY_FOOTER_SIZE);
    assert.deepEqual(parseFooter(Buffer.concat([Buffer.from('more'), legacy])), {
      kind: 'legacy',
      size: 47,
      tocOffset,
    });
  }
});

test('any changed byte that has a meaning makes it no footer; MTIME, XFL and OS have none', () => {
  const good = buildFooter(77);
  const free = new Set([4, 5, 6, 7, 8, 9]);
  for (let i = 0; i < good.length; i++) {
    const bad = Buffer.from(good);
    bad[i]! ^= 0xff;
    const isDigit = i >= 16 && i < 32;
    if (isDigit) assert.throws(() => parseFooter(bad), { code: 'HL_ERR_STARGZ' }, `byte ${i}`);
    else assert.equal(parseFooter(bad) !== undefined, free.has(i), `byte ${i}`);
  }
});

test('an external TOC is refused in words, anything else is no footer', () => {
  assert.throws(() => parseFooter(externalFooter(), 'layer x'), {
    code: 'HL_ERR_STARGZ',
    message: /^layer x: .*external TOC/,
  });
  for (const tail of [Buffer.alloc(0), Buffer.alloc(51), Buffer.alloc(5, 0x1f), buildFooter(3).subarray(1)]) {
    assert.equal(parseFooter(tail), undefined);
  }
});

test('offsets that a footer cannot hold are a bug', () => {
  for (const offset of [-1, 0.5, 2 ** 53, Number.NaN]) assert.throws(() => buildFooter(offset), { code: 'HL_ERR_BUG' });
});
