// `autorun`: one command driven by the config file, as a job in CI runs it.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Plan, Profile } from '../../src/analyze/types.js';
import type { Report } from '../../src/report/types.js';
import { makeTempDir } from '../../src/temp.js';
import { cli, documentOf, expectCli, noFuse } from './cli.js';
import { sampleImage } from './sample.js';

const temp = makeTempDir(undefined, 'hl-e2e-autorun');
const at = (name: string): string => join(temp.path, name);
after(() => temp.remove());

before(() => {
  sampleImage(at('image'));
});

/** A job's directory with its own config. */
function job(name: string, config: object, budgets: object = {}): string {
  const directory = at(name);
  mkdirSync(directory);
  writeFileSync(join(directory, 'hotlayer.config.json'), JSON.stringify(config));
  writeFileSync(join(directory, 'budgets.json'), JSON.stringify({ budgets }));
  return directory;
}

const skip = noFuse();
const SOURCE = 'oci:../image';

test('what the config says is done, and the second time nothing is run', { skip }, async () => {
  const cwd = job(
    'flow',
    {
      autorun: { image: SOURCE, target: 'oci:hot:v1' },
      profile: { runs: 2 },
      report: { budgets: 'budgets.json', base: 'base.json', 'base-optional': true },
    },
    { 'startup-files': ['error', { max: 1000, maxIncrease: 0 }], 'prefetch-coverage': ['error', { min: '90%' }] },
  );
  const first = await expectCli(0, ['autorun'], { cwd });
  assert.match(first.stderr, /run 2\/2 /);
  assert.doesNotMatch(first.stderr, /run 3/);
  assert.match(first.stdout, /WARN {2}startup-files .*\n +not held: there is no base yet/);
  assert.match(first.stdout, /PASS {2}budgets: 2 pass, 0 fail, 1 warn/);
  assert.deepEqual(readdirSync(join(cwd, 'reports')).sort(), [
    'junit.xml',
    'plan.json',
    'profile.json',
    'report.html',
    'report.json',
    'report.md',
  ]);
  const read = <T>(name: string): T => JSON.parse(readFileSync(join(cwd, 'reports', name), 'utf8')) as T;
  assert.equal(read<Profile>('profile.json').runs.length, 2);
  assert.ok(read<Plan>('plan.json').layers.some(({ hot }) => hot.length > 0));
  const report = read<Report>('report.json');
  assert.equal(report.verification?.ok, true);
  assert.equal(report.metrics.find(({ id }) => id === 'prefetch-coverage')?.value, 1);
  // The commands one by one see the same.
  await expectCli(0, ['verify', SOURCE, 'oci:hot:v1', '--plan', 'reports/plan.json'], { cwd });

  const bytes = readFileSync(join(cwd, 'reports/report.html'));
  const second = await expectCli(0, ['autorun'], { cwd });
  assert.match(
    second.stderr,
    /the profile of the same image and workload is there: \.hotlayer\/\w+\.profile\.json \(2 runs\)/,
  );
  assert.doesNotMatch(second.stderr, /run 1\/2/);
  assert.ok(readFileSync(join(cwd, 'reports/report.html')).equals(bytes), 'the same report, byte for byte');

  writeFileSync(join(cwd, 'base.json'), readFileSync(join(cwd, 'reports/report.json')));
  const based = await expectCli(0, ['autorun'], { cwd });
  assert.match(based.stdout, /A start reads the same as before/);
  assert.match(based.stdout, /PASS {2}budgets: 3 pass, 0 fail, 0 warn/);

  // Another workload is another profile.
  const other = await expectCli(0, ['autorun', '--entrypoint', '/bin/sh', '--', '-c', 'cat /etc/motd'], { cwd });
  assert.match(other.stderr, /run 1\/2/);
  assert.match(other.stdout, /became cold/);
  assert.equal(readdirSync(join(cwd, '.hotlayer')).filter((name) => name.endsWith('.json')).length, 2);
  assert.equal(readFileSync(join(cwd, '.hotlayer/.gitignore'), 'utf8'), '*\n');
  assert.match((await expectCli(0, ['autorun', '--no-profile-cache'], { cwd })).stderr, /run 1\/2/);
});

test('a budget that is exceeded: exit status 1, and the reports are there', { skip }, async () => {
  const cwd = job(
    'exceeded',
    { autorun: { image: SOURCE, budgets: 'budgets.json', runs: 1 }, profile: { runs: 7 } },
    { 'startup-files': ['error', { max: 2 }] },
  );
  const { stdout, stderr } = await expectCli(1, ['autorun'], { cwd });
  // Its own section is stronger than those of other commands.
  assert.match(stderr, /run 1\/1/);
  assert.match(stdout, /FAIL {2}startup-files +\d+ {2}expected ≤ 2\n +median of 1 run: \d+\n/);
  assert.match(readFileSync(join(cwd, 'reports/junit.xml'), 'utf8'), /failures="1"/);
  assert.ok(statSync(join(cwd, 'reports/report.html')).size > 10_000);
  // Without a target nothing is written but the report.
  assert.equal(existsSync(join(cwd, 'reports/plan.json')), false);
  const document = documentOf<Report>(await cli(['autorun', '--json'], { cwd }));
  assert.equal(document.budgets?.[0]?.ok, false);
});

test('what is wrong is said before anything is run: exit status 2', async () => {
  const rows: [string, object, object, RegExp][] = [
    ['none', {}, {}, /no image was given/],
    ['typo', { autorun: { imge: 'x' } }, {}, /"autorun\.imge" is not a flag of autorun.*did you mean "image"/s],
    [
      'budget',
      { autorun: { image: SOURCE, budgets: 'budgets.json' } },
      { 'startup-flies': 'error' },
      /did you mean "startup-files"\?/,
    ],
    [
      'base',
      { autorun: { image: SOURCE, budgets: 'budgets.json' } },
      { 'startup-files': ['error', { maxIncrease: 1 }] },
      /there is no base/,
    ],
  ];
  for (const [name, config, budgets, said] of rows) {
    const directory = job(name, config, budgets);
    const { stderr } = await expectCli(2, ['autorun'], { cwd: directory });
    assert.match(stderr, said);
    assert.doesNotMatch(stderr, /run 1/);
    assert.equal(existsSync(join(directory, 'reports')), false);
  }
});
