// What each chart shows, in one or two sentences with numbers: the part of a report that is read first. Paths in them are
// as they are: whoever shows a sentence makes it safe, as all other text.
import { signed } from '../analyze/diff/findings.js';
import type { Profile } from '../analyze/types.js';
import { formatBytes, formatCount, formatNanos, formatShare } from '../units.js';
import type {
  FileHeat,
  Findings,
  ImageView,
  Metric,
  PrefetchView,
  ReportChanges,
  ReportSimulation,
  Stability,
  Startup,
} from './types.js';

export interface Found {
  readonly profile: Profile;
  readonly metrics: readonly Metric[];
  readonly startup?: Startup | undefined;
  readonly stability: Stability;
  readonly heat: readonly FileHeat[];
  readonly before?: ImageView | undefined;
  readonly after?: ImageView | undefined;
  readonly prefetch?: PrefetchView | undefined;
  readonly simulation?: ReportSimulation | undefined;
  readonly changes?: ReportChanges | undefined;
}

export function findingsOf(found: Found): Findings {
  const { startup, heat, before, after, prefetch, simulation, changes } = found;
  const image = after ?? before;
  return {
    verdict: verdict(found),
    ...(startup ? { startup: waterfall(startup, found.profile), cumulative: cumulative(startup, found.profile) } : {}),
    stability: stable(found),
    ...(heat.length > 0 ? { heat: heats(heat) } : {}),
    ...(image ? { layers: layers(before, after), tree: tree(image) } : {}),
    ...(simulation?.fetched ? { fetched: fetched(simulation) } : {}),
    ...(changes ? { changes: changed(changes) } : {}),
    ...(prefetch ? { prefetch: prefetched(prefetch) } : {}),
    ...(simulation ? { simulation: simulated(simulation) } : {}),
    misses: misses(found.profile),
    files: files(found.profile),
  };
}

function verdict({ profile, metrics, prefetch, simulation }: Found): string {
  const value = (id: string): number | undefined => metrics.find((metric) => metric.id === id)?.value;
  const time = value('startup-time');
  const ready = time === undefined ? 'A start' : `Ready after ${formatNanos(time)}. A start`;
  const bytes = value('startup-bytes') ?? 0;
  const share = profile.image.bytes > 0 ? `, ${formatShare(bytes, profile.image.bytes)} of the image's bytes` : '';
  const parts = [`${ready} reads ${count(value('startup-files') ?? 0, 'file')}, ${formatBytes(bytes)}${share}.`];
  if (prefetch)
    parts.push(
      `${prefetch.coverage === 1 ? 'All' : formatShare(prefetch.coverage, 1)} of what it reads is prefetched; ${
        prefetch.waste === 0
          ? 'every prefetched file is read'
          : `${formatShare(prefetch.waste, 1)} of what is prefetched is in files that are not read`
      }.`,
    );
  if (simulation) parts.push(simulated(simulation));
  return parts.join(' ');
}

function waterfall(startup: Startup, profile: Profile): string {
  const { processes, files, ready } = startup;
  const opened = files.file.length;
  const busy = processes.map((use, i) => ({ use, i })).sort((a, b) => b.use.files - a.use.files || a.i - b.i)[0];
  const parts = [`Run ${startup.number} opens ${count(opened, 'file')}`];
  if (ready !== undefined) parts.push(` in the ${formatNanos(ready)} until it is ready`);
  if (busy && processes.length > 1 && opened > 0)
    parts.push(`; ${showComm(busy.use.comm)} is the first to ask for ${formatShare(busy.use.files, opened)} of them`);
  let gap = 0;
  let at = 0;
  for (let i = 1; i < opened; i++) {
    // What is asked for before the start is asked for by whoever starts it.
    const wait = files.first[i]! - Math.max(0, files.first[i - 1]!);
    if (wait > gap) [gap, at] = [wait, i];
  }
  if (ready !== undefined && ready > 0 && gap > ready / 10)
    parts.push(`. For ${formatNanos(gap)} it opens nothing new, before ${profile.files[files.file[at]!]!.path}`);
  return `${parts.join('')}.`;
}

function cumulative({ cumulative: steps, ready }: Startup, profile: Profile): string {
  const last = steps.at(-1);
  if (!last || last[1] === 0) return 'Nothing is read.';
  const half = steps.find(([, bytes]) => bytes >= last[1] / 2)!;
  const share = profile.image.bytes > 0 ? `, ${formatShare(last[1], profile.image.bytes)} of what the image holds` : '';
  const of = ready ? ` (${formatShare(Math.max(0, half[0]), ready)} of the time)` : '';
  return `${formatBytes(last[1])} are needed in all${share}; half of them by ${formatNanos(half[0])}${of}.`;
}

function stable({ profile, stability }: Found): string {
  const runs = profile.runs.length;
  if (runs === 1) return 'There is one run only: nothing says what varies.';
  const always = stability.openedIn[runs - 1] ?? 0;
  const all = stability.openedIn.reduce((a, b) => a + b, 0);
  const alike =
    profile.agreement.runs > 1
      ? ` The files that two runs read agree to ${formatShare(profile.agreement.files, 1)} (Jaccard).`
      : '';
  return `${formatCount(always)} of ${count(all, 'file')} are opened in every one of ${runs} runs, ${formatCount(all - always)} come and go.${alike}`;
}

function heats(heat: readonly FileHeat[]): string {
  const [size, read] = [heat.reduce((a, { size }) => a + size, 0), heat.reduce((a, { read }) => a + read, 0)];
  const cold = [...heat].sort((a, b) => b.size - b.read - (a.size - a.read))[0]!;
  return `Of the ${count(heat.length, 'biggest file')} that are opened, ${formatShare(read, size)} of the bytes are read; ${cold.path} leaves ${formatBytes(cold.size - cold.read)} of ${formatBytes(cold.size)} untouched.`;
}

function layers(before: ImageView | undefined, after: ImageView | undefined): string {
  const image = (after ?? before)!;
  const hot = image.layers.filter(({ hotFiles }) => hotFiles > 0).length;
  const parts = [`${formatCount(hot)} of ${count(image.layers.length, 'layer')} have files that a start opens`];
  if (after && after.prefetchBytes > 0) {
    const with_ = after.layers.filter(({ prefetchBytes }) => prefetchBytes > 0).length;
    parts.push(
      `; ${formatBytes(after.prefetchBytes)} in ${count(with_, 'layer')} lie before the landmark, one range request each`,
    );
  } else if (image.prefetchBytes === 0) parts.push('; none has a prefetch');
  if (before && after)
    parts.push(
      `. The image grows from ${formatBytes(before.size)} to ${formatBytes(after.size)}`.replace(
        'grows',
        after.size < before.size ? 'shrinks' : 'grows',
      ),
    );
  return `${parts.join('')}.`;
}

function tree({ layers: list }: ImageView): string {
  let [size, every, some, files] = [0, 0, 0, 0];
  for (const { tree: node } of list) {
    size += node.size;
    every += node.every;
    some += node.some;
    files += node.files;
  }
  return `Of ${formatBytes(size)} in ${count(files, 'file')}, ${formatShare(every, size)} are in files that every run opens, ${formatShare(some, size)} in files that some do; ${formatBytes(size - every - some)} are in files that no run opened.`;
}

const BECAME: Record<ReportChanges['kinds'][number]['kind'], string> = {
  hot: 'became hot',
  cold: 'became cold',
  bigger: 'grew',
  smaller: 'shrank',
  later: 'are read later',
  earlier: 'are read earlier',
};

function changed({ kinds, unsure }: ReportChanges): string {
  const parts = kinds.map(({ kind, files, bytes }) => {
    const amount = kind === 'later' || kind === 'earlier' ? '' : ` (${signed(bytes, formatBytes)})`;
    return `${count(files, 'file')} ${BECAME[kind]}${amount}`;
  });
  const within = unsure > 0 ? ` ${count(unsure, 'more file')} may have, within the noise of the runs.` : '';
  return `${parts.length === 0 ? 'A start reads the same as before' : parts.join(', ')}.${within}`;
}

function prefetched({ bytes, files, compressed, coverage, unused, missing }: PrefetchView): string {
  const parts = [
    `Prefetched: ${count(files, 'file')}, ${formatBytes(bytes)}, in ${formatBytes(compressed)} as stored; that is ${formatShare(coverage, 1)} of what a start reads.`,
    unused.files === 0
      ? 'Nothing there is left unread.'
      : `Read by no run: ${formatCount(unused.files)} of them, ${formatBytes(unused.bytes)}.`,
  ];
  if (missing.files > 0)
    parts.push(`Read, but behind the landmark: ${count(missing.files, 'file')}, ${formatBytes(missing.bytes)}.`);
  return parts.join(' ');
}

/** Against pulling whole, which is what happens without a lazy client, and against a lazy start without a prefetch. */
function simulated({ variants, networks }: ReportSimulation): string {
  const on = (id: string, network: string) =>
    variants.find((variant) => variant.id === id)?.on.find((result) => result.network === network)?.ready.median;
  const parts = networks.flatMap(({ name }) => {
    const lazy = on('lazy-before', name);
    const [ready, than] = [on('lazy-after', name) ?? lazy, on('lazy-after', name) === undefined ? undefined : lazy];
    const pulled = on('pull', name);
    if (!ready || pulled === undefined) return [];
    const times = [pulled, ...(than === undefined ? [] : [than])].map((other) => `${(other / ready).toFixed(1)}×`);
    return [`${formatNanos(ready)} on ${name} (${times.join(', ')})`];
  });
  const [first] = variants.filter(({ id }) => id === 'lazy-after');
  const than = first ? 'pulled whole and than lazily without a prefetch' : 'pulled whole';
  return parts.length === 0
    ? 'Starts were simulated.'
    : `Simulated time to ready, and how many times sooner than ${than}: ${parts.join(', ')}.`;
}

function fetched({ fetched: shown, variants }: ReportSimulation): string {
  const parts = (shown?.ways ?? []).map(({ id, ready, curve }) => {
    const label = variants.find((variant) => variant.id === id)?.label ?? id;
    return `${label} ${formatBytes(curve.at(-1)?.[1] ?? 0)} (ready at ${formatNanos(ready)})`;
  });
  return `Compressed bytes until ready on ${shown?.network}, simulated: ${parts.join(', ')}.`;
}

function misses({ misses: { total, directories }, runs }: Profile): string {
  if (total === 0) return 'Every name that was asked for exists.';
  const first = directories[0];
  const most = first ? `; most, ${formatCount(Math.round(first.count / runs.length))}, in ${first.path}` : '';
  return `A start searches ${count(Math.round(total / runs.length), 'path')} that do not exist${most}.`;
}

function files(profile: Profile): string {
  const opened = profile.files.filter(({ type, openedIn }) => type === 'reg' && openedIn > 0).length;
  return `${count(opened, 'file')} were opened in at least one run; ${formatCount(profile.files.length - opened)} more paths were looked at, listed or followed.`;
}

/** `1 204 files`, `1 file`. */
export function count(number: number, what: string): string {
  return `${formatCount(number)} ${what}${number === 1 ? '' : 's'}`;
}

export function showComm(comm: string | undefined): string {
  return comm === undefined ? 'an unnamed process' : comm;
}
