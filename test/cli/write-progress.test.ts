import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readProgress, writeProgress } from '../../src/cli/write-progress.js';
import type { Image } from '../../src/image/types.js';
import type { Progress } from '../../src/rewrite/progress.js';
import { MIB } from '../../src/units.js';

test('the line says layer, how far, how fast, how long still', () => {
  const lines: string[] = [];
  let now = 0;
  const report = writeProgress({ progress: (line) => void lines.push(line) }, () => now);
  const at = (seconds: number, progress: Partial<Progress>) => {
    now = seconds * 1e9;
    report({ step: 'write', layer: 1, layers: 3, bytes: 0, total: 40 * MIB, ...progress });
    return lines.at(-1);
  };
  const overall = (done: number) => ({ overall: { bytes: done * MIB, total: 500 * MIB } });

  assert.equal(at(50, { step: 'spool', bytes: MIB, total: 2 * MIB }), 'reading layer 2/3  1.00 MiB of 2.00 MiB');
  // The clock starts with the first byte written; a rate taken too early means nothing.
  assert.equal(at(100, overall(0)), 'writing layer 2/3  0 B of 40.0 MiB');
  assert.equal(at(100.2, { bytes: MIB, ...overall(50) }), 'writing layer 2/3  1.00 MiB of 40.0 MiB');
  assert.equal(
    at(102, { bytes: 2 * MIB, ...overall(100) }),
    'writing layer 2/3  2.00 MiB of 40.0 MiB  50.0 MiB/s  8.00 s left',
  );
  assert.equal(
    at(110, { layer: 2, bytes: 40 * MIB, ...overall(500) }),
    'writing layer 3/3  40.0 MiB of 40.0 MiB  50.0 MiB/s  finishing',
  );
  // The next image of an index: the clock starts anew.
  assert.equal(at(111, { layer: 0, bytes: 0, ...overall(0) }), 'writing layer 1/3  0 B of 40.0 MiB');
  assert.equal(
    at(112, { layer: 0, bytes: 20 * MIB, ...overall(20) }),
    'writing layer 1/3  20.0 MiB of 40.0 MiB  20.0 MiB/s  24.0 s left',
  );
  // Before all layers are read the whole is not known.
  assert.equal(at(112, { bytes: 2 * MIB }), 'writing layer 2/3  2.00 MiB of 40.0 MiB');
});

test('the same while layers are read', () => {
  const lines: string[] = [];
  let now = 5e9;
  const image = { layers: [{}, {}] } as unknown as Image;
  const report = readProgress({ progress: (line) => void lines.push(line) }, image, () => now);
  report(0, 100 * MIB, 0);
  now = 7e9;
  report(20 * MIB, 100 * MIB, 1);
  assert.deepEqual(lines, [
    'reading layer 1/2  0 B of 100 MiB',
    'reading layer 2/2  20.0 MiB of 100 MiB  10.0 MiB/s  8.00 s left',
  ]);
});
