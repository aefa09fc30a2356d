// One repository of a registry: manifests and blobs in and out.
import type { Readable } from 'node:stream';
import { HotlayerError } from '../../errors.js';
import { type Digest, isDigest, sha256 } from '../digest.js';
import { INDEX_TYPES, MANIFEST_TYPES, MAX_MANIFEST_BYTES, parseObject } from '../documents.js';
import type { RegistryName } from '../registry-name.js';
import { type Descriptor, MEDIA } from '../types.js';
import { verified } from '../verify.js';
import { makeAuthorizer } from './auth.js';
import { findCredentials } from './credential-files.js';
import {
  type BlobPiece,
  type BlobPlace,
  downloadBlob,
  type PieceStreamer,
  readBlobPiece,
  streamBlobPiece,
} from './download.js';
import { findEndpoint } from './endpoint.js';
import { type Answer, discard, makeExchange } from './exchange.js';
import { makePieceReader, type PieceReader } from './pieces.js';
import { listReferrers } from './referrers-api.js';
import { connectionError, malformed, one } from './registry-error.js';
import { retrying } from './retry.js';
import type { RegistryOptions } from './settings.js';
import { makePiecesStreamer, type PiecesStreamer } from './stream-pieces.js';
import { makeTransport } from './transport.js';
import { type BlobSource, hasBlob, type Pushed, probePush, uploadBlob } from './upload.js';

export interface StoredManifest {
  /** Media type, digest and size; nothing else is known from the registry alone. */
  readonly descriptor: Descriptor;
  readonly bytes: Buffer;
}

export interface Repository {
  /** `host/name`, for messages. */
  readonly where: string;
  readonly host: string;
  readonly name: string;
  /** A manifest or index, checked against the digest when it was asked for by one. @throws HL_ERR_NOT_FOUND, HL_ERR_DIGEST, HL_ERR_LIMIT */
  getManifest(reference: string): Promise<StoredManifest>;
  /** @param reference digest or tag */
  hasManifest(reference: string): Promise<boolean>;
  /**
   * Stores a manifest or index, by its digest or under a tag.
   * @returns whether the registry noted what it is about (`OCI-Subject`); else the list under the subject's tag is ours to keep
   */
  putManifest(reference: string, bytes: Uint8Array, mediaType: string): Promise<{ readonly subjectNoted: boolean }>;
  /** What the referrers API lists; undefined: this registry has no such API. @throws HL_ERR_LIMIT, HL_ERR_IMAGE */
  listReferrers(subject: Digest): Promise<readonly Descriptor[] | undefined>;
  hasBlob(digest: Digest, size: number): Promise<boolean>;
  /** Resumed after breaks; fails with HL_ERR_DIGEST when size or digest are not the descriptor's. */
  openBlob(descriptor: Descriptor): Readable;
  /** The same, not verified. */
  openUnverified(descriptor: Pick<Descriptor, 'digest' | 'size'>): Readable;
  readPiece(digest: Digest, start: number, length: number): Promise<BlobPiece>;
  /**
   * Several pieces, in the order asked for, with one request where the server serves many ranges at once; each shorter
   * only at the end of the blob. Held in memory; not verified.
   */
  readPieces: PieceReader;
  /** The same as the bytes come, tried once; `signal` breaks it off. Where a blob is kept elsewhere is remembered. */
  streamPiece: PieceStreamer;
  /** Several pieces as their bytes come. */
  streamPieces: PiecesStreamer;
  /** Opens so many connections more, for requests that are about to come. Failures do not matter. */
  warmUp(connections: number): void;
  /** @param from other repositories of this registry that may have the blob */
  pushBlob(source: BlobSource, from?: readonly string[]): Promise<Pushed>;
  /** Begins an upload and takes it back. @throws HL_ERR_AUTH and what else keeps us from pushing here */
  checkPush(): Promise<void>;
  /** Breaks off what is under way. Idempotent. */
  close(): Promise<void>;
}

const ACCEPT = [...MANIFEST_TYPES, ...INDEX_TYPES].join(', ');

/**
 * @param actions what will be done; tokens are asked for accordingly
 * @throws HL_ERR_USAGE, HL_ERR_NOT_FOUND (CA file), HL_ERR_NETWORK for a loopback host that does not answer
 */
export async function openRepository(
  { host, repository: name }: Pick<RegistryName, 'host' | 'repository'>,
  actions: 'pull' | 'pull,push',
  options: RegistryOptions = {},
): Promise<Repository> {
  const where = `${host}/${name}`;
  const exchange = await makeExchange(options);
  let base: URL;
  try {
    base = await findEndpoint(host, exchange, options);
  } catch (error) {
    await exchange.close();
    throw error;
  }
  const { authFile, signal } = options;
  const lookUp = () =>
    findCredentials(host, name, {
      env: options.env ?? process.env,
      ...(authFile === undefined ? {} : { authFile }),
      ...(signal === undefined ? {} : { signal }),
    });
  const transport = makeTransport(exchange, base, makeAuthorizer(exchange, base, options, lookUp), options);
  const scopes = [`repository:${name}:${actions}`];
  const place: BlobPlace = { transport, path: `/v2/${name}/blobs/`, scopes, where };
  const elsewhere = new Map<Digest, URL>();
  const manifestUrl = (reference: string): string => `/v2/${name}/manifests/${reference}`;

  async function fetchManifest(reference: string): Promise<StoredManifest> {
    const doing = `pull ${describe(reference)} from ${where}`;
    const answer = await transport.call({
      method: 'GET',
      url: manifestUrl(reference),
      headers: { accept: ACCEPT },
      scopes,
      expect: [200],
      doing,
      once: true,
    });
    const bytes = await readManifestBody(answer, doing);
    const digest = sha256(bytes);
    const claimed = one(answer.headers['docker-content-digest']);
    const expected = isDigest(reference) ? reference : claimed !== undefined && isDigest(claimed) ? claimed : digest;
    for (const other of [expected, claimed]) {
      if (other === undefined || !other.startsWith('sha256:') || other === digest) continue;
      throw new HotlayerError(
        'HL_ERR_DIGEST',
        `${where}: ${describe(reference)} has digest ${digest}, expected ${other.slice(0, 80)}`,
        { hint: 'the registry, or something between it and here, changed it; nothing of it is used' },
      );
    }
    return {
      bytes,
      descriptor: { mediaType: mediaTypeOf(answer, bytes, where, reference), digest, size: bytes.length },
    };
  }

  /** Capped. */
  async function readManifestBody(answer: Answer, doing: string): Promise<Buffer> {
    const parts: Buffer[] = [];
    let size = 0;
    try {
      for await (const chunk of answer.body as AsyncIterable<Buffer>) {
        size += chunk.length;
        if (size > MAX_MANIFEST_BYTES) {
          throw new HotlayerError(
            'HL_ERR_LIMIT',
            `cannot ${doing}: more than ${MAX_MANIFEST_BYTES} bytes (MAX_MANIFEST_BYTES)`,
          );
        }
        parts.push(chunk);
      }
    } catch (cause) {
      throw connectionError(cause, answer.url, true, exchange.secrets);
    } finally {
      answer.body.destroy();
    }
    return Buffer.concat(parts);
  }

  const streamPiece: PieceStreamer = (digest, start, length, signal) =>
    streamBlobPiece(place, elsewhere, { digest, start, length, ...(signal && { signal }) });

  return {
    where,
    host,
    name,
    getManifest: (reference) => retrying(options, () => fetchManifest(reference)),
    async hasManifest(reference) {
      const answer = await transport.call({
        method: 'HEAD',
        url: manifestUrl(reference),
        headers: { accept: ACCEPT },
        scopes,
        expect: [200, 404],
        doing: `ask ${where} for ${describe(reference)}`,
      });
      await discard(answer);
      return answer.status === 200;
    },
    async putManifest(reference, bytes, mediaType) {
      const doing = `push ${describe(reference)} to ${where}`;
      const answer = await transport.call({
        method: 'PUT',
        url: manifestUrl(reference),
        headers: { 'content-type': mediaType, 'content-length': String(bytes.length) },
        body: bytes,
        scopes,
        expect: [200, 201, 202],
        doing,
      });
      await discard(answer);
      const stored = one(answer.headers['docker-content-digest']);
      if (stored?.startsWith('sha256:') && stored !== sha256(bytes))
        throw malformed(answer, doing, `stored other bytes: ${stored.slice(0, 80)}, expected ${sha256(bytes)}`);
      return { subjectNoted: one(answer.headers['oci-subject']) !== undefined };
    },
    listReferrers: (subject) => listReferrers(place, subject, readManifestBody),
    hasBlob: (digest, size) => hasBlob(place, digest, size),
    openBlob: (descriptor) =>
      verified(downloadBlob(place, descriptor), descriptor, `${where}: blob ${descriptor.digest}`),
    openUnverified: (descriptor) => downloadBlob(place, descriptor),
    readPiece: (digest, start, length) => readBlobPiece(place, digest, start, length),
    readPieces: makePieceReader(place),
    streamPiece,
    streamPieces: makePiecesStreamer(place, elsewhere, streamPiece),
    warmUp(connections) {
      for (let i = 0; i < connections; i++) {
        exchange.send({ method: 'GET', url: new URL('/v2/', base) }).then(discard, () => {});
      }
    },
    pushBlob: (source, from = []) =>
      uploadBlob(
        place,
        source,
        from.filter((other) => other !== name),
      ),
    checkPush: () => probePush(place),
    close: () => exchange.close(),
  };
}

function describe(reference: string): string {
  return isDigest(reference) ? `manifest ${reference}` : `tag "${reference}"`;
}

/** The Content-Type; where that says nothing (some registries send text/plain), the document itself. */
function mediaTypeOf(answer: Answer, bytes: Buffer, where: string, reference: string): string {
  const type = one(answer.headers['content-type'])?.split(';')[0]?.trim().toLowerCase();
  if (type !== undefined && [...MANIFEST_TYPES, ...INDEX_TYPES].includes(type)) return type;
  const name = `${where}: ${describe(reference)}`;
  const body = parseObject(bytes, name);
  if (type?.startsWith('application/vnd.docker.distribution.manifest.v1') || body.schemaVersion === 1) {
    throw new HotlayerError('HL_ERR_IMAGE', `${name} is a Docker schema 1 manifest, which is not supported`, {
      hint: 'copy the image with skopeo, which converts it',
    });
  }
  if (typeof body.mediaType === 'string') return body.mediaType;
  return body.manifests === undefined ? MEDIA.manifest : MEDIA.index;
}
