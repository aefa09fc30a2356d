// What a cache keeps of one lazily read layer: a directory named by the digest of the TOC, which says what every byte of
// the content is. (Not by the digest of the blob: nobody can check that without reading all of it, and whoever
// claimed another TOC for it could plant content under its name.)
//
//   toc     one line of JSON (TocHeader), then the TOC's JSON as it stands in the blob
//   data    the content of the chunks that are here, each at its place (chunk-table.ts); sparse
//   index   which ones these are (check-index.ts)
//   tree    the tree of an image that this layer is the topmost of (kept-tree.ts)
//   used    its time is when the layer was last used
//   users/  a file for each process that uses it
import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { HotlayerError } from '../errors.js';
import type { Digest } from '../image/digest.js';
import type { StoredToc } from '../stargz/reader.js';
import { replaceFile } from './replace-file.js';

export const LAYER_FILES = {
  toc: 'toc',
  data: 'data',
  index: 'index',
  tree: 'tree',
  used: 'used',
  users: 'users',
} as const;

interface TocHeader {
  readonly schemaVersion: 1;
  /** Compressed offset of the TOC member: chunks lie before it. */
  readonly tocOffset: number;
}

export interface KeptToc extends TocHeader {
  readonly json: Buffer;
}

export function keepToc(directory: string, { footer, json }: StoredToc): void {
  const header: TocHeader = { schemaVersion: 1, tocOffset: footer.tocOffset };
  replaceFile(join(directory, LAYER_FILES.toc), Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), json]));
}

/** @returns undefined when there is none, or it is not the one with this digest */
export function readKeptToc(directory: string, digest: Digest): KeptToc | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(join(directory, LAYER_FILES.toc));
  } catch {
    return undefined;
  }
  const end = bytes.indexOf(0x0a);
  const json = bytes.subarray(end + 1);
  if (end < 0 || `sha256:${createHash('sha256').update(json).digest('hex')}` !== digest) return undefined;
  try {
    const header = JSON.parse(bytes.toString('utf8', 0, end)) as TocHeader;
    const good = header.schemaVersion === 1 && Number.isSafeInteger(header.tocOffset) && header.tocOffset > 0;
    return good ? { ...header, json } : undefined;
  } catch {
    return undefined;
  }
}

/** @throws HL_ERR_IO */
export function openKept(directory: string, name: keyof typeof LAYER_FILES, flags: string): number {
  const path = join(directory, LAYER_FILES[name]);
  try {
    return openSync(path, flags, 0o600);
  } catch (cause) {
    throw new HotlayerError('HL_ERR_IO', `cannot open ${path}: ${(cause as Error).message}`, {
      hint: 'choose another cache with --cache-dir',
      cause,
      context: { file: path },
    });
  }
}

/** All of it, as write(2) may take less. @throws system errors */
export function writeFully(fd: number, bytes: Uint8Array, at: number | null): void {
  for (let done = 0; done < bytes.length; ) {
    const taken = writeSync(fd, bytes, done, bytes.length - done, at === null ? null : at + done);
    if (taken === 0) throw Object.assign(new Error('write returned 0'), { code: 'EIO' });
    done += taken;
  }
}

export function closeQuietly(fd: number): void {
  try {
    closeSync(fd);
  } catch {
    // closed already
  }
}
