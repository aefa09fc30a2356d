// A lazily read image as a file system module (fuse/types.ts): the serving thread's half and the mounting thread's.
import { counted, countedAnswers } from '../rootfs/counted.js';
import type { Answerer, FsPort, Link, RootFs } from '../rootfs/types.js';
import { lazyAnswers } from './answers.js';
import type { LazyFsArgs } from './lazy-fs.js';

/** Only where the files are served: whoever mounts them has no use for it. */
const serving = () => import('./lazy-fs.js');

/** Where a ready rule wants it: see SessionSpec.fs of container/. */
interface Counting {
  readonly activity?: Int32Array;
}

export async function prepare(): Promise<void> {
  await serving();
}

export async function createFs(args: unknown, port: FsPort): Promise<RootFs> {
  const { openLazyFs } = await serving();
  return counted(openLazyFs(args as LazyFsArgs, port), (args as Counting).activity);
}

/** @param link to a ChunkService; absent: what is not in the cache fails */
export function createAnswerer(args: unknown, link: Link | undefined): Answerer {
  return countedAnswers(lazyAnswers(link ?? nobody()), (args as Counting | undefined)?.activity);
}

function nobody(): Link {
  let listener: ((message: unknown) => void) | undefined;
  return {
    send(message) {
      const { layer, chunks } = message as { layer: number; chunks: readonly number[] };
      listener?.({ type: 'failed', layer, chunks, why: 'nobody is there to fetch it' });
    },
    listen(take) {
      listener = take;
    },
  };
}
