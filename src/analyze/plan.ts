// Ranking → plan: for each layer, which of its entries go before the landmark and in what order. Each hot path is
// followed to the file it means and to the layer that owns it; what cannot be placed is listed with the reason.
import { cleanPath, showPath } from '../paths.js';
import { LAYER_BOOKKEEPING } from '../rootfs/merge.js';
import type { SpooledImage } from '../rootfs/spooled-image.js';
import { MAX_SYMLINKS, type Tree, type TreeNode } from '../rootfs/tree.js';
import { ERRNO, FsError } from '../rootfs/types.js';
import { TOOL } from '../trace/tool.js';
import { type Bytes, MIB } from '../units.js';
import { HotOrder, LayerIndex, type PlanEntry } from './layer-order.js';
import { ImageSizes } from './model/compressed-sizes.js';
import { costPolicy } from './model/cost-policy.js';
import type { Reader } from './model/exact-cuts.js';
import type { Network } from './model/network.js';
import { workloadPolicy } from './model/workload-policy.js';
import { planPackages } from './packages/plan-packages.js';
import { type Candidate, type Policy, touchedFiles } from './policy.js';
import { rankFiles } from './rank.js';
import { startOrder } from './start-order.js';
import { type LayerPlan, PLAN_SCHEMA, type Plan, type Profile, type RankedFile, type Ranking } from './types.js';
import { poolWorkloads, rankWorkloads, type WeighedWorkload } from './workloads.js';

/** eStargz's own default (estargz: WithChunkSize). */
export const DEFAULT_CHUNK_SIZE = 4 * MIB;

export interface PlanLayer {
  /** 0 = the lowest; equals the position in the list. */
  readonly index: number;
  readonly digest: string;
  readonly diffId: string;
  /** In the order of the tar. */
  readonly entries: readonly PlanEntry[];
}

export interface PlanInput {
  readonly image: { readonly reference: string; readonly digest: string };
  readonly layers: readonly PlanLayer[];
  /** The tree that the layers make together. */
  readonly tree: Tree;
  /** Most wanted first. Paths may lead through symlinks. Empty: nothing is prefetched. */
  readonly ranking: Ranking;
  /** What the ranking was made from; absent for a list of paths from elsewhere. */
  readonly profile?: Profile | undefined;
  /** Absent: every touched file. */
  readonly policy?: Policy | undefined;
  readonly chunkSize?: Bytes | undefined;
  /** Where the workload had other file systems mounted; a path below one of them is not of the image. */
  readonly mounts?: readonly string[] | undefined;
  /** Absent: the stargz snapshotter's clients alone. */
  readonly reader?: Reader | undefined;
}

export interface Missed {
  readonly path: string;
  readonly reason: string;
}

export interface PlanOptions {
  /** Absent: a plan in which nothing is hot (plain eStargz). */
  readonly profile?: Profile | undefined;
  /** Absent: that of the profile. */
  readonly ranking?: Ranking | undefined;
  /** Absent: `costPolicy` with the two below. */
  readonly policy?: Policy | undefined;
  /** Absent: lan, wan and edge alike. */
  readonly networks?: readonly Network[] | undefined;
  /** Uncompressed bytes over all layers; absent: no cap. */
  readonly maxPrefetch?: Bytes | undefined;
  /** Absent: looked at anew. Given, they know afterwards what was looked at. */
  readonly sizes?: ImageSizes | undefined;
  /** Two or more: one plan for all of them; absent `profile` and `ranking` are then those of all their runs. */
  readonly workloads?: readonly WeighedWorkload[] | undefined;
  /** Of several workloads, the one that loses most shall lose as little as can be; absent: the weighted mean. */
  readonly minimizeWorst?: boolean | undefined;
  readonly chunkSize?: Bytes | undefined;
  readonly mounts?: readonly string[] | undefined;
  /** Who will read the image; absent: the stargz snapshotter. */
  readonly reader?: Reader | undefined;
}

/** The plan for an image whose layers have been read. */
export function planImage(spooled: SpooledImage, options: PlanOptions = {}): Plan {
  const { image, layers } = spooled;
  const { workloads, minimizeWorst, networks, maxPrefetch, sizes: _, ...rest } = options;
  const { profile = workloads && poolWorkloads(workloads) } = options;
  const several = workloads && workloads.length > 1 ? workloads : undefined;
  const { ranking = profile ? (several ? rankWorkloads(profile, several) : rankFiles(profile)) : [] } = options;
  const { chunkSize = DEFAULT_CHUNK_SIZE } = options;
  const sizes = options.sizes ?? new ImageSizes(spooled);
  const sizeOf = ({ layer, entry }: Candidate) => sizes.look(layer, entry);
  const costs = { sizeOf, chunkSize, profile, networks, maxPrefetch, reader: options.reader };
  const policy =
    options.policy ?? (several ? workloadPolicy({ ...costs, workloads: several, minimizeWorst }) : costPolicy(costs));
  const plan = planLayers({
    image: { reference: image.reference, digest: image.descriptor.digest },
    layers: layers.map(({ layer, scan }, index) => ({
      index,
      digest: layer.descriptor.digest,
      diffId: layer.diffId,
      entries: scan.entries,
    })),
    // Made when it is first looked at, and a plan without wishes never does.
    get tree() {
      return spooled.tree;
    },
    ...rest,
    ranking,
    profile,
    policy,
  });
  const packages = planPackages(plan, spooled, profile);
  return packages.length === 0 ? plan : { ...plan, packages };
}

/** Pure: the same input gives the same plan, byte for byte. */
export function planLayers(input: PlanInput): Plan {
  const { layers, policy = touchedFiles() } = input;
  // Of a layer of which nothing is asked for nothing has to be known.
  const indexes = input.ranking.length === 0 ? [] : layers.map((layer) => new LayerIndex(layer.entries));
  const orders = indexes.map((index) => new HotOrder(index));
  const missed: Missed[] = [];

  const places = new Map<Candidate, Place>();
  const taken = new Set<string>();
  const uses = new Map(input.profile?.files.map((file) => [file.path, file]));
  for (const rank of input.ranking) {
    const place = locate(rank, uses.get(rank.path)?.type === 'symlink', input, indexes);
    if ('reason' in place) {
      missed.push({ path: rank.path, reason: place.reason });
      continue;
    }
    // Two names that mean the same file are one candidate: the more wanted one.
    const key = `${place.layer} ${place.path}`;
    if (taken.has(key)) continue;
    taken.add(key);
    const use = uses.get(rank.path);
    const { layer, path: entry, size } = place;
    places.set({ rank, ...(use && { use }), layer, entry, size }, place);
  }

  const choice = policy.choose([...places.keys()]);
  const byRank = new Map([...places].map(([candidate, place]) => [candidate.rank.path, place]));
  for (const { rank } of choice.chosen) {
    const { wanted, path: content } = byRank.get(rank.path)!;
    for (const { layer, path, because } of wanted) orders[layer]!.put(path, path === content ? rank.because : because);
  }
  const chunks = layers.map(() => new Map<string, readonly number[]>());
  for (const [path, boundaries] of choice.chunks ?? []) {
    const place = byRank.get(path);
    if (place && boundaries.length > 0) chunks[place.layer]!.set(place.path, boundaries);
  }
  missed.push(...choice.cut);
  const chunkSize = input.chunkSize ?? DEFAULT_CHUNK_SIZE;
  const start =
    input.profile && input.reader !== undefined && input.reader !== 'stargz'
      ? startOrder(
          input.profile,
          (path) => {
            const place = byRank.get(path);
            if (!place) return undefined;
            const { layer, path: entry, size } = place;
            return { layer, path: entry, size, cuts: chunks[layer]!.get(entry) ?? [] };
          },
          chunkSize,
        )
      : [];

  return {
    schemaVersion: PLAN_SCHEMA,
    tool: TOOL,
    image: { reference: input.image.reference, digest: input.image.digest },
    complete: input.profile?.complete ?? true,
    chunkSize,
    layers: layers.map(({ digest, diffId }, index): LayerPlan => {
      const hot = orders[index]?.entries() ?? [];
      return {
        index,
        digest,
        diffId,
        hot,
        hotBytes: hot.reduce((sum, { size }) => sum + size, 0),
        landmark: hot.length > 0 ? 'prefetch' : 'no-prefetch',
        ...(chunks[index]!.size > 0 ? { chunks: Object.fromEntries(chunks[index]!) } : undefined),
      };
    }),
    missed,
    ...(choice.behind ? { behind: choice.behind } : undefined),
    ...(choice.model ? { model: choice.model } : undefined),
    ...(start.length > 0 ? { start } : undefined),
  };
}

/** An entry to put, and why. */
interface Wanted {
  readonly layer: number;
  /** Cleaned. */
  readonly path: string;
  readonly because: string;
}

interface Place {
  /** Of the entry that has the content. */
  readonly layer: number;
  readonly path: string;
  readonly size: Bytes;
  /** What leads there, the content itself, and the name under which it is asked for. */
  readonly wanted: readonly Wanted[];
}

/** Where the file that a ranked path means lies. @param isLink the symlink itself is wanted, not what it leads to */
function locate(
  rank: RankedFile,
  isLink: boolean,
  input: PlanInput,
  indexes: readonly LayerIndex[],
): Place | { readonly reason: string } {
  const { tree, mounts = [] } = input;
  const through: TreeNode[] = [];
  let node: TreeNode | undefined;
  let failure: FsError | undefined;
  try {
    node = tree.resolve(rank.path, { followLast: !isLink, through });
  } catch (error) {
    if (!(error instanceof FsError)) throw error;
    failure = error;
  }
  const resolved = node ? tree.pathOf(node) : resolvedAsFar(tree, rank.path);
  const mount = mounts.find((at) => at !== '/' && (resolved === at || resolved.startsWith(`${at}/`)));
  if (mount !== undefined) return { reason: `lies on what was mounted at ${showPath(mount)}, not in the image` };
  if (!node) {
    if (failure!.errno === ERRNO.ELOOP) return { reason: `more than ${MAX_SYMLINKS} symlinks on the way` };
    if (LAYER_BOOKKEEPING.has(cleanPath(resolved))) return { reason: 'is written anew in every optimized layer' };
    return { reason: whyMissing(cleanPath(resolved), indexes) };
  }
  if (node.type === 'dir') return { reason: 'is a directory: it has no content to prefetch' };
  if (node.type !== 'reg' && node.type !== 'symlink') {
    return { reason: `is a ${node.type} node: it has no content to prefetch` };
  }
  // The entry's own name: a layer may have written the file through a symlinked directory.
  const content = node.entry?.path;
  if (content === undefined || !indexes[node.layer]?.has(content)) {
    return { reason: `layer ${node.layer} has no entry for it` };
  }
  const shown = showPath(rank.path);
  const wanted: Wanted[] = [];
  for (const link of through) {
    if (link.entry)
      wanted.push({ layer: link.layer, path: link.entry.path, because: `symlink on the way to ${shown}` });
  }
  wanted.push({ layer: node.layer, path: content, because: rank.because });
  const name = nameEntry(tree, rank.path, resolved);
  if (name) wanted.push({ ...name, because: `hardlink, a name of ${showPath(`/${content}`)}` });
  return { layer: node.layer, path: content, size: node.type === 'reg' ? node.size : 0, wanted };
}

/** The hardlink entry that made the name; undefined when the name is that of the content's own entry. */
function nameEntry(tree: Tree, path: string, resolved: string): { layer: number; path: string } | undefined {
  for (const name of [path, resolved]) {
    const at = name.lastIndexOf('/') + 1;
    const link = tree.find(name.slice(0, at))?.links?.get(name.slice(at));
    if (link) return { layer: link.layer, path: link.entry.path };
    // The path as given has precedence where it is a name of the file; where it leads through symlinks, it is not.
    if (tree.find(name, { followLast: false })?.type !== 'symlink') return undefined;
  }
  return undefined;
}

/** A path that does not exist, with the symlinks of the part that does replaced. */
function resolvedAsFar(tree: Tree, path: string): string {
  const parts = cleanPath(path).split('/');
  for (let n = parts.length; n > 0; n--) {
    const node = tree.find(`/${parts.slice(0, n).join('/')}`);
    if (!node) continue;
    const base = tree.pathOf(node);
    return `${base === '/' ? '' : base}/${parts.slice(n).join('/')}`;
  }
  return `/${parts.join('/')}`;
}

function whyMissing(path: string, indexes: readonly LayerIndex[]): string {
  for (let layer = indexes.length - 1; layer >= 0; layer--) {
    if (!indexes[layer]!.has(path)) continue;
    for (let above = indexes.length - 1; above > layer; above--) {
      const marker = indexes[above]!.whiteoutOf(path);
      if (marker !== undefined)
        return `deleted: layer ${layer} has it, ${showPath(marker)} in layer ${above} removes it`;
    }
    return `hidden: layer ${layer} has it, but a file of a higher layer stands in its way`;
  }
  return 'in no layer of the image: created at run time, or on a mounted file system';
}
