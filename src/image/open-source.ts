// An image of which nothing but the manifest has been read: for readers that fetch of each layer only what they need.
import { withContext } from '../errors.js';
import type { Digest } from './digest.js';
import { readDockerArchive } from './docker-archive.js';
import { parseConfig, parseManifest, parseObject, serialize } from './documents.js';
import { collect, type Files, type Pieces, piecesOf } from './files.js';
import { blobPath, readConfig, readLayoutIndex, readManifestBytes } from './layout.js';
import { kindOf, layerAt, nameIn, type OpenImageOptions, openFiles } from './open.js';
import { parsePlatform } from './platform.js';
import { parseReference } from './reference.js';
import { selectManifest } from './select.js';
import type { Descriptor, ImageConfig, Layer, Manifest } from './types.js';

/** Manifest and config as they are stored: what is needed to open the image again without asking for them. */
export interface ImageDocuments {
  /** Of the platform's manifest. */
  readonly descriptor: Descriptor;
  readonly manifest: Buffer;
  readonly config: Buffer;
}

export interface ImageSource extends AsyncDisposable {
  /** As the user wrote it. */
  readonly reference: string;
  readonly descriptor: Descriptor;
  readonly manifest: Manifest;
  /** Is read while the caller does other things. A rejection need not be looked at. */
  readonly config: Promise<ImageConfig>;
  /** Both together, for keeping. */
  documents(): Promise<ImageDocuments>;
  /**
   * Bytes [start, start + length) of a layer's blob as they come, fewer only at its end; not verified, and tried once.
   * @throws what reading the place throws; of registries RegistryError
   */
  range(layer: number, start: number, length: number, signal?: AbortSignal): AsyncIterable<Buffer>;
  /** Several pieces of a layer's blob, ascending and disjoint, one after the other; as `range`. */
  pieces(layer: number, pieces: Pieces, signal?: AbortSignal): AsyncIterable<Buffer>;
  /**
   * An annotation of the artifact about this image, of the last one if there are several of that type. Undefined: there
   * is none, or nobody keeps lists of them (places other than registries).
   */
  artifactNote(artifactType: string, annotation: string): Promise<string | undefined>;
  /** For reading it whole, verified. Looks at the blob's size and first bytes. */
  layer(index: number): Promise<Layer>;
  /** Idempotent. */
  close(): Promise<void>;
}

/** @throws as openImage */
export async function openSource(reference: string, options: OpenImageOptions = {}): Promise<ImageSource> {
  const parsed = parseReference(reference);
  let files: Files | undefined;
  try {
    if (options.platform !== undefined) parsePlatform(options.platform);
    files = await openFiles(parsed, reference, options);
    const kind = await kindOf(parsed, files);
    if (kind.kind === 'docker-archive') {
      const { descriptor, manifest, config, layerPaths } = await readDockerArchive(files, kind);
      return makeSource(files, reference, {
        descriptor,
        manifest,
        layerPaths,
        config: Promise.resolve(config),
        bytes: { manifest: serialize(manifest), config: async () => serialize(config) },
      });
    }
    const platform = options.platform === undefined ? {} : { platform: options.platform };
    const descriptor = files.index
      ? await selectManifest(files, files.index, platform)
      : await selectManifest(files, await readLayoutIndex(files), { ...platform, ...nameIn(kind) });
    return await sourceAt(files, reference, descriptor);
  } catch (error) {
    await files?.close();
    throw withContext(error, { image: reference });
  }
}

/**
 * The same from documents that were kept. Nothing is asked for, and nothing reached, before bytes of a layer are wanted.
 * @throws HL_ERR_IMAGE when they are not what they should be
 */
export function sourceFrom(reference: string, documents: ImageDocuments, options: OpenImageOptions = {}): ImageSource {
  const { descriptor } = documents;
  const manifest = parseManifest(documents.manifest, `manifest ${descriptor.digest}`, descriptor.mediaType);
  const root = { descriptor, bytes: documents.manifest };
  let opened: Promise<Files> | undefined;
  const open = () => {
    opened ??= openFiles(parseReference(reference), reference, {
      ...options,
      registry: { ...options.registry, root },
    }).catch((error) => {
      opened = undefined;
      throw withContext(error, { image: reference });
    });
    return opened;
  };
  const layerPaths = manifest.layers.map((layer) => blobPath(layer.digest));
  const config = new Promise<ImageConfig>((resolve) => {
    resolve(parseConfig(documents.config, `config ${manifest.config.digest}`, manifest.layers.length));
  });
  config.catch(() => {});
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= Promise.resolve(opened?.then((files) => files.close())).catch(() => {});
    return closing;
  };
  return {
    reference,
    descriptor,
    manifest,
    config,
    documents: async () => documents,
    async *range(layer, start, length, signal) {
      yield* (await open()).range(layerPaths[layer]!, start, length, signal);
    },
    async *pieces(layer, pieces, signal) {
      yield* piecesOf(await open(), layerPaths[layer]!, pieces, signal);
    },
    artifactNote: async (type, annotation) => artifactNote(await open(), descriptor.digest, type, annotation),
    async layer(index) {
      return layerAt(await open(), manifest, await config, index, layerPaths[index]!);
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

async function artifactNote(
  files: Files,
  subject: Digest,
  artifactType: string,
  annotation: string,
): Promise<string | undefined> {
  const found = (await files.artifacts?.(subject, artifactType))?.at(-1);
  if (!found) return undefined;
  // Lists repeat the annotations (distribution-spec, "Listing Referrers"); not all who keep them do.
  const said = found.annotations?.[annotation];
  if (said !== undefined) return said;
  const name = `manifest ${found.digest}`;
  const { annotations } = parseObject(await readManifestBytes(files, found, name), name);
  const text = (annotations as Record<string, unknown> | undefined)?.[annotation];
  return typeof text === 'string' ? text : undefined;
}

async function sourceAt(files: Files, reference: string, descriptor: Descriptor): Promise<ImageSource> {
  const name = `manifest ${descriptor.digest}`;
  const bytes = await readManifestBytes(files, descriptor, name);
  const manifest = parseManifest(bytes, name, descriptor.mediaType);
  return makeSource(files, reference, {
    descriptor,
    manifest,
    layerPaths: manifest.layers.map((layer) => blobPath(layer.digest)),
    config: readConfig(files, manifest),
    // Its first bytes were peeked at when it was read: that is mostly all of it.
    bytes: { manifest: bytes, config: () => collect(files.open(blobPath(manifest.config.digest))) },
  });
}

interface Read {
  readonly descriptor: Descriptor;
  readonly manifest: Manifest;
  readonly config: Promise<ImageConfig>;
  readonly bytes: { readonly manifest: Buffer; config(): Promise<Buffer> };
  readonly layerPaths: readonly string[];
}

function makeSource(files: Files, reference: string, read: Read): ImageSource {
  const { descriptor, manifest, config, layerPaths } = read;
  config.catch(() => {});
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= files.close();
    return closing;
  };
  return {
    reference,
    descriptor,
    manifest,
    config,
    async documents() {
      await config;
      return { descriptor, manifest: read.bytes.manifest, config: await read.bytes.config() };
    },
    range: (layer, start, length, signal) => files.range(layerPaths[layer]!, start, length, signal),
    pieces: (layer, pieces, signal) => piecesOf(files, layerPaths[layer]!, pieces, signal),
    artifactNote: (type, annotation) => artifactNote(files, descriptor.digest, type, annotation),
    layer: async (index) => layerAt(files, manifest, await config, index, layerPaths[index]!),
    close,
    [Symbol.asyncDispose]: close,
  };
}
