// How large files will be in a layer that is not written yet: a part of each is compressed, the rest is taken to be
// alike. Small files are compressed whole; big ones in blocks, which also says how the size is spread over the file.
import { deflateRawSync } from 'node:zlib';
import type { SpooledImage } from '../../rootfs/spooled-image.js';
import { PathIndex } from '../../stargz/path-index.js';
import type { TarEntry } from '../../stargz/tar/entry.js';
import { readPayload } from '../../stargz/tar/scan.js';
import { type Bytes, KIB, MIB } from '../../units.js';
import type { CompressedFile } from './file-cost.js';

/** Files up to this size are compressed whole. */
const WHOLE = 256 * KIB;
const BLOCK = 64 * KIB;
/** One block for so many bytes of a big file, but at least … and at most … of them. */
const EVERY = 512 * KIB;
const BLOCKS = { least: 4, most: 64 };
/** Bytes compressed before the rest is foretold from what was seen: about a second and a half on one core. */
const BUDGET = 48 * MIB;
/**
 * What the layer's own compressor (stargz/codec/codec.ts: libdeflate 4.5) needs over zlib's level 6, of whole files and of blocks without
 * what precedes them; and what it needs of that at the level before the landmark (9.5). Measured on what python, nginx, redis,
 * postgresql, ruby, node and java images read at startup at level 5: 0.96 to 0.985, 0.92 to 0.96; level 4.5 makes 1.013 to 1.022 of
 * that, and 9.5 makes 0.956 to 0.971 of 4.5, of python's and of every twentieth file of a Debian layer.
 */
const OVER_WHOLE = 0.989;
const OVER_BLOCKS = 0.948;
const HOT_LEVEL = 0.964;
/** The gzip header and trailer, the tar header of the next entry as far as it does not repeat. */
const MEMBER = 18 + 70;
/** For a layer of which nothing was compressed. */
const ORDINARY = 0.4;

export class CompressedSizes {
  private left = BUDGET;
  private readonly seen = { size: 0, compressed: 0 };
  private readonly known = new Map<TarEntry, CompressedFile>();

  /** @param fd the layer's uncompressed tar, readable at any offset while this is used */
  constructor(private readonly fd: number) {}

  /** @throws HL_ERR_IO when the tar is shorter than its entry says */
  of(entry: TarEntry): CompressedFile {
    let file = this.known.get(entry);
    if (!file) {
      file = entry.type !== 'reg' || entry.size === 0 ? { size: 0, compressed: 0 } : this.estimate(entry);
      this.known.set(entry, file);
    }
    return file;
  }

  /** Compressed bytes for each byte of what was looked at so far. */
  get ratio(): number {
    return this.seen.size === 0 ? ORDINARY : this.seen.compressed / this.seen.size;
  }

  private estimate(entry: TarEntry): CompressedFile {
    const { size } = entry;
    const whole = size <= WHOLE;
    const blocks = whole ? 1 : Math.max(BLOCKS.least, Math.min(BLOCKS.most, Math.ceil(size / EVERY)));
    if ((whole ? size : blocks * BLOCK) > this.left) return sized(size, size * this.ratio);
    if (whole) return sized(size, this.compress(entry, 0, size, OVER_WHOLE));
    // The file in as many equal stretches, each as compressible as the block in its middle.
    const stretch = size / blocks;
    const sums = [0];
    for (let i = 0; i < blocks; i++) {
      const at = Math.floor(i * stretch + (stretch - BLOCK) / 2);
      sums.push(sums[i]! + (this.compress(entry, at, BLOCK, OVER_BLOCKS) / BLOCK) * stretch);
    }
    const upTo = (offset: Bytes): Bytes => {
      const i = Math.min(blocks - 1, Math.floor(offset / stretch));
      return sums[i]! + (sums[i + 1]! - sums[i]!) * (offset / stretch - i);
    };
    return { ...sized(size, sums[blocks]!), compressedUpTo: upTo };
  }

  private compress(entry: TarEntry, offset: Bytes, length: Bytes, over: number): Bytes {
    const bytes = Buffer.allocUnsafe(length);
    const got = readPayload(this.fd, entry, offset, bytes);
    const compressed = deflateRawSync(bytes.subarray(0, got), { level: 6 }).length * over;
    this.left -= got;
    this.seen.size += got;
    this.seen.compressed += compressed;
    return Math.ceil(compressed);
  }
}

/** @param compressed without the member's own bytes */
function sized(size: Bytes, compressed: Bytes): CompressedFile {
  return { size, compressed: Math.ceil(compressed) + MEMBER, hot: Math.ceil(compressed * HOT_LEVEL) + MEMBER };
}

/**
 * The sizes of an image's files. Those that a start may read are looked at; all others are taken to be as compressible
 * as their layer was.
 */
export class ImageSizes {
  private readonly layers: readonly { readonly sizes: CompressedSizes; readonly ratio: number }[];
  private readonly looked = new Map<TarEntry, CompressedFile>();
  private readonly byPath: PathIndex<TarEntry>[];

  constructor(private readonly image: SpooledImage) {
    this.layers = image.layers.map(({ fd, layer, size }) => ({
      sizes: new CompressedSizes(fd),
      ratio: layer.compression === 'none' || size === 0 ? ORDINARY : layer.descriptor.size / size,
    }));
    this.byPath = [];
  }

  /** Looked at, and remembered. @param path of the entry in the layer, cleaned */
  look(layer: number, path: string): CompressedFile {
    const entry = this.entryOf(layer, path);
    if (!entry) return { size: 0, compressed: 0 };
    const file = this.layers[layer]!.sizes.of(entry);
    this.looked.set(entry, file);
    return file;
  }

  /** What is known of it. */
  of(layer: number, entry: TarEntry): CompressedFile {
    const known = this.looked.get(entry);
    if (known) return known;
    return sized(entry.size, entry.size * this.layers[layer]!.ratio);
  }

  private entryOf(layer: number, path: string): TarEntry | undefined {
    let byPath = this.byPath[layer];
    if (!byPath) {
      const { entries } = this.image.layers[layer]!.scan;
      byPath = new PathIndex(entries);
      for (const [i, entry] of entries.entries()) if (entry.type === 'reg') byPath.set(entry.path, i);
      this.byPath[layer] = byPath;
    }
    const position = byPath.get(path);
    return position === undefined ? undefined : byPath.entries[position];
  }
}
