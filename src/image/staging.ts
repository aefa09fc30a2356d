// Blobs on their way into a target: written beside it under their digest, each once, synced to disk before anything
// names them.
import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { HotlayerError } from '../errors.js';
import { requireSpace, type TempDir } from '../temp.js';
import { type Bytes, KIB } from '../units.js';
import { type Digest, hexOf } from './digest.js';
import { fileError } from './files.js';
import type { BlobWriter, Descriptor } from './types.js';
import { type Named, requireSame, wrongSize } from './verify.js';

export interface Staging {
  /** A directory that has the shape of a layout: `blobs/sha256/…`. */
  readonly path: string;
  /** What has been staged, with sizes. */
  readonly blobs: ReadonlyMap<Digest, number>;
  /** As ImageSink's. */
  requireSpace(bytes: Bytes): void;
  createBlob(): Promise<BlobWriter>;
  copyBlob(descriptor: Descriptor, open: () => Readable): Promise<void>;
  putBytes(bytes: Uint8Array): Promise<{ digest: Digest; size: number }>;
  /** Refuses all further writing, and closes what is open. */
  close(): Promise<void>;
}

interface StagedWriter extends BlobWriter {
  /** All of them in one call to the system. */
  writeAll(chunks: readonly Uint8Array[]): Promise<void>;
  /** @throws HL_ERR_DIGEST when it has become another blob than the one that is expected */
  finish(expected?: Named): ReturnType<BlobWriter['finish']>;
}

/** So much of a blob that is copied is written at once. */
const WRITE_BYTES = 512 * KIB;

/** @param fsync false: do not wait for the disk */
export function makeStaging(temp: TempDir, fsync: boolean): Staging {
  // A directory in the private one, so that it gets the usual permissions.
  const path = join(temp.path, 'image');
  mkdirSync(join(path, 'blobs', 'sha256'), { recursive: true });
  const blobs = new Map<Digest, number>();
  const writers = new Set<BlobWriter>();
  let closed = false;
  let counter = 0;

  /** A writer whose `finish` can be told what the blob has to be. */
  async function begin(): Promise<StagedWriter> {
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
    const writer: StagedWriter = {
      write: (chunk) => writer.writeAll([chunk]),
      async writeAll(chunks) {
        const file = handle;
        if (!file) throw new HotlayerError('HL_ERR_BUG', 'a blob was written to after it was finished or aborted');
        try {
          const writing = file.writev(chunks);
          // While a thread of the pool writes, this one hashes.
          for (const chunk of chunks) {
            size += chunk.length;
            hash.update(chunk);
          }
          let rest = (await writing).bytesWritten;
          for (const chunk of chunks) {
            const done = Math.min(rest, chunk.length);
            rest -= done;
            for (let at = done; at < chunk.length; ) at += (await file.write(chunk, at)).bytesWritten;
          }
        } catch (cause) {
          throw fileError(cause, partial, 'write');
        }
      },
      async finish(expected) {
        if (!handle) throw new HotlayerError('HL_ERR_BUG', 'a blob was finished twice');
        const digest: Digest = `sha256:${hash.digest('hex')}`;
        try {
          if (expected) requireSame(nameOf(expected), expected, { digest, size });
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
    requireSpace(bytes) {
      requireSpace(temp.path, bytes, 'the new layers', 'write the image elsewhere');
    },
    createBlob: begin,
    async copyBlob(descriptor, openSource) {
      if (blobs.has(descriptor.digest)) return;
      const writer = await begin();
      const source = openSource();
      let writing = Promise.resolve();
      try {
        let size = 0;
        for await (const chunks of batches(source)) {
          size += chunks.reduce((sum, chunk) => sum + chunk.length, 0);
          if (size > descriptor.size) throw wrongSize(nameOf(descriptor), descriptor, 'more than that');
          await writing;
          // The next batch is gathered while this one is written.
          writing = writer.writeAll(chunks);
          writing.catch(() => {});
        }
        await writing;
        // The digest that names the blob is the one that proves it: the bytes are hashed once.
        await writer.finish(descriptor);
      } finally {
        source.destroy();
        await writing.catch(() => {});
        await writer.abort();
      }
    },
    async putBytes(bytes) {
      const writer = await begin();
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

/** What the stream has, in pieces of WRITE_BYTES or a little more. */
async function* batches(source: Readable): AsyncGenerator<Buffer[]> {
  let batch: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of source as AsyncIterable<Buffer>) {
    batch.push(chunk);
    bytes += chunk.length;
    if (bytes < WRITE_BYTES) continue;
    yield batch;
    [batch, bytes] = [[], 0];
  }
  if (bytes > 0) yield batch;
}

const nameOf = ({ digest }: Named): string => `blob ${digest}`;

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
