// A directory as a file system, for the serving thread.
import { DirFs } from '../../src/rootfs/dir-fs.js';
import type { RootFs } from '../../src/rootfs/types.js';

export { practice } from '../../src/rootfs/dir-fs-module.js';

export function createFs(path: unknown): RootFs {
  return new DirFs(path as string);
}
