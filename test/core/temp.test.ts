import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeTempDir } from '../../src/temp.js';

const MODULE = new URL('../../src/temp.js', import.meta.url).href;

/** Runs a script that makes a temporary directory in `parent`; resolves when it has printed a line. */
async function withScript(parent: string, script: string) {
  const source = `import { makeTempDir } from '${MODULE}'; import { writeFileSync } from 'node:fs';
    const dir = makeTempDir(${JSON.stringify(parent)}); writeFileSync(dir.path + '/x', 'x'); console.log('made'); ${script}`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  return child;
}

async function emptyWithin(parent: string, ms: number): Promise<string[]> {
  const until = Date.now() + ms;
  while (readdirSync(parent).length > 0 && Date.now() < until) await sleep(20);
  return readdirSync(parent);
}

for (const [how, script, signal] of [
  ['the process ends', '', undefined],
  ['the process throws', 'throw new Error("expected by the test")', undefined],
  ['SIGTERM', 'setInterval(() => {}, 1000)', 'SIGTERM'],
  ['SIGKILL', 'setInterval(() => {}, 1000)', 'SIGKILL'],
] as const) {
  test(`nothing is left after: ${how}`, async () => {
    const parent = mkdtempSync(join(tmpdir(), 'hl-temp-test-'));
    try {
      const child = await withScript(parent, script);
      if (signal) {
        assert.equal(readdirSync(parent).length, 1);
        child.kill(signal);
      }
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      assert.deepEqual(await emptyWithin(parent, 5000), []);
    } finally {
      rmSync(parent, { recursive: true, force: true });
    }
  });
}

test('remove is idempotent and using works', () => {
  let path: string;
  {
    using dir = makeTempDir();
    path = dir.path;
    assert.ok(existsSync(path));
    dir.remove();
    assert.ok(!existsSync(path));
  }
  assert.ok(!existsSync(path));
});
