// The programs of this machine that a session is made with: all from util-linux, plus the shell and mkfifo.
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { HotlayerError } from '../../errors.js';

export const TOOL_NAMES = ['sh', 'mkfifo', 'mount', 'umount', 'unshare', 'setpriv', 'nsenter', 'pivot_root'] as const;
export type ToolName = (typeof TOOL_NAMES)[number];
export type Tools = Readonly<Record<ToolName, string>>;

/** The PATH of ordinary users often lacks the last two, where pivot_root is. */
const ALWAYS = ['/usr/bin', '/bin', '/usr/sbin', '/sbin'];

/** PATH for the helpers: the caller's, and the usual places after it. */
export function toolPath(path: string | undefined = process.env.PATH): string {
  const dirs = (path ?? '').split(':').filter((dir) => dir.startsWith('/'));
  return [...new Set([...dirs, ...ALWAYS])].join(':');
}

/** Absolute path of a program, or undefined. */
export function findTool(name: string, path: string = toolPath()): string | undefined {
  for (const dir of path.split(':')) {
    const file = join(dir, name);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // not here
    }
  }
  return undefined;
}

/** @throws HL_ERR_MACHINE that names every program that is missing */
export function findTools(path: string = toolPath()): Tools {
  const missing: string[] = [];
  const found: Partial<Record<ToolName, string>> = {};
  for (const name of TOOL_NAMES) {
    const file = findTool(name, path);
    if (file === undefined) missing.push(name);
    else found[name] = file;
  }
  if (missing.length > 0) {
    throw new HotlayerError('HL_ERR_MACHINE', `${missing.join(', ')} not found in ${path}`, {
      hint: 'install util-linux 2.36 or later (apt-get install util-linux, or your distribution’s package)',
    });
  }
  return found as Tools;
}
