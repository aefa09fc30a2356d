// Which requests fetch what a start needs of a layout: by the rules that write them into an image's manifest
// (lazy/start-map.ts), for a layout that knows the chunks of a profile's files only.
import { firstFrom, type Wish } from '../../lazy/fetch-plan.js';
import { type StartGroup, startGroups } from '../../lazy/start-map.js';
import type { Bytes } from '../../units.js';
import { chunkAt, type Layout } from './layout.js';
import type { Schedule } from './schedule.js';

export type ChunkName = readonly [file: number, chunk: number];

/** The chunks of a layer that a profile knows, as they lie in the blob. */
export interface StartTable {
  readonly chunks: readonly {
    readonly offset: Bytes;
    readonly innerOffset: Bytes;
    readonly size: Bytes;
    readonly nextOffset: Bytes;
  }[];
  /** Which they are. */
  readonly names: readonly ChunkName[];
}

/** By index of the layer. */
export function startTables({ layers, files }: Pick<Layout, 'layers' | 'files'>): StartTable[] {
  const names: ChunkName[][] = layers.map(() => []);
  for (const [file, at] of files.entries()) {
    if (at) for (let chunk = 0; chunk < at.at.length; chunk++) names[at.layer]!.push([file, chunk]);
  }
  return names.map((list): StartTable => {
    const offset = ([file, chunk]: ChunkName) => files[file]!.offset[chunk]!;
    list.sort((a, b) => offset(a) - offset(b));
    const chunks = list.map(([file, chunk]) => {
      const at = files[file]!;
      const size = (at.at[chunk + 1] ?? at.size) - at.at[chunk]!;
      return { offset: at.offset[chunk]!, innerOffset: 0, size, nextOffset: at.offset[chunk + 1] ?? at.end };
    });
    return { chunks, names: list };
  });
}

export function groupsFor(tables: readonly StartTable[], wishes: Iterable<Wish>): StartGroup[] {
  return startGroups(tables, wishes);
}

/** The chunks that a run reads, in the order of their files' first use, as a profile given to the runtime says it. */
export function wishesOf(schedule: Schedule, { files }: Layout, tables: readonly StartTable[]): Wish[] {
  const wished = new Map<number, Set<number>>();
  for (let i = 0; i < schedule.length; i++) {
    const file = schedule.file[i]!;
    const at = files[file];
    if (schedule.reads[i] === 0 || !at) continue;
    let chunks = wished.get(file);
    if (!chunks) {
      chunks = new Set();
      wished.set(file, chunks);
    }
    const end = schedule.offset[i]! + schedule.bytes[i]!;
    for (let k = chunkAt(at, schedule.offset[i]!); k < at.at.length && at.at[k]! < end; k++) chunks.add(k);
  }
  return [...wished].flatMap(([file, chunks]) => {
    const { layer, offset } = files[file]!;
    return [...chunks].sort((a, b) => a - b).map((chunk): Wish => [layer, firstFrom(tables[layer]!, offset[chunk]!)]);
  });
}

/** The chunks that begin in [from, to) of a blob. */
export function namesIn({ chunks, names }: StartTable, from: Bytes, to: Bytes): readonly ChunkName[] {
  return names.slice(firstFrom({ chunks }, from), firstFrom({ chunks }, to));
}
