// A container from an image that is not here: found, mounted and started while its content comes.
import type { ImageConfig } from '../image/types.js';
import { Cache, type CacheOptions } from '../lazy/cache.js';
import { ChunkService, type ServiceCounts, type ServiceOptions } from '../lazy/chunk-service.js';
import { fsArgs } from '../lazy/fs-args.js';
import type { LazyFsArgs } from '../lazy/lazy-fs.js';
import { lazyFsModule } from '../lazy/module-url.js';
import { type LazyImage, type OpenLazyOptions, openLazyImage } from '../lazy/open-image.js';
import { type HotFile, wishesFor, wishesOfLandmarks } from '../lazy/prefetch.js';
import { type ContainerOptions, hooksOf, runTaken, specOf, takeFor } from './container-options.js';
import type { ProcessSpec, SessionResult, SessionSpec } from './types.js';

/** How an image's content comes; for `run` and `mount`. */
export interface LazyOptions
  extends Omit<OpenLazyOptions, 'cache'>,
    Pick<ServiceOptions, 'connections' | 'patienceMs' | 'stallMs'> {
  readonly cache?: CacheOptions;
  /** What to fetch ahead, first needed first; a function is called while the image is opened. Absent: what the landmarks say. */
  readonly hot?: () => Promise<Iterable<HotFile>>;
  /** True: the rest is fetched too, when there is nothing else to do. */
  readonly backgroundFetch?: boolean;
  /** Damage, failures, a full disk: one line each. */
  readonly onWarning?: (line: string) => void;
}

/** An image whose content comes as it is needed, and what fetches it. */
export interface OpenedImage extends AsyncDisposable {
  readonly image: LazyImage;
  readonly service: ChunkService;
  readonly cache: Cache;
  /** What was given to be fetched ahead. */
  readonly hot: Promise<Iterable<HotFile>> | undefined;
  /** Begins with what is fetched ahead; settles when that is here, or cannot be had. */
  fetchAhead(): Promise<void>;
  /** Idempotent. */
  close(): Promise<void>;
}

/** @throws as openLazyImage */
export async function openForReading(reference: string, options: LazyOptions): Promise<OpenedImage> {
  const cache = new Cache(options.cache);
  try {
    const hot = options.hot?.();
    hot?.catch(() => {});
    const image = await openLazyImage(reference, { ...options, cache, useStart: options.hot === undefined });
    const { connections, patienceMs, stallMs, offline, onWarning } = options;
    const service = new ChunkService(image.layers, {
      ...(connections !== undefined && { connections }),
      ...(patienceMs !== undefined && { patienceMs }),
      ...(stallMs !== undefined && { stallMs }),
      ...(offline !== undefined && { offline }),
      ...(onWarning && { onWarning }),
      makeRoom: () => void cache.evict(),
    });
    let closing: Promise<void> | undefined;
    const close = async () => {
      service.close();
      await image.close();
      cache.close();
      cache.evict();
    };
    const closeOnce = () => {
      closing ??= close();
      return closing;
    };
    return {
      image,
      service,
      cache,
      hot,
      async fetchAhead() {
        if (offline) return;
        const files = await hot;
        // Everything was here already, as far as one sees without a look: nothing is to hold up the start.
        if (image.start ? image.start.idle : image.kept) await service.untilWanted(LATER_MS);
        if (image.start && !files) await service.prefetchStart(image.start);
        else await service.prefetch(files ? wishesFor(files, image.layers) : wishesOfLandmarks(image.layers));
        if (options.backgroundFetch) service.fetchRest();
      },
      close: closeOnce,
      [Symbol.asyncDispose]: closeOnce,
    };
  } catch (error) {
    cache.close();
    throw error;
  }
}

/**
 * How long after a start that found all of its layers in the cache it is seen to that all that it needs is there, ms; at
 * once when something turns out to be missing.
 */
const LATER_MS = 3000;

/** What is known of the start, for the file system: it does not read around it. */
async function startOf(image: LazyImage, hot: OpenedImage['hot']): Promise<LazyFsArgs['start']> {
  const files = await hot?.catch(() => undefined);
  return files ? { files: [...files] } : image.start && { groups: image.start.groups };
}

/** A file system around the image's own, which sees what it is asked: for traces. */
export interface Observer {
  /** Open files that it writes to. */
  readonly fds: readonly number[];
  /** @param fds what these are in the process that serves the file system */
  fs(layers: LazyImage['fs'], fds: readonly number[]): SessionSpec['fs'];
}

export interface RunImageOptions extends LazyOptions, ContainerOptions {
  readonly observer?: Observer;
  /** Exact: no readahead, each stat and page shows in the trace; slower. Default fast. */
  readonly precision?: 'exact' | 'fast';
  /** From the image's config. */
  process(config: ImageConfig): ProcessSpec;
}

export interface RunImageResult {
  readonly session: SessionResult;
  readonly image: Pick<LazyImage, 'descriptor' | 'config'>;
  readonly process: ProcessSpec;
  readonly counts: ServiceCounts;
}

/** @throws as openLazyImage and runSession */
export async function runImage(reference: string, options: RunImageOptions): Promise<RunImageResult> {
  const { observer } = options;
  const taken = takeFor(options, observer?.fds);
  try {
    await using opened = await openForReading(reference, options);
    const { image, service } = opened;
    const { config } = image.config;
    const spec: SessionSpec = {
      ...specOf(options, taken.inherited),
      fs: observer
        ? observer.fs(image.fs, taken.own)
        : { module: lazyFsModule, args: fsArgs(image.fs, await startOf(image, opened.hot)) },
      ...(options.precision === 'exact' && { maxReadahead: 0, readdirplus: false }),
      process: options.process(image.config),
      ...(config?.StopSignal ? { stopSignal: config.StopSignal } : {}),
    };
    const hooks = { ...hooksOf(options), onLink: service.serve.bind(service) };
    const running = runTaken(taken, spec, image.descriptor.digest, hooks);
    opened.fetchAhead().catch((error) => options.onWarning?.(`nothing is fetched ahead: ${(error as Error).message}`));
    const result = await running;
    return { session: result, image, process: spec.process, counts: service.counts() };
  } finally {
    await taken.session.abandon();
  }
}
