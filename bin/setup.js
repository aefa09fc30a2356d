#!/usr/bin/env node
// Makes a fresh clone ready to run: installs the pinned dependencies when they are missing or out of
// date, then compiles src, test and bench to dist (the script of the report's page by itself: it is for browsers), and bundles
// what a container's start loads. Prints one line per step to stderr; quiet when there is nothing to do.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const at = (...parts) => join(root, ...parts);

function run(label, command, args) {
  process.stderr.write(`${label}\n`);
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2] });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

const mtime = (path) => (existsSync(path) ? statSync(path).mtimeMs : 0);
if (mtime(at('node_modules', '.package-lock.json')) < mtime(at('package-lock.json'))) {
  run('installing dependencies (npm ci) …', 'npm', [
    'ci',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
  ]);
}

// A compiled file whose source is gone would still be run by the test runner: start clean when HEAD moved.
const head = spawnSync('git', ['rev-parse', 'HEAD'], { cwd: root, encoding: 'utf8' }).stdout?.trim() ?? '';
const stamp = at('dist', '.built-from');
if (existsSync(stamp) && readFileSync(stamp, 'utf8') !== head) rmSync(at('dist'), { recursive: true, force: true });
run('compiling (tsc) …', process.execPath, [at('node_modules', 'typescript', 'bin', 'tsc'), '-p', root]);
run('compiling the page (tsc) …', process.execPath, [
  at('node_modules', 'typescript', 'bin', 'tsc'),
  '-p',
  at('src', 'report', 'page'),
]);
process.stderr.write('bundling …\n');
const { bundle } = await import('./bundle.js');
await bundle(root);
writeFileSync(stamp, head);
