// Layers that cannot be read lazily: the whole uncompressed tar in the cache, named by its diffID, which was checked when
// it was fetched. Its checksums are looked at whenever it is opened: what does not check is fetched again.
import { closeSync, fstatSync, openSync, readFileSync, readSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { HotlayerError } from '../errors.js';
import { MIB } from '../units.js';
import { closeQuietly, writeFully } from './layer-directory.js';
import { replaceFile } from './replace-file.js';

const TAR = 'tar';
const SUMS = 'sums';
const PIECE = MIB;

interface Sums {
  readonly schemaVersion: 1;
  readonly size: number;
  /** CRC-32 of each mebibyte. */
  readonly sums: readonly number[];
}

/** @throws HL_ERR_IO when it is not there */
export function openTar(directory: string): { readonly fd: number; readonly size: number } {
  try {
    const fd = openSync(join(directory, TAR), 'r');
    return { fd, size: fstatSync(fd).size };
  } catch (cause) {
    throw new HotlayerError('HL_ERR_IO', `${directory} is not in the cache any more: ${(cause as Error).message}`, {
      hint: 'try again',
      cause,
      context: { file: directory },
    });
  }
}

/** Whether a whole tar is kept there, unchanged since. */
export function holdsTar(directory: string): boolean {
  let fd: number;
  try {
    fd = openSync(join(directory, TAR), 'r');
  } catch {
    return false;
  }
  try {
    const kept = JSON.parse(readFileSync(join(directory, SUMS), 'utf8')) as Sums;
    if (kept.schemaVersion !== 1 || fstatSync(fd).size !== kept.size) return false;
    const found = sumsOf(fd, kept.size);
    return found.length === kept.sums.length && found.every((sum, i) => sum === kept.sums[i]);
  } catch {
    return false;
  } finally {
    closeSync(fd);
  }
}

/**
 * Keeps a tar. The sums come last: without them it does not count.
 * @param from an open file with it
 * @throws system errors
 */
export function keepTar(directory: string, from: number, size: number): void {
  // A new file beside the old one: whoever reads that one goes on.
  const staged = join(directory, `${TAR}.${process.pid}.tmp`);
  const fd = openSync(staged, 'w+', 0o600);
  try {
    const buffer = Buffer.allocUnsafeSlow(PIECE);
    for (let at = 0; at < size; ) {
      const got = readSync(from, buffer, 0, Math.min(PIECE, size - at), at);
      if (got === 0) throw new HotlayerError('HL_ERR_BUG', `a spooled layer of ${size} bytes ends at ${at}`);
      writeFully(fd, buffer.subarray(0, got), at);
      at += got;
    }
    const sums: Sums = { schemaVersion: 1, size, sums: sumsOf(fd, size) };
    renameSync(staged, join(directory, TAR));
    replaceFile(join(directory, SUMS), JSON.stringify(sums));
  } finally {
    closeQuietly(fd);
    rmSync(staged, { force: true });
  }
}

function sumsOf(fd: number, size: number): number[] {
  const buffer = Buffer.allocUnsafeSlow(PIECE);
  const sums: number[] = [];
  for (let at = 0; at < size; at += PIECE) {
    let held = 0;
    const want = Math.min(PIECE, size - at);
    while (held < want) {
      const got = readSync(fd, buffer, held, want - held, at + held);
      if (got === 0) return sums;
      held += got;
    }
    sums.push(crc32(buffer.subarray(0, want)));
  }
  return sums;
}
