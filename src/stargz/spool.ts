// A layer as a file of its uncompressed tar, readable at any offset, with everything checked on the way: the blob's
// digest (by the image's stream), its compression, the diffID, the tar's structure.
import { closeSync, fstatSync, openSync, read, readSync } from 'node:fs';
import { promisify } from 'node:util';
import { type ErrorContext, HotlayerError } from '../errors.js';
import type { Digest } from '../image/digest.js';
import type { Layer } from '../image/types.js';
import { requireSpace } from '../temp.js';
import { type Bytes, MIB } from '../units.js';
import { gunzipExactly, gunzipFast, isGzip, type Sink } from './codec/gunzip.js';
import { isZstd, unzstd } from './codec/zstd.js';
import { SpoolFile, type SpoolLimits, TarDigester } from './spool-file.js';
import { BLOCK, isHeaderBlock, isZeroBlock } from './tar/header.js';
import type { TarScan } from './tar/scan.js';

export { MAX_LAYER_BYTES, type SpoolLimits } from './spool-file.js';

const readAt = promisify(read);

export interface SpoolOptions {
  readonly limits?: SpoolLimits;
  /** Bytes of the blob read so far, and all of them. Called for every chunk; an odd blob is read twice. */
  readonly onProgress?: (done: Bytes, total: Bytes) => void;
  readonly signal?: AbortSignal;
}

export interface SpooledLayer extends Disposable {
  readonly layer: Layer;
  /** The uncompressed tar. Has no name; readable at any offset, in worker threads of this process, too. */
  readonly fd: number;
  /** Bytes of the uncompressed tar. */
  readonly size: Bytes;
  readonly scan: TarScan;
  /** What is odd about compression and tar, but does no harm. */
  readonly warnings: readonly string[];
  /** Gives the space back. Idempotent. */
  close(): void;
}

/**
 * @param dir where the spool file is made, if one is needed: an uncompressed blob that is a file is used as it is
 * @throws HL_ERR_DIGEST when blob or uncompressed bytes are not what names them; HL_ERR_LAYER when compression or tar are
 *   broken; HL_ERR_LIMIT; HL_ERR_IO; HL_ERR_INTERRUPTED
 */
export async function spoolLayer(layer: Layer, dir: string, options: SpoolOptions = {}): Promise<SpooledLayer> {
  const where: ErrorContext = { layer: layer.descriptor.digest };
  checkInterrupted(options, where);
  if (layer.file !== undefined && layer.compression === 'none') {
    const inPlace = await useInPlace(layer, layer.file, where, options);
    if (inPlace) return inPlace;
  }
  return (await spool(layer, dir, where, options, false)) ?? (await spool(layer, dir, where, options, true))!;
}

/**
 * Fails at once where spooling is sure to fail later: tars are hardly ever smaller than what they were compressed to.
 * @param dir where the spool files will be
 * @throws HL_ERR_IO
 */
export function requireSpoolSpace(layers: readonly Layer[], dir: string): void {
  const spooled = layers.filter((layer) => layer.file === undefined || layer.compression !== 'none');
  const least = spooled.reduce((sum, layer) => sum + layer.descriptor.size, 0);
  requireSpace(dir, least, 'the uncompressed layers');
}

/** @returns undefined when `exactly` is needed */
async function spool(
  layer: Layer,
  dir: string,
  where: ErrorContext,
  options: SpoolOptions,
  exactly: boolean,
): Promise<SpooledLayer | undefined> {
  const warnings: string[] = [];
  const file = new SpoolFile(dir, where, options.limits ?? {});
  const source = layer.open();
  const onAbort = () => source.destroy(interrupted(where, options.signal?.reason));
  options.signal?.addEventListener('abort', onAbort, { once: true });
  try {
    const { head, rest } = await peek(counted(source, layer, where, options));
    const sink: Sink = (bytes) => file.write(bytes);
    if (isGzip(head)) {
      if (layer.compression !== 'gzip')
        warnings.push(`layer ${where.layer} is gzip, though its media type says it is not`);
      if (!exactly) {
        if (!(await gunzipFast(rest, sink))) {
          file.close();
          return undefined;
        }
      } else {
        const { trailing } = await gunzipExactly(rest, sink, where);
        if (trailing > 0)
          warnings.push(`layer ${where.layer}: ${trailing} bytes after the last gzip member are ignored`);
      }
    } else if (isZstd(head)) {
      if (layer.compression !== 'zstd')
        warnings.push(`layer ${where.layer} is zstd, though its media type says it is not`);
      await unzstd(rest, sink, where);
    } else {
      await passThrough(rest, head, sink, layer, where, warnings);
    }
    file.finish();
    checkDiffId(layer, file.digester.digest(), where);
    const scan = file.digester.scan();
    return spooled(layer, file.fd, file.digester.size, scan, warnings, () => file.close());
  } catch (error) {
    file.close();
    throw error;
  } finally {
    options.signal?.removeEventListener('abort', onAbort);
    source.destroy();
  }
}

/** Bytes that are neither gzip nor zstd: a plain tar, whatever the media type says (container runtimes go by the bytes, too). */
async function passThrough(
  source: AsyncIterable<Uint8Array>,
  head: Buffer,
  sink: Sink,
  layer: Layer,
  where: ErrorContext,
  warnings: string[],
): Promise<void> {
  const claimed = layer.compression !== 'none';
  const plain = head.length === 0 ? !claimed : !claimed || (head.length >= BLOCK && looksLikeTar(head));
  // Read to the end in any case: if the digest is wrong, that is the news.
  for await (const chunk of source) {
    if (plain) sink(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
  }
  const start = head.length === 0 ? 'it is empty' : `it starts with ${head.subarray(0, 4).toString('hex')}`;
  if (!plain) {
    throw new HotlayerError('HL_ERR_LAYER', `layer ${where.layer} is neither gzip, zstd nor tar: ${start}`, {
      context: where,
    });
  }
  if (claimed) warnings.push(`layer ${where.layer} is not compressed, though its media type says ${layer.compression}`);
}

function looksLikeTar(head: Buffer): boolean {
  return isHeaderBlock(head, 0) || isZeroBlock(head, 0);
}

/** A blob that is an uncompressed tar in a file. @returns undefined when it turns out to be compressed */
async function useInPlace(
  layer: Layer,
  path: string,
  where: ErrorContext,
  options: SpoolOptions,
): Promise<SpooledLayer | undefined> {
  const { digest, size } = layer.descriptor;
  const fd = openBlob(path, where);
  let keep = false;
  try {
    const head = Buffer.alloc(4);
    const got = readSync(fd, head, 0, 4, 0);
    if (isGzip(head) || isZstd(head.subarray(0, got))) return undefined;
    const found = fstatSync(fd).size;
    if (found !== size) {
      throw new HotlayerError('HL_ERR_DIGEST', `layer ${digest}: ${path} has ${found} bytes, expected ${size}`, {
        context: { ...where, file: path },
      });
    }
    const digester = new TarDigester(where, options.limits ?? {});
    for await (const chunk of counted(readAll(fd), layer, where, options)) digester.push(chunk as Buffer);
    const actual = digester.digest();
    if (actual !== digest) {
      throw new HotlayerError('HL_ERR_DIGEST', `layer ${digest}: ${path} has the digest ${actual}`, {
        hint: 'the image on disk is damaged: copy it again',
        context: { ...where, file: path },
      });
    }
    checkDiffId(layer, actual, where);
    const scan = digester.scan();
    keep = true;
    return spooled(layer, fd, digester.size, scan, [], () => closeSync(fd));
  } finally {
    if (!keep) closeSync(fd);
  }
}

/** Every chunk is valid until the next one. Not a stream: those close the descriptor when reading stops early. */
async function* readAll(fd: number): AsyncGenerator<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(MIB);
  for (let position = 0; ; ) {
    const { bytesRead } = await readAt(fd, buffer, 0, buffer.length, position);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
    position += bytesRead;
  }
}

function openBlob(path: string, where: ErrorContext): number {
  try {
    return openSync(path, 'r');
  } catch (cause) {
    throw new HotlayerError('HL_ERR_IO', `layer ${where.layer}: cannot open ${path}: ${(cause as Error).message}`, {
      cause,
      context: { ...where, file: path },
    });
  }
}

function checkDiffId(layer: Layer, actual: Digest, where: ErrorContext): void {
  if (actual === layer.diffId) return;
  throw new HotlayerError(
    'HL_ERR_DIGEST',
    `layer ${where.layer}: its uncompressed bytes have the digest ${actual}, expected ${layer.diffId} (diff_ids[${layer.index}] of the image's config)`,
    { context: where },
  );
}

function spooled(
  layer: Layer,
  fd: number,
  size: Bytes,
  scan: TarScan,
  warnings: readonly string[],
  release: () => void,
): SpooledLayer {
  let open = true;
  const close = () => {
    if (open) release();
    open = false;
  };
  return {
    layer,
    fd,
    size,
    scan,
    warnings: [...warnings, ...scan.warnings.map((warning) => `layer ${layer.descriptor.digest}: ${warning}`)],
    close,
    [Symbol.dispose]: close,
  };
}

/** The source, with progress told and interruption noticed. */
async function* counted(
  source: AsyncIterable<Uint8Array>,
  layer: Layer,
  where: ErrorContext,
  options: SpoolOptions,
): AsyncGenerator<Uint8Array> {
  let done = 0;
  for await (const chunk of source) {
    checkInterrupted(options, where);
    done += chunk.length;
    yield chunk;
    options.onProgress?.(done, layer.descriptor.size);
  }
}

/** The first block, or less if there is not more, and everything from the start again. */
async function peek(source: AsyncGenerator<Uint8Array>): Promise<{ head: Buffer; rest: AsyncIterable<Uint8Array> }> {
  let head = Buffer.alloc(0);
  while (head.length < BLOCK) {
    const next = await source.next();
    if (next.done) break;
    head = head.length === 0 ? Buffer.from(next.value) : Buffer.concat([head, next.value]);
  }
  async function* rest() {
    if (head.length > 0) yield head as Uint8Array;
    yield* source;
  }
  return { head, rest: rest() };
}

function interrupted(where: ErrorContext, cause?: unknown): HotlayerError {
  if (cause instanceof HotlayerError) return cause;
  return new HotlayerError('HL_ERR_INTERRUPTED', `interrupted while layer ${where.layer} was read`, {
    context: where,
    cause,
  });
}

function checkInterrupted(options: SpoolOptions, where: ErrorContext): void {
  if (options.signal?.aborted) throw interrupted(where, options.signal.reason);
}
