// A session over a directory as root file system, `/` for this machine's own: what is written is in the disposable layer.
import { dirFsModule, machineTrees } from '../rootfs/dir-fs-module.js';
import { type ContainerOptions, hooksOf, runTaken, specOf, takeFor } from './container-options.js';
import type { ProcessSpec, SessionResult } from './types.js';

export interface RunDirectoryOptions extends ContainerOptions {
  readonly process: ProcessSpec;
  /** Absolute paths of this machine that are shown as empty directories, besides its own trees (/proc …). */
  readonly exclude?: readonly string[];
}

/** @param path absolute @throws as runSession; HL_ERR_NOT_FOUND without the directory */
export async function runDirectory(path: string, options: RunDirectoryOptions): Promise<SessionResult> {
  const taken = takeFor(options);
  try {
    const keep = options.capture?.keep;
    const hidden = [taken.session.dir, ...(keep === undefined ? [] : [keep])];
    const exclude = [...machineTrees(path), ...(options.exclude ?? []), ...hidden];
    const spec = {
      ...specOf(options, taken.inherited),
      fs: { module: dirFsModule, args: { path, exclude } },
      process: options.process,
    };
    return await runTaken(taken, spec, `dir:${path}`, hooksOf(options));
  } finally {
    await taken.session.abandon();
  }
}
