import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { ROOT } from '../support/report.js';

export const BIN = join(ROOT, 'bin/hotlayer.js');

/** What a command prints. @throws when it fails */
export function output(program: string, args: readonly string[]): Buffer {
  return execFileSync(program, args, { stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 2 ** 30 });
}
