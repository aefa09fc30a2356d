// The part of a command that runs a workload and profiles it: from flags to a Profile, with progress and warnings.
import { type ProfileOptions, profileDirectory, profileImage } from '../analyze/profile-image.js';
import type { Profile } from '../analyze/types.js';
import { makeProcessSpec, parseReadyRule, runSession } from '../container/index.js';
import type { OpenImageOptions, ProcessConfig } from '../image/index.js';
import type { SpooledImage } from '../rootfs/spooled-image.js';
import { formatBytes, formatCount, formatNanos } from '../units.js';
import {
  type PlatformFlags,
  processOverrides,
  readBinds,
  runtimeOf,
  transportOf,
  type WorkloadFlags,
} from './flags.js';
import type { CommandContext } from './main.js';

export interface Profiled {
  readonly profile: Profile;
}

/** `tempParent` for whoever takes one. */
export function tempParentOf(context: CommandContext): { tempParent?: string } {
  return context.tmpdir === undefined ? {} : { tempParent: context.tmpdir };
}

/** For openImage. */
export function openingOf(context: CommandContext, flags: PlatformFlags): OpenImageOptions {
  return {
    ...(flags.platform ? { platform: flags.platform } : {}),
    ...tempParentOf(context),
    registry: context.registry,
  };
}

/** @param args words after `--`; none: the image's own command */
export async function profileSpooled(
  context: CommandContext,
  spooled: SpooledImage,
  args: readonly string[],
  flags: WorkloadFlags,
): Promise<Profiled> {
  const options = profileOptions(context, spooled.image.config.config, args, flags);
  return { profile: await profileImage(spooled, options) };
}

export async function profileHostDirectory(
  context: CommandContext,
  path: string,
  args: readonly string[],
  flags: WorkloadFlags,
): Promise<Profiled> {
  return { profile: await profileDirectory(path, profileOptions(context, undefined, args, flags)) };
}

function profileOptions(
  context: CommandContext,
  config: ProcessConfig | undefined,
  args: readonly string[],
  flags: WorkloadFlags,
): ProfileOptions {
  const { out, signal } = context;
  return {
    process: makeProcessSpec(config, processOverrides(args, flags), process.env),
    ...(config?.StopSignal ? { stopSignal: config.StopSignal } : {}),
    until: (flags.until ?? []).map(parseReadyRule),
    timeoutNanos: flags.timeout,
    precision: flags.precision,
    binds: readBinds(flags.mount),
    net: flags.net,
    ...runtimeOf(flags),
    ...transportOf(flags),
    runs: flags.runs,
    keepTraces: flags.keepTraces,
    session: runSession,
    hooks: { onOutput: (chunk) => out.passThrough(chunk), signal },
    ...tempParentOf(context),
    onWarning: (text) => out.warn(text),
    onProgress: (progress) => {
      if (progress.phase === 'start') return out.progress(`run ${progress.run}/${progress.runs} …`);
      const { run, result } = progress;
      const ready = result.ready ? `ready ${formatNanos(result.ready.t)}` : 'not ready';
      const lost = result.complete ? '' : `   INCOMPLETE: ${result.incompleteBecause ?? 'events may be lost'}`;
      out.note(
        `  run ${run}/${progress.runs}  ${ready}   ${formatCount(result.filesRead)} files   ${formatBytes(result.bytesRead)} read${lost}`,
      );
    },
  };
}
