// Where a path of the container is on this machine while its root is only a directory here. The kernel would follow
// an absolute symlink to the host's root, so every component is looked at before it is followed. Nothing runs in the
// container yet, so nothing changes in between.
import { chmodSync, lstatSync, mkdirSync, readlinkSync, type Stats, writeFileSync } from 'node:fs';
import { errnoOf, HotlayerError } from '../../errors.js';
import { showPath } from '../../paths.js';

/** As the kernel's MAXSYMLINKS. */
const MAX_SYMLINKS = 40;

export interface Resolved {
  /** Path on this machine, under `root`; no component that exists is a symlink. */
  readonly path: string;
  readonly type: 'dir' | 'file' | 'missing';
}

/**
 * @param root directory of this machine
 * @param path of the container; `..` stops at the root, the last component is followed too
 * @throws HL_ERR_WORKLOAD for a symlink loop, or a file used as a directory
 */
export function resolveInRoot(root: string, path: string): Resolved {
  const todo = path.split('/').reverse();
  let done: string[] = [];
  let type: Resolved['type'] = 'dir';
  let links = 0;
  while (todo.length > 0) {
    const name = todo.pop()!;
    if (name === '' || name === '.') continue;
    if (name === '..') {
      done.pop();
      type = 'dir';
      continue;
    }
    if (type === 'file') throw refused(path, `/${done.join('/')} is not a directory`);
    const here = [root, ...done, name].join('/');
    // Below something that is missing everything is missing; asking would only make a look-up that fails.
    const stat: Stats | undefined = type === 'missing' ? undefined : lstatSync(here, { throwIfNoEntry: false });
    if (stat?.isSymbolicLink()) {
      links += 1;
      if (links > MAX_SYMLINKS) throw refused(path, `more than ${MAX_SYMLINKS} symlinks, a loop`);
      const target = readlinkSync(here);
      if (target.startsWith('/')) done = [];
      todo.push(...target.split('/').reverse());
      continue;
    }
    done.push(name);
    type = stat === undefined ? 'missing' : stat.isDirectory() ? 'dir' : 'file';
  }
  return { path: [root, ...done].join('/'), type };
}

/**
 * Makes sure that there is something to mount on, or to work in; parents are made as needed.
 * @param mode of a directory that has to be made (not of its parents: 0755)
 * @returns the path on this machine, or undefined when it is missing and the root cannot be written
 * @throws HL_ERR_WORKLOAD when something of the other kind is in the way
 */
export function ensureInRoot(root: string, path: string, kind: 'dir' | 'file', mode = 0o755): string | undefined {
  const found = resolveInRoot(root, path);
  if (found.type === kind) return found.path;
  if (found.type !== 'missing')
    throw refused(path, `it is ${found.type === 'dir' ? 'a directory' : 'not a directory'}`);
  try {
    mkdirSync(found.path.slice(0, found.path.lastIndexOf('/')), { recursive: true, mode: 0o755 });
    if (kind === 'dir') {
      mkdirSync(found.path);
      chmodSync(found.path, mode); // whatever the umask
    } else writeFileSync(found.path, '', { mode: 0o644, flag: 'wx' });
    return found.path;
  } catch (error) {
    if (errnoOf(error) === 'EROFS') return undefined;
    throw error;
  }
}

function refused(path: string, why: string): HotlayerError {
  return new HotlayerError('HL_ERR_WORKLOAD', `${showPath(path)} of the container cannot be used: ${why}`, {
    context: { entry: path },
  });
}
