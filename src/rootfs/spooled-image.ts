// An image with all its layers uncompressed and indexed, and the tree they make: what tracing, planning, rewriting and
// verifying start from. Made once, shared by all of them.
import { withContext } from '../errors.js';
import type { Image } from '../image/types.js';
import { requireSpoolSpace, type SpooledLayer, spoolLayer } from '../stargz/spool.js';
import { makeTempDir } from '../temp.js';
import type { Bytes } from '../units.js';
import { mergeLayers } from './merge.js';
import type { SharedSpools } from './shared-spools.js';
import type { Tree } from './tree.js';

export interface SpoolImageOptions {
  /** Where the spool files are; they have no names while they are used. Absent: $TMPDIR, else /tmp. */
  readonly tempParent?: string;
  /** Compressed bytes read so far of all layers together. */
  readonly onProgress?: (done: Bytes, total: Bytes, layer: number) => void;
  readonly signal?: AbortSignal;
  /** Has layers of images before this one, and keeps some for those after it. */
  readonly shared?: SharedSpools | undefined;
}

export interface SpooledImage extends Disposable {
  readonly image: Image;
  /** Lowest first, as in the manifest. */
  readonly layers: readonly SpooledLayer[];
  /** Made when it is first asked for. */
  readonly tree: Tree;
  /** Gives the tree's memory back until somebody asks for it again. */
  dropTree(): void;
  /** Gives the space back; the image stays open. Idempotent. */
  close(): void;
}

/** @throws as spoolLayer */
export async function spoolImage(image: Image, options: SpoolImageOptions = {}): Promise<SpooledImage> {
  const layers: SpooledLayer[] = [];
  const { shared } = options;
  shared?.begin(image);
  const close = (): void => {
    for (const layer of layers) layer.close();
  };
  const total = image.layers.reduce((sum, layer) => sum + layer.descriptor.size, 0);
  let before = 0;
  using temp = makeTempDir(options.tempParent, 'hotlayer-spool');
  try {
    requireSpoolSpace(
      image.layers.filter((layer) => !shared?.has(layer)),
      temp.path,
    );
    for (const layer of image.layers) {
      const spool = () =>
        spoolLayer(layer, temp.path, {
          onProgress: (done) => options.onProgress?.(before + done, total, layer.index),
          ...(options.signal ? { signal: options.signal } : {}),
        });
      layers.push(await (shared ? shared.get(layer, spool) : spool()));
      before += layer.descriptor.size;
    }
    let tree: Tree | undefined;
    return {
      image,
      layers,
      get tree() {
        tree ??= mergeLayers(layers.map((layer) => layer.scan.entries));
        return tree;
      },
      dropTree() {
        tree = undefined;
      },
      close,
      [Symbol.dispose]: close,
    };
  } catch (error) {
    close();
    throw withContext(error, { image: image.reference });
  }
}
