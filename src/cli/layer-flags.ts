// What becomes of a container's disposable layer: `--keep`, `--changes` and `--commit` of `run`.
import { closeSync, openSync, unlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import type { ContainerOptions } from '../container/container-options.js';
import type { Change, SessionResult } from '../container/types.js';
import { HotlayerError } from '../errors.js';
import { formatPlatform, hostPlatform, parsePlatform } from '../image/platform.js';
import type { ImageSink } from '../image/types.js';
import { showPath } from '../paths.js';
import { makeTempDir } from '../temp.js';
import { flag, type GlobalFlags, type PlatformFlags } from './flags.js';
import type { CommandContext } from './main.js';
import { openingOf, tempParentOf } from './profiling.js';

export interface LayerFlags extends GlobalFlags, PlatformFlags {
  keep?: string;
  changes?: boolean;
  commit?: string;
  readOnly?: boolean;
}

export function addLayerOptions(command: Command): void {
  command
    .addOption(
      flag('--keep <dir>', 'keep what is written, in DIR/upper; the same again goes on with it (default: thrown away)'),
    )
    .addOption(flag('--changes', 'list at the end what was added (A), changed (C) and deleted (D)'))
    .addOption(
      flag('--commit <target>', 'write an image with what was changed as a layer: oci:DIR:TAG, HOST/NAME:TAG, …'),
    );
}

export interface LayerUse extends AsyncDisposable {
  /** For the container. Absent: nothing is asked of the layer. */
  readonly capture: NonNullable<ContainerOptions['capture']> | undefined;
  /** Absolute paths that belong to us. */
  readonly own: readonly string[];
  /**
   * Lists and commits. @param base reference of the image; absent: the session was over a directory
   * @returns members of the command's document
   */
  finish(session: SessionResult, args: readonly string[], base: string | undefined): Promise<object>;
}

/** @throws HL_ERR_USAGE, and what a target that cannot be written throws, before anything is run */
export async function useLayer(context: CommandContext, flags: LayerFlags): Promise<LayerUse> {
  const { keep, changes, commit } = flags;
  if (keep === undefined && !changes && commit === undefined) {
    return { capture: undefined, own: [], finish: async () => ({}), async [Symbol.asyncDispose]() {} };
  }
  if (flags.readOnly) {
    throw new HotlayerError('HL_ERR_USAGE', '--read-only leaves nothing to keep, to list or to commit');
  }
  const tar = commit === undefined ? undefined : openUnnamed(context);
  let sink: ImageSink | undefined;
  if (commit !== undefined) {
    const { openSink } = await import('../image/sink.js');
    sink = await openSink(commit, { registry: context.registry, ...tempParentOf(context) });
  }
  const place = keep === undefined ? undefined : resolve(keep);
  return {
    capture: { ...(place !== undefined && { keep: place }), ...(tar !== undefined && { tar }) },
    own: place === undefined ? [] : [place],
    async finish(session, args, base) {
      const list = session.changes ?? [];
      if (changes) show(context, list);
      if (place !== undefined) context.out.note(`What was written is in ${place}/upper`);
      const made = sink && tar !== undefined ? await write(context, flags, sink, tar, list, args, base) : undefined;
      return { ...(changes && { changes: list }), ...(made && { image: made }) };
    },
    async [Symbol.asyncDispose]() {
      await sink?.abort();
      if (tar !== undefined) closeSync(tar);
    },
  };
}

const LETTERS = { added: 'A', changed: 'C', deleted: 'D' } as const;

/** As `docker diff`, but a directory is only named when it is itself another. */
function show({ out }: CommandContext, changes: readonly Change[]): void {
  for (const { path, kind, type } of changes)
    out.note(`${LETTERS[kind]} ${showPath(path)}${type === 'dir' ? '/' : ''}`);
}

async function write(
  context: CommandContext,
  flags: LayerFlags,
  sink: ImageSink,
  tar: number,
  changes: readonly Change[],
  args: readonly string[],
  base: string | undefined,
): Promise<object> {
  const { out, signal } = context;
  const [{ commitLayer }, { openImage }] = await Promise.all([
    import('../rewrite/commit.js'),
    import('../image/open.js'),
  ]);
  await using image = base === undefined ? undefined : await openImage(base, openingOf(context, flags));
  const { manifest, layer, warnings } = await commitLayer(
    tar,
    changes.filter(({ kind }) => kind === 'deleted').map(({ path }) => path),
    sink,
    {
      ...(image && { base: image }),
      platform: flags.platform === undefined ? hostPlatform() : parsePlatform(flags.platform),
      createdBy: args.join(' '),
      created: sourceDate(),
      ...tempParentOf(context),
      signal,
    },
  );
  for (const { message } of warnings) out.warn(message);
  out.note(`Wrote ${flags.commit}  ${manifest.digest}  (${formatPlatform(image?.platform ?? hostPlatform())})`);
  return { manifest, layer };
}

/** Seconds since 1970: of the build where it says so (reproducible-builds.org), else now. */
function sourceDate(): number {
  const given = process.env.SOURCE_DATE_EPOCH;
  return given !== undefined && /^\d+$/.test(given) ? Number(given) : Math.floor(Date.now() / 1000);
}

function openUnnamed(context: CommandContext): number {
  const { tempParent } = tempParentOf(context);
  using temp = makeTempDir(tempParent);
  const path = join(temp.path, 'changed.tar');
  const fd = openSync(path, 'wx+', 0o600);
  unlinkSync(path);
  return fd;
}
