// Where a file is read before ready, as a lazy client's kernel will ask for it, and where its chunks should begin when
// it stays behind the landmark.
import { type Bytes, KIB, MIB } from '../../units.js';
import type { ProfileFile } from '../types.js';
import type { ClientModel } from './client.js';

export interface HotArea {
  readonly offset: Bytes;
  readonly length: Bytes;
  /** Of a start that reads in it, 0 … 1. */
  readonly probability: number;
}

/**
 * Areas with less than this between them get one chunk. Every chunk is a request; a larger one is more to decompress.
 * What is best depends on the round-trip time, so several are tried.
 */
export const MERGED_GAPS: readonly Bytes[] = [64 * KIB, 256 * KIB, MIB, 4 * MIB];
const PAGE = 4 * KIB;

/** What counts of runs are counts of. */
export interface Counted {
  readonly runs: number;
  /** Of them, runs that may have lost events: where they do not show an access, they say nothing. */
  readonly incomplete: number;
}

/**
 * Probability that the next start does what `count` runs did: the mean of what is plausible (Beta, with Jeffreys'
 * prior), so that one run is not taken for certainty.
 */
export function probabilityOf(count: number, { runs, incomplete }: Counted): number {
  const known = runs - Math.min(incomplete, runs - count);
  return (count + 0.5) / (known + 1);
}

/**
 * The ranges that were read, each widened by what the kernel reads around it: half of its readahead on both sides, as
 * for a page of a mapped file, and behind that the window that it reads ahead when the last quarter of one is touched. A
 * chunk that ends before that costs a fetch of its own for pages that nobody asked for. Overlapping ones are merged with
 * the higher probability.
 * @param of what the counts in `ranges` are of
 */
export function hotAreas(file: Pick<ProfileFile, 'ranges' | 'size'>, of: Counted, client: ClientModel): HotArea[] {
  const around = client.readahead / 2;
  const after = around + client.readahead;
  const out: { offset: number; length: number; probability: number }[] = [];
  for (const [offset, length, count] of file.ranges) {
    const start = Math.max(0, Math.floor((offset - around) / PAGE) * PAGE);
    const end = Math.min(file.size, Math.ceil((offset + length + after) / PAGE) * PAGE);
    const probability = probabilityOf(count, of);
    const last = out.at(-1);
    if (last && start <= last.offset + last.length) {
      last.length = Math.max(last.length, end - last.offset);
      last.probability = Math.max(last.probability, probability);
    } else if (end > start) {
      out.push({ offset: start, length: end - start, probability });
    }
  }
  return out;
}

/**
 * Chunk boundaries (LayerPlan.chunks) that put the areas, and little else, into chunks of their own.
 * @param gap most that lies between two areas of one chunk
 * @param largest no chunk of areas is larger
 */
export function alignedBoundaries(areas: readonly HotArea[], size: Bytes, gap: Bytes, largest: Bytes): number[] {
  const cuts = new Set<number>();
  let start = -1;
  let end = -1;
  const close = (): void => {
    if (start < 0) return;
    const pieces = Math.ceil((end - start) / largest);
    const step = Math.ceil((end - start) / pieces / PAGE) * PAGE;
    for (let i = 0; i < pieces; i++) cuts.add(start + i * step);
    cuts.add(end);
  };
  for (const { offset, length } of areas) {
    if (start >= 0 && offset - end <= gap) {
      end = Math.max(end, offset + length);
      continue;
    }
    close();
    start = offset;
    end = offset + length;
  }
  close();
  return [...cuts].filter((cut) => cut > 0 && cut < size).sort((a, b) => a - b);
}
