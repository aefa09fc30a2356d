// What a file system over an image's layers is made from, with the place where its tree is kept.
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { TREE_VERSION, type TreePlace } from './kept-tree.js';
import { LAYER_FILES } from './layer-directory.js';
import type { LazyFsArgs, LazyLayerArgs } from './lazy-fs.js';

/** @param layers lowest first */
export function fsArgs(layers: readonly LazyLayerArgs[], start?: LazyFsArgs['start']): LazyFsArgs {
  const place = placeOf(layers, start);
  return { layers, ...(start && { start }), ...(place && { kept: place }) };
}

/** Undefined where a layer is not read lazily: the TOCs do not say all. */
function placeOf(layers: readonly LazyLayerArgs[], start: LazyFsArgs['start']): TreePlace | undefined {
  const digests: string[] = [];
  for (const layer of layers) {
    if (layer.kind !== 'stargz') return undefined;
    digests.push(layer.tocDigest);
  }
  const top = layers.at(-1);
  if (!top) return undefined;
  const made = JSON.stringify([TREE_VERSION, digests, start ?? null]);
  return { file: join(top.directory, LAYER_FILES.tree), key: createHash('sha256').update(made).digest('hex') };
}
