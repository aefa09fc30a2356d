// import and export through the command: a list becomes a profile of an image, and that a list for another tool.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Profile } from '../../src/analyze/types.js';
import { makeTempDir } from '../../src/temp.js';
import { documentOf, expectCli } from './cli.js';
import { sampleImage } from './sample.js';

const temp = makeTempDir(undefined, 'hl-e2e-interop');
const at = (name: string) => join(temp.path, name);
after(() => temp.remove());
const cwd = temp.path;

before(() => {
  sampleImage(at('image'));
});

test('a list of paths → profile → nydus → profile: the same files and ranges; what is not in the image is said', async () => {
  // /bin is a symlink in the image, /nope is not there, /etc is a directory.
  writeFileSync(at('list'), '/bin/cat\n/etc/passwd\n/nope\n/etc\n');
  const said = documentOf<{ left: unknown }>(
    await expectCli(0, ['import', 'list', 'oci:image', '-o', 'a.json', '--json'], { cwd }),
  );
  assert.deepEqual(said.left, [
    { what: '/nope', reason: 'not in the image' },
    { what: '/etc', reason: 'not a regular file' },
  ]);
  const { stdout } = await expectCli(0, ['export', 'a.json', '--to', 'nydus'], { cwd });
  writeFileSync(at('nydus'), stdout);
  await expectCli(0, ['import', 'nydus', 'oci:image', '-o', 'b.json'], { cwd });
  const [a, b] = ['a.json', 'b.json'].map((name) => JSON.parse(readFileSync(at(name), 'utf8')) as Profile) as [
    Profile,
    Profile,
  ];
  assert.deepEqual(b.files, a.files);
  assert.deepEqual(
    a.files.map(({ path }) => path),
    ['/etc/passwd', '/usr/bin/cat'],
  );
  assert.deepEqual([a.runs[0]!.imported, b.runs[0]!.imported], ['paths', 'nydus']);
  const diff = await expectCli(0, ['diff', 'a.json', 'b.json', '--exit-code'], { cwd });
  assert.match(diff.stdout, /A start reads the same as before/);
  writeFileSync(at('other'), '/etc/passwd\n/etc/group\n');
  await expectCli(0, ['import', 'other', 'oci:image', '-o', 'c.json'], { cwd });
  const changed = await expectCli(1, ['diff', 'a.json', 'c.json', '--exit-code'], { cwd });
  assert.match(changed.stdout, /became hot: 1 file,.*\n {2}\/etc\/group/);
  assert.match(changed.stdout, /became cold: 1 file,.*\n {2}\/usr\/bin\/cat/);
});

test('what cannot be meant', async () => {
  writeFileSync(at('empty'), '');
  assert.match(
    (await expectCli(3, ['import', 'empty', 'oci:image'], { cwd })).stderr,
    /no record or list of a known kind/,
  );
  assert.match((await expectCli(3, ['import', 'absent', 'oci:image'], { cwd })).stderr, /cannot read absent/);
  assert.match((await expectCli(2, ['export', 'a.json'], { cwd })).stderr, /--to/);
  assert.match(
    (await expectCli(2, ['export', 'a.json', '--to', 'nydus', '--json'], { cwd })).stderr,
    /standard output/,
  );
  assert.match((await expectCli(2, ['diff', 'a.json', 'a.json', '--alpha', '2'], { cwd })).stderr, /between 0 and 1/);
});
