// Where a file system may be mounted.
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { HotlayerError } from '../errors.js';

/** @returns it as an absolute path @throws HL_ERR_NOT_FOUND */
export function checkMountpoint(path: string): string {
  const mountpoint = resolve(path);
  const found = statSync(mountpoint, { throwIfNoEntry: false });
  if (!found?.isDirectory()) {
    throw new HotlayerError(
      'HL_ERR_NOT_FOUND',
      `mount point ${mountpoint} is ${found ? 'not a directory' : 'missing'}`,
      {
        context: { file: mountpoint },
      },
    );
  }
  return mountpoint;
}
