// `npm test` after the set-up: type check (the set-up compiles), lint, then every test. Files run one after another
// on small machines: many of them start processes and mounts of their own.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

run(process.execPath, [join(root, 'node_modules/@biomejs/biome/bin/biome'), 'check', '.']);

// Arguments narrow the run: `npm test -- stargz` takes the files whose path has "stargz" in it.
const wanted = process.argv.slice(2);
const files = readdirSync(join(root, 'dist/test'), { recursive: true })
  .map((name) => join('dist/test', String(name)))
  .filter((name) => name.endsWith('.test.js') && (wanted.length === 0 || wanted.some((w) => name.includes(w))))
  .sort();
if (files.length === 0) {
  console.error(`no test file matches ${wanted.join(' ')}`);
  process.exit(1);
}
run(process.execPath, ['--test', '--test-concurrency=2', ...files]);
