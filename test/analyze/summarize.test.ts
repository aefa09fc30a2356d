// A trace file gives the run that its events give, however it ends and however it is kept.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { summarizeEvents, summarizeTrace } from '../../src/analyze/summarize.js';
import { viewOfTree } from '../../src/analyze/tree-view.js';
import { makeTempDir } from '../../src/temp.js';
import { formatEvent } from '../../src/trace/event-writer.js';
import type { TraceEnd } from '../../src/trace/events.js';
import { hard, reg, sym } from '../rootfs/entries.js';
import { end, events, HEADER, treeOf } from './support.js';

const tmp = makeTempDir();
after(() => tmp.remove());

const view = viewOfTree(treeOf([reg('a', { size: 10_000 }), hard('b', 'a'), sym('l', 'a'), reg('c', { size: 5 })]));
const EVENTS = events(
  'lookup /a',
  'open /a',
  'read /a 0+4096',
  'read /b 4096+10',
  'lookup? /x',
  'open /c',
  'open /new',
);
const READY = { ready: { t: 45, by: 'exit' } };

const CASES: readonly [name: string, end: TraceEnd, pack: boolean, files: string[]][] = [
  ['ready before the last events', end(7, READY), false, ['/a']],
  ['the same, packed', end(7, READY), true, ['/a']],
  ['never ready', end(7), false, ['/a', '/c', '/new']],
  // Longer than what is looked at before.
  ['a long end record', end(7, { ...READY, complete: false, incompleteBecause: 'x'.repeat(300_000) }), false, ['/a']],
];
for (const [name, last, pack, files] of CASES) {
  test(`a trace file gives the run of its events: ${name}`, async () => {
    const lines = [
      JSON.stringify(HEADER),
      ...EVENTS.map((event) => formatEvent(event).trimEnd()),
      JSON.stringify(last),
      '',
    ];
    const text = lines.join('\n');
    const path = join(tmp.path, 'trace');
    writeFileSync(path, pack ? gzipSync(text) : text);
    const expected = summarizeEvents(HEADER, EVENTS, last, view);
    assert.deepEqual(
      expected.files.map((file) => file.path),
      files,
    );
    assert.deepEqual(await summarizeTrace(path, view), expected);
    assert.deepEqual(await summarizeTrace(path, view, last), expected);
  });
}

test('a node is described once, by whichever of its names it is asked for', () => {
  assert.equal(view.at('/a'), view.at('/b'));
  assert.equal(view.at('/a'), view.at('//a'));
  assert.deepEqual(view.at('/l'), { path: '/l', type: 'symlink', size: 0, layer: 0 });
  assert.equal(view.at('/nowhere'), undefined);
});
