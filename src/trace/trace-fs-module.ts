// The file system of a traced run, as the thread that serves it makes it: an image's layers or a directory, with the
// recorder around it. Loaded by URL in another process; what it needs comes as arguments and inherited descriptors.
import { createAnswerer as createLazyAnswerer } from '../lazy/fs-module.js';
import { type LazyFsArgs, openLazyFs } from '../lazy/lazy-fs.js';
import { DirFs } from '../rootfs/dir-fs.js';
import { practice as practiceDir } from '../rootfs/dir-fs-module.js';
import { openLayersFs } from '../rootfs/layers-fs.js';
import type { Answerer, FsPort, Link, RootFs } from '../rootfs/types.js';
import { type EventWriter, eventWriter, type WriterSummary } from './event-writer.js';
import { traced, tracedAnswers } from './recorder.js';

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export type FsSource =
  /** Uncompressed tars, lowest first: descriptors in the serving process. `squash` as LayersFsOptions. */
  | {
      readonly kind: 'layers';
      readonly layers: readonly { readonly fd: number; readonly size: number }[];
      readonly squash?: Owner;
    }
  /** An image that is fetched as it is read (lazy/lazy-fs.ts). */
  | ({ readonly kind: 'lazy' } & LazyFsArgs)
  /** `exclude`: absolute host paths that are shown as empty directories. */
  | { readonly kind: 'dir'; readonly path: string; readonly exclude: readonly string[]; readonly squash?: Owner };

/** What createFs is given; goes through structured clone. */
export interface TraceFsArgs {
  readonly source: FsSource;
  /** Descriptor, in the serving process, to which event lines are written; it is not closed. Absent: nothing is recorded. */
  readonly traceFd?: number;
  /** The same for reads that were put off: another thread writes these. Lazy sources only. */
  readonly lateFd?: number;
  /** CLOCK_MONOTONIC that the raw events call t = 0. */
  readonly t0: bigint;
  /** See RecorderOptions; put in by the session. */
  readonly activity?: Int32Array;
}

/** URL for SessionSpec.fs.module and MountOptions.module. */
export const traceFsModule: string = new URL('./trace-fs-module.js', import.meta.url).href;

const writers = new WeakMap<RootFs, EventWriter>();

/** Nothing of it is recorded. */
export function practice(args: unknown): RootFs | undefined {
  const { source, traceFd, t0 } = args as TraceFsArgs;
  const fs = source.kind === 'dir' ? practiceDir() : undefined;
  return fs && traceFd !== undefined ? traced(fs, { record() {} }, { t0 }) : fs;
}

export function createFs(args: unknown, port: FsPort): RootFs {
  const { source, traceFd, t0, activity } = args as TraceFsArgs;
  const fs = openSource(source, port);
  if (traceFd === undefined) return fs;
  const writer = eventWriter(traceFd);
  const observed = traced(fs, writer, { t0, ...(activity && { activity }) });
  writers.set(observed, writer);
  return observed;
}

/** The writer's summary, for SessionResult.fsResult; undefined when nothing was recorded. */
export function closeFs(fs: RootFs): WriterSummary | undefined {
  try {
    return writers.get(fs)?.finish();
  } finally {
    fs.close();
  }
}

/** What closing a lazy source gives: the summary of the events answered at once, and that of those answered later. */
export interface LazySummary extends WriterSummary {
  readonly late?: WriterSummary;
}

export function createAnswerer(args: unknown, link: Link | undefined): Answerer | undefined {
  const { source, lateFd, t0, activity } = args as TraceFsArgs;
  if (source.kind !== 'lazy') return undefined;
  const answerer = createLazyAnswerer(source, link);
  if (lateFd === undefined) return answerer;
  const writer = eventWriter(lateFd);
  const observed = tracedAnswers(answerer, writer, { t0, ...(activity && { activity }) });
  return {
    ...observed,
    close: (result) => ({ ...(observed.close!(result) as WriterSummary), late: writer.finish() }) satisfies LazySummary,
  };
}

function openSource(source: FsSource, port: FsPort): RootFs {
  if (source.kind === 'lazy') return openLazyFs(source, port);
  const squash = source.squash && { squash: source.squash };
  if (source.kind === 'layers') return openLayersFs(source.layers, { ...squash });
  return new DirFs(source.path, { exclude: source.exclude, ...squash });
}
