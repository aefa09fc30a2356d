// Builds blobs for tests, and takes them apart without src/stargz's reader.
import { createHash } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import {
  bufferSource,
  type Codec,
  type CodecName,
  openCodec,
  openStargz,
  prioritize,
  type StargzBlob,
  type StargzInput,
  type StargzResult,
  scanTarFd,
  type TarScan,
  writeStargz,
} from '../../src/stargz/index.js';

export interface BuildOptions extends Omit<Partial<StargzInput>, 'chunks' | 'codec'> {
  /** Paths in the order they are wanted; absent: none, and `.no.prefetch.landmark`. */
  hot?: readonly string[];
  codec?: CodecName;
  level?: number;
  /** Chunk boundaries by path. */
  cuts?: Record<string, number[]>;
}

export interface Built {
  blob: Buffer;
  result: StargzResult;
  /** What node:zlib makes of the blob. */
  tar: Buffer;
  opened: StargzBlob;
}

const codecs = new Map<string, Promise<Codec>>();

export function codecOf(name: CodecName = 'libdeflate', level?: number): Promise<Codec> {
  const key = `${name}-${level}`;
  const codec = codecs.get(key) ?? openCodec(name, level);
  codecs.set(key, codec);
  return codec;
}

export async function build(tar: Buffer, options: BuildOptions = {}): Promise<Built> {
  const { hot, codec, level, cuts, ...rest } = options;
  return withTar(tar, async (fd, scan) => {
    const parts: Buffer[] = [];
    const chunks = new Map<number, number[]>();
    for (const entry of scan.entries) {
      const offsets = cuts?.[entry.path];
      if (offsets) chunks.set(entry.index, offsets);
    }
    const result = await writeStargz(
      {
        fd,
        scan,
        order: prioritize(scan.entries, hot ?? []),
        landmark: hot ? 'prefetch' : 'no-prefetch',
        codec: await codecOf(codec, level),
        chunks,
        ...rest,
      },
      async (part) => void parts.push(Buffer.from(part)),
    );
    const blob = Buffer.concat(parts);
    const opened = await openStargz(bufferSource(blob), { tocDigest: result.tocDigest });
    return { blob, result, tar: gunzipSync(blob), opened };
  });
}

export async function withTar<T>(tar: Buffer, use: (fd: number, scan: TarScan) => Promise<T>): Promise<T> {
  return withDir(async (dir) => {
    const path = join(dir, 'layer.tar');
    writeFileSync(path, tar);
    const fd = openSync(path, 'r');
    try {
      return await use(fd, scanTarFd(fd, tar.length));
    } finally {
      closeSync(fd);
    }
  });
}

export async function withDir<T>(use: (dir: string) => Promise<T> | T): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), 'hl-stargz-'));
  try {
    return await use(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

export function sha256Of(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Bytes that look like a program's: repeats at several distances, some noise. The same for the same seed. */
export function sample(size: number, seed = 1): Buffer {
  const out = Buffer.alloc(size);
  let state = seed >>> 0;
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    out[i] = state >>> 31 && i > 100 ? out[i - 1 - ((state >>> 8) % 97)]! : state >>> 24;
  }
  return out;
}

/** Seeded random numbers below `below`. */
export function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
