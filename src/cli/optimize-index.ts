// `optimize` of an index: one platform is run (or was profiled), the others get its profile carried over by path.
import { carryProfile } from '../analyze/carry.js';
import { formatSaved, writePlan } from '../analyze/saved.js';
import { viewOfTree } from '../analyze/tree-view.js';
import type { Plan, Profile } from '../analyze/types.js';
import type { WeighedWorkload } from '../analyze/workloads.js';
import { HotlayerError } from '../errors.js';
import { formatPlatform, hostPlatform, type Image, type ImageIndex, type ImageSink } from '../image/index.js';
import { bestMatches } from '../image/platform.js';
import { showPath } from '../paths.js';
import type { OptimizeOptions } from '../rewrite/optimize.js';
import { type OptimizeIndexResult, optimizeIndex, type PlatformPlan } from '../rewrite/optimize-index.js';
import type { GivenProfile } from '../rewrite/profile-artifact.js';
import type { SharedSpools } from '../rootfs/shared-spools.js';
import type { SpooledImage } from '../rootfs/spooled-image.js';
import { formatBytes, formatCount, formatShare } from '../units.js';
import { hotFilesOf } from './hot-files.js';
import type { CommandContext } from './main.js';
import type { Output } from './output.js';
import { table } from './table.js';

/** The workloads as an image's platform would have them. */
export function workloadsOn({ image, tree }: SpooledImage, workloads: readonly WeighedWorkload[]): WeighedWorkload[] {
  const view = viewOfTree(tree);
  return workloads.map((workload): WeighedWorkload => {
    const from = workload.profile.platform ?? hostPlatform();
    if (formatPlatform(from) === formatPlatform(image.platform)) return workload;
    const { profile } = carryProfile(workload.profile, from, image.platform, (path) => view.at(path));
    return { ...workload, profile };
  });
}

/** What the command does with one image, given to each platform. */
export interface PlatformSteps {
  /** From -p; undefined: none was given. */
  readonly given: Profile | undefined;
  /** False: prioritize nothing (--no-profile). */
  readonly profiled: boolean;
  /** Runs the workload. */
  run(spooled: SpooledImage): Promise<Profile>;
  spool(image: Image, shared: SharedSpools): Promise<SpooledImage>;
  plan(spooled: SpooledImage, profile: Profile | undefined): Promise<Plan>;
  options: OptimizeOptions;
  /** --save-plan */
  readonly savePlan: string | undefined;
  /** --push-profile */
  readonly pushProfile: boolean;
  /** No index around the image. */
  readonly single: boolean;
}

/** @param sink undefined: --dry-run */
export async function optimizeWhole(
  context: CommandContext,
  index: ImageIndex,
  sink: ImageSink | undefined,
  steps: PlatformSteps,
): Promise<OptimizeIndexResult> {
  const { given, profiled } = steps;
  const choose = profiled && !steps.single && index.images.length > 0;
  const source = choose ? sourcePlatform(index, given) : undefined;
  const order = source ? [source, ...index.images.filter((image) => image !== source)] : index.images;
  let profile = given;
  const attached = new Map<Image, GivenProfile>();
  const plan = async (spooled: SpooledImage): Promise<PlatformPlan> => {
    const { image } = spooled;
    if (!profiled) return { plan: await steps.plan(spooled, undefined) };
    profile ??= await steps.run(spooled);
    // A plain directory's profile is of this machine.
    const from = profile.platform ?? hostPlatform();
    const view = viewOfTree(spooled.tree);
    const carried = carryProfile(profile, from, image.platform, (path) => view.at(path));
    const elsewhere = formatPlatform(from) !== formatPlatform(image.platform);
    const own = elsewhere ? carried.profile : profile;
    if (steps.pushProfile) attached.set(image, { json: Buffer.from(formatSaved(own)), hot: hotFilesOf(own) });
    return { plan: await steps.plan(spooled, own), coverage: carried.coverage };
  };
  return optimizeIndex(index, sink, {
    order,
    spool(image, shared) {
      if (!steps.single) context.out.note(`${formatPlatform(image.platform)}  ${image.descriptor.digest}`);
      return steps.spool(image, shared);
    },
    async plan(spooled) {
      const planned = await plan(spooled);
      if (steps.savePlan !== undefined) {
        const file = steps.single ? steps.savePlan : planFile(steps.savePlan, planName(index, spooled.image));
        await writePlan(file, planned.plan);
      }
      return planned;
    },
    options: () => steps.options,
    attach: (image) => attached.get(image),
  });
}

/** The image that the profile was made of, or is to be made of. Undefined: the profile is of none of them. */
function sourcePlatform(index: ImageIndex, given: Profile | undefined): Image | undefined {
  const same = index.images.find((image) => image.descriptor.digest === given?.image.digest);
  if (same) return same;
  const wanted = given?.platform ?? hostPlatform();
  const [best] = bestMatches(wanted, index.images, (image) => image.platform);
  if (best || given) return best;
  const there = index.images.map((image) => formatPlatform(image.platform)).join(', ');
  throw new HotlayerError(
    'HL_ERR_NOT_FOUND',
    `${index.reference} has no image for ${formatPlatform(wanted)}, so its workload cannot be run here; there is ${there}`,
    {
      hint: 'profile it on a machine of such a kind and give the profile with -p',
      context: { image: index.reference },
    },
  );
}

/** The platform; of several images for one, the digest tells them apart. */
function planName(index: ImageIndex, { platform, descriptor }: Image): string {
  const name = formatPlatform(platform);
  const same = index.images.filter((image) => formatPlatform(image.platform) === name);
  return same.length === 1 ? name : `${name}/${descriptor.digest.slice(7, 19)}`;
}

/** `plan.json`, `linux/arm64/v8` → `plan.linux-arm64-v8.json`. */
export function planFile(path: string, platform: string): string {
  const name = platform.replaceAll('/', '-');
  return /\.json$/.test(path) ? path.replace(/\.json$/, `.${name}.json`) : `${path}.${name}`;
}

export function showWhole(out: Output, result: OptimizeIndexResult, single: boolean): void {
  const covered = single ? [] : result.platforms.filter((one) => one.coverage !== undefined);
  if (covered.length > 0) {
    const rows = covered.map(({ platform, coverage, plan }) => [
      platform,
      `${formatCount(coverage!.found)} of ${formatCount(coverage!.wanted)}`,
      formatShare(coverage!.found, coverage!.wanted),
      formatCount(coverage!.renamed),
      formatBytes(coverage!.bytes),
      formatBytes(plan.layers.reduce((sum, layer) => sum + layer.hotBytes, 0)),
    ]);
    const right = 'right' as const;
    const columns = ['platform', 'hot files found', '', 'under another name', 'bytes', 'prefetched'].map((title, i) =>
      i === 0 ? { title } : { title, align: right },
    );
    out.result('How much of the profile each platform has:');
    for (const line of table(columns, rows)) out.result(line);
    for (const { platform, coverage } of covered) showMissed(out, platform, coverage!.missed);
    out.result();
  }
  for (const { platform, profile } of result.platforms) {
    if (profile) out.note(`The profile${single ? '' : ` of ${platform}`} is beside it: ${profile.digest}`);
  }
  for (const { digest, copiedAs, artifactType } of result.referrers) {
    if (copiedAs !== undefined) out.note(`${artifactType} ${digest} was taken along as ${copiedAs}`);
  }
  for (const warning of result.warnings) out.warn(warning);
}

function showMissed(out: Output, platform: string, missed: readonly string[]): void {
  if (missed.length === 0) return;
  out.note(`${platform} lacks:`);
  for (const path of missed.slice(0, out.verbose ? undefined : 5)) out.note(`  ${showPath(path)}`);
  if (!out.verbose && missed.length > 5) out.note(`  … and ${missed.length - 5} more (--verbose, --json)`);
}
