// Named files of an image, wherever they are kept: a directory here, an archive in tar-files.ts. Only regular files
// can be opened, and nothing leads out of the directory or archive.
import { constants } from 'node:fs';
import { type FileHandle, open, realpath, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { Readable } from 'node:stream';
import { errnoOf, HotlayerError } from '../errors.js';
import { KIB } from '../units.js';
import type { Digest } from './digest.js';
import type { Descriptor, Index } from './types.js';

export interface ListedReferrer {
  /** `artifactType` absent: the manifest itself has to be asked. */
  readonly descriptor: Descriptor;
  /** `.sig` of the tag `sha256-HEX.sig`, when that is how it is known. */
  readonly tagSuffix?: string;
}

export interface Files {
  /** How messages call the whole: its path. */
  readonly where: string;
  /** Bytes of a regular file (links followed), undefined when there is none of that name. */
  size(path: string): Promise<number | undefined>;
  /** The file's bytes; a missing file fails the stream with HL_ERR_NOT_FOUND. */
  open(path: string): Readable;
  /** At most `length` bytes from the start. */
  head(path: string, length: number): Promise<Buffer>;
  /**
   * Bytes [start, start + length), as they come, fewer only at the end of the file; not verified, and tried once: whoever
   * wants the rest of a broken stream asks for it. `signal` breaks it off.
   */
  range(path: string, start: number, length: number, signal?: AbortSignal): AsyncIterable<Buffer>;
  /**
   * Several pieces, ascending and disjoint, one after the other, as `range`. Absent: there is no better way than one by
   * one (`piecesOf`).
   */
  pieces?(path: string, pieces: Pieces, signal?: AbortSignal): AsyncIterable<Buffer>;
  /** The file's absolute path on this machine, when it is a file of its own. */
  pathOf(path: string): Promise<string | undefined>;
  /** The bytes of a manifest or index, where these are kept apart from blobs (registries). Absent: they are blobs. */
  openManifest?(descriptor: Descriptor): Readable;
  /** What the reference led to already, as an index of one entry (registries). Absent: index.json says. */
  readonly index?: Index;
  /** Manifests that have this one as their subject, or whose tag spells it, where someone keeps lists (registries). */
  referrers?(subject: Digest): Promise<readonly ListedReferrer[]>;
  /** Of those the manifests of one artifact type, with as few questions as can be; the descriptors may lack annotations. */
  artifacts?(subject: Digest, artifactType: string): Promise<readonly Descriptor[]>;
  /** Idempotent. */
  close(): Promise<void>;
}

/** Of a file, ascending and disjoint. */
export type Pieces = readonly (readonly [offset: number, length: number])[];

/** The bytes of several pieces of a file one after the other, in the best way that there is; tried once. */
export async function* piecesOf(
  files: Pick<Files, 'range' | 'pieces'>,
  path: string,
  pieces: Pieces,
  signal?: AbortSignal,
): AsyncGenerator<Buffer> {
  if (files.pieces) yield* files.pieces(path, pieces, signal);
  else for (const [start, length] of pieces) yield* files.range(path, start, length, signal);
}

const READ_BYTES = 256 * KIB;

/** Bytes [start, end) of an open file; short files end early. Every chunk is a buffer of its own. */
export async function* readRange(handle: FileHandle, start: number, end: number): AsyncGenerator<Buffer> {
  for (let at = start; at < end; ) {
    const length = Math.min(READ_BYTES, end - at);
    const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(length), 0, length, at);
    if (bytesRead === 0) return;
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/**
 * A stream that makes its chunks on demand; destroying it ends the generator, whose `finally` then releases.
 * To Node its chunks are objects: a stream of bytes joins those that wait into one, which copies every byte once more.
 */
export function streamOf(chunks: AsyncIterable<Buffer>): Readable {
  return Readable.from(chunks, { objectMode: true, highWaterMark: 2 });
}

/** A system error of reading or writing `file` as a HotlayerError; others pass unchanged. */
export function fileError(cause: unknown, file: string, verb: 'read' | 'write' = 'read'): unknown {
  const errno = errnoOf(cause);
  if (cause instanceof HotlayerError || errno === undefined) return cause;
  const missing = verb === 'read' && (errno === 'ENOENT' || errno === 'ENOTDIR');
  if (missing) return new HotlayerError('HL_ERR_NOT_FOUND', `${file}: no such file`, { cause, context: { file } });
  const full = errno === 'ENOSPC' || errno === 'EDQUOT';
  return new HotlayerError('HL_ERR_IO', `cannot ${verb} ${file}: ${(cause as Error).message}`, {
    cause,
    context: { file },
    ...(full ? { hint: 'free some space there, or choose another place' } : {}),
  });
}

/**
 * Files beneath a directory. A symbolic link in it is followed only as far as it stays beneath it.
 * @throws HL_ERR_NOT_FOUND when there is no such directory
 */
export async function openDirectory(where: string): Promise<Files> {
  const root = await realpath(where).catch((cause) => {
    throw fileError(cause, where);
  });
  if (!(await stat(root)).isDirectory()) {
    throw new HotlayerError('HL_ERR_IMAGE', `${where} is not a directory; expected an OCI layout`, {
      hint: `an archive file is written oci-archive:${where} or docker-archive:${where}`,
      context: { file: where },
    });
  }

  async function locate(path: string): Promise<string> {
    const real = await realpath(join(root, path));
    if (real !== root && !real.startsWith(root === sep ? sep : root + sep)) {
      throw new HotlayerError('HL_ERR_IMAGE', `${join(where, path)} is a symbolic link that leads out of ${where}`, {
        hint: 'copy the file into the directory',
        context: { file: join(where, path) },
      });
    }
    return real;
  }

  async function withFile<T>(path: string, use: (handle: FileHandle, size: number) => Promise<T>): Promise<T> {
    let handle: FileHandle | undefined;
    try {
      // Not blocking: a FIFO of that name must not hang us.
      handle = await open(await locate(path), constants.O_RDONLY | constants.O_NONBLOCK);
      const found = await handle.stat();
      if (!found.isFile()) {
        throw new HotlayerError('HL_ERR_IMAGE', `${join(where, path)} is not a regular file`, {
          context: { file: join(where, path) },
        });
      }
      return await use(handle, found.size);
    } catch (cause) {
      throw fileError(cause, join(where, path));
    } finally {
      await handle?.close();
    }
  }

  async function* chunks(path: string, start = 0, end = Number.POSITIVE_INFINITY): AsyncGenerator<Buffer> {
    let handle: FileHandle | undefined;
    try {
      handle = await withFile(path, async () => open(await locate(path), constants.O_RDONLY | constants.O_NONBLOCK));
      yield* readRange(handle, start, end);
    } catch (cause) {
      throw fileError(cause, join(where, path));
    } finally {
      await handle?.close();
    }
  }

  return {
    where,
    async size(path) {
      try {
        return await withFile(path, async (_, size) => size);
      } catch (error) {
        if (error instanceof HotlayerError && error.code === 'HL_ERR_NOT_FOUND') return undefined;
        throw error;
      }
    },
    open: (path) => streamOf(chunks(path)),
    head: (path, length) => withFile(path, async (handle) => collect(readRange(handle, 0, length))),
    range: (path, start, length) => chunks(path, start, start + length),
    pathOf: locate,
    async close() {},
  };
}

/** All chunks as one buffer. */
export async function collect(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return Buffer.concat(parts);
}
