// The lazy client that a plan is made for, as numbers: containerd with the stargz snapshotter in its default
// configuration. Sizes and rules are those of its source (v0.12.0; the newer ones have the same); times are measured.
import { CLIENT_PIECE } from '../../stargz/toc-place.js';
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
  /** Of the registry and the client's HTTP, for each request, besides the line. */
  readonly perRequest: Nanos;
  /** Programs starting, containerd's own work, all that a pull does besides requests and layers. */
  readonly pull: Nanos;
  /** One core, for each entry of a TOC that is parsed. */
  readonly perTocEntry: Nanos;
  /** One layer after the other: mounting it, telling containerd. */
  readonly perLayer: Nanos;
  /** From the end of the pull until somebody waits for the prefetch; from there until the workload's first instruction. */
  readonly runBefore: Nanos;
  readonly runAfter: Nanos;
  /** For each read that reaches the client and finds what it wants; in it, for each byte. */
  readonly perRead: Nanos;
  readonly perReadByte: Nanos;
  /** For an access that is not a read. */
  readonly perAccess: Nanos;
  /** What recording with `--precision exact` puts between two accesses: a page fault or read for each page. */
  readonly recorded: Nanos;
  /** How much longer the workload thinks in the client's container than in the recorded run, all look-ups included. */
  readonly slowdown: number;
  /** Of an ordinary pull: one core, for each uncompressed byte and each entry that is unpacked, layer after layer. */
  readonly unpackPerByte: Nanos;
  readonly unpackPerEntry: Nanos;
}

/**
 * CPU times: fitted by `bench:simulate --fit` to cold starts of four Debian images (python, redis, ruby, java) on four
 * networks, on a machine with two cores of an AMD EPYC; reports/bench-simulate.md says how far predictions of other
 * images are off.
 */
export const STARGZ_SNAPSHOTTER: ClientModel = {
  name: 'containerd with the stargz snapshotter',
  piece: CLIENT_PIECE,
  window: 2 * MIB,
  readahead: 128 * KIB,
  prefetchWait: 10e9,
  cores: 2,
  inflatePerByte: 8.5,
  perFile: 235_000,
  receivePerByte: 2.3,
  perMiss: 1.3e6,
  perRequest: 1.5e6,
  pull: 73e6,
  perTocEntry: 6.5e3,
  perLayer: 9e6,
  runBefore: 30e6,
  runAfter: 123e6,
  perRead: 178e3,
  perReadByte: 0.3,
  perAccess: 43e3,
  recorded: 37e3,
  slowdown: 1,
  unpackPerByte: 11,
  unpackPerEntry: 54e3,
};
