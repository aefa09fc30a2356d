// From a reference to an image whose layers are read as they are needed: documents and TOCs are fetched (or found in the
// cache), all at the same time, and nothing else. A layer that cannot be read lazily is fetched whole.
import { HotlayerError, isHotlayerError, withContext } from '../errors.js';
import type { Digest } from '../image/digest.js';
import { collect, type Pieces } from '../image/files.js';
import type { OpenImageOptions } from '../image/open.js';
import { type ImageSource, openSource, sourceFrom } from '../image/open-source.js';
import { formatPlatform, hostPlatform } from '../image/platform.js';
import { formatReference, parseReference } from '../image/reference.js';
import type { Descriptor, ImageConfig, Manifest } from '../image/types.js';
import { ANNOTATION } from '../stargz/annotations.js';
import type { BlobSource } from '../stargz/blob-source.js';
import { fetchToc, STARGZ_LIMITS, type StoredToc } from '../stargz/reader.js';
import { parseToc, type Toc } from '../stargz/toc-parse.js';
import { formatBytes, KIB, MIB } from '../units.js';
import type { Cache } from './cache.js';
import { keepToc, readKeptToc } from './layer-directory.js';
import type { LazyLayerArgs } from './lazy-fs.js';
import { LazyLayer } from './lazy-layer.js';
import { StartFetch } from './start-fetch.js';
import { PROFILE_ARTIFACT, parseStart, START_ANNOTATION, type StartGroup } from './start-map.js';
import { holdsTar, keepTar } from './tar-store.js';

/** When a registry is asked what a name leads to: only when the cache does not know, each time, never. */
export type Pull = 'missing' | 'always' | 'never';

export interface OpenLazyOptions extends OpenImageOptions {
  readonly cache: Cache;
  /** Default missing. */
  readonly pull?: Pull;
  /** True: nothing is fetched at all. */
  readonly offline?: boolean;
  /** True: what the image says of its own start is fetched while its TOCs are, and known to those who read. */
  readonly useStart?: boolean;
  /** What the user should know, one line each: layers that had to be fetched whole. */
  readonly onNote?: (line: string) => void;
  readonly signal?: AbortSignal;
}

export interface LazyImage extends AsyncDisposable {
  readonly reference: string;
  readonly descriptor: Descriptor;
  readonly manifest: Manifest;
  readonly config: ImageConfig;
  /** By index; undefined for layers that are whole. */
  readonly layers: readonly (LazyLayer | undefined)[];
  /** For openLazyFs, in any thread or process that sees the cache. */
  readonly fs: readonly LazyLayerArgs[];
  /** What the image says of its own start, on its way (unless offline); absent: it says nothing, or that is not asked for. */
  readonly start?: StartFetch;
  /** Something was kept of each layer that is read lazily, or there is none: perhaps all that a start needs. */
  readonly kept: boolean;
  /** Bytes and requests of documents, TOCs and whole layers. */
  readonly fetched: { readonly requests: number; readonly bytes: number };
  /** Lets the origin go; the cache stays. Idempotent. */
  close(): Promise<void>;
}

/** @throws as openImage; HL_ERR_NETWORK when it is not in the cache and nothing may be fetched */
export async function openLazyImage(reference: string, options: OpenLazyOptions): Promise<LazyImage> {
  const source = await locate(reference, options);
  let start: StartFetch | undefined;
  const close = () => {
    start?.close();
    return source.close();
  };
  try {
    const meter = { requests: 0, bytes: 0 };
    // Before the layers are opened: that keeps something of each.
    const fresh = freshLayers(source, options);
    const begun = countDown(source.manifest.layers.length);
    const opening = Promise.all(
      source.manifest.layers.map((descriptor, index) => {
        const tocComes = begun.one();
        return openLayer(source, descriptor, index, options, meter, tocComes).finally(tocComes);
      }),
    );
    opening.catch(() => {});
    const told = options.useStart ? source.manifest.annotations?.[START_ANNOTATION] : undefined;
    // Asked for when the TOCs begin to come: without them it is of no use, and the container cannot start. What is asked
    // for now arrives a round trip later, so that until then they have the line for themselves.
    if (told !== undefined) start = fetchStart(source, told, fresh, options, begun.all);
    const asked = options.useStart && told === undefined ? askForStart(source, fresh, options) : undefined;
    const layers = await opening;
    const found = asked && (await withinReason(asked));
    if (found !== undefined) start = fetchStart(source, found, fresh, options);
    const config = await source.config;
    if (parseReference(reference).kind === 'registry') await keep(reference, source, options);
    return {
      reference,
      descriptor: source.descriptor,
      manifest: source.manifest,
      config,
      layers: layers.map((layer) => layer.lazy),
      fs: layers.map((layer) => layer.args),
      ...(start && { start }),
      kept: !fresh.some(Boolean),
      fetched: meter,
      close,
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw withContext(error, { image: reference });
  }
}

/** `all` resolves when each of so many was called; calling one again does nothing. */
function countDown(count: number): { readonly all: Promise<void>; one(): () => void } {
  let resolve!: () => void;
  const all = new Promise<void>((give) => {
    resolve = give;
  });
  let left = count;
  return {
    all,
    one() {
      let called = false;
      return () => {
        if (called) return;
        called = true;
        left -= 1;
        if (left === 0) resolve();
      };
    },
  };
}

/** Of each layer, whether nothing of it is kept. */
function freshLayers({ manifest }: ImageSource, { cache, offline }: OpenLazyOptions): boolean[] {
  return manifest.layers.map((layer) => {
    const digest = layer.annotations?.[ANNOTATION.tocDigest];
    return !offline && digest !== undefined && !cache.hasLayer(digest as Digest);
  });
}

/** How long the profile of an image may take longer than its TOCs, milliseconds: it is to save time. */
const PROFILE_PATIENCE_MS = 500;

/** What a profile beside the image says of its start: it is asked for where nothing of a layer is here, and only then. */
function askForStart(
  source: ImageSource,
  fresh: readonly boolean[],
  options: OpenLazyOptions,
): Promise<string | undefined> | undefined {
  if (!fresh.some(Boolean)) return undefined;
  return source.artifactNote(PROFILE_ARTIFACT, START_ANNOTATION).catch((error) => {
    options.onNote?.(`no profile of the image: ${(error as Error).message}`);
    return undefined;
  });
}

async function withinReason(answer: Promise<string | undefined>): Promise<string | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, PROFILE_PATIENCE_MS, undefined);
  });
  const first = await Promise.race([answer, late]);
  clearTimeout(timer);
  return first;
}

/**
 * Layers of which something is kept are left to whoever knows what that is. Offline it is only said what a start needs.
 * @param text as formatStart @param fresh see freshLayers @param when to begin; absent: at once
 */
function fetchStart(
  source: ImageSource,
  text: string,
  fresh: readonly boolean[],
  { onNote }: OpenLazyOptions,
  when?: Promise<void>,
): StartFetch | undefined {
  const { layers } = source.manifest;
  try {
    const groups = parseStart(
      text,
      layers.map((layer) => layer.size),
    );
    const ask = ({ layer, pieces }: StartGroup, signal: AbortSignal) => source.pieces(layer, pieces, signal);
    return new StartFetch(groups, ask, ({ layer }) => fresh[layer]!, when);
  } catch (error) {
    // Without it the start is slower, and that is all.
    onNote?.((error as Error).message);
    return undefined;
  }
}

const platformOf = ({ platform }: OpenImageOptions): string => platform ?? formatPlatform(hostPlatform());

/** How a name stands in the cache: docker.io/library/app:latest, however short it was written. */
const nameOf = (reference: string): string => formatReference(parseReference(reference));

async function locate(reference: string, options: OpenLazyOptions): Promise<ImageSource> {
  const parsed = parseReference(reference);
  const { cache, offline, pull = 'missing' } = options;
  if (parsed.kind !== 'registry') return openSource(reference, options);
  // A digest leads to the same for ever.
  if (pull !== 'always' || offline || parsed.name.digest !== undefined) {
    const descriptor = cache.name(nameOf(reference), platformOf(options));
    const manifest = descriptor && cache.document(descriptor.digest);
    const config = manifest && cache.document(configDigest(manifest));
    if (descriptor && manifest && config) return sourceFrom(reference, { descriptor, manifest, config }, options);
  }
  if (offline || pull === 'never') throw notCached(`${reference} is not in the cache`);
  const warmUp = options.registry?.warmUp ?? WARM;
  return openSource(reference, { ...options, registry: { ...options.registry, warmUp } });
}

/** Connections beside the first: TOCs, config and what a start needs are asked for at once. */
const WARM = 5;

function notCached(what: string): HotlayerError {
  return new HotlayerError('HL_ERR_NETWORK', `${what}, and nothing may be fetched`, {
    hint: 'run it once without --offline and --pull never',
  });
}

function configDigest(manifest: Buffer): Digest {
  return (JSON.parse(manifest.toString('utf8')) as Manifest).config.digest;
}

async function keep(reference: string, source: ImageSource, options: OpenLazyOptions): Promise<void> {
  const { descriptor, manifest, config } = await source.documents();
  options.cache.keepDocument(manifest);
  options.cache.keepDocument(config);
  options.cache.keepName(nameOf(reference), platformOf(options), descriptor);
}

interface OpenedLayer {
  readonly lazy?: LazyLayer;
  readonly args: LazyLayerArgs;
}

interface Meter {
  requests: number;
  bytes: number;
}

async function openLayer(
  source: ImageSource,
  descriptor: Descriptor,
  index: number,
  options: OpenLazyOptions,
  meter: Meter,
  tocComes: () => void,
): Promise<OpenedLayer> {
  const name = `layer ${index} (${descriptor.digest})`;
  const tocDigest = descriptor.annotations?.[ANNOTATION.tocDigest] as Digest | undefined;
  if (!/^sha256:[0-9a-f]{64}$/.test(tocDigest ?? '')) {
    return whole(source, descriptor, index, name, 'its descriptor names no TOC digest', options, meter);
  }
  const directory = options.cache.use('layers', tocDigest!);
  let toc: (() => Toc) | undefined;
  if (!readKeptToc(directory, tocDigest!)) {
    if (options.offline) throw notCached(`the TOC of ${name} is not in the cache`);
    const found = await fetchVerifiableToc(source, descriptor, index, name, tocDigest!, options, meter, tocComes);
    if (typeof found === 'string') return whole(source, descriptor, index, name, found, options, meter);
    keepToc(directory, found.stored);
    toc = found.toc;
  }
  const pieces = (wanted: Pieces, signal: AbortSignal) => source.pieces(index, wanted, signal);
  const lazy = new LazyLayer({ name, directory, tocDigest: tocDigest!, pieces, toc });
  return { lazy, args: { kind: 'stargz', directory, tocDigest: tocDigest!, inode: lazy.inode, name } };
}

/**
 * As the image says; otherwise about what a TOC takes: 45 bytes a file, mostly of digests, which do not compress; 1 % of
 * a usual layer.
 */
function tailFor({ size, annotations }: Descriptor): number {
  const said = Number(annotations?.[ANNOTATION.tocOffset] ?? Number.NaN);
  if (Number.isSafeInteger(said) && said > 0 && said < size) return size - said;
  return Math.min(2 * MIB, Math.max(32 * KIB, Math.ceil(size / 100)));
}

/**
 * The TOC, or why the layer cannot be read lazily. What we wrote ourselves is fit for that: it is read when it is needed,
 * while the thread that serves the files reads it, too, instead of before.
 */
async function fetchVerifiableToc(
  source: ImageSource,
  descriptor: Descriptor,
  index: number,
  name: string,
  tocDigest: Digest,
  options: OpenLazyOptions,
  meter: Meter,
  tocComes: () => void,
): Promise<{ readonly stored: StoredToc; readonly toc: () => Toc } | string> {
  const blob: BlobSource = {
    name,
    size: descriptor.size,
    read: (offset, length) =>
      persistently(async () => {
        meter.requests += 1;
        const bytes = await collect(noticed(source.range(index, offset, length, options.signal), tocComes));
        meter.bytes += bytes.length;
        return bytes;
      }),
  };
  try {
    const stored = await fetchToc(blob, { tocDigest, tail: tailFor(descriptor) });
    const parse = () => parseToc(stored.json, name, stored.footer.tocOffset, STARGZ_LIMITS);
    if (descriptor.annotations?.[ANNOTATION.tocOffset] !== undefined) return { stored, toc: parse };
    const toc = parse();
    return toc.unverifiable ?? { stored, toc: () => toc };
  } catch (error) {
    if (!isHotlayerError(error) || error.code !== 'HL_ERR_STARGZ') throw error;
    return error.message.replace(`${name}: `, '');
  }
}

/** The same, and `onBytes` is called with each piece. */
async function* noticed(bytes: AsyncIterable<Buffer>, onBytes: () => void): AsyncGenerator<Buffer> {
  for await (const piece of bytes) {
    onBytes();
    yield piece;
  }
}

const ATTEMPTS = 5;

/** Tries again what may pass (RegistryError.transient), with growing pauses. */
async function persistently<T>(attempt: () => Promise<T>): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await attempt();
    } catch (error) {
      if ((error as { transient?: unknown }).transient !== true || failures >= ATTEMPTS) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100 * 2 ** failures));
    }
  }
}

async function whole(
  source: ImageSource,
  descriptor: Descriptor,
  index: number,
  name: string,
  why: string,
  options: OpenLazyOptions,
  meter: Meter,
): Promise<OpenedLayer> {
  const config = await source.config;
  const directory = options.cache.use('tars', config.rootfs.diff_ids[index]!);
  if (!holdsTar(directory)) {
    if (options.offline) throw notCached(`${name} is not in the cache`);
    options.onNote?.(
      `${name} is fetched whole (${formatBytes(descriptor.size)}): ${why}; hotlayer optimize makes an image that is read lazily`,
    );
    const [{ spoolLayer }, { makeTempDir }] = await Promise.all([import('../stargz/spool.js'), import('../temp.js')]);
    using temp = makeTempDir(directory, 'spool');
    const { signal } = options;
    using spooled = await spoolLayer(await source.layer(index), temp.path, signal ? { signal } : {});
    meter.requests += 2;
    meter.bytes += descriptor.size;
    keepTar(directory, spooled.fd, spooled.size);
  }
  return { args: { kind: 'tar', directory, name } };
}
