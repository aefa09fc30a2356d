// The members of an image archive (docker-archive, oci-archive), found once and then read by offset: nothing is
// extracted, so no member can land anywhere. An archive that is compressed as a whole is first spooled to a
// temporary file.
import { constants, createReadStream, createWriteStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createGunzip } from 'node:zlib';
import { extract, type Header } from 'tar-stream';
import { HotlayerError } from '../errors.js';
import { showPath } from '../paths.js';
import { makeTempDir, type TempDir } from '../temp.js';
import { formatBytes, GIB, KIB, MIB } from '../units.js';
import { collect, type Files, fileError, readRange, streamOf } from './files.js';
import { SNIFF_BYTES, sniffCompression } from './media.js';

/** The most members of an image archive: an image has a few per layer. */
export const MAX_ARCHIVE_MEMBERS = 100_000;
/** The most bytes that a compressed archive may unfold to. */
export const MAX_ARCHIVE_BYTES = 256 * GIB;
/** How many times its size a compressed archive may unfold to, beyond ARCHIVE_RATIO_FLOOR. Real layers reach about 20. */
export const MAX_ARCHIVE_RATIO = 200;
export const ARCHIVE_RATIO_FLOOR = 256 * MIB;
/** The most links that are followed from one name. The kernel's limit is 40 (path_resolution(7)). */
const MAX_LINKS = 40;

const BLOCK = 512;

type Member = { readonly at: number; readonly size: number } | { readonly target: string };

/** What tar-stream puts into a header beside what its types say: where the payload begins. */
type Located = Header & { byteOffset: number };

export interface ArchiveLimits {
  /** Default MAX_ARCHIVE_BYTES. */
  maxBytes?: number;
  /** Default ARCHIVE_RATIO_FLOOR. */
  ratioFloor?: number;
}

/**
 * Opens an archive, gzip-compressed or not.
 * @param tempParent where a compressed archive is spooled; absent: the system's temporary directory
 * @throws HL_ERR_NOT_FOUND, HL_ERR_IMAGE when it is not a tar, HL_ERR_LIMIT
 */
export async function openTar(where: string, tempParent?: string, limits: ArchiveLimits = {}): Promise<Files> {
  let handle: FileHandle | undefined;
  let temp: TempDir | undefined;
  try {
    handle = await openRegular(where);
    const head = await collect(readRange(handle, 0, SNIFF_BYTES));
    const compression = sniffCompression(head);
    if (compression === 'gzip') {
      temp = makeTempDir(tempParent);
      const spool = join(temp.path, 'archive.tar');
      await gunzipFile(where, spool, (await handle.stat()).size, limits);
      await handle.close();
      handle = await open(spool, 'r');
    } else if (compression !== 'none') {
      throw new HotlayerError(
        'HL_ERR_IMAGE',
        `${where} is compressed with ${compression}; expected a tar, plain or gzip`,
        {
          hint: `decompress it first with ${compression} -d`,
          context: { file: where },
        },
      );
    }
    const { size } = await handle.stat();
    const members = await indexMembers(handle, size, where);
    return tarFiles(where, handle, members, temp);
  } catch (cause) {
    await handle?.close();
    temp?.remove();
    throw fileError(cause, where);
  }
}

async function openRegular(where: string): Promise<FileHandle> {
  const handle = await open(where, constants.O_RDONLY | constants.O_NONBLOCK);
  if ((await handle.stat()).isFile()) return handle;
  await handle.close();
  throw new HotlayerError('HL_ERR_IMAGE', `${where} is not a regular file; expected an image archive`, {
    hint: `a layout directory is written oci:${where}`,
    context: { file: where },
  });
}

function tarFiles(where: string, handle: FileHandle, members: ReadonlyMap<string, Member>, temp?: TempDir): Files {
  /** @throws HL_ERR_IMAGE for a link that leads out of the archive or round in circles */
  const resolve = (path: string): { at: number; size: number } | undefined => {
    let name = path;
    for (let links = 0; links <= MAX_LINKS; links++) {
      const member = members.get(name);
      if (!member || 'at' in member) return member;
      name = member.target;
      if (name === '..' || name.startsWith('../') || name.startsWith('/')) {
        throw new HotlayerError(
          'HL_ERR_IMAGE',
          `${where}: member "${showPath(path)}" is a link that leads out of the archive`,
          {
            context: { file: where, entry: path },
          },
        );
      }
    }
    throw new HotlayerError(
      'HL_ERR_IMAGE',
      `${where}: member "${showPath(path)}" is behind more than ${MAX_LINKS} links`,
      {
        context: { file: where, entry: path },
      },
    );
  };
  const need = (path: string): { at: number; size: number } => {
    const member = resolve(path);
    if (member) return member;
    throw new HotlayerError('HL_ERR_NOT_FOUND', `${where} has no member "${showPath(path)}"`, {
      context: { file: where, entry: path },
    });
  };
  async function* chunks(path: string, start = 0, length = Number.POSITIVE_INFINITY): AsyncGenerator<Buffer> {
    const { at, size } = need(path);
    try {
      yield* readRange(handle, at + start, at + Math.min(size, start + length));
    } catch (cause) {
      throw fileError(cause, where);
    }
  }
  return {
    where,
    size: async (path) => resolve(path)?.size,
    open: (path) => streamOf(chunks(path)),
    head: (path, length) => collect(chunks(path, 0, length)),
    range: (path, start, length) => chunks(path, start, length),
    pathOf: async () => undefined,
    async close() {
      await handle.close();
      temp?.remove();
    },
  };
}

/** Where each member lies. Of two members with the same name the later counts, as in tar. */
async function indexMembers(handle: FileHandle, size: number, where: string): Promise<Map<string, Member>> {
  const members = new Map<string, Member>();
  const broken = (what: string, at: number, cause?: unknown) =>
    new HotlayerError('HL_ERR_IMAGE', `${where}: ${what} at offset ${at}`, {
      hint: 'expected an image archive as docker save, podman save or skopeo write it',
      cause,
      context: { file: where, offset: at },
    });
  let count = 0;
  for (let at = 0; at < size; ) {
    let header: Located | undefined;
    try {
      header = await nextHeader(handle, at, size);
    } catch (cause) {
      throw broken(`no valid tar header (${(cause as Error).message})`, at, cause);
    }
    if (!header) break;
    count += 1;
    if (count > MAX_ARCHIVE_MEMBERS) {
      throw new HotlayerError(
        'HL_ERR_LIMIT',
        `${where} has more than ${MAX_ARCHIVE_MEMBERS} members (MAX_ARCHIVE_MEMBERS)`,
        {
          context: { file: where },
        },
      );
    }
    const payloadAt = at + header.byteOffset;
    const payload = header.type === 'directory' ? 0 : (header.size ?? 0);
    if (payloadAt + payload > size) {
      throw broken(
        `member "${showPath(header.name)}" of ${payload} bytes is cut off, the file ends at ${size}; its data begins`,
        payloadAt,
      );
    }
    const name = memberName(header.name);
    const member = memberOf(header, name, payloadAt);
    if (name !== undefined && member) members.set(name, member);
    at = payloadAt + Math.ceil(payload / BLOCK) * BLOCK;
  }
  if (count === 0) throw broken('no tar header', 0);
  return members;
}

function memberOf(header: Located, name: string | undefined, at: number): Member | undefined {
  switch (header.type) {
    case 'file':
    case 'contiguous-file':
      return { at, size: header.size ?? 0 };
    case 'symlink':
      return { target: posix.normalize(posix.join(posix.dirname(name ?? ''), header.linkname ?? '')) };
    case 'link':
      return { target: posix.normalize(header.linkname ?? '') };
    default:
      return undefined;
  }
}

/** A member's name from the archive's root; undefined for one that points out of it, which nothing can then reach. */
function memberName(name: string): string | undefined {
  const clean = posix.normalize(name).replace(/^\/+/, '');
  return clean === '..' || clean.startsWith('../') ? undefined : clean;
}

/** The first header at or after `at`; undefined when only zeros follow. tar-stream is given no payload but what one read holds. */
async function nextHeader(handle: FileHandle, at: number, size: number): Promise<Located | undefined> {
  const parser = extract();
  let found: Located | undefined;
  let failure: Error | undefined;
  const settled = new Promise<void>((resolve) => {
    parser.on('entry', (header, payload) => {
      payload.on('error', () => {});
      found ??= header as Located;
      resolve();
    });
    parser.on('error', (error) => {
      failure = error;
      resolve();
    });
    parser.on('finish', resolve);
  });
  try {
    let next = at;
    // A header with its extension headers mostly fits the first read.
    for (let length = 8 * KIB; next < size && !found && !failure; length = 64 * KIB) {
      const chunk = await collect(readRange(handle, next, Math.min(next + length, size)));
      if (chunk.length === 0) break;
      next += chunk.length;
      parser.write(chunk);
      // It parses in a microtask; nothing more is read when that was enough.
      await nextTurn();
    }
    if (!found && !failure) {
      (parser as unknown as { end(): void }).end();
      await settled;
    }
    if (failure) throw failure;
    return found;
  } finally {
    parser.destroy();
  }
}

async function gunzipFile(source: string, target: string, compressed: number, limits: ArchiveLimits): Promise<void> {
  const max = Math.min(
    limits.maxBytes ?? MAX_ARCHIVE_BYTES,
    Math.max(limits.ratioFloor ?? ARCHIVE_RATIO_FLOOR, compressed * MAX_ARCHIVE_RATIO),
  );
  let written = 0;
  const bounded = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      written += chunk.length;
      if (written <= max) return done(null, chunk);
      done(
        new HotlayerError(
          'HL_ERR_LIMIT',
          `${source}: ${formatBytes(compressed)} compressed unfold to more than ${formatBytes(max)} (MAX_ARCHIVE_RATIO, MAX_ARCHIVE_BYTES)`,
          {
            hint: 'if you trust the file, decompress it with gzip -d and give hotlayer the tar',
            context: { file: source },
          },
        ),
      );
    },
  });
  try {
    await pipeline(createReadStream(source), createGunzip(), bounded, createWriteStream(target, { mode: 0o600 }));
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && String(cause.code).startsWith('Z_')) {
      throw new HotlayerError('HL_ERR_IMAGE', `${source}: broken gzip data: ${cause.message}`, {
        cause,
        context: { file: source },
      });
    }
    throw fileError(cause, target, 'write');
  }
}
