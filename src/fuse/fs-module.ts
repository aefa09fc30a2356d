// A file system module by its URL.
import { HotlayerError } from '../errors.js';
import { loadModule } from './load-module.js';
import type { FsModule } from './types.js';

/** @throws HL_ERR_BUG when it is not one, and whatever loading it throws */
export async function loadFsModule(url: string): Promise<FsModule> {
  const module = (await loadModule(url)) as Partial<FsModule>;
  if (typeof module.createFs === 'function') return module as FsModule;
  throw new HotlayerError('HL_ERR_BUG', `${url} does not export createFs`);
}

/** Loads it, and what it will need to serve. @throws whatever loading it throws */
export async function prepareFsModule(url: string): Promise<void> {
  const module = (await loadModule(url)) as Partial<FsModule>;
  await module.prepare?.();
}
