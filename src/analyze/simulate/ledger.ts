// After a real lazy start: what each fetched byte was good for. Requests say what came, TOCs what it was, a recorded run
// what of it is read, in the reads that the client's kernel makes.
import { cleanPath } from '../../paths.js';
import type { StargzBlob } from '../../stargz/reader.js';
import type { Chunk } from '../../stargz/toc-parse.js';
import type { Bytes } from '../../units.js';
import { type ClientModel, STARGZ_SNAPSHOTTER } from '../model/client.js';
import type { Locate } from './layout.js';
import { PageCache, type Span } from './page-cache.js';
import type { Schedule } from './schedule.js';

/** A request and its answer, as a proxy between client and registry sees them. */
export interface Fetch {
  /** Digest of the blob; absent for manifests and configs. */
  readonly blob?: string | undefined;
  readonly method: string;
  /** [offset, length]; an answer to none of them is the whole blob. */
  readonly ranges: readonly (readonly [offset: Bytes, length: Bytes])[];
  /** Of the answer, its head included. */
  readonly bytes: Bytes;
}

export interface LedgerInput {
  /** In the order in which they were made, up to readiness. */
  readonly fetches: readonly Fetch[];
  /** Of the image that was started, lowest first. */
  readonly layers: readonly { readonly digest: string; readonly blob: StargzBlob }[];
  /** Of runs that the plan was not made from. */
  readonly runs: readonly Schedule[];
  /** Paths by the files' numbers in the runs, and where each lies. */
  readonly paths: readonly string[];
  readonly locate: Locate;
  readonly client?: ClientModel | undefined;
}

export interface FileUse {
  readonly path: string;
  /** Compressed bytes of it that were fetched, and of them those that are read. */
  readonly fetched: Bytes;
  readonly used: Bytes;
}

export interface Miss {
  readonly layer: number;
  readonly offset: Bytes;
  readonly bytes: Bytes;
  /** The file for which it was made; absent: what was fetched is not read in any of the runs. */
  readonly path?: string;
}

/** Bytes are compressed ones; those of files are divided as their chunks are. Means over the runs, rounded. */
export interface Ledger {
  /** Manifests, configs, TOCs, footers, heads. */
  readonly metadata: Bytes;
  readonly prefetched: Bytes;
  /** Of `prefetched`: read before ready. */
  readonly used: Bytes;
  readonly onDemand: Bytes;
  /** Of `onDemand`: read before ready, and waited for. */
  readonly late: Bytes;
  /** The rest of both. */
  readonly unused: Bytes;
  /** used / prefetched; 1 when nothing was prefetched. */
  readonly precision: number;
  /** used / (used + late); 1 when nothing is read. */
  readonly recall: number;
  readonly misses: readonly Miss[];
  /** Most unused bytes first. */
  readonly files: readonly FileUse[];
}

/** Where the requests of one layer went. */
interface Coverage {
  readonly prefetched: Bytes[];
  readonly onDemand: Bytes[];
}

export function ledgerOf(input: LedgerInput): Ledger {
  const { fetches, layers, runs, client = STARGZ_SNAPSHOTTER } = input;
  const index = new Map(layers.map(({ digest }, i) => [digest, i]));
  const coverage = layers.map(({ blob }): Coverage => {
    const pieces = Math.ceil(blob.size / client.piece);
    return { prefetched: new Array<Bytes>(pieces).fill(0), onDemand: new Array<Bytes>(pieces).fill(0) };
  });
  let metadata = 0;
  let [prefetched, onDemand] = [0, 0];
  const requests: { layer: number; offset: Bytes; length: Bytes }[] = [];
  const begun = new Map<number, Fetch>();
  for (const fetch of fetches) {
    const { blob, method, ranges, bytes } = fetch;
    const layer = blob === undefined ? undefined : index.get(blob);
    if (layer === undefined || method !== 'GET') {
      metadata += bytes;
      continue;
    }
    const { tocOffset, prefetchSize, size } = layers[layer]!.blob;
    let content = 0;
    for (const [offset, length] of ranges.length > 0 ? ranges : [[0, size] as const]) {
      const end = Math.min(size, offset + length);
      // Asking where the blob is, or for its end: not for content.
      if (end - offset <= 2 || end > tocOffset) continue;
      // The first request below the landmark brings all that is prefetched of a layer; one after it, the client's
      // patience being over, is somebody who needs it now.
      const isPrefetch = offset < prefetchSize && (!begun.has(layer) || begun.get(layer) === fetch);
      if (isPrefetch) begun.set(layer, fetch);
      const to = coverage[layer]![isPrefetch ? 'prefetched' : 'onDemand'];
      for (let at = offset; at < end; at += client.piece) to[Math.floor(at / client.piece)] = 1;
      content += end - offset;
      if (isPrefetch) prefetched += end - offset;
      else {
        onDemand += end - offset;
        requests.push({ layer, offset, length: end - offset });
      }
    }
    metadata += bytes - content;
  }
  const uses = runs.map((run) => useOf(run, input, coverage, client));
  const mean = (of: (use: Use) => number) =>
    uses.length === 0 ? 0 : Math.round(uses.reduce((sum, use) => sum + of(use), 0) / uses.length);
  const [used, late] = [mean((use) => use.used), mean((use) => use.late)];
  const names = new Set(uses.flatMap((use) => [...use.read]));
  return {
    metadata,
    prefetched,
    used,
    onDemand,
    late,
    unused: prefetched + onDemand - used - late,
    precision: prefetched === 0 ? 1 : Math.min(1, used / prefetched),
    recall: used + late === 0 ? 1 : used / (used + late),
    misses: requests.map(({ layer, offset, length }) => {
      const path = missedFile(layers[layer]!.blob, offset, length, (entry) => names.has(`${layer} ${entry}`));
      return { layer, offset, bytes: length, ...(path === undefined ? undefined : { path }) };
    }),
    files: fileUses(layers, coverage, uses, client),
  };
}

interface Use {
  used: Bytes;
  late: Bytes;
  /** `LAYER ENTRY` of the files that are read. */
  readonly read: Set<string>;
  /** Compressed bytes read, by the same names. */
  readonly bytes: Map<string, Bytes>;
}

/** What one run reads, and how it came. */
function useOf(
  run: Schedule,
  { layers, paths, locate }: LedgerInput,
  coverage: readonly Coverage[],
  client: ClientModel,
): Use {
  const pages = new PageCache(client.readahead);
  const use: Use = { used: 0, late: 0, read: new Set(), bytes: new Map() };
  for (let i = 0; i < run.length; i++) {
    if (run.reads[i] === 0) continue;
    const place = locate(paths[run.file[i]!]!);
    const entry = place && layers[place.layer]?.blob.byPath.get(place.entry);
    if (!place || !entry) continue;
    const { blob } = layers[place.layer]!;
    const { waited, ahead } = pages.read(run.file[i]!, entry.size, run.offset[i]!, run.bytes[i]!);
    const spans = [...waited, ...ahead];
    if (spans.length === 0) continue;
    const name = `${place.layer} ${blob.resolve(entry).path}`;
    use.read.add(name);
    for (const chunk of blob.chunksOf(entry)) {
      const read = overlap(spans, chunk.at, chunk.at + chunk.size);
      if (read === 0) continue;
      const bytes = ((chunk.nextOffset - chunk.offset) * read) / chunk.size;
      use.bytes.set(name, (use.bytes.get(name) ?? 0) + bytes);
      // Its pieces may have come in both ways.
      const came = cameOf(chunk, coverage[place.layer]!, client.piece);
      const size = chunk.nextOffset - chunk.offset;
      use.used += (bytes * came.prefetched) / size;
      use.late += (bytes * came.onDemand) / size;
    }
  }
  return use;
}

/** Compressed bytes of a chunk, by how they came first. */
function cameOf(
  { offset, nextOffset }: Pick<Chunk, 'offset' | 'nextOffset'>,
  coverage: Coverage,
  size: Bytes,
): { readonly prefetched: Bytes; readonly onDemand: Bytes } {
  const came = { prefetched: 0, onDemand: 0 };
  for (let piece = Math.floor(offset / size); piece * size < nextOffset; piece++) {
    const bytes = Math.min(nextOffset, (piece + 1) * size) - Math.max(offset, piece * size);
    if (coverage.prefetched[piece] === 1) came.prefetched += bytes;
    else if (coverage.onDemand[piece] === 1) came.onDemand += bytes;
  }
  return came;
}

function overlap(spans: readonly Span[], from: Bytes, to: Bytes): Bytes {
  return spans.reduce((sum, [a, b]) => sum + Math.max(0, Math.min(b, to) - Math.max(a, from)), 0);
}

/** The first file in the range that is read. */
function missedFile(
  blob: StargzBlob,
  offset: Bytes,
  length: Bytes,
  isRead: (entry: string) => boolean,
): string | undefined {
  for (const entry of blob.entries) {
    const [first] = entry.chunks;
    const last = entry.chunks.at(-1);
    if (!first || !last || last.nextOffset <= offset) continue;
    if (first.offset >= offset + length) return undefined;
    if (isRead(entry.path)) return `/${cleanPath(entry.path)}`;
  }
  return undefined;
}

function fileUses(
  layers: LedgerInput['layers'],
  coverage: readonly Coverage[],
  uses: readonly Use[],
  client: ClientModel,
): FileUse[] {
  const out: FileUse[] = [];
  for (const [layer, { blob }] of layers.entries()) {
    for (const entry of blob.entries) {
      let fetched = 0;
      for (const chunk of entry.chunks) {
        const came = cameOf(chunk, coverage[layer]!, client.piece);
        fetched += came.prefetched + came.onDemand;
      }
      if (fetched === 0) continue;
      const name = `${layer} ${entry.path}`;
      const used = uses.reduce((sum, use) => sum + (use.bytes.get(name) ?? 0), 0) / Math.max(1, uses.length);
      out.push({ path: `/${entry.path}`, fetched, used: Math.min(fetched, Math.round(used)) });
    }
  }
  return out.sort((a, b) => b.fetched - b.used - (a.fetched - a.used) || (a.path < b.path ? -1 : 1));
}
