// Blobs on their way into a target: written beside it under their digest, each once, synced to disk before anything
// names them.
import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { HotlayerError } from '../errors.js';
import type { TempDir } from '../temp.js';
import { type Digest, hexOf } from './digest.js';
import { fileError } from './files.js';
import type { BlobWriter, Descriptor } from './types.js';
import { verified } from './verify.js';

export interface Staging {
  /** A directory that has the shape of a layout: `blobs/sha256/…`. */
  readonly path: string;
  /** What has been staged, with sizes. */
  readonly blobs: ReadonlyMap<Digest, number>;
  createBlob(): Promise<BlobWriter>;
  copyBlob(descriptor: Descriptor, open: () => Readable): Promise<void>;
  putBytes(bytes: Uint8Array): Promise<{ digest: Digest; size: number }>;
  /** Refuses all further writing, and closes what is open. */
  close(): Promise<void>;
}

/** @param fsync false: do not wait for the disk */
export function makeStaging(temp: TempDir, fsync: boolean): Staging {
  // A directory in the private one, so that it gets the usual permissions.
  const path = join(temp.path, 'image');
  mkdirSync(join(path, 'blobs', 'sha256'), { recursive: true });
  const blobs = new Map<Digest, number>();
  const writers = new Set<BlobWriter>();
  let closed = false;
  let counter = 0;

  async function createBlob(): Promise<BlobWriter> {
    if (closed) throw new HotlayerError('HL_ERR_BUG', 'a blob was begun after the image was committed or aborted');
    const partial = join(temp.path, `blob-${counter++}`);
    let handle: FileHandle | undefined = await open(partial, 'wx').catch((cause) => {
      throw fileError(cause, partial, 'write');
    });
    const hash = createHash('sha256');
    let size = 0;
    const release = async (): Promise<void> => {
      const open = handle;
      handle = undefined;
      writers.delete(writer);
      await open?.close();
    };
    const writer: BlobWriter = {
      async write(chunk) {
        if (!handle) throw new HotlayerError('HL_ERR_BUG', 'a blob was written to after it was finished or aborted');
        hash.update(chunk);
        size += chunk.length;
        try {
          for (let done = 0; done < chunk.length; ) done += (await handle.write(chunk, done)).bytesWritten;
        } catch (cause) {
          throw fileError(cause, partial, 'write');
        }
      },
      async finish() {
        if (!handle) throw new HotlayerError('HL_ERR_BUG', 'a blob was finished twice');
        const digest: Digest = `sha256:${hash.digest('hex')}`;
        try {
          const twin = blobs.has(digest);
          if (fsync && !twin) await handle.datasync();
          await release();
          if (twin) await rm(partial, { force: true });
          else await rename(partial, join(path, 'blobs', 'sha256', hexOf(digest)));
        } catch (cause) {
          await writer.abort();
          throw fileError(cause, partial, 'write');
        }
        blobs.set(digest, size);
        return { digest, size };
      },
      async abort() {
        await release();
        await rm(partial, { force: true });
      },
    };
    writers.add(writer);
    return writer;
  }

  return {
    path,
    blobs,
    createBlob,
    async copyBlob(descriptor, openSource) {
      if (blobs.has(descriptor.digest)) return;
      const writer = await createBlob();
      try {
        const source = verified(openSource(), descriptor, `blob ${descriptor.digest}`);
        for await (const chunk of source as AsyncIterable<Buffer>) await writer.write(chunk);
        await writer.finish();
      } finally {
        await writer.abort();
      }
    },
    async putBytes(bytes) {
      const writer = await createBlob();
      try {
        await writer.write(bytes);
        return await writer.finish();
      } finally {
        await writer.abort();
      }
    },
    async close() {
      closed = true;
      await Promise.all([...writers].map((writer) => writer.abort()));
    },
  };
}

/** Makes a finished file or a directory's entries survive a power cut. */
export async function syncPath(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Writes a small file and syncs it. */
export async function writeSynced(path: string, bytes: Uint8Array, fsync: boolean): Promise<void> {
  const handle = await open(path, 'w');
  try {
    await handle.writeFile(bytes);
    if (fsync) await handle.datasync();
  } finally {
    await handle.close();
  }
}
