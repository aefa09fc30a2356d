// Image or directory → profile: the workload run some times, each on a fresh mount, each trace summed up and let go.
import { existsSync, mkdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { HotlayerError } from '../errors.js';
import { DirFs } from '../rootfs/dir-fs.js';
import { machineTrees } from '../rootfs/dir-fs-module.js';
import type { SpooledImage } from '../rootfs/spooled-image.js';
import { makeTempDir } from '../temp.js';
import { type RunOptions, type TraceSource, traceRun } from '../trace/run.js';
import { copyTrace } from '../trace/trace-writer.js';
import { countDirectory } from './count-directory.js';
import { attributeRuns, type FileOwners, layerSteps, ownersInImage, ownersOf } from './packages/attribute.js';
import { buildProfile, type ImageFacts } from './profile.js';
import type { RecordedRun } from './recorded-run.js';
import { type Names, summarizeTrace } from './summarize.js';
import { viewOfFs, viewOfTree } from './tree-view.js';
import type { Profile } from './types.js';

export type ProfileProgress =
  /** `run` counts from 1. */
  | { readonly phase: 'start'; readonly run: number; readonly runs: number }
  | { readonly phase: 'end'; readonly run: number; readonly runs: number; readonly result: RecordedRun['run'] };

export interface ProfileOptions extends RunOptions {
  /** At least 1. */
  readonly runs: number;
  /** Directory, made if it is missing, for a packed copy of each trace: `run-1.trace.gz` … */
  readonly keepTraces?: string | undefined;
  /** Where temporary files are; absent: $TMPDIR, else /tmp. */
  readonly tempParent?: string | undefined;
  readonly onProgress?: ((progress: ProfileProgress) => void) | undefined;
  /** What a container on this machine lacks (SessionResult.warnings); each text once. */
  readonly onWarning?: ((text: string) => void) | undefined;
}

/** @throws as traceRun; HL_ERR_USAGE when `runs` is not a positive integer */
export function profileImage(spooled: SpooledImage, options: ProfileOptions): Promise<Profile> {
  const { image, layers, tree } = spooled;
  const { os, architecture, variant } = image.platform;
  const source: TraceSource = {
    image: { reference: image.reference, digest: image.descriptor.digest },
    platform: { os, architecture, ...(variant === undefined ? undefined : { variant }) },
    fs: { kind: 'layers', layers: layers.map(({ fd, size }) => ({ fd, size })) },
  };
  const view = viewOfTree(tree);
  const open = (): OpenTree => ({
    names: view,
    facts: () => ({ ...view.totals(), layers: layerSteps(image.config.history, layers.length) }),
    owners: (paths) => ownersInImage(spooled, paths),
    close() {},
  });
  return profileRuns(source, open, options);
}

/**
 * A directory as the root file system; `/` profiles a command of this machine.
 * @param path of the directory
 * @throws as profileImage
 */
export function profileDirectory(path: string, options: ProfileOptions): Promise<Profile> {
  const root = resolve(path);
  const exclude = machineTrees(root);
  const source: TraceSource = { image: { reference: `dir:${path}` }, fs: { kind: 'dir', path: root, exclude } };
  const open = (dir: string) => {
    const fs = new DirFs(root, { exclude: [...exclude, dir] });
    return {
      names: viewOfFs(fs),
      facts: () => countDirectory(root, [...exclude, dir]),
      owners: (paths: readonly string[]) => ownersOf(fs, paths),
      close: () => fs.close(),
    };
  };
  return profileRuns(source, open, options);
}

interface OpenTree {
  readonly names: Names;
  facts(): Awaitable<ImageFacts>;
  owners(paths: readonly string[]): FileOwners;
  close(): void;
}
type Awaitable<T> = T | Promise<T>;

async function profileRuns(
  source: TraceSource,
  openTree: (dir: string) => OpenTree,
  options: ProfileOptions,
): Promise<Profile> {
  const { runs, keepTraces, onProgress } = options;
  if (!Number.isSafeInteger(runs) || runs < 1) {
    throw new HotlayerError('HL_ERR_USAGE', `${runs} runs: expected 1 or more`);
  }
  if (keepTraces !== undefined) makeDirectory(keepTraces);
  using temp = makeTempDir(options.tempParent, 'hotlayer-trace');
  const tree = openTree(temp.path);
  const warned = new Set<string>();
  try {
    const summaries: RecordedRun[] = [];
    for (let run = 1; run <= runs; run++) {
      onProgress?.({ phase: 'start', run, runs });
      const path = join(temp.path, `run-${run}.trace`);
      try {
        const traced = await traceRun(source, path, temp.path, options);
        for (const text of traced.result.warnings ?? []) {
          if (!warned.has(text)) options.onWarning?.(text);
          warned.add(text);
        }
        summaries.push(await summarizeTrace(path, tree.names, traced.end));
      } finally {
        // Also of a run that failed: there is nothing better to find out why.
        if (keepTraces !== undefined) await keep(path, join(keepTraces, `run-${run}.trace.gz`));
        await rm(path, { force: true });
      }
      onProgress?.({ phase: 'end', run, runs, result: summaries.at(-1)!.run });
    }
    const facts = await tree.facts();
    const { runs: owned, databases } = attributeRuns(summaries, (paths) => tree.owners(paths));
    return buildProfile(owned, { totals: () => ({ ...facts, databases }) });
  } finally {
    tree.close();
  }
}

async function keep(path: string, target: string): Promise<void> {
  if (existsSync(path)) await copyTrace(path, target);
}

function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true });
  } catch (cause) {
    throw new HotlayerError('HL_ERR_IO', `cannot make the directory ${path}: ${(cause as Error).message}`, {
      cause,
      context: { file: path },
    });
  }
}
