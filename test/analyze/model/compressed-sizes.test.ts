// Foretold sizes beside what the layer's own compressor makes of the same files: programs and text of this machine.
import assert from 'node:assert/strict';
import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CompressedSizes } from '../../../src/analyze/model/compressed-sizes.js';
import { bytesBefore } from '../../../src/analyze/model/file-cost.js';
import { DEFAULT_CODEC, LEVELS, openCodec } from '../../../src/stargz/codec/codec.js';
import { scanTarFd } from '../../../src/stargz/tar/scan.js';
import { makeTempDir } from '../../../src/temp.js';
import { MIB } from '../../../src/units.js';
import { file, tarOf } from '../../support/tar.js';

const tmp = makeTempDir();
after(() => tmp.remove());

/** The first bytes of a file. */
function beginning(path: string, length: number): Buffer {
  const bytes = Buffer.alloc(Math.min(length, statSync(path).size));
  const fd = openSync(path, 'r');
  readSync(fd, bytes, 0, bytes.length, 0);
  closeSync(fd);
  return bytes;
}

const sources = join(dirname(fileURLToPath(import.meta.url)), '../../../src/analyze');
const scripts = readdirSync(sources).filter((name) => name.endsWith('.js'));
const FILES: readonly [name: string, files: readonly Buffer[], within: number][] = [
  ['a program, looked at in blocks', [beginning(process.execPath, 24 * MIB)], 0.06],
  ['scripts, each looked at whole', scripts.map((name) => readFileSync(join(sources, name))), 0.06],
];

for (const [name, contents, within] of FILES) {
  test(`foretold sizes are those of the layer's compressor: ${name}`, async () => {
    const path = join(tmp.path, 'layer.tar');
    writeFileSync(path, tarOf(...contents.map((content, i) => file(`f${i}`, content))));
    const fd = openSync(path, 'r');
    try {
      const { entries } = scanTarFd(fd, statSync(path).size);
      assert.equal(entries.length, contents.length);
      const sizes = new CompressedSizes(fd);
      const codec = await openCodec(DEFAULT_CODEC);
      const total = { cold: 0, hot: 0, foretoldCold: 0, foretoldHot: 0 };
      for (const [i, entry] of entries.entries()) {
        const foretold = sizes.of(entry);
        total.foretoldCold += foretold.compressed;
        total.foretoldHot += bytesBefore(foretold);
        for (let at = 0; at < entry.size; at += 4 * MIB) {
          const chunk = contents[i]!.subarray(at, at + 4 * MIB);
          total.cold += codec.gzip(chunk).length;
          total.hot += codec.gzip(chunk, LEVELS[DEFAULT_CODEC].hot).length;
        }
        if (foretold.compressedUpTo) {
          assert.equal(foretold.compressedUpTo(0), 0);
          assert.ok(Math.abs(foretold.compressedUpTo(entry.size) - foretold.compressed) < 100);
        }
      }
      // The header of the next file is in the member, too.
      const headers = 70 * entries.length;
      for (const [foretold, actual] of [
        [total.foretoldCold - headers, total.cold],
        [total.foretoldHot - headers, total.hot],
      ] as const)
        assert.ok(Math.abs(foretold / actual - 1) < within, `${foretold} foretold, ${actual} made`);
    } finally {
      closeSync(fd);
    }
  });
}
