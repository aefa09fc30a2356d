// Writing an image into a registry. Each blob is staged in a local file, because its digest has to be known first, and
// goes on its way as soon as it is finished; manifests follow at commit, and the tag is moved last of all. What an
// aborted image leaves behind are blobs that nothing names: the registry's own garbage collection removes them.
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { HotlayerError } from '../../errors.js';
import { makeTempDir } from '../../temp.js';
import { MIB } from '../../units.js';
import type { Digest } from '../digest.js';
import { blobsOf, INDEX_TYPES, MANIFEST_TYPES, MAX_MANIFEST_BYTES, parseIndex } from '../documents.js';
import { fileError, streamOf } from '../files.js';
import { blobPath } from '../layout.js';
import { isForeign } from '../media.js';
import { statedIn } from '../referrers.js';
import { formatRegistryName, type RegistryName } from '../registry-name.js';
import { REF_NAME } from '../select.js';
import { makeStaging } from '../staging.js';
import type { Descriptor, ImageSink } from '../types.js';
import { verified } from '../verify.js';
import { makeLimit } from './limit.js';
import { noteReferrer } from './referrers-api.js';
import { openRepository } from './repository.js';
import { DEFAULT_PARALLEL, type RegistryOptions } from './settings.js';
import type { BlobSource } from './upload.js';

const READ_BYTES = 1 * MIB;

export interface RegistrySinkOptions extends RegistryOptions {
  /** Where blobs are staged; absent: the system's temporary directory. */
  readonly tempParent?: string;
  /** Repositories from which blobs may be mounted; those of other registries are left out. */
  readonly mountFrom?: readonly RegistryName[];
}

/**
 * Finds out first whether we may push there.
 * @throws HL_ERR_AUTH, HL_ERR_NETWORK, HL_ERR_NOT_FOUND, HL_ERR_IO
 */
export async function openRegistrySink(name: RegistryName, options: RegistrySinkOptions): Promise<ImageSink> {
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
  const repository = await openRepository(name, 'pull,push', { ...options, signal });
  try {
    await repository.checkPush();
  } catch (error) {
    await repository.close();
    throw error;
  }
  const temp = makeTempDir(options.tempParent);
  const staging = makeStaging(temp, false);
  const limit = makeLimit(options.parallel ?? DEFAULT_PARALLEL);
  const mountFrom = (options.mountFrom ?? []).filter((o) => o.host === name.host).map((o) => o.repository);
  const uploads = new Map<Digest, Promise<unknown>>();
  let failure: unknown;
  let state: 'open' | 'committed' | 'aborted' = 'open';

  const fileOf = (digest: Digest): string => join(staging.path, blobPath(digest));

  function start(source: BlobSource, from: readonly string[]): Promise<unknown> {
    const known = uploads.get(source.digest);
    if (known) return known;
    const upload = limit.run(() => repository.pushBlob(source, from));
    uploads.set(source.digest, upload);
    // It may fail long before commit looks.
    upload.catch((error: unknown) => {
      failure ??= error;
    });
    return upload;
  }

  function startStaged(digest: Digest, size: number): Promise<unknown> {
    const open = (from: number, end: number): Readable =>
      from === end
        ? Readable.from([])
        : createReadStream(fileOf(digest), { start: from, end: end - 1, highWaterMark: READ_BYTES });
    return start({ digest, size, open }, []);
  }

  /** A manifest or index that was put, or undefined when it is in the repository. */
  async function staged(descriptor: Descriptor): Promise<Buffer | undefined> {
    const { digest, size } = descriptor;
    if (staging.blobs.get(digest) === size && size <= MAX_MANIFEST_BYTES) {
      return readFile(fileOf(digest)).catch((cause) => {
        throw fileError(cause, fileOf(digest));
      });
    }
    if (await repository.hasManifest(digest)) return undefined;
    throw notWritten(descriptor, 'manifest');
  }

  function notWritten({ digest }: Descriptor, what: string): HotlayerError {
    return new HotlayerError('HL_ERR_BUG', `commit of an image whose ${what} ${digest} was not written`);
  }

  async function requireBlob(descriptor: Descriptor, what: string): Promise<void> {
    const { digest, size, mediaType } = descriptor;
    const under = uploads.get(digest);
    if (under) await under;
    else if (staging.blobs.has(digest)) await startStaged(digest, size);
    // The content of foreign layers is elsewhere on purpose.
    else if (isForeign(mediaType)) return;
    else if (!(await limit.run(() => repository.hasBlob(digest, size)))) throw notWritten(descriptor, what);
  }

  /** All that a manifest or index names, then itself; under a tag when it is the root. */
  async function push(descriptor: Descriptor, reference: string): Promise<void> {
    const bytes = await staged(descriptor);
    if (!bytes) {
      if (reference === descriptor.digest) return;
      const stored = await repository.getManifest(descriptor.digest);
      await put(reference, stored.bytes, descriptor);
      return;
    }
    const { digest, mediaType } = descriptor;
    if (INDEX_TYPES.includes(mediaType)) {
      for (const inner of parseIndex(bytes, `index ${digest}`, mediaType).manifests) await push(inner, inner.digest);
    } else if (MANIFEST_TYPES.includes(mediaType)) {
      const blobs = blobsOf(bytes, `manifest ${digest}`, mediaType);
      await Promise.all(blobs.map((blob, i) => requireBlob(blob, i === 0 ? 'config' : `layer ${i - 1}`)));
    }
    await put(reference, bytes, descriptor);
  }

  async function put(reference: string, bytes: Buffer, descriptor: Descriptor): Promise<void> {
    const { subjectNoted } = await repository.putManifest(reference, bytes, descriptor.mediaType);
    const { subject, artifactType } = statedIn(bytes, `manifest ${descriptor.digest}`);
    if (subject === undefined || subjectNoted) return;
    const { mediaType, digest, size, annotations: { [REF_NAME]: _, ...annotations } = {} } = descriptor;
    const more = Object.keys(annotations).length > 0 ? { annotations } : {};
    await noteReferrer(repository, subject, { mediaType, digest, size, artifactType, ...more });
  }

  return {
    async createBlob() {
      if (failure !== undefined) throw failure;
      const writer = await staging.createBlob();
      return {
        write: (chunk) => writer.write(chunk),
        async finish() {
          const { digest, size } = await writer.finish();
          void startStaged(digest, size);
          return { digest, size };
        },
        abort: () => writer.abort(),
      };
    },
    putBytes: (bytes) => staging.putBytes(bytes),
    async copyBlob(descriptor, open) {
      const { digest, size } = descriptor;
      const source: BlobSource = {
        digest,
        size,
        fromStart: true,
        open: (from, end) => pieceOf(verified(open(), descriptor, `blob ${digest}`), from, end),
      };
      await start(source, mountFrom);
    },
    async commit(manifest, referrers = []) {
      if (state !== 'open') throw new HotlayerError('HL_ERR_BUG', `commit of an image that was ${state}`);
      if (failure !== undefined) throw failure;
      await staging.close();
      if (name.digest !== undefined && name.digest !== manifest.digest) {
        throw new HotlayerError(
          'HL_ERR_DIGEST',
          `the image has digest ${manifest.digest}, but is to be written as ${formatRegistryName(name)}`,
          { hint: 'name the target by tag' },
        );
      }
      // First: what they are about need not be there yet, and the image's own tag is moved last of all.
      for (const referrer of referrers) await push(referrer, referrer.annotations?.[REF_NAME] ?? referrer.digest);
      await push(manifest, name.tag ?? manifest.digest);
      state = 'committed';
      await release();
    },
    async abort() {
      if (state === 'open') state = 'aborted';
      stop.abort();
      await release();
    },
  };

  async function release(): Promise<void> {
    await staging.close();
    await Promise.allSettled(uploads.values());
    await repository.close();
    temp.remove();
  }
}

/** Bytes [start, end) of a stream that cannot begin elsewhere; it is read to its end, where it is verified. */
function pieceOf(stream: Readable, start: number, end: number): Readable {
  async function* piece(): AsyncGenerator<Buffer> {
    let at = 0;
    try {
      for await (const chunk of stream as AsyncIterable<Buffer>) {
        const [from, to] = [Math.max(0, start - at), Math.min(chunk.length, end - at)];
        at += chunk.length;
        if (from < to) yield chunk.subarray(from, to);
      }
    } finally {
      stream.destroy();
    }
  }
  return streamOf(piece());
}
