// Starts from the images of a report, simulated: pulled whole, lazily with and without the prefetch, and the best that
// any client could do; on some networks, and over a plane of bandwidths and round-trip times.
import { STARGZ_SNAPSHOTTER } from '../analyze/model/client.js';
import { type Network, ROBUST } from '../analyze/model/network.js';
import type { LayerLayout, Layout } from '../analyze/simulate/layout.js';
import { fetchesOf, type Simulated, simulate, type Way, Workload } from '../analyze/simulate/simulate.js';
import type { Profile, Spread } from '../analyze/types.js';
import type { ImageInspection } from '../rewrite/inspect/inspect.js';
import type { ReportSimulation, SimulationVariant, VariantId } from './types.js';

/** Runs that are played, and their accesses together; over the plane one run, and none that has more. */
const MOST_RUNS = 5;
const MOST_ACCESSES = 400_000;
const MOST_PLANE_ACCESSES = 50_000;

const RATES = [5e6, 10e6, 25e6, 50e6, 100e6, 250e6, 500e6, 1e9, 2.5e9].map((bits) => bits / 8);
const RTTS = [0.5e6, 1e6, 2e6, 5e6, 10e6, 20e6, 50e6, 100e6, 200e6];

interface Variant {
  readonly id: VariantId;
  readonly label: string;
  readonly layout: Layout;
  readonly way: Exclude<Way, 'run'>;
}

/**
 * @param before, after made with the profile and `files: true`
 * @returns undefined without a run that can be played, or without an image whose layers are all eStargz
 */
export function simulateStarts(
  profile: Profile,
  before: ImageInspection | undefined,
  after: ImageInspection | undefined,
  networks: readonly Network[] = ROBUST,
): ReportSimulation | undefined {
  const variants = variantsOf(before, after);
  const workload = new Workload(profile, { mostRuns: MOST_RUNS, mostAccesses: MOST_ACCESSES });
  if (variants.length === 0 || workload.schedules.length === 0) return undefined;
  return {
    client: STARGZ_SNAPSHOTTER.name,
    networks: networks.map(({ name, bytesPerSecond, rtt }) => ({
      name,
      ...(Number.isFinite(bytesPerSecond) ? { bytesPerSecond } : {}),
      rtt,
    })),
    variants: variants.map(
      ({ id, label, layout, way }): SimulationVariant => ({
        id,
        label,
        on: networks.map((network) => onNetwork(simulate(workload, layout, way, network)!)),
      }),
    ),
    ...planeOf(profile, variants),
    ...fetchedOf(profile, variants, networks),
    left: workload.left,
  };
}

function onNetwork({ network, ready, bytes, requests, misses, starts }: Simulated): SimulationVariant['on'][number] {
  return {
    network,
    ready: whole(ready),
    bytes: whole(bytes),
    requests: whole(requests),
    misses: whole(misses),
    runs: starts.map((start) => Math.round(start.ready)),
  };
}

/** A simulation knows fractions of nanoseconds; a report has integers. */
function whole({ median, mad, min, max }: Spread): Spread {
  const [a, b, c, d] = [median, mad, min, max].map(Math.round) as [number, number, number, number];
  return { median: a, mad: b, min: c, max: d };
}

function variantsOf(before: ImageInspection | undefined, after: ImageInspection | undefined): Variant[] {
  const lazy = after?.layout ?? before?.layout;
  if (!lazy) return [];
  const pulled = { layers: (before ?? after)!.layers.map(pulledLayer), files: [] };
  const variants: Variant[] = [{ id: 'pull', label: 'pulled whole', layout: pulled, way: 'full' }];
  if (before?.layout) variants.push({ id: 'lazy-before', label: 'lazily, before', layout: before.layout, way: 'lazy' });
  else variants.push({ id: 'lazy-before', label: 'lazily, no prefetch', layout: withoutPrefetch(lazy), way: 'lazy' });
  if (after?.layout) variants.push({ id: 'lazy-after', label: 'lazily, after', layout: after.layout, way: 'lazy' });
  variants.push({ id: 'ideal', label: 'only what is read', layout: lazy, way: 'ideal' });
  return variants;
}

/** A layer of any format that is fetched whole and unpacked. */
function pulledLayer({ size, entries, fileBytes }: ImageInspection['layers'][number]): LayerLayout {
  return {
    size,
    tocOffset: size,
    tocJson: 0,
    entries,
    prefetch: 0,
    prefetchFiles: 0,
    prefetchInflated: 0,
    inflated: fileBytes,
  };
}

function withoutPrefetch({ layers, files }: Layout): Layout {
  return { layers: layers.map((layer) => ({ ...layer, prefetch: 0, prefetchFiles: 0, prefetchInflated: 0 })), files };
}

/** On the network in the middle: neither the one on which everything is fast, nor the slowest. */
function fetchedOf(
  profile: Profile,
  variants: readonly Variant[],
  networks: readonly Network[],
): Pick<ReportSimulation, 'fetched'> {
  const network = networks[Math.floor(networks.length / 2)];
  const [schedule] = new Workload(profile, { mostRuns: 1, mostAccesses: MOST_ACCESSES }).schedules;
  if (!network || !schedule) return {};
  const ways = variants.map(({ id, layout, way }) => ({ id, ...fetchesOf(schedule, layout, way, network) }));
  return { fetched: { network: network.name, ways } };
}

/** From pulling whole to the lazy start of the image after, or of the one there is. */
function planeOf(profile: Profile, variants: readonly Variant[]): Pick<ReportSimulation, 'plane'> {
  const from = variants.find(({ id }) => id === 'pull')!;
  const to = variants.find(({ id }) => id === 'lazy-after') ?? variants.find(({ id }) => id === 'lazy-before')!;
  const accesses = Math.min(...profile.runs.map(({ replay }) => replay.accesses));
  if (accesses > MOST_PLANE_ACCESSES) return {};
  const workload = new Workload(profile, { mostRuns: 1, mostAccesses: MOST_PLANE_ACCESSES });
  const ready = ({ layout, way }: Variant): number[][] =>
    RATES.map((bytesPerSecond) =>
      RTTS.map((rtt) =>
        Math.round(simulate(workload, layout, way, { name: 'plane', bytesPerSecond, rtt })!.ready.median),
      ),
    );
  return {
    plane: {
      bytesPerSecond: RATES,
      rtts: RTTS,
      from: { id: from.id, ready: ready(from) },
      to: { id: to.id, ready: ready(to) },
    },
  };
}
