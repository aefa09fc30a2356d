// The lazy client that a plan is made for, as numbers: containerd with the stargz snapshotter in its default
// configuration. Sizes and rules are those of its source (v0.12.0; the newer ones have the same); times are measured.
import { type Bytes, KIB, MIB, type Nanos } from '../../units.js';

export interface ClientModel {
  readonly name: string;
  /** Blobs are fetched and kept in pieces of this size, counted from the blob's start (fs/config: chunk_size). */
  readonly piece: Bytes;
  /**
   * What a chunk that is not there makes it fetch: so many compressed bytes from the chunk's start, or to the end of the
   * file's last chunk if that is nearer, whatever the chunk's own size (estargz: fileReader.ReadAt, maxRead).
   */
  readonly window: Bytes;
  /** Largest read that its kernel makes of a file, also around a page of a mapped one (the default read_ahead_kb). */
  readonly readahead: Bytes;
  /** How long the start of the container waits for the prefetch of a layer (fs/config: prefetch_timeout_sec). */
  readonly prefetchWait: Nanos;
  /** Cores that decompress at once. */
  readonly cores: number;
  /** One core, for each uncompressed byte that comes into its cache: inflate, sha256, the copy that is written. */
  readonly inflatePerByte: Nanos;
  /** One core, for each file that comes into its cache: a gzip stream, a digest, a file made and renamed. */
  readonly perFile: Nanos;
  /** One core, for each byte that comes from the registry: pieces are written to files of their own. */
  readonly receivePerByte: Nanos;
  /** For each chunk that is read on demand: it looks through up to a window of pieces before it decompresses. */
  readonly perMiss: Nanos;
}

/**
 * CPU times: least squares over cold starts of Debian images on the loopback (bench/simulate, which fits them on one
 * half of the images and tests them on the other; reports/simulate.md).
 */
export const STARGZ_SNAPSHOTTER: ClientModel = {
  name: 'containerd with the stargz snapshotter',
  piece: 50_000,
  window: 2 * MIB,
  readahead: 128 * KIB,
  prefetchWait: 10e9,
  cores: 2,
  inflatePerByte: 14,
  perFile: 150_000,
  receivePerByte: 4,
  perMiss: 2e6,
};
