// memory-fs.ts with the activity counter that the `idle` rule reads (container/types.ts, SessionSpec.fs).
import type { RootFs } from '../../src/rootfs/types.js';
import { closeFs, createFs as createMemoryFs, type MemoryFsArgs } from './memory-fs.js';

export { closeFs };

export function createFs(args: unknown): RootFs {
  const { activity } = args as { activity: Int32Array };
  const fs = createMemoryFs(args as MemoryFsArgs);
  const open = fs.open.bind(fs);
  fs.open = (...rest) => {
    Atomics.add(activity, 0, 1);
    return open(...rest);
  };
  return fs;
}

export const activeFsModule = import.meta.url;
