// `hotlayer profile IMAGE [-- CMD…]`: run the workload on the tracing mount, write a profile.
import type { Command } from 'commander';
import { checkPlace, writeProfile } from '../analyze/saved.js';
import { spreadOf } from '../analyze/statistics.js';
import type { Profile, Spread } from '../analyze/types.js';
import { quote } from '../container/index.js';
import { EXIT } from '../errors.js';
import { openImage, parseReference } from '../image/index.js';
import { spoolImage } from '../rootfs/spooled-image.js';
import { formatBytes, formatCount, formatNanos, formatShare } from '../units.js';
import { addWorkloadOptions, flag, type GlobalFlags, type WorkloadFlags } from './flags.js';
import type { CommandContext, Register } from './main.js';
import type { Output } from './output.js';
import { openingOf, profileHostDirectory, profileSpooled, tempParentOf } from './profiling.js';
import { table } from './table.js';

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

async function makeProfile(
  context: CommandContext,
  reference: string,
  args: readonly string[],
  flags: ProfileFlags,
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
    onProgress: (done, total, layer) =>
      out.progress(`reading layer ${layer + 1}/${image.layers.length}  ${formatBytes(done)} of ${formatBytes(total)}`),
  });
  return (await profileSpooled(context, spooled, args, flags)).profile;
}

export function showProfile(out: Output, profile: Profile): void {
  const hot = profile.files.filter((file) => file.openedIn > 0 && file.type === 'reg');
  const always = hot.filter((file) => file.openedIn === profile.runs.length).length;
  const filesRead = spreadText(
    profile.runs.map((run) => run.filesRead),
    formatCount,
  );
  const bytesRead = spreadText(
    profile.runs.map((run) => run.bytesRead),
    formatBytes,
  );
  const rows = [
    ...(profile.ready
      ? [
          [
            'Ready',
            `${formatNanos(profile.ready.median)} ± ${formatNanos(profile.ready.mad)}`,
            range(profile.ready, formatNanos),
            profile.until.join(' or '),
          ],
        ]
      : []),
    [
      'Files read',
      ...filesRead,
      `${formatCount(always)} in every run (stability ${profile.stability.toFixed(2)}), of ${formatCount(profile.image.files)}`,
    ],
    [
      'Bytes read',
      ...bytesRead,
      `${formatShare(spreadOf(profile.runs.map((run) => run.bytesRead)).median, profile.image.bytes)} of the image's ${formatBytes(profile.image.bytes)}`,
    ],
    [
      'Failed look-ups',
      formatCount(profile.misses.total),
      '',
      profile.misses.directories[0] ? `most in ${profile.misses.directories[0].path}` : '',
    ],
  ];
  const columns = [
    { title: 'Startup profile' },
    { title: 'median ± MAD' },
    { title: 'min … max' },
    { title: `${profile.runs.length} run${profile.runs.length === 1 ? '' : 's'}` },
  ];
  for (const line of table(columns, rows, '')) out.result(line);
  if (!profile.complete) {
    for (const [i, run] of profile.runs.entries()) {
      if (!run.complete) out.warn(`run ${i + 1} is not complete: ${run.incompleteBecause ?? 'events may be lost'}`);
    }
  }
}

/** "median ± MAD" and "min … max". */
function spreadText(values: readonly number[], format: (value: number) => string): [string, string] {
  const spread = spreadOf(values);
  return [`${format(Math.round(spread.median))} ± ${format(Math.round(spread.mad))}`, range(spread, format)];
}

function range(spread: Spread, format: (value: number) => string): string {
  return `${format(spread.min)} … ${format(spread.max)}`;
}
