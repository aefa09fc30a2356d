import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bar, table } from '../../src/cli/table.js';

test('columns line up, numbers to the right, styles do not count', () => {
  const lines = table(
    [{ title: 'name' }, { title: 'size', align: 'right' }],
    [
      ['grüße', '1'],
      ['\u001b[1mb\u001b[22m', '1 204'],
    ],
  );
  assert.deepEqual(lines, ['  name    size', '  grüße      1', '  \u001b[1mb\u001b[22m      1 204']);
});

test('no heading when no column has a title', () => {
  assert.deepEqual(table([{ title: '' }, { title: '' }], [['a', 'b']], ''), ['a  b']);
});

test('bars fill in eighths', () => {
  assert.deepEqual([bar(0, 4), bar(0.5, 4), bar(1, 4), bar(1 / 32, 4), bar(2, 4)], ['', '██', '████', '▏', '████']);
});
