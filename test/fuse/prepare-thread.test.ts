// The thread that will serve a mount is started early to be there early: nothing about it may make other starts slower.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

/** What Node loads after `program` without the compiled form that it comes with; node:http was not loaded before. */
function loadedFromSource(program: string): string[] {
  const script = `
    import { createRequire } from 'node:module';
    const { internalBinding } = createRequire(import.meta.url)('internal/test/binding');
    ${program}
    await import('node:http');
    const { compiledWithoutCache } = internalBinding('builtins').getCacheUsage();
    process.stdout.write(JSON.stringify([...compiledWithoutCache].filter((name) => name.startsWith('_http'))));
    process.exit();`;
  const args = ['--expose-internals', '--no-warnings', '--input-type=module', '-e', script];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout) as string[];
}

const servingThread = new URL('../../src/fuse/serving-thread.js', import.meta.url).href;
const module = new URL('../../src/lazy/fs-module.js', import.meta.url).href;

const CASES: readonly { name: string; program: string; fromSource: boolean }[] = [
  { name: 'nothing', program: '', fromSource: false },
  {
    name: 'a prepared thread',
    program: `(await import(${JSON.stringify(servingThread)})).prepareThread(${JSON.stringify(module)});`,
    fromSource: false,
  },
  {
    name: 'a flag of the engine',
    program: `(await import('node:v8')).setFlagsFromString('--min-semi-space-size=16');`,
    fromSource: true,
  },
];

for (const { name, program, fromSource } of CASES) {
  test(`after ${name}, Node's own modules are ${fromSource ? 'compiled again' : 'loaded as they come'}`, () => {
    assert.equal(loadedFromSource(program).length > 0, fromSource);
  });
}
