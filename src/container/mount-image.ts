// An image's tree on a directory, until somebody unmounts it.
import { resolve } from 'node:path';
import { chooseTransport, type TransportName } from '../fuse/choose.js';
import { lazyUmount } from '../fuse/mount-command.js';
import { startReaper } from '../fuse/reaper.js';
import { prepareThread } from '../fuse/serving-thread.js';
import type { Mounted } from '../fuse/types.js';
import type { ServiceCounts } from '../lazy/chunk-service.js';
import { fsArgs } from '../lazy/fs-args.js';
import { linkPair } from '../lazy/link-pair.js';
import { lazyFsModule } from '../lazy/module-url.js';
import type { LazyImage } from '../lazy/open-image.js';
import { type LazyOptions, type Observer, openForReading } from './run-image.js';

export interface MountImageOptions extends LazyOptions {
  readonly observer?: Observer;
  /** Exact: no readahead, each stat and page shows in the trace; slower. Default fast. */
  readonly precision?: 'exact' | 'fast';
  /** Absent: whichever can be used here. */
  readonly transport?: TransportName;
  /** Called once it can be used. */
  readonly onMounted?: () => void;
  /** Ends the mount. */
  readonly signal?: AbortSignal;
}

export interface MountImageResult {
  readonly counts: ServiceCounts;
  readonly image: Pick<LazyImage, 'descriptor' | 'config'>;
  /** CLOCK_MONOTONIC. */
  readonly mountedAt: bigint;
  readonly endedAt: bigint;
  /** What the file system gave at its end, and requests that failed inside of it. */
  readonly fsResult: unknown;
  readonly fsFaults: number;
}

/**
 * Serves an image's root file system on a directory until it is unmounted, by whomever, or the signal fires.
 * @throws as openLazyImage; HL_ERR_NOT_FOUND (the directory), HL_ERR_MACHINE
 */
export async function mountImage(
  reference: string,
  directory: string,
  options: MountImageOptions,
): Promise<MountImageResult> {
  const transport = await chooseTransport(options.transport);
  if (transport.name === 'raw') prepareThread(lazyFsModule);
  await using opened = await openForReading(reference, options);
  const { image, service } = opened;
  const [near, far] = linkPair();
  service.serve(near);
  // Before the mount: a kill may come between any two steps.
  const reaper = startReaper(resolve(directory), lazyUmount(resolve(directory)));
  let mounted: Mounted | undefined;
  const end = () => void mounted?.unmount().catch(() => {});
  try {
    mounted = await transport.mount({
      mountpoint: directory,
      ...(options.observer?.fs(image.fs, options.observer.fds) ?? { module: lazyFsModule, args: fsArgs(image.fs) }),
      ...(options.precision === 'exact' && { maxReadahead: 0, readdirplus: false }),
      link: far,
      ...(options.observer && { fds: options.observer.fds }),
      name: 'hotlayer',
    });
    const mountedAt = process.hrtime.bigint();
    options.signal?.addEventListener('abort', end);
    if (options.signal?.aborted) end();
    options.onMounted?.();
    opened.fetchAhead().catch((error) => options.onWarning?.(`nothing is fetched ahead: ${(error as Error).message}`));
    const fsResult = await mounted.closed;
    const endedAt = process.hrtime.bigint();
    return { counts: service.counts(), image, mountedAt, endedAt, fsResult, fsFaults: mounted.faults() };
  } finally {
    options.signal?.removeEventListener('abort', end);
    await mounted?.unmount();
    reaper.kill();
  }
}
