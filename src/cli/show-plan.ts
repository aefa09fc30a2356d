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
  for (const { network, bytesPerSecond, always } of verdict.crossover) {
    const what =
      bytesPerSecond === undefined
        ? `${always === 'lazy' ? 'lazy' : 'a full pull'} is faster at every rate`
        : `lazy is faster below ${formatRate(bytesPerSecond)}, a full pull above`;
    out.detail(`With the round-trip time of ${network}: ${what}.`);
  }
  for (const warning of warnings) out.warn(warning);
  out.detail(`Simulated from ${runs} ${runs === 1 ? 'run' : 'runs'}. What is assumed:`);
  for (const line of assumptions) out.detail(`  ${line}`);
  out.result();
}

/** Bits a second. */
function formatRate(bytesPerSecond: number): string {
  const mbit = (bytesPerSecond * 8) / 1e6;
  return mbit >= 1000 ? `${Number((mbit / 1000).toPrecision(3))} Gbit/s` : `${Number(mbit.toPrecision(3))} Mbit/s`;
}
