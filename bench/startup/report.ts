// The results as Markdown.
import { type Machine, machineLine, markdownTable } from '../support/report.js';
import { type Ratio, type Summary, summarize } from '../support/statistics.js';
import type { Workload } from './images.js';
import type { Case, Mean, VariantResult } from './results.js';
import type { Made, Variant } from './variants.js';

export interface ReportInput {
  readonly workloads: readonly Workload[];
  readonly variants: readonly Variant[];
  readonly networks: readonly string[];
  /** `IMAGE VARIANT` → what was made. */
  readonly made: ReadonlyMap<string, Made>;
  readonly cases: readonly Case[];
  readonly means: readonly Mean[];
  readonly shortcomings: readonly string[];
  readonly machine: Machine;
  readonly hotlayer: { readonly version: string; readonly commit: string };
}

/** What hotlayer is compared with, in the order of the columns. */
const OVER = ['peer', 'plain', 'full'];
const OURS = 'hotlayer';

export function render(input: ReportInput): string {
  const { cases, networks, variants, workloads } = input;
  const over = OVER.filter((name) => name !== OURS && variants.some((variant) => variant.name === name));
  const title = (name: string) => variants.find((variant) => variant.name === name)?.title ?? name;
  const rounds = cases.map((one) => one.rounds);
  const sections = networks.flatMap((network) => {
    const here = cases.filter((one) => one.network === network);
    return here.length === 0
      ? []
      : [`## ${networkTitle(network)}\n`, timeTable(input, here, over), trafficTable(input, here)];
  });
  const compared = variants.map((variant) => variant.title).join(', ');
  return `${[
    '# Time to ready, cold, beside full pull and the peer\n',
    `hotlayer ${input.hotlayer.version} (${input.hotlayer.commit}); ${Math.min(...rounds)}${spread(rounds)} rounds.\n`,
    verdict(input),
    ...sections,
    '## Images\n',
    imageTable(input),
    `**Method.** Each measurement starts a new containerd with a new stargz snapshotter (the library of Debian's package, its default settings) on empty directories,
pulls one image and runs it; the clock runs from the start of \`ctr image pull\` or \`ctr-remote image rpull\` until the workload is ready as seen from outside: its line of output arrives, its
port accepts, its page is there whole. Bytes and requests are those of all connections with the registry up to that moment. The variants (${compared}) take turns, in another order each
round; all go through the same proxy: one downstream link that all connections share, half of the round trip each way, one round trip for a new connection; no loss, no
slow start; "loopback" is the same proxy without delay and limit. The registry's files are read once before each measurement; what the client writes, caches and unpacked layers included, is kept in memory (tmpfs), which is kindest to the full pull. "ctr-remote optimize" is the peer's optimizer with its
defaults and its own record of the same workload, whose page or port is asked for as soon as it answers; "plain eStargz" is the same tool with --no-optimize; "${title(OURS)}" is \`hotlayer profile\` with the rule below, then
\`hotlayer optimize\`, both with their defaults.

Times are medians with the 95 % interval of the median (percentile bootstrap; of so few rounds it is close to the range). Ratios are of medians, their intervals from resampled rounds; of
means, from resampled rounds of each image. "On demand": chunks that the container asked for before the client had them. CPU: containerd, snapshotter, tools and
container, until ready.${workloads.some((w) => w.extra) ? ' Images marked * are not in the geometric means.' : ''}\n`,
    `**Machine.** ${machineLine(input.machine)} ${quiet(input)}`,
  ].join('\n')}\n`;
}

function networkTitle(network: string): string {
  const [, rtt, mbit] = /^(\d+)ms\/(\d+)mbit$/.exec(network) ?? [];
  return rtt === undefined ? 'Bare loopback' : `${rtt} ms, ${mbit} Mbit/s`;
}

function spread(rounds: readonly number[]): string {
  return Math.min(...rounds) === Math.max(...rounds) ? '' : `–${Math.max(...rounds)}`;
}

function verdict({ shortcomings, cases }: ReportInput): string {
  const asked =
    "Asked for: on every image and network ready no later than the peer's and than plain eStargz, within noise, and no more chunks fetched on demand than the peer's.";
  if (shortcomings.length === 0) return `${asked} This holds in all ${cases.length} cases.\n`;
  return `${asked} It does not hold here:\n\n${shortcomings.map((line) => `- ${line}`).join('\n')}\n`;
}

function timeTable(input: ReportInput, here: readonly Case[], over: readonly string[]): string {
  const { variants, means } = input;
  const head = ['ready after', ...variants.map((v) => v.title), ...over.map((name) => `${OURS} ÷ ${name}`)];
  const rows = here.map((one) => {
    const ours = find(one, OURS);
    const times = variants.map((v) => seconds(find(one, v.name)?.measures.readyMs));
    return [nameOf(input, one.image), ...times, ...over.map((name) => ratioText(ours?.readyRatio[name]))];
  });
  const mean = over.map((name) =>
    means.find((m) => m.network === here[0]!.network && m.variant === OURS && m.over === name),
  );
  if (mean.some(Boolean))
    rows.push([
      'geometric mean',
      ...variants.map(() => ''),
      ...mean.map((m) => (m ? `**${ratioText(m.ratio)}**` : '')),
    ]);
  return `${markdownTable(head, rows)}\n`;
}

function trafficTable(input: ReportInput, here: readonly Case[]): string {
  const { variants } = input;
  const lazy = variants.filter((v) => v.snapshotter === 'stargz');
  const head = [
    'at readiness',
    ...variants.map((v) => `${v.title}: MB, requests`),
    ...lazy.map((v) => `${v.title}: prefetched MB, on demand`),
    ...variants.map((v) => `${v.title}: CPU`),
  ];
  const rows = here.map((one) => {
    const of = (name: string) => find(one, name)?.measures;
    return [
      nameOf(input, one.image),
      ...variants.map((v) => `${mega(of(v.name)?.bytes)}, ${count(of(v.name)?.requests)}`),
      ...lazy.map((v) => `${mega(of(v.name)?.prefetched)}, ${count(of(v.name)?.onDemand)}`),
      ...variants.map((v) => `${((of(v.name)?.cpuMs?.median ?? Number.NaN) / 1000).toFixed(2)} s`),
    ];
  });
  return `${markdownTable(head, rows)}\n`;
}

function imageTable({ workloads, variants, made }: ReportInput): string {
  const rows = workloads.map(({ recipe, ready, about, extra }) => [
    `${recipe.name}${extra ? ' *' : ''}`,
    about,
    ready.kind === 'line' ? `the line “${ready.text}”` : ready.kind === 'tcp' ? 'port accepts' : 'page served',
    ...variants.map(({ name }) => {
      const one = made.get(`${recipe.name} ${name}`);
      return one ? (one.layers.reduce((sum, layer) => sum + layer.size, 0) / 1e6).toFixed(1) : '';
    }),
  ]);
  return `${markdownTable(['image', 'what', 'ready', ...variants.map((v) => `${v.title}: MB`)], rows)}\n`;
}

/** How much of the machine others used while the clocks ran. */
function quiet({ cases, machine }: ReportInput): string {
  const shares = cases.flatMap(({ variants }) =>
    variants.flatMap(({ measures: { neighboursMs, readyMs } }) =>
      (neighboursMs?.values ?? []).map((ms, i) => ms / (readyMs!.values[i]! * machine.cores)),
    ),
  );
  if (shares.length === 0) return '';
  const { median, max } = summarize(shares);
  return `Other programs used ${Math.round(median * 100)} % of it in the median of all measurements, at most ${Math.round(max * 100)} %.`;
}

function find(one: Case, name: string): VariantResult | undefined {
  return one.variants.find((variant) => variant.variant === name);
}

function nameOf({ workloads }: ReportInput, image: string): string {
  return workloads.find((w) => w.recipe.name === image)?.extra ? `${image} *` : image;
}

function seconds(summary: Summary | undefined): string {
  if (!summary) return '';
  const [low, high] = summary.interval.map((ms) => (ms / 1000).toFixed(2));
  return `${(summary.median / 1000).toFixed(2)} s (${low}–${high})`;
}

function ratioText(ratio: Ratio | undefined): string {
  return ratio ? `${ratio.ratio.toFixed(2)} (${ratio.interval.map((value) => value.toFixed(2)).join('–')})` : '';
}

function mega(summary: Summary | undefined): string {
  return summary ? (summary.median / 1e6).toFixed(2) : '';
}

function count(summary: Summary | undefined): string {
  return summary ? String(summary.median) : '';
}
