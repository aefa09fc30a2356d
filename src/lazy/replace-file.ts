// Small files that appear whole or not at all, whoever else writes them at the same time.
import { randomBytes } from 'node:crypto';
import { renameSync, rmSync, writeFileSync } from 'node:fs';

/** @throws system errors */
export function replaceFile(path: string, bytes: Uint8Array | string): void {
  const staged = `${path}.${process.pid}-${randomBytes(4).toString('hex')}.tmp`;
  try {
    writeFileSync(staged, bytes, { mode: 0o600, flag: 'wx' });
    renameSync(staged, path);
  } catch (error) {
    rmSync(staged, { force: true });
    throw error;
  }
}
