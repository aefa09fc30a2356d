// `hotlayer optimize SOURCE TARGET`: plan, then rewrite. The plan comes from profiles, from a saved plan, from a run
// of the workload made now, or prioritizes nothing.
import { type Command, InvalidArgumentError, Option } from 'commander';
import { ImageSizes } from '../analyze/model/compressed-sizes.js';
import { READERS, type Reader } from '../analyze/model/exact-cuts.js';
import type { Network } from '../analyze/model/network.js';
import { planImage } from '../analyze/plan.js';
import { checkPlace, readPlan } from '../analyze/saved.js';
import { type Forecast, forecast } from '../analyze/simulate/forecast.js';
import type { Plan, Profile } from '../analyze/types.js';
import { poolWorkloads, type WeighedWorkload } from '../analyze/workloads.js';
import { quote } from '../container/index.js';
import { EXIT, HotlayerError } from '../errors.js';
import {
  formatPlatform,
  hostPlatform,
  type ImageIndex,
  type ImageSink,
  type OpenSinkOptions,
  openIndex,
  openSink,
} from '../image/index.js';
import type { OptimizeResult } from '../rewrite/optimize.js';
import { isSingle, type OptimizeIndexResult } from '../rewrite/optimize-index.js';
import { type SpooledImage, spoolImage } from '../rootfs/spooled-image.js';
import {
  CODECS,
  type CodecName,
  DEFAULT_CHUNK_SIZE,
  DEFAULT_CODEC,
  describeLevels,
  HOT_LEVEL_BYTES,
  hasLevel,
  LEVELS,
} from '../stargz/index.js';
import { formatBytes, formatCount, formatNanos } from '../units.js';
import {
  addWorkloadOptions,
  collect,
  flag,
  type GlobalFlags,
  networkOption,
  size,
  type WorkloadFlags,
  wholeNumber,
} from './flags.js';
import { readWorkloads, showRegrets } from './given-profiles.js';
import type { CommandContext, Register } from './main.js';
import { optimizeWhole, type PlatformSteps, showWhole, workloadsOn } from './optimize-index.js';
import { showPackages } from './origin-summary.js';
import type { Output } from './output.js';
import { openingOf, profileSpooled, tempParentOf } from './profiling.js';
import { showPlan, showPlannedLayers } from './show-plan.js';
import { bar, table } from './table.js';
import { readProgress, writeProgress } from './write-progress.js';

export interface RewriteFlags {
  network?: Network[];
  reader: Reader;
  maxPrefetch?: number;
  chunkSize: number;
  codec: CodecName;
  compressionLevel?: number;
  hotLevel?: number;
  strict?: boolean;
  jobs?: number;
}

interface OptimizeFlags extends GlobalFlags, WorkloadFlags, RewriteFlags {
  /** `-p`; false with --no-profile. */
  profile?: string[] | false;
  plan?: string;
  minimizeWorst?: boolean;
  dryRun?: boolean;
  pushProfile?: boolean;
  savePlan?: string;
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
    .addOption(
      flag(
        '-p, --profile <file[=weight]>',
        'profile to plan by; repeatable: profiles of one workload are merged, several workloads weighed against each other',
      ).argParser(collect),
    )
    .addOption(new Option('--no-profile', 'prioritize nothing: plain eStargz'))
    .addOption(flag('--minimize-worst', 'with several workloads: as little loss as can be for the one that loses most'))
    .addOption(flag('--plan <file>', 'carry out this saved plan'))
    .addOption(flag('--dry-run', 'only plan: write no image'))
    .addOption(flag('--save-plan <file>', 'write the plan to this file'))
    .addOption(
      flag('--push-profile', 'put the profile beside the image, as an OCI artifact about it, for hotlayer run to find'),
    );
  addRewriteOptions(command);
  addWorkloadOptions(command);

  register<OptimizeFlags>(command, async (context, operands, flags) => {
    const [source, target, ...args] = operands as [string, string, ...string[]];
    if (flags.savePlan !== undefined) await checkPlace(flags.savePlan);
    const started = process.hrtime.bigint();
    const { whole, single, profile, forecasts } = await optimize(context, source, target, args, flags);
    const nanos = Number(process.hrtime.bigint() - started);
    context.out.document(documentOf(whole, single, forecasts));
    for (const { platform, plan, result } of whole.platforms) {
      if (!single) context.out.result(`${platform}${result ? `  ${result.manifest.digest}` : ''}`);
      showPlan(context.out, plan, profile, forecasts.get(plan));
      if (result) showLayers(context.out, result);
      else showPlannedLayers(context.out, plan, profile);
      if (plan.model?.workloads || plan.packages) context.out.result();
      if (plan.model?.workloads) {
        showRegrets(context.out, plan.model.workloads, plan.model.networks);
        if (plan.packages) context.out.result();
      }
      if (plan.packages) showPackages(context.out, plan.packages, 'plan');
      if (!single) context.out.result();
    }
    if (single && whole.manifest) context.out.result();
    showWhole(context.out, whole, single);
    if (whole.manifest) {
      context.out.result(`Wrote ${target}  ${whole.manifest.digest}  in ${formatNanos(nanos)}`);
      context.out.note(`Next: hotlayer verify ${quote(source)} ${quote(target)}`);
    }
    return EXIT.ok;
  });
}

/** How an image is planned and written; the same for `optimize` and `autorun`. */
export function addRewriteOptions(command: Command): void {
  command
    .addOption(
      flag(
        '--reader <reader>',
        'who will read it lazily: the stargz snapshotter, hotlayer run (chunks end where reading does, and the image says what a start needs), or both',
      )
        .choices([...READERS])
        .default('stargz'),
    )
    .addOption(networkOption('where the image will be pulled'))
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
      flag(
        '--compression-level <n>',
        `default ${LEVELS[DEFAULT_CODEC].default} for ${DEFAULT_CODEC}, whose levels are 1 to 12 and, between those, ${LEVELS[DEFAULT_CODEC].between.join(' and ')}`,
      ).argParser(level),
    )
    .addOption(
      flag(
        '--hot-level <n>',
        `compression level before the landmark; default ${LEVELS[DEFAULT_CODEC].hot} for ${DEFAULT_CODEC} up to ${formatBytes(HOT_LEVEL_BYTES)} in a layer, beyond that as --compression-level`,
      ).argParser(level),
    )
    .addOption(
      flag('--jobs <n>', 'threads that compress, default one a core; the output never depends on it').argParser(
        wholeNumber(1, 256),
      ),
    )
    .addOption(flag('--strict', 'refuse what other lazy clients would show differently (names that are not UTF-8)'));
}

/** Whether the chosen codec has it is seen when that is opened. */
function level(text: string): number {
  const value = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && CODECS.some((codec) => hasLevel(codec, value))) return value;
  throw new InvalidArgumentError(`Expected ${describeLevels(DEFAULT_CODEC)}.`);
}

/** A single image's document has no platforms. */
function documentOf(whole: OptimizeIndexResult, single: boolean, forecasts: ReadonlyMap<Plan, Forecast>): object {
  const { referrers, warnings } = whole;
  const platforms = whole.platforms.map((one) => {
    const forecast = forecasts.get(one.plan);
    return forecast ? { ...one, forecast } : one;
  });
  const [one] = platforms;
  if (!single || !one) return { ...whole, platforms };
  return {
    plan: one.plan,
    ...('forecast' in one ? { forecast: one.forecast } : {}),
    ...(one.result ? { result: one.result } : {}),
    ...(referrers.length > 0 ? { referrers, warnings } : {}),
  };
}

export interface Optimized {
  readonly whole: OptimizeIndexResult;
  /** There is no index around the image. */
  readonly single: boolean;
  readonly profile?: Profile | undefined;
  readonly forecasts: ReadonlyMap<Plan, Forecast>;
}

/** Plans and rewrites as the flags say. */
export async function optimize(
  context: CommandContext,
  source: string,
  target: string,
  args: readonly string[],
  flags: OptimizeFlags,
): Promise<Optimized> {
  if (flags.plan !== undefined && flags.profile)
    throw new HotlayerError('HL_ERR_USAGE', '--plan and --profile exclude each other', {
      hint: 'a plan says already what goes where',
    });
  if (flags.pushProfile && (flags.plan !== undefined || flags.profile === false))
    throw new HotlayerError('HL_ERR_USAGE', '--push-profile needs a profile, not --plan or --no-profile', {
      hint: 'give one with -p, or let the workload be run',
    });
  const { out, signal } = context;
  const open = (platform: string | undefined) => openIndex(source, openingOf(context, platform ? { platform } : {}));
  let index = await open(flags.platform);
  let sink: ImageSink | undefined;
  try {
    // Asked for before the work starts: a target that cannot be written should say so at once.
    sink = flags.dryRun ? undefined : await openSink(target, sinkOptions(context, source));
    if (sink?.onlyImages && !isSingle(index)) {
      const platform = formatPlatform(hostPlatform());
      out.warn(`${target} can hold one image only: that for ${platform} is written (--platform chooses another one)`);
      await index.close();
      index = await open(platform);
    }
    if (sink?.onlyImages && index.images.length === 0) {
      throw new HotlayerError('HL_ERR_USAGE', `${target} cannot hold an image that is not rewritten`, {
        hint: 'write it to oci:DIR:TAG or oci-archive:FILE:TAG',
      });
    }
    if (sink?.onlyImages && flags.pushProfile) {
      throw new HotlayerError('HL_ERR_USAGE', `${target} has no place for a profile beside the image`, {
        hint: 'write it to a registry, oci:DIR:TAG or oci-archive:FILE:TAG',
      });
    }
    const single = isSingle(index);
    if (flags.plan !== undefined && !single) {
      throw new HotlayerError('HL_ERR_USAGE', `--plan is of one image, ${source} has ${index.images.length}`, {
        hint: 'choose one with --platform, or give the profile with -p: every platform gets its own plan from it',
      });
    }
    const { profile: given, workloads } = await givenProfile(context, index, flags);
    let profile = given;
    const forecasts = new Map<Plan, Forecast>();
    const steps: PlatformSteps = {
      given,
      profiled: flags.plan === undefined && flags.profile !== false,
      async run(spooled) {
        profile = (await profileSpooled(context, spooled, args, flags)).profile;
        return profile;
      },
      spool: (image, shared) =>
        spoolImage(image, {
          shared,
          ...tempParentOf(context),
          signal,
          onProgress: readProgress(out, image),
        }),
      plan: (spooled, own) => choosePlan(spooled, own, workloads, flags, forecasts),
      options: {
        codec: flags.codec,
        ...(flags.compressionLevel === undefined ? {} : { level: flags.compressionLevel }),
        ...(flags.hotLevel === undefined ? {} : { hotLevel: flags.hotLevel }),
        ...(flags.jobs === undefined ? {} : { jobs: flags.jobs }),
        chunkSize: flags.chunkSize,
        strict: flags.strict ?? false,
        ...tempParentOf(context),
        signal,
        onProgress: writeProgress(out),
      },
      savePlan: flags.savePlan,
      pushProfile: flags.pushProfile ?? false,
      single,
    };
    const whole = await optimizeWhole(context, index, sink, steps);
    return { whole, single, profile, forecasts };
  } finally {
    await sink?.abort();
    await index.close();
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

/** What -p names: the workloads, and all their runs as one profile. */
async function givenProfile(
  context: CommandContext,
  index: ImageIndex,
  flags: OptimizeFlags,
): Promise<{ profile?: Profile; workloads: readonly WeighedWorkload[] }> {
  if (flags.plan !== undefined || !Array.isArray(flags.profile)) return { workloads: [] };
  const workloads = await readWorkloads(flags.profile);
  const profile = poolWorkloads(workloads);
  const { digest } = profile.image;
  if (digest !== undefined && !index.images.some((image) => image.descriptor.digest === digest)) {
    const here = isSingle(index)
      ? `this image is ${index.entries[0]!.descriptor.digest.slice(0, 19)}…`
      : `which is none of this index's images`;
    context.out.warn(`the profile was made of ${digest.slice(0, 19)}…, ${here}: paths are matched by name`);
  }
  if (!profile.complete)
    context.out.warn(
      'the profile is not complete: events may have been lost, so some hot files may stay behind the landmark',
    );
  return { profile, workloads };
}

/**
 * @param profile as the image's platform has it
 * @param workloads as they were profiled
 * @param forecasts gets what is to be expected of the plan, when it was made from runs that can be played again
 */
async function choosePlan(
  spooled: SpooledImage,
  profile: Profile | undefined,
  workloads: readonly WeighedWorkload[],
  flags: OptimizeFlags,
  forecasts: Map<Plan, Forecast>,
): Promise<Plan> {
  if (flags.plan !== undefined) return readPlan(flags.plan);
  const sizes = new ImageSizes(spooled);
  const plan = planImage(spooled, {
    profile,
    sizes,
    workloads: workloads.length > 1 ? workloadsOn(spooled, workloads) : undefined,
    minimizeWorst: flags.minimizeWorst,
    networks: flags.network,
    maxPrefetch: flags.maxPrefetch,
    chunkSize: flags.chunkSize,
    reader: flags.reader,
  });
  if (profile) {
    const foretold = forecast(spooled, plan, profile, { networks: flags.network, sizes, reader: flags.reader });
    if (foretold) forecasts.set(plan, foretold);
  }
  return plan;
}

export function showResult(out: Output, result: OptimizeResult, target: string, nanos: number): void {
  showLayers(out, result);
  out.result();
  out.result(`Wrote ${target}  ${result.manifest.digest}  in ${formatNanos(nanos)}`);
}

function showLayers(out: Output, result: OptimizeResult): void {
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
  const unchanged = result.layers.filter((layer) => layer.unchanged);
  if (unchanged.length === result.layers.length && unchanged.length > 0) {
    out.note('Already optimized: nothing to do. Every layer is byte for byte what it was.');
  } else {
    for (const { index } of unchanged) out.note(`Layer ${index} is already optimized: nothing to do.`);
  }
}

function change(before: number, after: number): string {
  const percent = before === 0 ? 0 : (100 * (after - before)) / before;
  return `${percent < 0 ? '−' : '+'}${Math.abs(percent).toFixed(1)} %`;
}
