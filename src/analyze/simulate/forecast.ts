// Before anything is written: how long a start will take with this plan, with others, and without any; and so whether
// pulling lazily pays for this image, on which lines.
import type { SpooledImage } from '../../rootfs/spooled-image.js';
import type { Tree } from '../../rootfs/tree.js';
import { type Bytes, formatShare, type Nanos } from '../../units.js';
import { ImageSizes } from '../model/compressed-sizes.js';
import type { Reader } from '../model/exact-cuts.js';
import { type Network, ROBUST } from '../model/network.js';
import { planImage } from '../plan.js';
import { touchedFiles } from '../policy.js';
import type { Plan, Profile, Spread } from '../types.js';
import type { Layout, Locate } from './layout.js';
import { layoutOfPlan } from './plan-layout.js';
import { assumptions, type Simulated, simulate, Workload } from './simulate.js';

/**
 * full: pulled whole; plain: lazily, nothing prefetched; touched: every opened file prefetched whole, as other optimizers
 * do; run: the plan's image in hotlayer's own runtime.
 */
export const VARIANTS = ['full', 'plain', 'touched', 'plan', 'run', 'ideal'] as const;
export type Variant = (typeof VARIANTS)[number];

export interface Expected {
  readonly ready: Spread;
  /** At ready. */
  readonly bytes: Spread;
  readonly requests: Spread;
  /** Chunks that the workload waits for. */
  readonly misses: Spread;
}

export interface Verdict {
  /** The variant that it is about: `run` where the image is made for hotlayer's own reader alone. */
  readonly of: 'plan' | 'run';
  /** Whether that is ready before a full pull, on every network it was made for. */
  readonly lazy: boolean;
  /** In a sentence. */
  readonly because: string;
  /** Of the image's bytes as stored: what a start reads of them; and what a lazy start transfers. */
  readonly readShare: number;
  readonly fetchedShare: number;
  /** For each network, with its round-trip time: where both take equally long; below it the plan is faster. */
  readonly crossover: readonly {
    readonly network: string;
    /** Absent: one of them is faster at every rate. */
    readonly bytesPerSecond?: number;
    readonly always?: 'lazy' | 'full';
  }[];
}

export interface Forecast {
  readonly networks: readonly { readonly name: string; readonly variants: Readonly<Record<Variant, Expected>> }[];
  readonly verdict: Verdict;
  /** Where the plan is not faster than it should be. */
  readonly warnings: readonly string[];
  /** Runs that were played. */
  readonly runs: number;
  readonly assumptions: readonly string[];
}

/** Runs that are played: those whose readiness lies nearest to the median; and accesses of all of them, at most. */
const MOST_RUNS = 3;
const MOST_ACCESSES = 400_000;
/** A difference that is called one. */
const MARGIN = 0.03;

export interface ForecastOptions {
  /** Absent: lan, wan and edge. */
  readonly networks?: readonly Network[] | undefined;
  /** Absent: looked at anew. */
  readonly sizes?: ImageSizes | undefined;
  /** Whom the plan was made for. Absent: the stargz snapshotter. */
  readonly reader?: Reader | undefined;
}

/** @returns undefined when the profile has no run that can be played */
export function forecast(
  spooled: SpooledImage,
  plan: Plan,
  profile: Profile,
  options: ForecastOptions = {},
): Forecast | undefined {
  const { networks = ROBUST, sizes = new ImageSizes(spooled) } = options;
  const mine = options.reader === 'hotlayer' ? 'run' : 'plan';
  const workload = new Workload(profile, { mostRuns: MOST_RUNS, mostAccesses: MOST_ACCESSES });
  if (workload.schedules.length === 0) return undefined;
  const layouts = layoutsOf(spooled, plan, profile, sizes);
  const run = (variant: Variant, network: Network): Simulated => {
    const way = variant === 'full' || variant === 'ideal' || variant === 'run' ? variant : 'lazy';
    return simulate(workload, layouts[variant], way, network)!;
  };
  const results = networks.map((network) => ({
    name: network.name,
    variants: Object.fromEntries(VARIANTS.map((variant) => [variant, run(variant, network)])) as Record<
      Variant,
      Simulated
    >,
  }));
  const stored = layouts.full.layers.reduce((sum, { size }) => sum + size, 0);
  const crossover = networks.map((network) => ({
    network: network.name,
    ...crossoverOf((bytesPerSecond) => {
      const at = { ...network, bytesPerSecond };
      return run(mine, at).ready.median - run('full', at).ready.median;
    }),
  }));
  const pairs = results.map(({ name, variants }) => ({ name, plan: variants[mine], full: variants.full }));
  const lazy = pairs.every(({ plan, full }) => plan.ready.median < full.ready.median);
  const fetched = Math.max(...pairs.map(({ plan }) => plan.bytes.median));
  const read = results[0]?.variants.ideal.bytes.median ?? 0;
  return {
    networks: results.map(({ name, variants }) => ({
      name,
      variants: Object.fromEntries(VARIANTS.map((variant) => [variant, expected(variants[variant])])) as Record<
        Variant,
        Expected
      >,
    })),
    verdict: {
      of: mine,
      lazy,
      because: inWords(pairs, read, fetched, stored),
      readShare: share(read, stored),
      fetchedShare: share(fetched, stored),
      crossover,
    },
    warnings: results.flatMap(({ name, variants }) => warningsOf(name, variants, mine)),
    runs: workload.schedules.length,
    assumptions: assumptions(undefined, workload),
  };
}

function expected({ ready, bytes, requests, misses }: Simulated): Expected {
  return { ready, bytes, requests, misses };
}

function layoutsOf(spooled: SpooledImage, plan: Plan, profile: Profile, sizes: ImageSizes): Record<Variant, Layout> {
  const paths = profile.files.map(({ path }) => path);
  const locate = locateIn(spooled.tree);
  const { chunkSize } = plan;
  const lay = (one: Plan) => layoutOfPlan(spooled, one, sizes, paths, locate);
  const touched = planImage(spooled, { profile, policy: touchedFiles(), chunkSize, sizes });
  const planned = lay(plan);
  return {
    plan: planned,
    run: planned,
    ideal: planned,
    touched: lay(touched),
    plain: lay(planImage(spooled, { chunkSize, sizes })),
    full: {
      layers: planned.layers.map((layer, i) => ({ ...layer, size: spooled.layers[i]!.layer.descriptor.size })),
      files: [],
    },
  };
}

/** The entry that holds a file's content, in the tree that the layers make. */
export function locateIn(tree: Tree): Locate {
  return (path) => {
    const node = tree.find(path, { followLast: false });
    return node?.type === 'reg' && node.entry ? { layer: node.layer, entry: node.entry.path } : undefined;
  };
}

const share = (part: number, whole: number): number => (whole === 0 ? 0 : Math.round((part / whole) * 1e4) / 1e4);

/** Rates that are looked at: 100 kbit/s to 100 Gbit/s. */
const SLOWEST = 12.5e3;
const FASTEST = 12.5e9;

/** @param difference of the plan's time and the full pull's, at a rate: negative where the plan is faster */
export function crossoverOf(
  difference: (bytesPerSecond: number) => Nanos,
): { readonly bytesPerSecond: number } | { readonly always: 'lazy' | 'full' } {
  let [low, high] = [SLOWEST, FASTEST];
  if (difference(low) >= 0) return { always: 'full' };
  if (difference(high) < 0) return { always: 'lazy' };
  // To within a per cent, on a logarithmic scale.
  while (high / low > 1.01) {
    const middle = Math.sqrt(low * high);
    if (difference(middle) < 0) low = middle;
    else high = middle;
  }
  return { bytesPerSecond: Math.round(Number(Math.sqrt(low * high).toPrecision(3))) };
}

interface Pair {
  readonly name: string;
  readonly plan: Simulated;
  readonly full: Simulated;
}

function inWords(pairs: readonly Pair[], read: Bytes, fetched: Bytes, stored: Bytes): string {
  const factors = pairs.map(({ name, plan, full }) => {
    const times = full.ready.median / plan.ready.median;
    return times >= 1
      ? `${times.toFixed(1)} times sooner on ${name}`
      : `${(1 / times).toFixed(1)} times later on ${name}`;
  });
  return `${formatShare(read, stored)} of the image is read at startup and ${formatShare(fetched, stored)} is fetched: ready ${factors.join(', ')} than after a full pull`;
}

function warningsOf(name: string, variants: Record<Variant, Simulated>, of: Verdict['of']): string[] {
  const mine = variants[of].ready.median;
  // The other lazy starts are another client's, which is there already.
  const others = of === 'run' ? (['full'] as const) : (['full', 'plain', 'touched'] as const);
  return others.flatMap((other) => {
    const theirs = variants[other].ready.median;
    if (mine <= theirs * (1 + MARGIN)) return [];
    return [`on ${name} the result would be ready ${formatShare(mine - theirs, theirs)} later than ${NAMES[other]}`];
  });
}

export const NAMES: Readonly<Record<Variant, string>> = {
  full: 'pulled whole',
  plain: 'lazily, nothing prefetched',
  touched: 'lazily, every opened file prefetched',
  plan: 'lazily, this plan',
  run: 'this plan, hotlayer run',
  ideal: 'only what is read, at the full rate',
};
