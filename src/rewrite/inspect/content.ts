// Hashing what tar entries hold, from the uncompressed tar on disk.
import { createHash, type Hash } from 'node:crypto';
import { readSync } from 'node:fs';
import { HotlayerError } from '../../errors.js';
import { showPath } from '../../paths.js';
import type { TarEntry } from '../../stargz/tar/entry.js';
import { MIB } from '../../units.js';

const BLOCK = MIB;
const buffer = Buffer.allocUnsafe(BLOCK);
const ZEROS = Buffer.alloc(BLOCK);

/**
 * Hands out the bytes [offset, offset + length) in pieces that are valid during the call only.
 * @throws HL_ERR_LAYER when the file is shorter
 */
export function readRange(fd: number, offset: number, length: number, onPiece: (piece: Buffer) => void): void {
  let done = 0;
  while (done < length) {
    const got = readSync(fd, buffer, 0, Math.min(BLOCK, length - done), offset + done);
    if (got === 0) {
      throw new HotlayerError(
        'HL_ERR_LAYER',
        `the tar ends at offset ${offset + done}; ${length - done} more bytes were expected`,
        { context: { offset: offset + done } },
      );
    }
    onPiece(got === BLOCK ? buffer : buffer.subarray(0, got));
    done += got;
  }
}

export function readBytes(fd: number, offset: number, length: number): Buffer {
  const pieces: Buffer[] = [];
  readRange(fd, offset, length, (piece) => pieces.push(Buffer.from(piece)));
  return Buffer.concat(pieces);
}

/** sha256 of bytes in the tar, as `sha256:…`. */
export function hashRange(fd: number, offset: number, length: number): string {
  const hash = createHash('sha256');
  readRange(fd, offset, length, (piece) => hash.update(piece));
  return digest(hash);
}

/** The logical bytes of a regular file, holes of a sparse one as zeros. */
export function readContent(fd: number, entry: TarEntry, onPiece: (piece: Buffer) => void): void {
  if (!entry.sparse) {
    readRange(fd, entry.payloadOffset, entry.payloadSize, onPiece);
    return;
  }
  let at = 0;
  const zerosTo = (end: number) => {
    while (at < end) {
      const piece = ZEROS.subarray(0, Math.min(BLOCK, end - at));
      onPiece(piece);
      at += piece.length;
    }
  };
  for (const extent of entry.sparse) {
    if (extent.offset < at || extent.offset + extent.length > entry.size) {
      throw new HotlayerError(
        'HL_ERR_LAYER',
        `entry "${showPath(entry.name)}": sparse extent at ${extent.offset} is out of order or beyond the file's ${entry.size} bytes`,
        { context: { entry: showPath(entry.name) } },
      );
    }
    zerosTo(extent.offset);
    readRange(fd, extent.at, extent.length, onPiece);
    at = extent.offset + extent.length;
  }
  zerosTo(entry.size);
}

/** sha256 of a regular file's logical bytes. */
export function hashContent(fd: number, entry: TarEntry): string {
  const hash = createHash('sha256');
  readContent(fd, entry, (piece) => hash.update(piece));
  return digest(hash);
}

export function digest(hash: Hash): string {
  return `sha256:${hash.digest('hex')}`;
}
