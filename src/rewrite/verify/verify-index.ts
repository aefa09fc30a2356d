// Proof for a whole index: each platform as an image of its own, and the index around them.
import type { Plan } from '../../analyze/types.js';
import { HotlayerError } from '../../errors.js';
import type { Digest } from '../../image/digest.js';
import { formatPlatform } from '../../image/platform.js';
import type { Image, ImageIndex } from '../../image/types.js';
import { isSingle } from '../optimize-index.js';
import { compareIndexes } from './compare-indexes.js';
import type { Mismatch, VerifyReport } from './findings.js';
import { type VerifyOptions, verifyImages } from './verify.js';

export interface PlatformReport extends VerifyReport {
  /** `os/architecture[/variant]`. */
  readonly platform: string;
}

export interface IndexReport {
  readonly ok: boolean;
  /** Of what both have, in the order of the original. */
  readonly platforms: readonly PlatformReport[];
  /** Manifests that must be the same in both: images that are kept, attestations, artifacts. */
  readonly unchanged: number;
  /** What differs in the index itself: platforms, attestations, other manifests, annotations. */
  readonly mismatches: readonly Mismatch[];
}

/**
 * @param options a plan is held against the platform that it was made for
 * @throws as verifyImages; HL_ERR_DATA for a plan of none of the platforms
 */
export async function verifyIndexes(
  before: ImageIndex,
  after: ImageIndex,
  options: VerifyOptions = {},
): Promise<IndexReport> {
  const { plan, ...rest } = options;
  const single = isSingle(before);
  if (plan && !single) requirePlatform(plan, before);
  const mismatches: Mismatch[] = [];
  const pairs = pairUp(before, after, mismatches);
  const platforms: PlatformReport[] = [];
  for (const [one, other] of pairs) {
    const own = plan && (single || plan.image.digest === one.descriptor.digest) ? { plan } : {};
    const report = await verifyImages(one, other, { ...rest, ...own });
    platforms.push({ platform: formatPlatform(one.platform), ...report });
  }
  let unchanged = 0;
  if (!single || !isSingle(after) || pairs.length === 0) {
    const moved = new Map<Digest, Digest>(pairs.map(([a, b]) => [a.descriptor.digest, b.descriptor.digest]));
    const compared = await compareIndexes(before, after, moved, options.signal);
    unchanged = compared.unchanged;
    mismatches.push(...compared.mismatches);
  }
  const ok = mismatches.length === 0 && platforms.every((report) => report.ok);
  return { ok, platforms, unchanged, mismatches };
}

function requirePlatform(plan: Plan, before: ImageIndex): void {
  if (before.images.some((image) => image.descriptor.digest === plan.image.digest)) return;
  throw new HotlayerError(
    'HL_ERR_DATA',
    `the plan is of ${plan.image.digest}, which is none of the images of ${before.reference}`,
    { hint: 'give the plan that was saved when this image was optimized', context: { image: before.reference } },
  );
}

function pairUp(before: ImageIndex, after: ImageIndex, mismatches: Mismatch[]): [Image, Image][] {
  const [one, other] = [before.images[0], after.images[0]];
  // Then a platform that differs is a mismatch of the image.
  if (isSingle(before) && isSingle(after) && one && other) return [[one, other]];
  const pairs: [Image, Image][] = [];
  const left = [...after.images];
  for (const image of before.images) {
    const key = keyOf(image);
    const at = left.findIndex((candidate) => keyOf(candidate) === key);
    if (at < 0) mismatches.push({ message: `the image for ${formatPlatform(image.platform)} is missing` });
    else pairs.push([image, left.splice(at, 1)[0]!]);
  }
  for (const image of left) mismatches.push({ message: `an image for ${formatPlatform(image.platform)} was added` });
  return pairs;
}

function keyOf({ platform }: Image): string {
  return `${formatPlatform(platform)} ${platform['os.version'] ?? ''}`;
}
