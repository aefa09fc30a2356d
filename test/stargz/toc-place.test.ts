// Where the TOC begins: never across a boundary of the client's pieces, when it fits into one and costs little.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { FOOTER_SIZE } from '../../src/stargz/footer.js';
import { CLIENT_PIECE, fillingBefore } from '../../src/stargz/toc-place.js';
import { file, tarOf } from '../support/tar.js';
import { build } from './blob.js';
import { holds } from './holds.js';

const P = 50_000;

describe('filling before a TOC', () => {
  for (const [name, offset, tail, want] of [
    ['it fits into its piece', 100 * P + 1000, 10_000, 0],
    ['to the last byte', 100 * P + 40_000, 10_000, 0],
    ['it begins a piece', 100 * P, P, 0],
    ['one byte more', 100 * P + 40_001, 10_000, 9_999],
    ['all of a piece', 100 * P + 1, P, P - 1],
    ['larger than a piece: there are two requests in any case', 100 * P + 1000, P + 1, 0],
    ['less than the smallest member goes beyond the boundary', 101 * P - 10, 10_000, 29],
    ['… where it may', 101 * P - 10, P - 19, 29],
    ['… and not where the TOC ends in the next piece', 101 * P - 10, P - 18, 0],
    ['a twentieth of the blob at most', 15 * P + 10_000, 45_000, 0],
    ['a twentieth', 19 * P + 2_400, 49_000, 47_600],
    ['a blob of one piece', 30_000, 20_000, 0],
    ['a small blob', 30_000, 30_000, 0],
  ] as const) {
    test(name, () => assert.equal(fillingBefore(offset, tail), want));
  }

  test('the client’s piece', () => assert.equal(CLIENT_PIECE, P));
});

/** A layer with a big file that does not shrink, and a TOC of some kilobytes. */
const layer = (noise: Buffer) =>
  tarOf(...Array.from({ length: 100 }, (_, i) => file(`dir/file-${i}`, `${i}`)), file('noise', noise));

test('a TOC across a boundary is moved behind it; nothing else changes', async () => {
  const noise = randomBytes(2_000_000);
  const asIs = await build(layer(noise));
  const tail = asIs.blob.length - asIs.result.tocOffset;
  assert.ok(tail > 5_000 && tail < 20_000, `${tail}`);
  // So many bytes of noise more or less put it across a boundary, whatever the rest comes to.
  const wish = 40 * P - Math.floor(tail / 2);
  const input = layer(randomBytes(noise.length + wish - asIs.result.tocOffset));
  const moved = await build(input);
  assert.equal(moved.result.tocOffset, 40 * P);
  assert.ok(moved.blob.length - moved.result.tocOffset <= P);
  await holds(moved, input);
  // In one piece: TOC, footer, and nothing of what is before them.
  assert.equal(Math.floor((moved.blob.length - FOOTER_SIZE) / P), Math.floor(moved.result.tocOffset / P));
  const again = await build(input);
  assert.ok(again.blob.equals(moved.blob));
});
