// `-p FILE=WEIGHT`.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseProfileFlag } from '../../src/cli/given-profiles.js';
import { makeTempDir } from '../../src/temp.js';

test('a file, a file with a weight, a file whose name looks like one', () => {
  assert.deepEqual(parseProfileFlag('web.json'), { file: 'web.json' });
  assert.deepEqual(parseProfileFlag('web.json=3'), { file: 'web.json', weight: 3 });
  assert.deepEqual(parseProfileFlag('a=b/web.json=0.5'), { file: 'a=b/web.json', weight: 0.5 });
  assert.deepEqual(parseProfileFlag('a=b/web.json'), { file: 'a=b/web.json' });
  using temp = makeTempDir();
  const odd = join(temp.path, 'web=2');
  writeFileSync(odd, '');
  assert.deepEqual(parseProfileFlag(odd), { file: odd });
  assert.deepEqual(parseProfileFlag(`${odd}=4`), { file: odd, weight: 4 });
  for (const bad of ['web.json=', 'web.json=0', 'web.json=-1', 'web.json=x', 'web.json=1e3', 'web.json=Infinity']) {
    assert.throws(() => parseProfileFlag(bad), /is not a weight/, bad);
  }
});
