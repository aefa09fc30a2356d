// `report` as a gate in CI: budgets, exit statuses, what is said to GitHub; from a profile on disk, so without FUSE.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { formatSaved, writeProfile } from '../../src/analyze/saved.js';
import { assembleReport } from '../../src/report/report.js';
import type { Report } from '../../src/report/types.js';
import { makeTempDir } from '../../src/temp.js';
import { HOSTILE, hostileProfile } from '../report/fixture.js';
import { cli, documentOf, expectCli } from './cli.js';

const temp = makeTempDir(undefined, 'hotlayer-gate');
const at = (name: string): string => join(temp.path, name);
const PROFILE = at('p.json');
after(() => temp.remove());

before(async () => {
  await writeProfile(PROFILE, hostileProfile);
  // A report of an image that was the same but for three files, which nobody read then.
  const report = assembleReport({ profile: hostileProfile });
  const files = report.profile.files.slice(3);
  writeFileSync(at('base.json'), formatSaved({ ...report, profile: { ...report.profile, files } }));
});

function budgets(rules: object, more: object = {}): string {
  const file = at(`b${Math.round(1e9 * Math.random())}.json`);
  writeFileSync(file, JSON.stringify({ ...more, budgets: rules }));
  return file;
}

test('a budget that is exceeded: exit status 1, with what was expected, what was found, and all values', async () => {
  const file = budgets({
    'startup-bytes': ['error', { max: '1KiB' }],
    'startup-files': ['error', { max: HOSTILE.length }],
    'run-stability': ['warn', { min: 1 }],
  });
  const { stdout } = await expectCli(1, ['report', PROFILE, '--budgets', file]);
  assert.match(
    stdout,
    /FAIL {2}startup-bytes +\S+ KiB {2}expected ≤ 1\.00 KiB\n +median of 3 runs: (\S+ KiB(, )?){3}\n/,
  );
  assert.match(stdout, /PASS {2}startup-files +13 {2}expected ≤ 13\n/);
  assert.match(stdout, /WARN {2}run-stability/);
  assert.match(stdout, /FAIL {2}budgets: 1 pass, 1 fail, 1 warn\n/);
  const document = documentOf<Report>(await cli(['report', PROFILE, '--budgets', file, '--json']));
  assert.deepEqual(
    document.budgets?.map(({ id, ok, level }) => [id, ok, level]),
    [
      ['startup-bytes', false, 'error'],
      ['startup-files', true, 'error'],
      ['run-stability', false, 'warn'],
    ],
  );
});

test('kept budgets, and those that only warn: exit status 0', async () => {
  const file = budgets({
    'startup-bytes': ['warn', { max: 1 }],
    'startup-files': ['error', { max: 99 }],
    'startup-time': 'off',
  });
  const { stdout } = await expectCli(0, ['report', PROFILE, '--budgets', file]);
  assert.match(stdout, /WARN {2}startup-bytes/);
});

test('what is wrong with the command line or the file: exit status 2, with what was meant', async () => {
  const rows: [object, RegExp][] = [
    [{ 'startup-byte': ['error', { max: 1 }] }, /did you mean "startup-bytes"\?/],
    [{ 'startup-bytes': ['eror', { max: 1 }] }, /did you mean "error"\?/],
    [{ 'startup-bytes': ['error', { maximum: 1 }] }, /did you mean "max"\?/],
    [{ 'startup-bytes': ['error', { maxIncrease: '5%' }] }, /there is no base .*--base FILE/s],
  ];
  for (const [rules, said] of rows) {
    const { stderr } = await expectCli(2, ['report', PROFILE, '--budgets', budgets(rules), '--html', at('never.html')]);
    assert.match(stderr, said);
  }
  const missing = await expectCli(2, ['report', PROFILE, '--budgets', at('nowhere.json')]);
  assert.match(missing.stderr, /cannot read the budgets/);
  assert.equal(existsSync(at('never.html')), false);
});

test('limits on changes: against a base, and without one where that is allowed', async () => {
  const file = budgets({ 'startup-files': ['error', { maxIncrease: 0 }] });
  const held = ['report', PROFILE, '--budgets', file];
  const base = await expectCli(0, [...held, '--base', at('base.json')]);
  assert.match(base.stdout, /PASS {2}startup-files +13 {2}expected ≤ 13 \(base 13 \+ 0\)/);
  assert.match(base.stdout, /Since oci:\S+ \(3 runs\): [23] files became hot/);
  const first = await expectCli(0, [...held, '--base', at('nowhere.json'), '--base-optional']);
  assert.match(first.stdout, /WARN {2}startup-files +13 {2}expected ≤ base \+ 0\s+not held: there is no base yet/);
  await expectCli(3, [...held, '--base', at('nowhere.json')]);
});

test('in a GitHub job: the summary, and a line for each budget that is exceeded', async () => {
  const env = { GITHUB_ACTIONS: 'true', GITHUB_STEP_SUMMARY: at('summary.md') };
  const file = budgets({ 'startup-bytes': ['error', { max: 1 }], 'startup-files': ['warn', { max: 1 }] });
  const { stdout } = await expectCli(1, ['report', PROFILE, '--budgets', file, '--base', at('base.json')], { env });
  assert.match(stdout, /^::error title=startup-bytes::\S+ KiB, expected ≤ 1 B \(median of 3 runs/m);
  assert.match(stdout, /^::warning title=startup-files::13, expected ≤ 1/m);
  const summary = readFileSync(at('summary.md'), 'utf8');
  assert.match(summary, /^<!-- hotlayer-report -->\n### hotlayer: ❌ /);
  assert.match(summary, /\*\*Since /);
});

test('diff takes reports as well as profiles', async () => {
  const { stdout } = await expectCli(1, ['diff', at('base.json'), PROFILE, '--exit-code']);
  assert.match(stdout, /became hot: [23] files/);
});
