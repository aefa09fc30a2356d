// `hotlayer profile IMAGE [-- CMD…]`: run the workload on the tracing mount, write a profile.
import type { Command } from 'commander';
import { checkPlace, writeProfile } from '../analyze/saved.js';
import type { Profile } from '../analyze/types.js';
import { quote } from '../container/index.js';
import { EXIT } from '../errors.js';
import { openImage, parseReference } from '../image/index.js';
import { spoolImage } from '../rootfs/spooled-image.js';
import { formatBytes, formatCount } from '../units.js';
import { addWorkloadOptions, flag, type GlobalFlags, type WorkloadFlags } from './flags.js';
import type { CommandContext, Register } from './main.js';
import { showProfile } from './profile-summary.js';
import { openingOf, profileHostDirectory, profileSpooled, tempParentOf } from './profiling.js';
import { readProgress } from './write-progress.js';

interface ProfileFlags extends GlobalFlags, WorkloadFlags {
  output?: string;
}

export function addProfile(program: Command, register: Register): void {
  const command = program
    .command('profile')
    .argument('<image>', 'oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE, or dir:PATH (a root file system)')
    .argument('[command...]', 'what to run, after --; default: what the image runs')
    .description(
      'Runs the workload on a tracing file system, several times, and writes what it read before it was ready.',
    )
    .summary('run the workload N times on the tracing mount, write a profile')
    .addOption(flag('-o, --output <file>', 'the profile (default: hotlayer.profile.json)'));
  addWorkloadOptions(command);
  register<ProfileFlags>(command, async (context, [image, ...args], flags) => {
    const file = flags.output ?? 'hotlayer.profile.json';
    await checkPlace(file);
    const profile = await makeProfile(context, image!, args, flags);
    await writeProfile(file, profile);
    context.out.document(profile);
    showProfile(context.out, profile);
    context.out.note(
      `\nWrote ${file} (${profile.runs.length} run${profile.runs.length === 1 ? '' : 's'}, ${formatCount(profile.files.length)} paths).`,
    );
    if (!image!.startsWith('dir:'))
      context.out.note(`Next: hotlayer optimize ${quote(image!)} TARGET -p ${quote(file)}`);
    return EXIT.ok;
  });
}

/** Runs the workload of an image or a directory. */
export async function makeProfile(
  context: CommandContext,
  reference: string,
  args: readonly string[],
  flags: WorkloadFlags,
): Promise<Profile> {
  const { out, signal } = context;
  const parsed = parseReference(reference);
  if (parsed.kind === 'dir') return (await profileHostDirectory(context, parsed.path, args, flags)).profile;
  await using image = await openImage(reference, openingOf(context, flags));
  const bytes = image.layers.reduce((sum, layer) => sum + layer.descriptor.size, 0);
  out.note(
    `${reference}  ${image.descriptor.digest.slice(0, 19)}…  ${image.platform.os}/${image.platform.architecture}  ${image.layers.length} layer${image.layers.length === 1 ? '' : 's'}, ${formatBytes(bytes)}`,
  );
  using spooled = await spoolImage(image, {
    ...tempParentOf(context),
    signal,
    onProgress: readProgress(out, image),
  });
  return (await profileSpooled(context, spooled, args, flags)).profile;
}
