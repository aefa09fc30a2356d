// An image in a registry, seen as the files of a layout: the rest of the room reads it like any other.
import { HotlayerError } from '../../errors.js';
import { KIB } from '../../units.js';
import { type Digest, isDigest } from '../digest.js';
import { type Files, streamOf } from '../files.js';
import { formatRegistryName, type RegistryName } from '../registry-name.js';
import type { Descriptor } from '../types.js';
import type { BlobPiece } from './download.js';
import { makeLimit } from './limit.js';
import { artifactsIn, referrersIn } from './referrers-api.js';
import { RegistryError } from './registry-error.js';
import { openRepository, type StoredManifest } from './repository.js';
import { DEFAULT_PARALLEL, type RegistryOptions } from './settings.js';

/** So much of each blob is asked for when its size and first bytes are wanted: configs and small layers come whole. */
const PEEK_BYTES = 16 * KIB;

export interface RegistryFilesOptions extends RegistryOptions {
  /** What the name leads to, where that is known: it is not asked for. */
  readonly root?: StoredManifest | undefined;
  /** Connections opened while the first answer is under way, for what is asked for next. Absent: none. */
  readonly warmUp?: number | undefined;
}

/** @throws HL_ERR_NOT_FOUND, HL_ERR_AUTH, HL_ERR_NETWORK, HL_ERR_DIGEST, HL_ERR_LIMIT, HL_ERR_IMAGE */
export async function openRegistryFiles(name: RegistryName, options: RegistryFilesOptions): Promise<Files> {
  const repository = await openRepository(name, 'pull', options);
  try {
    if (options.warmUp) repository.warmUp(options.warmUp);
    const root = options.root ?? (await repository.getManifest(name.digest ?? name.tag!));
    const limit = makeLimit(options.parallel ?? DEFAULT_PARALLEL);
    const manifests = new Map<Digest, Buffer>([[root.descriptor.digest, root.bytes]]);
    const peeks = new Map<Digest, Promise<BlobPiece | undefined>>();

    const peek = (digest: Digest): Promise<BlobPiece | undefined> => {
      let piece = peeks.get(digest);
      if (!piece) {
        piece = limit.run(() => repository.readPiece(digest, 0, PEEK_BYTES)).catch(notThere);
        peeks.set(digest, piece);
      }
      return piece;
    };

    async function* blob(digest: Digest): AsyncGenerator<Buffer> {
      const piece = await peek(digest);
      if (!piece) throw missing(digest);
      if (piece.total === undefined) throw noSize(digest);
      if (piece.bytes.length === piece.total) {
        if (piece.total > 0) yield piece.bytes;
        return;
      }
      yield* repository.openUnverified({ digest, size: piece.total }) as AsyncIterable<Buffer>;
    }

    async function* manifest(descriptor: Descriptor): AsyncGenerator<Buffer> {
      const { digest } = descriptor;
      const bytes = manifests.get(digest) ?? (await repository.getManifest(digest)).bytes;
      manifests.set(digest, bytes);
      yield bytes;
    }

    const missing = (digest: Digest) =>
      new HotlayerError('HL_ERR_NOT_FOUND', `${repository.where} has no blob ${digest}`, {
        hint: 'the image is incomplete in that registry; push it again',
      });
    const noSize = (digest: Digest) =>
      new HotlayerError('HL_ERR_NETWORK', `${repository.where} does not say how large blob ${digest} is`);

    return {
      where: formatRegistryName(name),
      index: { schemaVersion: 2, manifests: [root.descriptor] },
      async size(path) {
        const piece = await peek(digestOf(path));
        if (piece && piece.total === undefined) throw noSize(digestOf(path));
        return piece?.total;
      },
      open: (path) => streamOf(blob(digestOf(path))),
      openManifest: (descriptor) => streamOf(manifest(descriptor)),
      async head(path, length) {
        const digest = digestOf(path);
        const piece = await peek(digest);
        if (!piece) throw missing(digest);
        if (length <= PEEK_BYTES || piece.bytes.length === piece.total) return piece.bytes.subarray(0, length);
        return (await limit.run(() => repository.readPiece(digest, 0, length))).bytes;
      },
      range: (path, start, length, signal) => repository.streamPiece(digestOf(path), start, length, signal),
      pieces: (path, pieces, signal) => repository.streamPieces(digestOf(path), pieces, signal),
      async pathOf() {
        return undefined;
      },
      artifacts: (subject, artifactType) => limit.run(() => artifactsIn(repository, subject, artifactType)),
      referrers: (subject) => limit.run(() => referrersIn(repository, subject)),
      close: () => repository.close(),
    };
  } catch (error) {
    await repository.close();
    throw error;
  }
}

function notThere(error: unknown): undefined {
  if (error instanceof RegistryError && error.status === 404) return undefined;
  throw error;
}

/** `blobs/sha256/HEX` → `sha256:HEX`. */
function digestOf(path: string): Digest {
  const digest = path.replace(/^blobs\/sha256\//, 'sha256:');
  if (isDigest(digest)) return digest;
  throw new HotlayerError('HL_ERR_BUG', `${path} is not the path of a blob`);
}
