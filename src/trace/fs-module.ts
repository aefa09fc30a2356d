// The file system of a traced run, as the thread that serves it makes it: an image's layers or a directory, with the
// recorder around it. Loaded by URL in another process; what it needs comes as arguments and inherited descriptors.
import { DirFs } from '../rootfs/dir-fs.js';
import { openLayersFs } from '../rootfs/layers-fs.js';
import type { RootFs } from '../rootfs/types.js';
import { type EventWriter, eventWriter, type WriterSummary } from './event-writer.js';
import { traced } from './recorder.js';

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
  /** `exclude`: absolute host paths that are shown as empty directories. */
  | { readonly kind: 'dir'; readonly path: string; readonly exclude: readonly string[]; readonly squash?: Owner };

/** What createFs is given; goes through structured clone. */
export interface TraceFsArgs {
  readonly source: FsSource;
  /** Descriptor, in the serving process, to which event lines are written; it is not closed. Absent: nothing is recorded. */
  readonly traceFd?: number;
  /** CLOCK_MONOTONIC that the raw events call t = 0. */
  readonly t0: bigint;
  /** See RecorderOptions; put in by the session. */
  readonly activity?: Int32Array;
}

/** URL for SessionSpec.fs.module and MountOptions.module. */
export const traceFsModule: string = import.meta.url;

const writers = new WeakMap<RootFs, EventWriter>();

export function createFs(args: unknown): RootFs {
  const { source, traceFd, t0, activity } = args as TraceFsArgs;
  const fs = openSource(source);
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

function openSource(source: FsSource): RootFs {
  const squash = source.squash && { squash: source.squash };
  if (source.kind === 'layers') return openLayersFs(source.layers, { ...squash });
  return new DirFs(source.path, { exclude: source.exclude, ...squash });
}
