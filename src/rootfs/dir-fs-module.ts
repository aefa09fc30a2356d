// A directory as a mount's file system, loaded by URL in the thread that serves it.
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { counted } from './counted.js';
import { DirFs } from './dir-fs.js';
import type { RootFs } from './types.js';

/** What createFs is given; goes through structured clone. */
export interface DirFsArgs {
  readonly path: string;
  /** As DirFsOptions. */
  readonly exclude: readonly string[];
  /** As `counted`. */
  readonly activity?: Int32Array;
}

/** The kernel's own trees: no files of a root file system, endless or slow to walk. */
const NEVER_SHOWN = ['/proc', '/sys', '/dev', '/run'];

/** For `exclude`: the machine's own trees, as far as they are in the directory. */
export function machineTrees(path: string): string[] {
  const root = resolve(path);
  return NEVER_SHOWN.filter((place) => root === '/' || place.startsWith(`${root}/`));
}

export const dirFsModule: string = new URL('./dir-fs-module.js', import.meta.url).href;

/** The directory that this file is in. */
export function practice(): RootFs {
  return new DirFs(fileURLToPath(new URL('.', import.meta.url)));
}

export function createFs(args: unknown): RootFs {
  const { path, exclude, activity } = args as DirFsArgs;
  return counted(new DirFs(path, { exclude }), activity);
}
