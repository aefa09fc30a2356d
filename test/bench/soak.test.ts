// bench/soak, a few seconds of it: 16 processes, faults, kills and evictions, and every byte compared.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../../bench/support/report.js';
import { noFuse } from '../e2e/cli.js';
import { lacking, notHere } from '../support/tools.js';

const skip =
  noFuse() ||
  lacking('gcc', 'docker-registry', 'skopeo') ||
  (process.getuid!() === 0 ? false : notHere(['root, to keep the registry in namespaces of its own']));

const soak = (...args: string[]) =>
  spawnSync(process.execPath, [join(ROOT, 'dist/bench/soak.js'), ...args], { encoding: 'utf8', timeout: 300_000 });

test('a short soak: no byte is wrong, nothing is left, and there were faults and kills', { skip }, () => {
  const size = ['--seconds', '6', '--processes', '16', '--image', '1MiB', '--cache', '1536KiB', '--no-report'];
  const { status, stdout, stderr } = soak(...size);
  assert.equal(status, 0, `${stdout}\n${stderr}`);
  assert.match(stdout, /^# Soak: 16 processes, 6 s\n\nNo byte was wrong and nothing was left behind\./);
  assert.match(stdout, /\d wrong byte/);
});

test('--help names every option', () => {
  const { status, stdout } = soak('--help');
  assert.equal(status, 0);
  for (const name of ['seconds', 'processes', 'image', 'cache', 'seed', 'note', 'no-report'])
    assert.ok(stdout.includes(`--${name}`), name);
});
