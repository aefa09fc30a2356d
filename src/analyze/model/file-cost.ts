// What one file costs a start, before the landmark and behind it.
//
// Before: its compressed bytes share the line with all that is prefetched, and it is decompressed whole; the container
// waits for both, whether the file is read or not. Behind: each chunk that is read and not there makes the client fetch
// a window (client.ts) and decompress the chunk, while the process waits. Windows end with the file, so neighbours share
// no more than the piece in which one ends and the next begins; that is not counted, so files are independent here.

import { chunksOf } from '../../stargz/chunking.js';
import type { Bytes, Nanos } from '../../units.js';
import type { HotArea } from './areas.js';
import type { ClientModel } from './client.js';
import { type Network, transferNanos } from './network.js';

/** Sizes in a layer, exact or foretold. */
export interface CompressedFile {
  /** Uncompressed. */
  readonly size: Bytes;
  /** All of it, where the ordinary level is used: behind the landmark. */
  readonly compressed: Bytes;
  /** Before the landmark, where the level is higher; absent: the same. */
  readonly hot?: Bytes | undefined;
  /** Compressed bytes of the first `offset` bytes, ascending; absent: in proportion. */
  readonly compressedUpTo?: ((offset: Bytes) => Bytes) | undefined;
}

/** Expected numbers over starts. */
export interface Misses {
  /** Chunks that are read and have to be decompressed while a process waits. */
  readonly chunks: number;
  /** Requests; chunks in a window that was fetched before need none. */
  readonly requests: number;
  readonly bytes: Bytes;
  /** Uncompressed bytes of those chunks. */
  readonly inflated: Bytes;
}

export const NO_MISSES: Misses = { chunks: 0, requests: 0, bytes: 0, inflated: 0 };

/**
 * What happens when the file stays behind the landmark.
 * @param areas ascending, disjoint
 * @param cuts chunk boundaries of its own, as `chunksOf` takes them
 */
export function missesBehind(
  file: CompressedFile,
  areas: readonly HotArea[],
  client: ClientModel,
  chunkSize: Bytes,
  cuts: readonly number[] = [],
): Misses {
  if (areas.length === 0 || file.size === 0) return NO_MISSES;
  const upTo = file.compressedUpTo ?? ((offset: Bytes) => (file.compressed * offset) / file.size);
  const total = { chunks: 0, requests: 0, bytes: 0, inflated: 0 };
  // Fetched so far: everything up to `until`, in a start in `likely` of all.
  let until = 0;
  let likely = 0;
  let at = 0;
  for (const [offset, size] of chunksOf(file.size, chunkSize, cuts)) {
    while (at < areas.length && areas[at]!.offset + areas[at]!.length <= offset) at += 1;
    let probability = 0;
    for (let k = at; k < areas.length && areas[k]!.offset < offset + size; k++)
      probability = Math.max(probability, areas[k]!.probability);
    if (probability === 0) continue;
    total.chunks += probability;
    total.inflated += probability * size;
    const [start, end] = [upTo(offset), upTo(offset + size)];
    // A chunk larger than a window needs several, one after the other. A chunk that is there already in part, or
    // whole, still makes the client ask for the rest of the window that begins with it.
    const windows = Math.max(1, Math.ceil((end - start) / client.window));
    const reach = Math.min(file.compressed, start + windows * client.window);
    const known = Math.min(probability, likely);
    const rest = Math.max(0, reach - Math.max(start, until));
    total.requests += known * Math.ceil(rest / client.window) + (probability - known) * windows;
    total.bytes += known * rest + (probability - known) * (reach - start);
    // Half a piece at the end, and one at the start of what does not go on from what is there.
    if (rest > 0) total.bytes += probability * (until >= start && until > 0 ? client.piece / 2 : client.piece);
    if (reach > until) until = reach;
    likely = probability;
  }
  return total;
}

/** What a file adds to a prefetch. */
export function bytesBefore({ compressed, hot = compressed }: CompressedFile): Bytes {
  return hot;
}

/** The container's start is later by so much when the file is prefetched. */
export function nanosBefore(file: CompressedFile, client: ClientModel, network: Network): Nanos {
  const bytes = bytesBefore(file);
  const cpu = client.inflatePerByte * file.size + client.perFile + client.receivePerByte * bytes;
  return transferNanos(network, bytes) + cpu / client.cores;
}

/** Readiness is later by so much, on average, when the file is not prefetched. */
export function nanosBehind(misses: Misses, client: ClientModel, network: Network): Nanos {
  const cpu =
    client.perMiss * misses.chunks + client.inflatePerByte * misses.inflated + client.receivePerByte * misses.bytes;
  return misses.requests * network.rtt + transferNanos(network, misses.bytes) + cpu;
}
