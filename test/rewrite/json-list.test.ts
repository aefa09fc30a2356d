// A TOC's list of entries, taken apart without making objects of all of it, against JSON.parse on the whole.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endOfValue, splitToc } from '../../src/rewrite/verify/json-list.js';
import { tocItems } from '../../src/rewrite/verify/toc-document.js';

const entry = (fields: object) => ({ name: 'a', type: 'reg', ...fields });

function listOf(text: string): unknown[] {
  const json = Buffer.from(text);
  const { list } = splitToc(json);
  const found: unknown[] = [];
  for (let at = list[0]; at < list[1]; ) {
    const stop = endOfValue(json, at, list[1]);
    found.push(JSON.parse(json.toString('utf8', at, stop)));
    at = stop + 1;
  }
  return found;
}

const TEXTS: readonly [what: string, text: string][] = [
  ['as writers write it', JSON.stringify({ version: 1, entries: [entry({}), entry({ name: 'b', size: 3 })] })],
  ['with blanks', JSON.stringify({ version: 1, entries: [entry({}), entry({ xattrs: { a: 'b' } })] }, undefined, '\t')],
  ['entries first', JSON.stringify({ entries: [entry({})], version: 1 })],
  ['no entries', '{"version":1,"entries":[ \n ]}'],
  ['null', '{"version":1,"entries":null}'],
  ['absent', '{"version":1}'],
  ['brackets, quotes and slashes in names', JSON.stringify({ version: 1, entries: ['a]"', '\\', '\\"}', '[{'] })],
  [
    'a name like the key',
    JSON.stringify({ version: 1, about: { entries: [1] }, x: 'entries', entries: ['entries', 2] }),
  ],
  ['twice: the last counts', '{"version":1,"entries":[1,2],"entries":[3]}'],
];

for (const [what, text] of TEXTS)
  test(`a list of entries: ${what}`, () => {
    const { entries, ...rest } = JSON.parse(text);
    assert.deepEqual(listOf(text), entries ?? []);
    const { entries: none, ...outline } = JSON.parse(splitToc(Buffer.from(text)).outline);
    assert.deepEqual([outline, none ?? []], [rest, []]);
  });

const BROKEN: readonly [text: string, error: RegExp][] = [
  ['{"version":1,"entries":[{"name":"a","type":"reg"},]}', /not JSON/],
  ['{"version":1,"entries":[{"name":"a","type":"reg"}, ]}', /not JSON/],
  ['{"version":1,"entries":[,{"name":"a","type":"reg"}]}', /not JSON/],
  ['{"version":1,"entries":[{"name":"a","type":"reg"} {"name":"b","type":"reg"}]}', /not JSON/],
  ['{"version":1,"entries":[{"name":"a","type":"reg"]]}', /not JSON/],
  ['{"version":1,"entries":[{"name":"a","type":"reg"}}', /not JSON/],
  ['{"version":1,"entries":[{"name":"a","type":"reg"}', /not JSON/],
  ['{"version":1,"entries":[{"name":"a', /not JSON/],
  ['{"version":1,"entries":[{"name":"a","type":"reg"}]} x', /not JSON/],
  ['{"version":1 "entries":[]}', /not JSON/],
  ['{"entries":[]}', /version is missing/],
  ['{"version":2,"entries":[]}', /version is 2/],
  ['{"version":1,"entries":{}}', /not a list/],
  ['[]', /version is missing/],
  ['{"version":1,"entries":[1]}', /entry 0 is not an object/],
  ['{"version":1,"entries":[{"name":"a","type":"chunk"}]}', /entry 0 is a chunk/],
  ['{"version":1,"entries":[{"name":"a","type":"reg"},{"name":"b","type":7}]}', /entry 1 .*"type"/],
];

for (const [text, error] of BROKEN)
  test(`refused: ${text}`, () => {
    assert.throws(() => [...tocItems(Buffer.from(text))], { code: 'HL_ERR_STARGZ', message: error });
  });

test('chunks belong to the file before them', () => {
  const list = [entry({}), entry({ type: 'chunk', chunkOffset: 5 }), entry({ name: 'b' })];
  const items = [...tocItems(Buffer.from(JSON.stringify({ version: 1, entries: list })))];
  const found = items.map(({ entry: { name }, chunks }) => [name, ...chunks.map(({ chunkOffset }) => chunkOffset)]);
  assert.deepEqual(found, [['a', 5], ['b']]);
});
