// All that a reference means, optimized: every platform, the index around them, and what lies beside.
import type { Coverage } from '../analyze/carry.js';
import type { Plan } from '../analyze/types.js';
import { withContext } from '../errors.js';
import type { Digest } from '../image/digest.js';
import { formatPlatform } from '../image/platform.js';
import { withManifests } from '../image/rewrite-index.js';
import {
  type Descriptor,
  type Image,
  type ImageIndex,
  type ImageSink,
  type IndexEntry,
  MEDIA,
} from '../image/types.js';
import { SharedSpools } from '../rootfs/shared-spools.js';
import type { SpooledImage } from '../rootfs/spooled-image.js';
import { carryEntry, carryReferrers, type Moves, type ReferrerResult } from './companions.js';
import { checkInterrupted } from './interrupt.js';
import { MadeLayers, type OptimizeOptions, type OptimizeResult, writeOptimized } from './optimize.js';
import { type GivenProfile, putProfileArtifact } from './profile-artifact.js';

export interface PlatformPlan {
  readonly plan: Plan;
  /** How much of the profile this platform has; absent when nothing was prioritized. */
  readonly coverage?: Coverage;
}

export interface OptimizeIndexSteps {
  /** Platforms in the order in which they are worked on; each of `index.images` once. */
  readonly order: readonly Image[];
  /**
   * Uncompresses the layers; they are given back when the platform is done.
   * @param shared for spoolImage
   */
  spool(image: Image, shared: SharedSpools): Promise<SpooledImage>;
  plan(spooled: SpooledImage): Promise<PlatformPlan>;
  options(image: Image): OptimizeOptions;
  /** The profile to be put beside an image; asked for after its plan. Absent: none. */
  attach?(image: Image): GivenProfile | undefined;
}

export interface PlatformResult extends PlatformPlan {
  /** `os/architecture[/variant]`. */
  readonly platform: string;
  /** Absent for a dry run. */
  readonly result?: OptimizeResult;
  /** The artifact with the profile, when one was to be put beside it. */
  readonly profile?: Descriptor;
}

export interface AttestationResult {
  readonly digest: Digest;
  /** Differs from `digest` when the manifest itself named its subject. */
  readonly copiedAs: Digest;
  readonly subjectBefore: Digest;
  readonly subject: Digest;
}

/** An image that was taken along as it is. */
export interface KeptResult {
  readonly platform: string;
  readonly digest: Digest;
  readonly because: string;
}

export interface OptimizeIndexResult {
  readonly reference: string;
  /** In the order of the index. */
  readonly platforms: readonly PlatformResult[];
  readonly kept: readonly KeptResult[];
  /** What was committed: the index, or the manifest of a single image. Absent for a dry run. */
  readonly manifest?: Descriptor;
  readonly attestations: readonly AttestationResult[];
  /** What names one of the manifests as its subject, in the index or beside it. */
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
    const made = new MadeLayers();
    using shared = new SharedSpools(steps.order);
    for (const image of steps.order) {
      try {
        done.set(image.descriptor.digest, await onePlatform(image, sink, steps, made, shared));
      } catch (error) {
        throw withContext(error, { image: `${index.reference} (${formatPlatform(image.platform)})` });
      }
    }
    const platforms = index.images.map((image) => done.get(image.descriptor.digest)!);
    const warnings = platforms.flatMap(coverageWarning);
    if (sink) return await finish(index, sink, platforms, warnings);
    const { reference } = index;
    return { reference, platforms, kept: keptOf(index), attestations: [], referrers: [], warnings };
  } catch (error) {
    await sink?.abort();
    throw withContext(error, { image: index.reference });
  }
}

async function onePlatform(
  image: Image,
  sink: ImageSink | undefined,
  steps: OptimizeIndexSteps,
  made: MadeLayers,
  shared: SharedSpools,
): Promise<PlatformResult> {
  const options = steps.options(image);
  checkInterrupted(options.signal, `${formatPlatform(image.platform)} was optimized`);
  using spooled = await steps.spool(image, shared);
  const planned = await steps.plan(spooled);
  const platform = formatPlatform(image.platform);
  if (!sink) return { platform, ...planned };
  spooled.dropTree();
  const attached = steps.attach?.(image);
  const write = { ...options, spooled: spooled.layers, made, ...(attached && { hot: attached.hot }) };
  const { start, ...result } = await writeOptimized(image, sink, planned.plan, write);
  if (!attached || start === undefined) return { platform, ...planned, result };
  const profile = await putProfileArtifact(sink, result.manifest, attached, start);
  return { platform, ...planned, result, profile };
}

async function finish(
  index: ImageIndex,
  sink: ImageSink,
  platforms: readonly PlatformResult[],
  warnings: string[],
): Promise<OptimizeIndexResult> {
  const moves: Moves = { moved: new Map(), kept: new Set() };
  const { moved } = moves;
  for (const { result } of platforms) note(moves, result!.digestBefore, result!.manifest);
  const attestations: AttestationResult[] = [];
  const referrers: ReferrerResult[] = [];
  const dropped = new Set<Digest>();
  for (const entry of droppedWith(index.entries)) {
    dropped.add(entry.descriptor.digest);
    warnings.push(droppedText(entry));
  }
  for (const entry of index.entries) {
    const { digest } = entry.descriptor;
    if (entry.kind === 'image' || dropped.has(digest)) continue;
    const carried = await carryEntry(index, entry, moves, sink);
    if (entry.kind === 'kept') {
      warnings.push(`${formatPlatform(entry.platform)} ${digest} is kept as it is: ${entry.because}`);
    } else if (entry.kind === 'attestation' && entry.subject && moved.has(entry.subject)) {
      const subject = moved.get(entry.subject)!.digest;
      const copiedAs = moved.get(digest)?.digest ?? digest;
      attestations.push({ digest, copiedAs, subjectBefore: entry.subject, subject });
      warnings.push(
        `attestation ${digest} now stands beside ${subject}, but its in-toto statement still names ${entry.subject}: make it anew where it is checked`,
      );
    } else if (carried) {
      referrers.push(carried);
      if (carried.copiedAs === undefined) dropped.add(digest);
    }
  }
  let manifest = platforms[0]?.result?.manifest ?? index.entries[0]!.descriptor;
  if (!isSingle(index)) {
    const same = moved.size === 0 && dropped.size === 0 ? documentsOf(index) : [];
    for (const descriptor of same) {
      await sink.putBytes(await index.readManifest(descriptor));
      moves.kept.add(descriptor.digest);
      manifest = descriptor;
    }
    if (same.length === 0) {
      const rewritten = withManifests(index, moved, dropped);
      for (const bytes of rewritten.bytes) await sink.putBytes(bytes);
      manifest = rewritten.descriptor;
      for (const [digest, descriptor] of rewritten.nested) note(moves, digest, descriptor);
      if (index.descriptor) note(moves, index.descriptor.digest, manifest);
    }
  }
  const beside = await carryReferrers(index, sink, moves);
  referrers.push(...beside.results);
  for (const { digest, artifactType, subject, copiedAs, because } of referrers) {
    if (copiedAs === undefined) {
      warnings.push(`${artifactType || 'artifact'} ${digest}, about ${subject}, was not copied: ${because}`);
    }
  }
  const carried = new Set(beside.descriptors.map(({ digest }) => digest));
  const profiles = platforms.flatMap(({ profile }) => (profile && !carried.has(profile.digest) ? [profile] : []));
  await sink.commit(manifest, [...beside.descriptors, ...profiles]);
  return { reference: index.reference, platforms, kept: keptOf(index), manifest, attestations, referrers, warnings };
}

/** What was optimized already comes out as it was, and whatever is about it still holds. */
function note({ moved, kept }: Moves, before: Digest, after: Descriptor): void {
  if (before === after.digest) kept.add(before);
  else moved.set(before, after);
}

/** The index documents, nested ones first; none when there are no such, or one is Docker's and becomes OCI's. */
function documentsOf({ descriptor, document, nested }: ImageIndex): readonly Descriptor[] {
  if (!descriptor || !document) return [];
  const listed = [document, ...nested.values()].flatMap(({ manifests }) => manifests);
  const inner = [...nested.keys()].map((digest) => listed.find((one) => one.digest === digest)!);
  // A nested one is stored before what names it.
  const all = [...inner.reverse(), descriptor];
  return all.every(({ mediaType }) => mediaType === MEDIA.index) ? all : [];
}

function keptOf(index: ImageIndex): KeptResult[] {
  return index.entries.flatMap((entry) => {
    if (entry.kind !== 'kept') return [];
    const { descriptor, platform, because } = entry;
    return [{ platform: formatPlatform(platform), digest: descriptor.digest, because }];
  });
}

/** Entries that the new index cannot have: what is not stored, and attestations about that. */
function droppedWith(entries: readonly IndexEntry[]): IndexEntry[] {
  const absent = new Set(entries.filter((entry) => entry.kind === 'absent').map((entry) => entry.descriptor.digest));
  return entries.filter(
    (entry) => entry.kind === 'absent' || (entry.kind === 'attestation' && absent.has(entry.subject!)),
  );
}

/** One line for a platform that has little of what was read on the other one. */
function coverageWarning({ platform, coverage }: PlatformResult): string[] {
  if (!coverage || coverage.wanted === 0 || coverage.found * 2 >= coverage.wanted) return [];
  const { found, wanted } = coverage;
  if (found === 0) return [`${platform} has none of the ${wanted} hot files: nothing is prefetched there`];
  return [`${platform} has only ${found} of the ${wanted} hot files: profile it by itself`];
}

function droppedText({ kind, descriptor }: IndexEntry): string {
  const platform = descriptor.platform ? ` (${formatPlatform(descriptor.platform)})` : '';
  return kind === 'absent'
    ? `${descriptor.digest}${platform} is named by the index, but not stored there: the new index does not have it`
    : `${kind} ${descriptor.digest} is about a manifest that is not stored there: left out`;
}
