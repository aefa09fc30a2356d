// The tree of a lazily read image, kept as it was made from the TOCs: to make it again takes longer than a small container
// takes to start. It lies in the directory of the topmost layer (layer-directory.ts), one for each, and counts only for
// exactly the TOCs and the start that it was made from. Damage shows in its checksum: then it is made again.
import type { Tree } from '../rootfs/tree.js';
import type { PlaceTable } from './chunk-table.js';
import { type Column, readColumns, writeColumns } from './columns.js';
import { type PackedAbout, PackedTree, packTree } from './packed-tree.js';

/** Raised when the same TOCs make another tree, or it is kept differently. */
export const TREE_VERSION = 1;

/** Where a tree is kept, and what it has to be made from. */
export interface TreePlace {
  readonly file: string;
  readonly key: string;
}

/** What is kept of each layer. */
export interface KeptLayer {
  readonly table: PlaceTable;
  /** Numbers of the chunks that a start needs; absent: nobody knows. */
  readonly hot: ArrayLike<number> | undefined;
}

interface About extends PackedAbout {
  readonly key: string;
  readonly layers: number;
}

const COLUMNS = ['firstOf', 'at', 'blockOf'] as const;

/** Where that is possible: it is only a saving. */
export function keepTree({ file, key }: TreePlace, tree: Tree, layers: readonly KeptLayer[]): void {
  try {
    const { about, columns } = packTree(tree);
    const all: Record<string, Column> = { ...columns };
    for (const [i, { table, hot }] of layers.entries()) {
      for (const name of COLUMNS) all[`${i}.${name}`] = table[name];
      if (hot) all[`${i}.hot`] = Uint32Array.from(hot);
    }
    writeColumns(file, { ...about, key, layers: layers.length } satisfies About, all);
  } catch {
    // The next start makes it, too.
  }
}

/** @returns undefined when it is not there, was made from something else, or is damaged */
export function readKeptTree({
  file,
  key,
}: TreePlace): { readonly tree: PackedTree; readonly layers: readonly KeptLayer[] } | undefined {
  const kept = readColumns<About>(file);
  if (kept?.about.key !== key) return undefined;
  const { about, columns } = kept;
  const layers = Array.from({ length: about.layers }, (_, i) => ({
    table: Object.fromEntries(COLUMNS.map((name) => [name, columns[`${i}.${name}`]])) as unknown as PlaceTable,
    hot: columns[`${i}.hot`],
  }));
  return { tree: new PackedTree(about, columns), layers };
}
