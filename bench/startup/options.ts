// The command line of bench/startup.
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { WORKLOADS, type Workload } from './images.js';
import { type NamedNetwork, NETWORKS, parseNetwork } from './networks.js';
import { FURTHER_VARIANTS, VARIANTS, type Variant } from './variants.js';

export interface Options {
  readonly runs: number;
  readonly workloads: readonly Workload[];
  readonly networks: readonly NamedNetwork[];
  readonly variants: readonly Variant[];
  /** Where images and measurements are kept. */
  readonly directory: string;
  /** Where the report goes; absent: reports/ of this repository. */
  readonly out?: string;
  /** Keep every request of every measurement in `directory`/requests. */
  readonly requests: boolean;
  /** Only print the report. */
  readonly dry: boolean;
  /** Forget the measurements of earlier runs (not the images). */
  readonly fresh: boolean;
  /** Measure nothing: the report of what there is. */
  readonly reportOnly: boolean;
}

/** @throws with what there is to choose from */
export function readOptions(args?: readonly string[]): Options {
  const { values } = parseArgs({
    ...(args && { args: [...args] }),
    options: {
      runs: { type: 'string' },
      images: { type: 'string' },
      networks: { type: 'string' },
      variants: { type: 'string' },
      dir: { type: 'string', default: process.env.HOTLAYER_BENCH_DIR ?? join(tmpdir(), 'hotlayer-bench-startup') },
      out: { type: 'string' },
      requests: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      fresh: { type: 'boolean', default: false },
      'report-only': { type: 'boolean', default: false },
    },
  });
  const { quick } = values;
  const runs = values.runs ?? (quick ? '2' : '5');
  if (!/^[1-9]\d*$/.test(runs)) throw new Error(`--runs ${runs}: expected a whole number from 1`);
  return {
    runs: Number(runs),
    workloads: pick(WORKLOADS, values.images ?? (quick ? 'python' : undefined), (w) => w.recipe.name),
    networks: values.networks?.split(',').map(parseNetwork) ?? (quick ? NETWORKS.slice(0, 2) : NETWORKS),
    variants:
      values.variants === undefined
        ? VARIANTS
        : pick([...VARIANTS, ...FURTHER_VARIANTS], values.variants, (v) => v.name),
    directory: values.dir,
    ...(values.out === undefined ? {} : { out: values.out }),
    requests: values.requests,
    dry: quick,
    fresh: values.fresh,
    reportOnly: values['report-only'],
  };
}

/** The named ones of a list, in the list's order. @param names separated by commas; absent: all */
function pick<T>(all: readonly T[], names: string | undefined, nameOf: (one: T) => string): readonly T[] {
  if (names === undefined) return all;
  const wanted = names.split(',');
  const unknown = wanted.filter((name) => !all.some((one) => nameOf(one) === name));
  if (unknown.length > 0) throw new Error(`unknown: ${unknown.join(', ')}; there are ${all.map(nameOf).join(', ')}`);
  return all.filter((one) => wanted.includes(nameOf(one)));
}
