// An image of a given size for benchmarks: layers that compress well beside layers that do not, as in images of
// programs and of data. The same bytes on every run.
import { createCipheriv, createHash } from 'node:crypto';
import { once } from 'node:events';
import { createGzip } from 'node:zlib';
import { pack } from 'tar-stream';
import { type Descriptor, hostPlatform, MEDIA, openSink, serialize } from '../../src/image/index.js';
import { KIB, MIB } from '../../src/units.js';

export interface LargeImage {
  /** `oci:DIR:TAG` */
  readonly reference: string;
  /** Of all blobs together, as stored. */
  readonly bytes: number;
  readonly layers: readonly number[];
}

/** Shares of the whole, in stored bytes, and whether what is in them compresses. A few are small, as in most images. */
const LAYERS: readonly { readonly share: number; readonly dense: boolean }[] = [
  { share: 0.28, dense: true },
  { share: 0.12, dense: false },
  { share: 0.24, dense: true },
  { share: 0.005, dense: false },
  { share: 0.2, dense: true },
  { share: 0.1, dense: false },
  { share: 0.05, dense: true },
  { share: 0.001, dense: true },
];
const FILE_BYTES = 8 * MIB;
const BLOCK_BYTES = 64 * KIB;
/** Of each block of what compresses, so much is noise: gzip makes about a third of it. */
const NOISE = 0.3;
const EXPANSION = 3;

/** @param bytes of all blobs together, about */
export function makeLargeImage(reference: string, bytes: number): Promise<LargeImage> {
  return makeImage(
    reference,
    LAYERS.map(({ share, dense }, i) => {
      const size = Math.round(bytes * share);
      return (tar) => fill(tar, i, dense ? size : size * EXPANSION, dense);
    }),
  );
}

type Tar = ReturnType<typeof pack>;

/** An image of one layer with files of the given sizes, which compress to about a third. @param pathOf their names */
export function makeImageOfFiles(
  reference: string,
  sizes: readonly number[],
  pathOf: (file: number) => string,
): Promise<LargeImage> {
  return makeImage(reference, [
    async (tar) => {
      const content = blend(
        Buffer.alloc(2 * FILE_BYTES),
        createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16)),
      );
      for (const [i, size] of sizes.entries()) {
        const at = (i * 4099) % (content.length - size);
        await addFile(tar, pathOf(i), content.subarray(at, at + size));
      }
      tar.finalize();
    },
  ]);
}

/** @param layers each fills a tar and finalizes it */
async function makeImage(reference: string, fills: readonly ((tar: Tar) => Promise<void>)[]): Promise<LargeImage> {
  const sink = await openSink(reference, { fsync: false });
  try {
    const layers: Descriptor[] = [];
    const diffIds: string[] = [];
    for (const filled of fills) {
      const { diffId, ...stored } = await putLayer(sink, filled);
      layers.push({ mediaType: MEDIA.layerGzip, ...stored });
      diffIds.push(diffId);
    }
    const config = { ...hostPlatform(), rootfs: { type: 'layers', diff_ids: diffIds } };
    const stored = { mediaType: MEDIA.config, ...(await sink.putBytes(serialize(config))) };
    const manifest = serialize({ schemaVersion: 2, mediaType: MEDIA.manifest, config: stored, layers });
    await sink.commit({ mediaType: MEDIA.manifest, ...(await sink.putBytes(manifest)) });
    const sizes = layers.map((layer) => layer.size);
    return { reference, bytes: sizes.reduce((a, b) => a + b, 0), layers: sizes };
  } finally {
    await sink.abort();
  }
}

async function putLayer(sink: Awaited<ReturnType<typeof openSink>>, fillTar: (tar: Tar) => Promise<void>) {
  const tar = pack();
  const gzip = createGzip({ level: 1 });
  const hash = createHash('sha256');
  const writer = await sink.createBlob();
  const filled = fillTar(tar);
  const packed = (async () => {
    for await (const chunk of tar as AsyncIterable<Buffer>) {
      hash.update(chunk);
      if (!gzip.write(chunk)) await once(gzip, 'drain');
    }
    gzip.end();
  })();
  for await (const chunk of gzip as AsyncIterable<Buffer>) await writer.write(chunk);
  await Promise.all([filled, packed]);
  return { ...(await writer.finish()), diffId: `sha256:${hash.digest('hex')}` as const };
}

async function fill(tar: Tar, seed: number, bytes: number, dense: boolean): Promise<void> {
  const noise = createCipheriv('aes-128-ctr', Buffer.alloc(16, seed + 1), Buffer.alloc(16));
  const zeros = Buffer.alloc(FILE_BYTES);
  for (let at = 0, n = 0; at < bytes; at += FILE_BYTES, n++) {
    const part = zeros.subarray(0, Math.min(FILE_BYTES, bytes - at));
    await addFile(tar, `layer-${seed}/file-${n}`, dense ? noise.update(part) : blend(part, noise));
  }
  tar.finalize();
}

/** Noise, with repetition between that compresses. */
function blend(zeros: Buffer, noise: ReturnType<typeof createCipheriv>): Buffer {
  const content = noise.update(zeros);
  for (let at = Math.round(BLOCK_BYTES * NOISE); at < content.length; at += BLOCK_BYTES) {
    content.subarray(at, at + Math.round(BLOCK_BYTES * (1 - NOISE))).fill('hot and cold ');
  }
  return content;
}

function addFile(tar: Tar, name: string, content: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const header = { name, size: content.length, mtime: new Date(0) };
    tar.entry(header, content, (error) => (error ? reject(error) : resolve()));
  });
}
