// A directory for one test, removed when it ends.
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

export function testDir(t: TestContext): string {
  const path = realpathSync(mkdtempSync(join(tmpdir(), 'hl-test-')));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}
