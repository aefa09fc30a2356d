// All that a reference means, optimized: every platform, the index around them, and what lies beside.
import type { Coverage } from '../analyze/carry.js';
import type { Plan } from '../analyze/types.js';
import { withContext } from '../errors.js';
import type { Digest } from '../image/digest.js';
import { formatPlatform } from '../image/platform.js';
import { withManifests } from '../image/rewrite-index.js';
import type { Descriptor, Image, ImageIndex, ImageSink, IndexEntry } from '../image/types.js';
import type { SpooledImage } from '../rootfs/spooled-image.js';
import { carryReferrers, copyManifest, type ReferrerResult } from './companions.js';
import { checkInterrupted } from './interrupt.js';
import { type OptimizeOptions, type OptimizeResult, writeOptimized } from './optimize.js';

export interface PlatformPlan {
  readonly plan: Plan;
  /** How much of the profile this platform has; absent when nothing was prioritized. */
  readonly coverage?: Coverage;
}

export interface OptimizeIndexSteps {
  /** Platforms in the order in which they are worked on; each of `index.images` once. */
  readonly order: readonly Image[];
  /** Uncompresses the layers; they are given back when the platform is done. */
  spool(image: Image): Promise<SpooledImage>;
  plan(spooled: SpooledImage): Promise<PlatformPlan>;
  options(image: Image): OptimizeOptions;
}

export interface PlatformResult extends PlatformPlan {
  /** `os/architecture[/variant]`. */
  readonly platform: string;
  /** Absent for a dry run. */
  readonly result?: OptimizeResult;
}

export interface AttestationResult {
  readonly digest: Digest;
  readonly subjectBefore: Digest;
  readonly subject: Digest;
}

export interface OptimizeIndexResult {
  readonly reference: string;
  /** In the order of the index. */
  readonly platforms: readonly PlatformResult[];
  /** What was committed: the index, or the manifest of a single image. Absent for a dry run. */
  readonly manifest?: Descriptor;
  readonly attestations: readonly AttestationResult[];
  readonly referrers: readonly ReferrerResult[];
  /** About the index as a whole; each platform's layers have their own. */
  readonly warnings: readonly string[];
}

/** Whether it is one image without an index around it. */
export function isSingle(index: ImageIndex): boolean {
  return index.document === undefined && index.entries.length === 1;
}

/**
 * Writes everything and commits it; on failure the sink is aborted and nothing is visible.
 * @param sink undefined: only plan
 * @throws as optimizeImage and openIndex's readers
 */
export async function optimizeIndex(
  index: ImageIndex,
  sink: ImageSink | undefined,
  steps: OptimizeIndexSteps,
): Promise<OptimizeIndexResult> {
  try {
    const done = new Map<Digest, PlatformResult>();
    for (const image of steps.order) {
      try {
        done.set(image.descriptor.digest, await onePlatform(image, sink, steps));
      } catch (error) {
        throw withContext(error, { image: `${index.reference} (${formatPlatform(image.platform)})` });
      }
    }
    const platforms = index.images.map((image) => done.get(image.descriptor.digest)!);
    if (!sink) return { reference: index.reference, platforms, attestations: [], referrers: [], warnings: [] };
    return await finish(index, sink, platforms);
  } catch (error) {
    await sink?.abort();
    throw withContext(error, { image: index.reference });
  }
}

async function onePlatform(
  image: Image,
  sink: ImageSink | undefined,
  steps: OptimizeIndexSteps,
): Promise<PlatformResult> {
  const options = steps.options(image);
  checkInterrupted(options.signal, `${formatPlatform(image.platform)} was optimized`);
  using spooled = await steps.spool(image);
  const planned = await steps.plan(spooled);
  const platform = formatPlatform(image.platform);
  if (!sink) return { platform, ...planned };
  const result = await writeOptimized(image, sink, planned.plan, { ...options, spooled: spooled.layers });
  return { platform, ...planned, result };
}

async function finish(
  index: ImageIndex,
  sink: ImageSink,
  platforms: readonly PlatformResult[],
): Promise<OptimizeIndexResult> {
  const moved = new Map<Digest, Descriptor>(
    platforms.map(({ result }) => [result!.digestBefore, result!.manifest] as const),
  );
  const kept = new Set<Digest>();
  const warnings: string[] = [];
  let manifest = platforms[0]!.result!.manifest;
  const attestations: AttestationResult[] = [];
  if (!isSingle(index)) {
    const rewritten = withManifests(index, moved);
    for (const entry of rewritten.dropped) warnings.push(droppedText(entry));
    for (const entry of index.entries) {
      if (entry.kind === 'image' || rewritten.dropped.includes(entry)) continue;
      await copyManifest(index, entry.descriptor, sink);
      kept.add(entry.descriptor.digest);
      if (entry.kind === 'attestation' && entry.subject && moved.has(entry.subject)) {
        const subject = moved.get(entry.subject)!.digest;
        attestations.push({ digest: entry.descriptor.digest, subjectBefore: entry.subject, subject });
        warnings.push(
          `attestation ${entry.descriptor.digest} now stands beside ${subject}, but its in-toto statement still names ${entry.subject}: make it anew where it is checked`,
        );
      }
    }
    await sink.putBytes(rewritten.bytes);
    manifest = rewritten.descriptor;
    if (index.descriptor) moved.set(index.descriptor.digest, manifest);
  }
  const referrers = await carryReferrers(index, sink, moved, kept);
  for (const { digest, artifactType, subject, copiedAs, because } of referrers.results) {
    if (copiedAs === undefined) {
      warnings.push(`${artifactType || 'artifact'} ${digest}, about ${subject}, was not copied: ${because}`);
    }
  }
  await sink.commit(manifest, referrers.descriptors);
  return {
    reference: index.reference,
    platforms,
    manifest,
    attestations,
    referrers: referrers.results,
    warnings,
  };
}

function droppedText({ kind, descriptor }: IndexEntry): string {
  const platform = descriptor.platform ? ` (${formatPlatform(descriptor.platform)})` : '';
  return kind === 'absent'
    ? `${descriptor.digest}${platform} is named by the index, but not stored there: the new index does not have it`
    : `${kind} ${descriptor.digest} is about a manifest that is not stored there: left out`;
}
