// Two indexes, the second one made by rewriting the images of the first: what else they list and say must be the same,
// down to the bytes of every blob. Shares no code with the writer but the rule which artifacts remain true.
import { isHotlayerError } from '../../errors.js';
import type { Digest } from '../../image/digest.js';
import { INDEX_TYPES } from '../../image/documents.js';
import { formatPlatform } from '../../image/platform.js';
import { fateOf, statedIn } from '../../image/referrers.js';
import type { Descriptor, ImageIndex, Index, IndexEntry } from '../../image/types.js';
import { verified } from '../../image/verify.js';
import { checkInterrupted } from '../interrupt.js';
import type { Mismatch } from './findings.js';

const REFERENCE_DIGEST = 'vnd.docker.reference.digest';
const NAMES = ['org.opencontainers.image.ref.name', 'io.containerd.image.name'];

/**
 * @param moved digests of the images that were paired, before → after
 * @returns `unchanged`: how many manifests were held against each other byte for byte
 */
export async function compareIndexes(
  before: ImageIndex,
  after: ImageIndex,
  moved: ReadonlyMap<Digest, Digest>,
  signal?: AbortSignal,
): Promise<{ readonly unchanged: number; readonly mismatches: readonly Mismatch[] }> {
  const mismatches: Mismatch[] = [];
  const [one, other] = await Promise.all([companionsOf(before), companionsOf(after)]);
  const found = new Map([...other.values()].map((companion) => [companion.identity(new Map()), companion]));
  const news = new Map(moved);
  let unchanged = 0;
  for (const [digest, companion] of one) {
    const same = found.get(companion.identity(moved));
    if (!same) continue;
    news.set(digest, same.digest);
    unchanged += 1;
    mismatches.push(...(await brokenBlobs(after, same, signal)));
  }
  // What is not in the second index on purpose: what is missing, what is about that, what holds for the old digest only.
  const left = new Set(before.entries.filter((e) => isLeftOut(e, before, one, moved)).map((e) => e.descriptor.digest));
  compareDocuments(documentOf(before), documentOf(after), 'the index');
  return { unchanged, mismatches };

  function compareDocuments(a: Index, b: Index, where: string): void {
    same(`members of ${where}`, membersOf(a), membersOf(b));
    const expected = a.manifests.filter(({ digest }) => !left.has(digest));
    const found = b.manifests;
    if (expected.length !== found.length) {
      same(`how many manifests ${where} lists`, expected.length, found.length);
      const missing = expected.filter((d) => !found.some((e) => e.digest === (news.get(d.digest) ?? d.digest)));
      for (const d of missing) mismatches.push({ message: `${where} no longer lists ${nameOf(d)}` });
      const added = found.filter((e) => !expected.some((d) => e.digest === (news.get(d.digest) ?? d.digest)));
      for (const e of added) mismatches.push({ message: `${where} also lists ${nameOf(e)}` });
      return;
    }
    expected.forEach((descriptor, i) => {
      const [old, now] = [descriptor, found[i]!];
      const what = `entry ${i} of ${where}, ${nameOf(old)}`;
      same(`what is said of ${what}`, describe(old, news), describe(now, new Map()));
      const [inner, rewritten] = [before.nested.get(old.digest), after.nested.get(now.digest)];
      if (inner && rewritten) compareDocuments(inner, rewritten, `index ${old.digest}`);
      else same(`digest of ${what}`, expectedDigest(old.digest), now.digest);
    });
  }

  function expectedDigest(old: Digest): string {
    if (one.has(old) && !news.has(old)) return 'of a manifest that says the same about the new one';
    return news.get(old) ?? old;
  }

  function same(message: string, expected: unknown, found: unknown): void {
    const [a, b] = [canonical(expected), canonical(found)];
    if (a !== b) mismatches.push({ message, expected: a, found: b });
  }
}

/** A manifest beside the images. */
interface Companion {
  readonly digest: Digest;
  readonly body: Record<string, unknown> | undefined;
  readonly subject: Digest | undefined;
  readonly artifactType: string;
  /** Equal for two that say the same; its subject is named by the new digest. */
  identity(moved: ReadonlyMap<Digest, Digest>): string;
}

type Companions = ReadonlyMap<Digest, Companion>;

async function companionsOf(index: ImageIndex): Promise<Companions> {
  const companions = new Map<Digest, Companion>();
  for (const { kind, descriptor } of index.entries) {
    if (kind === 'image' || kind === 'absent') continue;
    const { digest } = descriptor;
    const bytes = await index.readManifest(descriptor);
    const body = /[+/]json$/.test(descriptor.mediaType)
      ? (JSON.parse(String(bytes)) as Record<string, unknown>)
      : undefined;
    const { subject, artifactType } = body
      ? statedIn(bytes, `manifest ${digest}`)
      : { subject: undefined, artifactType: '' };
    const { subject: _, ...others } = body ?? {};
    companions.set(digest, {
      digest,
      body,
      subject,
      artifactType,
      identity: (moved) =>
        subject === undefined ? digest : `${canonical(others)} about ${moved.get(subject) ?? subject}`,
    });
  }
  return companions;
}

function isLeftOut(entry: IndexEntry, index: ImageIndex, one: Companions, moved: ReadonlyMap<Digest, Digest>): boolean {
  if (entry.kind === 'absent') return true;
  if (entry.kind === 'attestation') {
    return index.entries.some((other) => other.kind === 'absent' && other.descriptor.digest === entry.subject);
  }
  if (entry.kind !== 'other') return false;
  const { subject, artifactType } = one.get(entry.descriptor.digest)!;
  return (
    subject !== undefined && (moved.get(subject) ?? subject) !== subject && fateOf({ artifactType }) !== 'still-true'
  );
}

/** Each blob of a manifest that was taken along, read to its end. */
async function brokenBlobs(index: ImageIndex, { digest, body }: Companion, signal?: AbortSignal): Promise<Mismatch[]> {
  const mismatches: Mismatch[] = [];
  const blobs = [body?.config, body?.layers, body?.blobs].flat().filter((blob) => blob !== undefined) as Descriptor[];
  for (const blob of blobs) {
    checkInterrupted(signal, `${digest} was read`);
    if (/nondistributable|foreign/.test(blob.mediaType) && !(await index.hasBlob(blob))) continue;
    try {
      for await (const _ of verified(index.openBlob(blob), blob, `blob ${blob.digest}`));
    } catch (error) {
      if (!isHotlayerError(error)) throw error;
      mismatches.push({ message: `manifest ${digest}: ${error.message}` });
    }
  }
  return mismatches;
}

/** Images side by side under one name become an index of their own. */
function documentOf(index: ImageIndex): Index {
  if (index.document) return index.document;
  const manifests = index.entries.map((entry) => {
    const platform = entry.kind === 'image' ? entry.image.platform : entry.descriptor.platform;
    return { ...entry.descriptor, ...(platform ? { platform } : {}) };
  });
  return { schemaVersion: 2, manifests };
}

function membersOf(index: Index): object {
  const { manifests: _, schemaVersion: __, mediaType: ___, annotations = {}, ...others } = index;
  return { ...others, annotations };
}

/** All that a descriptor says besides which bytes it names. */
function describe(descriptor: Descriptor, news: ReadonlyMap<Digest, Digest>): object {
  const {
    digest,
    mediaType,
    size: _,
    annotations = {},
    data: __,
    urls: ___,
    ...others
  } = descriptor as Descriptor & {
    data?: unknown;
  };
  const kept = Object.entries(annotations).filter(([key]) => !NAMES.includes(key));
  const about = annotations[REFERENCE_DIGEST] as Digest | undefined;
  return {
    ...others,
    kind: INDEX_TYPES.includes(mediaType) ? 'index' : 'manifest',
    annotations: {
      ...Object.fromEntries(kept),
      ...(about === undefined ? {} : { [REFERENCE_DIGEST]: news.get(about) ?? about }),
    },
  };
}

function nameOf({ digest, platform }: Descriptor): string {
  return platform ? `${formatPlatform(platform)} ${digest}` : digest;
}

/** JSON with members in a fixed order. */
function canonical(value: unknown): string {
  const text = JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : inner,
  );
  return text ?? 'absent';
}
