// What a plan decided and what is to be expected of it, for people: narration; the expectation itself is a result.
import { NOT_NEEDED } from '../analyze/model/cost-policy.js';
import { type Forecast, NAMES, VARIANTS } from '../analyze/simulate/forecast.js';
import type { Plan, Profile } from '../analyze/types.js';
import { showPath } from '../paths.js';
import { formatBytes, formatCount, formatNanos, formatShare } from '../units.js';
import type { Output } from './output.js';
import { table } from './table.js';

export function showPlan(out: Output, plan: Plan, profile: Profile | undefined, forecast: Forecast | undefined): void {
  const { model, behind = [], missed } = plan;
  const read = behind.filter(({ because }) => !because.endsWith(NOT_NEEDED));
  const files = read.length === 1 ? 'file is' : 'files are';
  showSome(out, `${formatCount(read.length)} ${files} cheaper behind the landmark:`, read);
  if (model && model.gap > 0) out.note(`A better plan could be ${formatShare(model.gap, 1)} faster, at most.`);
  else if (model) out.detail('No other choice of files is faster, by the model that this plan was made with.');
  const paths = missed.length === 1 ? 'path is' : 'paths are';
  showSome(
    out,
    `${formatCount(missed.length)} profiled ${paths} not placed:`,
    missed.map(({ path, reason }) => ({ path, because: reason })),
  );
  if (profile?.complete === false) out.warn('the profile behind this plan is not complete');
  if (forecast) showForecast(out, forecast);
}

function showSome(out: Output, title: string, list: readonly { path: string; because: string }[]): void {
  if (list.length === 0) return;
  out.note(title);
  for (const { path, because } of list.slice(0, out.verbose ? undefined : 5))
    out.note(`  ${showPath(path)} – ${because}`);
  if (!out.verbose && list.length > 5) out.note(`  … and ${list.length - 5} more (--save-plan FILE has them all)`);
}

function showForecast(out: Output, { networks, verdict, warnings, assumptions, runs }: Forecast): void {
  const columns = [
    { title: 'expected time to ready' },
    ...networks.map(({ name }) => ({ title: name, align: 'right' as const })),
    { title: 'fetched', align: 'right' as const },
  ];
  const rows = VARIANTS.map((variant) => [
    NAMES[variant],
    ...networks.map(({ variants }) => formatNanos(variants[variant].ready.median)),
    formatBytes(networks[0]?.variants[variant].bytes.median ?? 0),
  ]);
  for (const line of table(columns, rows)) out.result(line);
  out.result(`${verdict.lazy ? 'Lazy pays' : 'Lazy does not pay everywhere'}: ${verdict.because}.`);
  for (const line of crossoverText(verdict.crossover)) out.result(line);
  for (const warning of warnings) out.warn(warning);
  if (out.verbose) showSpread(out, networks);
  out.detail(`Simulated from ${runs} ${runs === 1 ? 'run' : 'runs'}. What is assumed:`);
  for (const line of assumptions) out.detail(`  ${line}`);
  out.result();
}

/** One sentence where it is the same with every round-trip time. */
export function crossoverText(crossover: Forecast['verdict']['crossover']): string[] {
  const said = crossover.map(({ bytesPerSecond, always }) =>
    bytesPerSecond === undefined
      ? `${always === 'lazy' ? 'lazy' : 'a full pull'} is faster at every rate`
      : `lazy is faster below ${formatRate(bytesPerSecond)}, a full pull above`,
  );
  const [first] = said;
  if (first === undefined) return [];
  if (said.every((what) => what === first)) return [`${first.slice(0, 1).toUpperCase()}${first.slice(1)}.`];
  return said.map((what, i) => `With the round-trip time of ${crossover[i]!.network}: ${what}.`);
}

/** How far the runs lie apart, and what a start asks the registry for. */
function showSpread(out: Output, networks: Forecast['networks']): void {
  for (const { name, variants } of networks) {
    const rows = VARIANTS.map((variant) => {
      const { ready, bytes, requests, misses } = variants[variant];
      return [
        NAMES[variant],
        `${formatNanos(ready.min)} … ${formatNanos(ready.max)}`,
        formatBytes(bytes.median),
        formatCount(requests.median),
        formatCount(misses.median),
      ];
    });
    const columns = [
      { title: `${name}, over the runs` },
      { title: 'ready, min … max', align: 'right' },
      { title: 'fetched', align: 'right' },
      { title: 'requests', align: 'right' },
      { title: 'waited for', align: 'right' },
    ] as const;
    for (const line of table(columns, rows)) out.detail(line);
  }
}

/** What goes before the landmark of each layer, of a plan that is not carried out. */
export function showPlannedLayers(
  out: Pick<Output, 'result'>,
  { layers }: Pick<Plan, 'layers'>,
  profile: Pick<Profile, 'files'> | undefined,
): void {
  const rows = layers.map(({ index, hot, hotBytes, chunks }) => {
    const own = Object.keys(chunks ?? {}).length;
    const parts = [
      ...(hot.length > 0 ? [] : [whyNone(profile, index)]),
      ...(own > 0 ? [`${formatCount(own)} ${own === 1 ? 'file' : 'files'} divided where reading is`] : []),
    ];
    return [
      String(index),
      hot.length === 0 ? 'no prefetch' : formatCount(hot.length),
      hot.length === 0 ? '' : formatBytes(hotBytes),
      parts.join('; '),
    ];
  });
  const columns = [
    { title: 'layer' },
    { title: 'before the landmark', align: 'right' },
    { title: 'content', align: 'right' },
    { title: '' },
  ] as const;
  for (const line of table(columns, rows)) out.result(line);
}

function whyNone(profile: Pick<Profile, 'files'> | undefined, layer: number): string {
  if (!profile) return 'nothing is known of a start';
  const read = profile.files.filter((file) => file.layer === layer && file.type === 'reg' && file.bytesRead.max > 0);
  if (read.length === 0) return 'nothing of it is read';
  const files = read.length === 1 ? '1 file is' : `${formatCount(read.length)} files are`;
  return `${files} read, and cheaper fetched then`;
}

/** Bits a second. */
function formatRate(bytesPerSecond: number): string {
  const mbit = (bytesPerSecond * 8) / 1e6;
  return mbit >= 1000 ? `${Number((mbit / 1000).toPrecision(3))} Gbit/s` : `${Number(mbit.toPrecision(3))} Mbit/s`;
}
