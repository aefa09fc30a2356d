// Manifests that are about another one, as registries know them (distribution-spec, "Listing Referrers", "Referrers Tag
// Schema"), and under the tags that cosign gives them.
import { HotlayerError } from '../../errors.js';
import type { Digest } from '../digest.js';
import { INDEX_TYPES, parseIndex, serialize } from '../documents.js';
import type { ListedReferrer } from '../files.js';
import { digestTag } from '../referrers.js';
import { MAX_INDEX_MANIFESTS } from '../select.js';
import { type Descriptor, type Index, MEDIA } from '../types.js';
import type { BlobPlace } from './download.js';
import { type Answer, discard } from './exchange.js';
import { one } from './registry-error.js';
import type { Repository } from './repository.js';

/** What registries answer that do not know the path. */
const NO_SUCH_API = [400, 403, 404, 405, 406, 501];

/** cosign's suffixes; the list of a registry without the API has none. */
const COSIGN_SUFFIXES = ['.sig', '.att', '.sbom'];

/**
 * All pages of the referrers API.
 * @param read the body of an answer, capped
 * @returns undefined when the registry has no such API
 */
export async function listReferrers(
  { transport, scopes, where }: BlobPlace,
  subject: Digest,
  read: (answer: Answer, doing: string) => Promise<Buffer>,
): Promise<readonly Descriptor[] | undefined> {
  const doing = `ask ${where} for what is about ${subject}`;
  const found: Descriptor[] = [];
  let url: string | URL = `/v2/${where.slice(where.indexOf('/') + 1)}/referrers/${subject}`;
  for (;;) {
    const answer = await transport.call({
      method: 'GET',
      url,
      headers: { accept: MEDIA.index },
      scopes,
      expect: [200, ...NO_SUCH_API],
      doing,
    });
    const type = one(answer.headers['content-type'])?.split(';')[0]?.trim().toLowerCase();
    // Some answer every path with a page for people.
    if (answer.status !== 200 || type !== MEDIA.index) {
      await discard(answer);
      return found.length > 0 ? found : undefined;
    }
    found.push(...parseIndex(await read(answer, doing), `${where}: referrers of ${subject}`).manifests);
    if (found.length > MAX_INDEX_MANIFESTS) {
      throw new HotlayerError(
        'HL_ERR_LIMIT',
        `${where}: more than ${MAX_INDEX_MANIFESTS} manifests are about ${subject} (MAX_INDEX_MANIFESTS)`,
      );
    }
    const next = nextPage(one(answer.headers.link));
    if (next === undefined) return found;
    url = new URL(next, answer.url);
  }
}

/** `</v2/…?n=…>; rel="next"` (RFC 8288). */
function nextPage(link: string | undefined): string | undefined {
  return /<([^>]*)>\s*;[^,]*\brel="?next\b/i.exec(link ?? '')?.[1];
}

/** What is about a manifest, by every way in which it may be known. */
export async function referrersIn(repository: Repository, subject: Digest): Promise<readonly ListedReferrer[]> {
  const [listed = [], fallback, ...byTag] = await Promise.all([
    repository.listReferrers(subject),
    fallbackList(repository, subject),
    ...COSIGN_SUFFIXES.map((suffix) => underTag(repository, subject, suffix)),
  ]);
  // A registry that has got the API may have an old list, too.
  const both = [...listed, ...fallback.manifests.filter((d) => !listed.some((other) => other.digest === d.digest))];
  return [...both.map((descriptor) => ({ descriptor })), ...byTag.flat()];
}

/** Artifacts of one type about a manifest: from the API, or else from the list under the subject's tag. */
export async function artifactsIn(
  repository: Repository,
  subject: Digest,
  artifactType: string,
): Promise<readonly Descriptor[]> {
  const listed = (await repository.listReferrers(subject)) ?? (await fallbackList(repository, subject)).manifests;
  return listed.filter((descriptor) => descriptor.artifactType === artifactType);
}

async function underTag(repository: Repository, subject: Digest, tagSuffix: string): Promise<ListedReferrer[]> {
  const tag = digestTag(subject, tagSuffix);
  // HEAD first: registries count what is pulled.
  if (!(await repository.hasManifest(tag))) return [];
  return [{ descriptor: (await repository.getManifest(tag)).descriptor, tagSuffix }];
}

/** The index under the subject's tag; one without manifests when there is none. */
async function fallbackList(repository: Repository, subject: Digest): Promise<Index> {
  const none: Index = { schemaVersion: 2, mediaType: MEDIA.index, manifests: [] };
  const tag = digestTag(subject, '');
  if (!(await repository.hasManifest(tag))) return none;
  const { descriptor, bytes } = await repository.getManifest(tag);
  // Tags may be called anything.
  if (!INDEX_TYPES.includes(descriptor.mediaType)) return none;
  return parseIndex(bytes, `${repository.where}: ${tag}`, descriptor.mediaType);
}

/**
 * Adds a referrer to the list under its subject's tag, where the registry keeps none itself. Two who do that at once may
 * lose one of the two, as the specification says.
 */
export async function noteReferrer(repository: Repository, subject: Digest, referrer: Descriptor): Promise<void> {
  const list = await fallbackList(repository, subject);
  if (list.manifests.some((descriptor) => descriptor.digest === referrer.digest)) return;
  const bytes = serialize({ ...list, mediaType: MEDIA.index, manifests: [...list.manifests, referrer] });
  await repository.putManifest(digestTag(subject, ''), bytes, MEDIA.index);
}
