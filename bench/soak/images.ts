// Images for the soak: files of all sizes, as they are on disk and as eStargz; a layer that all of them share.
import { createCipheriv } from 'node:crypto';
import { chmodSync, copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { KIB } from '../../src/units.js';
import { buildLayout } from '../../test/support/layout.js';
import { type Chance, chance } from './chance.js';
import { BIN, output } from './commands.js';

export interface SoakImage {
  readonly name: string;
  /** `oci:DIR:TAG`, eStargz. */
  readonly reference: string;
  /** What has to be in its /data. */
  readonly original: string;
  readonly files: number;
  readonly bytes: number;
}

/** Sizes at which something begins or ends: nothing, a page, a chunk, the readahead. */
const EDGES = [0, 1, 4095, 4096, 4097, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 128 * KIB, 131_073];
const LARGEST = 1_500_000;

/** @param reader a static program, /reader in each image @param bytes of files in each, about */
export function makeImages(directory: string, reader: string, count: number, bytes: number): SoakImage[] {
  const shared = join(directory, 'shared');
  mkdirSync(join(shared, 'data/common'), { recursive: true });
  copyFileSync(reader, join(shared, 'reader'));
  chmodSync(join(shared, 'reader'), 0o755);
  const common = fill(join(shared, 'data/common'), bytes / 4, chance(1));
  inWholeSeconds(shared);
  const lower = tarOf(shared);
  const images: SoakImage[] = [];
  for (let i = 0; i < count; i++) {
    const own = join(directory, `own-${i}`);
    mkdirSync(join(own, 'data/own'), { recursive: true });
    const filled = fill(join(own, 'data/own'), bytes, chance(100 + i));
    inWholeSeconds(own);
    const plain = buildLayout(join(directory, `plain-${i}`), { layers: [lower, tarOf(own)] }).reference;
    const reference = `oci:${join(directory, `lazy-${i}`)}:1`;
    const quick = ['--codec', 'zlib', '--compression-level', '1', '--chunk-size', '64KiB'];
    output(process.execPath, [BIN, 'optimize', '--no-profile', '--quiet', ...quick, plain, reference]);
    // As the container sees it.
    output('cp', ['-a', join(shared, 'data/common'), join(own, 'data/')]);
    inWholeSeconds(own);
    const [files, total] = [common.files + filled.files, common.bytes + filled.bytes];
    images.push({ name: `soak-${i}:1`, reference, original: join(own, 'data'), files, bytes: total });
  }
  return images;
}

function fill(directory: string, bytes: number, random: Chance): { files: number; bytes: number } {
  let total = 0;
  let files = 0;
  while (total < bytes) {
    const size = files < EDGES.length ? EDGES[files]! : Math.floor(LARGEST ** random());
    const place = join(directory, `d${files % 7}`);
    mkdirSync(place, { recursive: true });
    writeFileSync(join(place, `f${files}`), content(size, random), { mode: files % 5 === 0 ? 0o600 : 0o644 });
    if (files % 20 === 0) symlinkSync(`f${files}`, join(place, `to-f${files}`));
    total += size;
    files += 1;
  }
  return { files, bytes: total };
}

/** Noise, every third time mixed with what gzip can shrink. */
function content(size: number, random: Chance): Buffer {
  const key = Buffer.alloc(16);
  key.writeUInt32LE(Math.floor(random() * 2 ** 32));
  const bytes = createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(size));
  if (random() < 1 / 3) for (let at = 0; at < size; at += 3000) bytes.fill('text ', at, Math.min(size, at + 2000));
  return bytes;
}

/** A TOC has no others. */
function inWholeSeconds(directory: string): void {
  output('find', [directory, '-exec', 'touch', '-h', '-d', '@1700000000', '{}', '+']);
}

function tarOf(directory: string): Buffer {
  return output('tar', ['--create', '--format=pax', '--sort=name', '--owner=0', '--group=0', '-C', directory, '.']);
}
