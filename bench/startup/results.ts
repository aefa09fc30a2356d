// Measurements → what they come to: medians with their spread, ratios between variants, and the verdict. Pure.
import { geometricMeanRatio, type Ratio, ratioOf, type Summary, summarize } from '../support/statistics.js';
import type { ColdStart } from './cold-start.js';

/** One line of the journal. */
export interface Measurement extends ColdStart {
  readonly image: string;
  readonly network: string;
  readonly variant: string;
  /** 0 … */
  readonly round: number;
  /** Of the manifest that was pulled. */
  readonly digest: string;
  /** ISO 8601. */
  readonly at: string;
}

export const MEASURES = [
  'readyMs',
  'pullMs',
  'bytes',
  'requests',
  'onDemand',
  'prefetched',
  'cpuMs',
  'neighboursMs',
] as const;
export type Measure = (typeof MEASURES)[number];

export interface VariantResult {
  readonly variant: string;
  readonly digest: string;
  /** Absent where the measure means nothing for the variant. */
  readonly measures: Partial<Record<Measure, Summary>>;
  /** Of the time to ready, over each other variant's. */
  readonly readyRatio: Readonly<Record<string, Ratio>>;
}

export interface Case {
  readonly image: string;
  readonly network: string;
  /** In which all variants were measured. */
  readonly rounds: number;
  readonly variants: readonly VariantResult[];
}

export interface Mean {
  readonly network: string;
  readonly variant: string;
  readonly over: string;
  readonly images: number;
  readonly ratio: Ratio;
}

/** What the run is about, in the order in which it is to be shown. */
export interface Scope {
  readonly images: readonly string[];
  /** Those of the images that the means leave out. */
  readonly extra: readonly string[];
  readonly networks: readonly string[];
  readonly variants: readonly string[];
  /** Digest of each image in each variant, `IMAGE VARIANT` → digest: what was measured of another one does not count. */
  readonly digests: ReadonlyMap<string, string>;
}

/** Cases in which every variant was measured at least once; rounds in which one is missing are left out. */
export function casesOf(measurements: readonly Measurement[], scope: Scope): Case[] {
  return scope.images.flatMap((image) =>
    scope.networks.flatMap((network): Case[] => {
      const series = scope.variants.map((variant) => seriesOf(measurements, scope, image, network, variant));
      const rounds = [...series[0]!.keys()]
        .filter((round) => series.every((one) => one.has(round)))
        .sort((a, b) => a - b);
      if (rounds.length === 0) return [];
      const values = (i: number, measure: Measure) => rounds.map((round) => series[i]!.get(round)![measure]);
      const ready = (i: number) => values(i, 'readyMs') as number[];
      const variants = scope.variants.map((variant, i): VariantResult => {
        const known = MEASURES.filter((measure) => values(i, measure).every((value) => value !== null));
        return {
          variant,
          digest: scope.digests.get(`${image} ${variant}`)!,
          measures: Object.fromEntries(known.map((measure) => [measure, summarize(values(i, measure) as number[])])),
          readyRatio: Object.fromEntries(
            scope.variants.flatMap((other, k) => (k === i ? [] : [[other, ratioOf(ready(i), ready(k))]])),
          ),
        };
      });
      return [{ image, network, rounds: rounds.length, variants }];
    }),
  );
}

function seriesOf(
  measurements: readonly Measurement[],
  { digests }: Scope,
  image: string,
  network: string,
  variant: string,
): Map<number, Measurement> {
  const digest = digests.get(`${image} ${variant}`);
  const mine = measurements.filter(
    (m) => m.image === image && m.network === network && m.variant === variant && m.digest === digest,
  );
  return new Map(mine.map((m) => [m.round, m]));
}

/** Geometric means of the ratios of time to ready over the ordinary images, for each network. */
export function meansOf(cases: readonly Case[], { extra, networks, variants }: Scope): Mean[] {
  const ready = (one: Case, variant: string) =>
    one.variants.find((v) => v.variant === variant)!.measures.readyMs!.values;
  return networks.flatMap((network) => {
    const ordinary = cases.filter((one) => one.network === network && !extra.includes(one.image));
    if (ordinary.length === 0) return [];
    return variants.flatMap((variant) =>
      variants
        .filter((over) => over !== variant)
        .map((over) => {
          const ratio = geometricMeanRatio(ordinary.map((one) => [ready(one, variant), ready(one, over)]));
          return { network, variant, over, images: ordinary.length, ratio };
        }),
    );
  });
}

/**
 * Where `ours` does not hold what is asked of it: ready later than `theirs` or `plain` beyond noise (the ratio's whole
 * interval is above 1), or more chunks waited for than `theirs`.
 */
export function shortcomings(cases: readonly Case[], ours = 'hotlayer', theirs = 'peer', plain = 'plain'): string[] {
  return cases.flatMap(({ image, network, variants }) => {
    const of = (name: string) => variants.find((v) => v.variant === name);
    const mine = of(ours);
    if (!mine) return [];
    const late = [theirs, plain].flatMap((other) => {
      const ratio = mine.readyRatio[other];
      if (!ratio || ratio.interval[0] <= 1) return [];
      return [`${image}, ${network}: ready later than ${other}, ratio ${ratio.ratio.toFixed(3)}`];
    });
    const [misses, theirMisses] = [mine.measures.onDemand?.median ?? 0, of(theirs)?.measures.onDemand?.median];
    if (theirMisses === undefined || misses <= theirMisses) return late;
    return [...late, `${image}, ${network}: ${misses} chunks fetched on demand, ${theirs} ${theirMisses}`];
  });
}
