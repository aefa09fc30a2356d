// `hotlayer optimize SOURCE TARGET`: plan, then rewrite. The plan comes from profiles, from a saved plan, from a run
// of the workload made now, or prioritizes nothing.
import { type Command, Option } from 'commander';
import { mergeProfiles } from '../analyze/merge.js';
import { planImage } from '../analyze/plan.js';
import { touchedFiles } from '../analyze/policy.js';
import { checkPlace, readPlan, readProfile, writePlan } from '../analyze/saved.js';
import type { Plan, Profile } from '../analyze/types.js';
import { quote } from '../container/index.js';
import { EXIT, HotlayerError } from '../errors.js';
import { type OpenSinkOptions, openImage, openSink } from '../image/index.js';
import { showPath } from '../paths.js';
import { type OptimizeResult, optimizeImage } from '../rewrite/optimize.js';
import { type SpooledImage, spoolImage } from '../rootfs/spooled-image.js';
import { CODECS, type CodecName, DEFAULT_CHUNK_SIZE, DEFAULT_CODEC, LEVELS } from '../stargz/index.js';
import { formatBytes, formatCount, formatNanos } from '../units.js';
import { addWorkloadOptions, collect, flag, type GlobalFlags, size, type WorkloadFlags, wholeNumber } from './flags.js';
import type { CommandContext, Register } from './main.js';
import type { Output } from './output.js';
import { openingOf, profileSpooled, tempParentOf } from './profiling.js';
import { bar, table } from './table.js';

interface OptimizeFlags extends GlobalFlags, WorkloadFlags {
  /** `-p`; false with --no-profile. */
  profile?: string[] | false;
  plan?: string;
  maxPrefetch?: number;
  chunkSize: number;
  codec: CodecName;
  compressionLevel?: number;
  dryRun?: boolean;
  savePlan?: string;
  strict?: boolean;
  jobs?: number;
}

export function addOptimize(program: Command, register: Register): void {
  const command = program
    .command('optimize')
    .argument('<source>', 'image to read')
    .argument('<target>', 'image to write: HOST/NAME:TAG, oci:DIR[:TAG], oci-archive:FILE or docker-archive:FILE')
    .argument('[command...]', 'without a profile: what to run to make one (after --); default: what the image runs')
    .description(
      'Rewrites every layer as eStargz, the files that the startup reads first, then the prefetch landmark.\nWithout --profile, --plan or --no-profile the workload is run and profiled first.',
    )
    .summary('put the hot files first in the layers')
    .addOption(flag('-p, --profile <file>', 'profile to plan by; repeatable, they are merged').argParser(collect))
    .addOption(new Option('--no-profile', 'prioritize nothing: plain eStargz'))
    .addOption(flag('--plan <file>', 'carry out this saved plan'))
    .addOption(flag('--dry-run', 'only plan: write no image'))
    .addOption(flag('--save-plan <file>', 'write the plan to this file'))
    .addOption(
      flag(
        '--max-prefetch <size>',
        'cap on the uncompressed bytes before the landmarks of all layers together',
      ).argParser(size),
    )
    .addOption(
      flag('--chunk-size <size>', 'largest piece of a file that is fetched and checked as one')
        .argParser(size)
        .default(DEFAULT_CHUNK_SIZE, '4MiB'),
    )
    .addOption(
      flag('--codec <codec>', 'compressor; zlib and pako write the same bytes as each other')
        .choices([...CODECS])
        .default(DEFAULT_CODEC),
    )
    .addOption(
      flag('--compression-level <n>', `default ${LEVELS[DEFAULT_CODEC].default} for ${DEFAULT_CODEC}`).argParser(
        wholeNumber(1, 12),
      ),
    )
    .addOption(
      flag(
        '--jobs <n>',
        'how many to work with; the output never depends on it (layers are written one after the other so far)',
      ).argParser(wholeNumber(1, 256)),
    )
    .addOption(flag('--strict', 'refuse what other lazy clients would show differently (names that are not UTF-8)'));
  addWorkloadOptions(command);

  register<OptimizeFlags>(command, async (context, operands, flags) => {
    const [source, target, ...args] = operands as [string, string, ...string[]];
    if (flags.savePlan !== undefined) await checkPlace(flags.savePlan);
    const started = process.hrtime.bigint();
    const { plan, profile, result } = await optimize(context, source, target, args, flags);
    const nanos = Number(process.hrtime.bigint() - started);
    context.out.document({ plan, ...(result ? { result } : {}) });
    showPlan(context.out, plan, profile);
    if (result) showResult(context.out, result, target, nanos);
    if (result) context.out.note(`Next: hotlayer verify ${quote(source)} ${quote(target)}`);
    return EXIT.ok;
  });
}

interface Outcome {
  readonly plan: Plan;
  readonly profile?: Profile;
  /** Absent for a dry run. */
  readonly result?: OptimizeResult;
}

async function optimize(
  context: CommandContext,
  source: string,
  target: string,
  args: readonly string[],
  flags: OptimizeFlags,
): Promise<Outcome> {
  if (flags.plan !== undefined && flags.profile)
    throw new HotlayerError('HL_ERR_USAGE', '--plan and --profile exclude each other', {
      hint: 'a plan says already what goes where',
    });
  const { out, signal } = context;
  await using image = await openImage(source, openingOf(context, flags));
  // Asked for before the work starts: a target that cannot be written should say so at once.
  const sink = flags.dryRun ? undefined : await openSink(target, sinkOptions(context, source));
  try {
    using spooled = await spoolImage(image, {
      ...tempParentOf(context),
      signal,
      onProgress: (done, total, layer) =>
        out.progress(
          `reading layer ${layer + 1}/${image.layers.length}  ${formatBytes(done)} of ${formatBytes(total)}`,
        ),
    });
    const profile = await chooseProfile(context, spooled, args, flags);
    const plan = await choosePlan(spooled, profile, flags);
    if (flags.savePlan !== undefined) await writePlan(flags.savePlan, plan);
    if (!sink) return { plan, ...(profile ? { profile } : {}) };
    const result = await optimizeImage(image, sink, plan, {
      spooled: spooled.layers,
      codec: flags.codec,
      ...(flags.compressionLevel === undefined ? {} : { level: flags.compressionLevel }),
      chunkSize: flags.chunkSize,
      strict: flags.strict ?? false,
      ...tempParentOf(context),
      signal,
      onProgress: (p) =>
        out.progress(`writing layer ${p.layer + 1}/${p.layers}  ${formatBytes(p.bytes)} of ${formatBytes(p.total)}`),
    });
    return { plan, ...(profile ? { profile } : {}), result };
  } finally {
    await sink?.abort();
  }
}

function sinkOptions(context: CommandContext, source: string): OpenSinkOptions {
  return {
    ...tempParentOf(context),
    mountFrom: [source],
    registry: {
      ...context.registry,
      onProgress: ({ digest, bytes, total }) =>
        context.out.progress(`sending ${digest.slice(0, 19)}…  ${formatBytes(bytes)} of ${formatBytes(total)}`),
    },
  };
}

async function chooseProfile(
  context: CommandContext,
  spooled: SpooledImage,
  args: readonly string[],
  flags: OptimizeFlags,
): Promise<Profile | undefined> {
  if (flags.plan !== undefined || flags.profile === false) return undefined;
  if (flags.profile === undefined || typeof flags.profile === 'boolean')
    return (await profileSpooled(context, spooled, args, flags)).profile;
  const profile = mergeProfiles(await Promise.all(flags.profile.map((file) => readProfile(file))));
  if (profile.image.digest !== undefined && profile.image.digest !== spooled.image.descriptor.digest) {
    context.out.warn(
      `the profile was made of ${profile.image.digest.slice(0, 19)}…, this image is ${spooled.image.descriptor.digest.slice(0, 19)}…: paths are matched by name`,
    );
  }
  if (!profile.complete)
    context.out.warn(
      'the profile is not complete: events may have been lost, so some hot files may stay behind the landmark',
    );
  return profile;
}

async function choosePlan(spooled: SpooledImage, profile: Profile | undefined, flags: OptimizeFlags): Promise<Plan> {
  if (flags.plan !== undefined) return readPlan(flags.plan);
  return planImage(spooled, {
    profile,
    policy: touchedFiles(flags.maxPrefetch === undefined ? {} : { maxPrefetch: flags.maxPrefetch }),
    chunkSize: flags.chunkSize,
  });
}

function showPlan(out: Output, plan: Plan, profile: Profile | undefined): void {
  if (plan.missed.length === 0) return;
  out.note(`${formatCount(plan.missed.length)} profiled path${plan.missed.length === 1 ? ' is' : 's are'} not placed:`);
  for (const { path, reason } of plan.missed.slice(0, out.verbose ? undefined : 5))
    out.note(`  ${showPath(path)} – ${reason}`);
  if (!out.verbose && plan.missed.length > 5)
    out.note(`  … and ${plan.missed.length - 5} more (--save-plan FILE has them all)`);
  if (profile?.complete === false) out.warn('the profile behind this plan is not complete');
}

export function showResult(out: Output, result: OptimizeResult, target: string, nanos: number): void {
  const rows = result.layers.map((layer, i) => [
    String(i),
    formatCount(layer.entries),
    formatCount(layer.hotEntries),
    `${formatBytes(layer.sizeBefore)} → ${formatBytes(layer.size)}`,
    change(layer.sizeBefore, layer.size),
    layer.hotEntries === 0 ? 'none' : formatBytes(layer.prefetchBytes),
    layer.hotEntries === 0 ? '' : `${bar(layer.prefetchBytes / layer.size, 16)}│`,
  ]);
  const sum = (pick: (layer: OptimizeResult['layers'][number]) => number): number =>
    result.layers.reduce((total, layer) => total + pick(layer), 0);
  const [before, after] = [sum((l) => l.sizeBefore), sum((l) => l.size)];
  const prefetch = sum((l) => (l.hotEntries === 0 ? 0 : l.prefetchBytes));
  rows.push([
    'total',
    formatCount(sum((l) => l.entries)),
    formatCount(sum((l) => l.hotEntries)),
    `${formatBytes(before)} → ${formatBytes(after)}`,
    change(before, after),
    formatBytes(prefetch),
    '',
  ]);
  const columns = [
    { title: 'layer' },
    { title: 'entries', align: 'right' },
    { title: 'hot', align: 'right' },
    { title: 'size before → after', align: 'right' },
    { title: '', align: 'right' },
    { title: 'prefetch', align: 'right' },
    { title: '' },
  ] as const;
  for (const line of table(columns, rows)) out.result(line);
  for (const layer of result.layers) {
    for (const warning of layer.warnings.slice(0, out.verbose ? undefined : 5))
      out.warn(`layer ${layer.index}: ${warning.entry === '' ? '' : `"${warning.entry}": `}${warning.message}`);
    if (!out.verbose && layer.warnings.length > 5)
      out.warn(`layer ${layer.index}: and ${layer.warnings.length - 5} more (--verbose, --json)`);
  }
  out.result();
  out.result(`Wrote ${target}  ${result.manifest.digest}  in ${formatNanos(nanos)}`);
}

function change(before: number, after: number): string {
  const percent = before === 0 ? 0 : (100 * (after - before)) / before;
  return `${percent < 0 ? '−' : '+'}${Math.abs(percent).toFixed(1)} %`;
}
