// What `optimize` says of a plan.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LayerPlan, ProfileFile } from '../../src/analyze/types.js';
import { crossoverText, showPlannedLayers } from '../../src/cli/show-plan.js';

const CROSSOVERS: readonly [name: string, given: Parameters<typeof crossoverText>[0], said: string[]][] = [
  [
    'the same everywhere',
    [
      { network: 'lan', always: 'lazy' },
      { network: 'edge', always: 'lazy' },
    ],
    ['Lazy is faster at every rate.'],
  ],
  [
    'different',
    [
      { network: 'lan', bytesPerSecond: 12.5e6 },
      { network: 'wan', bytesPerSecond: 312.5e6 },
      { network: 'edge', always: 'full' },
    ],
    [
      'With the round-trip time of lan: lazy is faster below 100 Mbit/s, a full pull above.',
      'With the round-trip time of wan: lazy is faster below 2.5 Gbit/s, a full pull above.',
      'With the round-trip time of edge: a full pull is faster at every rate.',
    ],
  ],
  ['no network', [], []],
];
for (const [name, given, said] of CROSSOVERS) {
  test(`where lazy and a full pull cross: ${name}`, () => assert.deepEqual(crossoverText(given), said));
}

test('the layers of a plan that is not carried out, and why some have no prefetch', () => {
  const layer = (index: number, more: Partial<LayerPlan> = {}): LayerPlan => ({
    ...{ index, digest: `sha256:${index}`, diffId: `sha256:${index}`, hot: [], hotBytes: 0, landmark: 'no-prefetch' },
    ...more,
  });
  const entry = { path: 'a', size: 2048, because: 'read' };
  const layers = [
    layer(0, { hot: [entry, entry], hotBytes: 4096, landmark: 'prefetch', chunks: { big: [4096] } }),
    layer(1),
    layer(2),
  ];
  const file = { layer: 2, type: 'reg', bytesRead: { median: 1, mad: 0, min: 1, max: 1 } } as ProfileFile;
  const lines: string[] = [];
  const out = { result: (line = '') => void lines.push(line.trimEnd()) };
  showPlannedLayers(out, { layers }, { files: [file] });
  assert.deepEqual(lines, [
    '  layer  before the landmark   content',
    '  0                        2  4.00 KiB  1 file divided where reading is',
    '  1              no prefetch            nothing of it is read',
    '  2              no prefetch            1 file is read, and cheaper fetched then',
  ]);
  lines.length = 0;
  showPlannedLayers(out, { layers: [layer(0)] }, undefined);
  assert.match(lines[1]!, /no prefetch +nothing is known of a start$/);
});
