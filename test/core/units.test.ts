import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HotlayerError } from '../../src/errors.js';
import { formatBytes, formatCount, formatNanos, formatShare, parseDuration, parseSize } from '../../src/units.js';

for (const [text, want] of [
  ['0', 0],
  ['1000000', 1_000_000],
  ['64k', 64_000],
  ['4MiB', 4_194_304],
  ['4 mib', 4_194_304],
  ['1.5GB', 1_500_000_000],
  ['2Ti', 2_199_023_255_552],
] as const) {
  test(`size ${text}`, () => assert.equal(parseSize(text), want));
}

for (const [text, want] of [
  ['3', 3e9],
  ['500ms', 5e8],
  ['2s', 2e9],
  ['1.5m', 90e9],
  ['1h', 3600e9],
  ['20µs', 20_000],
] as const) {
  test(`duration ${text}`, () => assert.equal(parseDuration(text), want));
}

for (const bad of ['', 'MiB', '-1', '1 fortnight', '4MiB!', '1e9', '0x10']) {
  test(`refuses "${bad}"`, () => {
    assert.throws(
      () => parseSize(bad),
      (e) => e instanceof HotlayerError && e.code === 'HL_ERR_USAGE' && e.exitCode === 2,
    );
    assert.throws(() => parseDuration(bad), HotlayerError);
  });
}

test('text for people', () => {
  assert.deepEqual([0, 512, 999, 1000, 1536, 40_055_603, 1_299_227_607].map(formatBytes), [
    '0 B',
    '512 B',
    '999 B',
    '0.98 KiB',
    '1.50 KiB',
    '38.2 MiB',
    '1.21 GiB',
  ]);
  assert.deepEqual([80, 17_000, 304e6, 2.29e9, 125e9].map(formatNanos), [
    '80 ns',
    '17.0 µs',
    '304 ms',
    '2.29 s',
    '2 min 5 s',
  ]);
  assert.deepEqual([7, 1204, 1234567].map(formatCount), ['7', '1 204', '1 234 567']);
  assert.deepEqual([formatShare(1, 3), formatShare(0, 0), formatShare(1, 1)], ['33.3 %', '–', '100 %']);
});
