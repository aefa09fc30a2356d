// Whole indexes for the tests of this room: optimize without a profile, verify, read the documents back as plain JSON.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openIndex } from '../../src/image/open-index.js';
import { openSink } from '../../src/image/sink.js';
import { type Descriptor, type Index, MEDIA } from '../../src/image/types.js';
import { type OptimizeIndexResult, optimizeIndex } from '../../src/rewrite/optimize-index.js';
import { planWithout } from '../../src/rewrite/plan-fit.js';
import { type IndexReport, verifyIndexes } from '../../src/rewrite/verify/verify-index.js';
import { spoolImage } from '../../src/rootfs/spooled-image.js';
import { addToIndex, putJson } from '../support/layout.js';
import { CHUNK } from './workbench.js';

export async function optimizeAll(source: string, target: string, platform?: string): Promise<OptimizeIndexResult> {
  await using index = await openIndex(source, platform === undefined ? {} : { platform });
  const sink = await openSink(target, { fsync: false });
  return await optimizeIndex(index, sink, {
    order: index.images,
    spool: (image, shared) => spoolImage(image, { shared }),
    plan: async ({ image }) => ({ plan: planWithout(image, { chunkSize: CHUNK, tool: 'test' }) }),
    options: () => ({ chunkSize: CHUNK, codec: 'zlib', level: 1, jobs: 1 }),
  });
}

export async function verifyAll(before: string, after: string): Promise<IndexReport> {
  await using one = await openIndex(before);
  await using other = await openIndex(after);
  return await verifyIndexes(one, other);
}

export function readBlob(dir: string, digest: string): Buffer {
  return readFileSync(join(dir, 'blobs/sha256', digest.slice(7)));
}

export function readJson<T = Index>(dir: string, digest: string): T {
  return JSON.parse(String(readBlob(dir, digest))) as T;
}

export function tableOf(dir: string): Index {
  return JSON.parse(readFileSync(join(dir, 'index.json'), 'utf8')) as Index;
}

/** The index that has this tag in index.json. */
export function tagged(dir: string, tag: string): Index {
  const entry = tableOf(dir).manifests.find((d) => d.annotations?.['org.opencontainers.image.ref.name'] === tag)!;
  return readJson(dir, entry.digest);
}

/** Stores an index of these and names it. @returns the reference */
export function putIndex(dir: string, manifests: readonly object[], tag: string, more: object = {}): string {
  const body = { schemaVersion: 2, mediaType: MEDIA.index, manifests, ...more };
  const index = putJson(dir, body, (more as { mediaType?: string }).mediaType ?? MEDIA.index);
  addToIndex(dir, { ...index, annotations: { 'org.opencontainers.image.ref.name': tag } });
  return `oci:${dir}:${tag}`;
}

/** A descriptor without its name in index.json. */
export function unnamed({ annotations: _, ...descriptor }: Descriptor): Descriptor {
  return descriptor;
}
