// A lazily read image without a kernel: the file system, its answerer and the service that fetches, in one thread. Bytes
// come from a layout on disk, through a place that breaks what it is told to break.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Pieces } from '../../src/image/files.js';
import { Cache } from '../../src/lazy/cache.js';
import { ChunkService, type ServiceOptions } from '../../src/lazy/chunk-service.js';
import { fsArgs } from '../../src/lazy/fs-args.js';
import { createAnswerer, createFs } from '../../src/lazy/fs-module.js';
import type { LazyFsArgs } from '../../src/lazy/lazy-fs.js';
import { LazyLayer } from '../../src/lazy/lazy-layer.js';
import { linkPair } from '../../src/lazy/link-pair.js';
import { type LazyImage, openLazyImage } from '../../src/lazy/open-image.js';
import { type Answerer, type Caller, FsError, Later, type RootFs } from '../../src/rootfs/types.js';
import { Workbench } from '../rewrite/workbench.js';
import { testDir } from '../support/temp.js';

const NOBODY: Caller = { pid: 0, uid: 0, gid: 0 };

/** What happens to a request for bytes of a layer. `bytes` may be changed in place. */
export type Disturb = (request: {
  layer: number;
  start: number;
  length: number;
  bytes: Buffer;
}) => void | Promise<void>;

export interface Harness {
  readonly image: LazyImage;
  readonly cache: Cache;
  readonly fs: RootFs;
  readonly service: ChunkService;
  readonly layers: readonly (LazyLayer | undefined)[];
  readonly warnings: string[];
  /** Every request for bytes of a layer so far: layer, start of the first piece, bytes of all. */
  readonly requests: [number, number, number][];
  disturb: Disturb | undefined;
  /** Bytes of a file, as a process would get them. @throws FsError */
  read(path: string, offset?: number, length?: number): Promise<Buffer>;
  close(): void;
}

/** @param directory of the cache; absent: a new one */
export async function open(
  t: TestContext,
  reference: string,
  options: ServiceOptions & { readonly directory?: string; readonly start?: LazyFsArgs['start'] } = {},
): Promise<Harness> {
  const directory = options.directory ?? testDir(t);
  const cache = new Cache({ directory });
  const image = await openLazyImage(reference, { cache });
  const warnings: string[] = [];
  const requests: [number, number, number][] = [];
  const layers = image.layers.map((layer, index) => {
    if (!layer) return undefined;
    const { name, directory: kept, tocDigest } = layer;
    async function* pieces(wanted: Pieces, signal: AbortSignal) {
      const start = wanted[0]![0];
      const length = wanted.reduce((sum, [, bytes]) => sum + bytes, 0);
      requests.push([index, start, length]);
      const parts: Buffer[] = [];
      for await (const part of layer!.pieces(wanted, signal)) parts.push(Buffer.from(part));
      const bytes = Buffer.concat(parts);
      await harness.disturb?.({ layer: index, start, length, bytes });
      signal.throwIfAborted();
      // In odd pieces, as a network has them.
      for (let at = 0; at < bytes.length; at += 7777) yield bytes.subarray(at, at + 7777);
    }
    return new LazyLayer({ name, directory: kept, tocDigest, pieces });
  });
  const service = new ChunkService(layers, { ...options, onWarning: (line) => warnings.push(line) });
  const [near, far] = linkPair();
  service.serve(near);
  const answerer: Answerer = createAnswerer(undefined, far);
  const fs = await createFs(fsArgs(image.fs, options.start), { post: (message) => answerer.onPost!(message) });

  let closed = false;
  const harness: Harness = {
    image,
    cache,
    fs,
    service,
    layers,
    warnings,
    requests,
    disturb: undefined,
    async read(path, offset = 0, length = Number.MAX_SAFE_INTEGER) {
      let node = 1;
      for (const name of path.split('/').filter(Boolean)) node = fs.lookup(node, name, NOBODY).ino;
      const { size } = fs.getattr(node, NOBODY);
      const parts: Buffer[] = [];
      const end = Math.min(size, offset + length);
      // As the kernel asks: 128 KiB at a time.
      for (let at = offset; at < end; ) {
        const into = Buffer.alloc(Math.min(128 * 1024, end - at));
        const got = fs.read(node, 0, into, 0, into.length, at, NOBODY);
        const bytes =
          got instanceof Later
            ? await answerer.answer(structuredClone(got.ticket), into.length)
            : into.subarray(0, got);
        if (bytes.length === 0) throw new FsError(5, 'no bytes');
        parts.push(Buffer.from(bytes));
        at += bytes.length;
      }
      return Buffer.concat(parts);
    },
    close() {
      if (closed) return;
      closed = true;
      fs.close();
      answerer.close?.(undefined);
      service.close();
      cache.close();
    },
  };
  t.after(async () => {
    harness.close();
    await image.close();
  });
  return harness;
}

/** An image of layers given as tars, rewritten as eStargz with chunks of 64 KiB. */
export async function stargzImage(
  t: TestContext,
  layers: readonly Buffer[],
  hot: readonly (readonly string[])[] = [],
): Promise<string> {
  const bench = new Workbench();
  t.after(() => bench[Symbol.dispose]());
  return (await bench.optimize(bench.layout({ layers }), hot)).reference;
}

/** The file with a layer's kept content. */
export function keptData(harness: Harness, layer = 0): string {
  const args = harness.image.fs[layer]!;
  return join(args.directory, 'data');
}

export function blobOf(reference: string, digest: string): Buffer {
  const directory = reference.replace(/^oci:/, '').replace(/:[^:/]*$/, '');
  return readFileSync(join(directory, 'blobs/sha256', digest.slice('sha256:'.length)));
}
