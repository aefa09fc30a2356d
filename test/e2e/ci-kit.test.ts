// What a repository takes over for its CI: the example, the action, GitLab's template; read by a parser of YAML that is
// not ours, and run as the runner would.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeTempDir } from '../../src/temp.js';
import { lacking, notHere } from '../support/tools.js';
import { expectCli, noFuse, PACKAGE } from './cli.js';
import { sampleImage } from './sample.js';

const temp = makeTempDir(undefined, 'hl-e2e-ci');
after(() => temp.remove());
const EXAMPLE = join(PACKAGE, 'reports/examples');
const PYTHON = '/usr/bin/python3';

const hasYaml = (): boolean => spawnSync(PYTHON, ['-c', 'import yaml']).status === 0;

function yaml<T>(file: string): T {
  const script = 'import sys, json, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1])), default=str))';
  return JSON.parse(execFileSync(PYTHON, ['-c', script, join(PACKAGE, file)], { encoding: 'utf8' })) as T;
}

interface Step {
  readonly name?: string;
  readonly uses?: string;
  readonly run?: string;
  readonly shell?: string;
  readonly if?: string;
}

interface Action {
  readonly inputs: Record<string, { readonly description: string; readonly default: string }>;
  readonly runs: { readonly using: string; readonly steps: readonly Step[] };
}

const noYaml = lacking('python3') || notHere(hasYaml() ? [] : ['PyYAML']);

test('the action: each step is whole, each input is declared and used', { skip: noYaml }, () => {
  const action = yaml<Action>('action.yml');
  assert.equal(action.runs.using, 'composite');
  for (const step of action.runs.steps) {
    assert.ok((step.run === undefined) !== (step.uses === undefined), step.name);
    if (step.run !== undefined) {
      assert.equal(step.shell, 'bash');
      assert.equal(spawnSync('bash', ['-n', '-c', step.run]).status, 0, step.run);
      // What comes from outside reaches a script by the environment only.
      assert.doesNotMatch(step.run, /\$\{\{/);
    }
  }
  const text = readFileSync(join(PACKAGE, 'action.yml'), 'utf8');
  const used = new Set([...text.matchAll(/inputs\.([a-z-]+)/g)].map(([, name]) => name!));
  assert.deepEqual([...used].sort(), Object.keys(action.inputs).sort());
});

test("GitLab's template and the examples are YAML, and what they name is there", { skip: noYaml }, () => {
  const template = yaml<{ '.hotlayer': { script: string[]; variables: Record<string, string> } }>(
    '.gitlab/hotlayer.yml',
  );
  assert.deepEqual(template['.hotlayer'].script, ['$HOTLAYER_PROGRAM autorun']);
  const job = yaml<{ startup: { extends: string } }>('reports/examples/.gitlab-ci.yml');
  assert.equal(job.startup.extends, '.hotlayer');
  const workflow = yaml<{ jobs: { startup: { steps: Step[] } } }>('reports/examples/.github/workflows/startup.yml');
  assert.ok(workflow.jobs.startup.steps.some(({ uses }) => uses?.startsWith('OWNER/hotlayer@')));
});

test('the example as it stands: autorun ends well, and a budget that is exceeded stops the action', {
  skip: noFuse() || noYaml,
}, async () => {
  const job = join(temp.path, 'job');
  cpSync(EXAMPLE, job, { recursive: true });
  sampleImage(join(job, 'image'));
  // Without a base its limits on changes are a usage error, which the action allows for.
  assert.match((await expectCli(2, ['autorun'], { cwd: job })).stderr, /there is no base/);
  const { run } = yaml<Action>('action.yml').runs.steps.find(({ name }) => name === 'hotlayer autorun')!;
  const runner = (more: Record<string, string>) => {
    const output = join(temp.path, 'output');
    const env = { GITHUB_ACTION_PATH: PACKAGE, GITHUB_OUTPUT: output, GITHUB_ACTIONS: 'true' };
    const inputs = { INPUT_ARGS: '--runs\n2', INPUT_BASE: 'base/report.json', INPUT_REPORTS: 'reports', ...more };
    const { stdout, stderr, status } = spawnSync('bash', ['-eo', 'pipefail', '-c', run!], {
      cwd: job,
      encoding: 'utf8',
      env: { PATH: process.env.PATH, HOME: temp.path, ...env, ...inputs },
    });
    assert.equal(status, 0, stderr);
    return { stdout, said: readFileSync(output, 'utf8').trimEnd().split('\n').at(-1) };
  };
  assert.equal(runner({}).said, 'status=0');
  for (const name of ['report.html', 'report.json', 'report.md', 'junit.xml'])
    assert.ok(existsSync(join(job, 'reports', name)), name);
  cpSync(join(job, 'reports/report.json'), join(job, 'base/report.json'));
  const changed = runner({ INPUT_ARGS: '--runs\n2\n--budgets\nstrict.json', INPUT_BASE: '' });
  assert.equal(changed.said, 'status=2');
  execFileSync('sh', ['-c', `echo '{"budgets":{"startup-files":["error",{"max":1}]}}' >strict.json`], { cwd: job });
  const failed = runner({ INPUT_ARGS: '--runs\n2\n--budgets\nstrict.json' });
  assert.equal(failed.said, 'status=1');
  assert.match(failed.stdout, /^::error title=startup-files::\d+, expected ≤ 1 \(median of 2 runs: /m);
});
