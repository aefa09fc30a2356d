// The report of bench:fuse: medians of every task on every mount, and beside the best of the peers.
import { formatBytes } from '../../src/units.js';
import { describeHotlayer, describeMachine, machineLine, markdownTable, writeReport } from '../support/report.js';
import { median, type Ratio, ratioOf } from '../support/statistics.js';
import type { Backend } from './backends.js';
import type { Task } from './tasks.js';
import type { TreeSize } from './tree.js';

export interface Measurement {
  readonly round: number;
  readonly task: string;
  readonly backend: string;
  /** ms, on a mount that was just made. */
  readonly first: number;
  /** ms, once more on the same mount. */
  readonly again: number;
}

export interface Results {
  readonly measured: readonly Measurement[];
  readonly tasks: readonly Task[];
  readonly backends: readonly Backend[];
  readonly rounds: number;
  readonly size: TreeSize;
  /** About the machine while it was measured; "": nothing. */
  readonly note: string;
  readonly dry: boolean;
}

type Which = 'first' | 'again';

/** Bytes a second that a sequential read is to make. */
const WANTED_RATE = 0.5e9;

interface Comparison {
  readonly task: string;
  readonly which: Which;
  readonly backend: string;
  /** The peer with the lowest median. */
  readonly peer: string;
  /** Of ours to that peer's. */
  readonly ratio: Ratio;
}

export function report(results: Results): void {
  const { measured, tasks, backends, rounds, size, note, dry } = results;
  const comparisons = compare(results);
  const machine = describeMachine({
    bindfs: ['bindfs', '--version'],
    'fuse-overlayfs': ['dpkg-query', '-W', `-f=fuse-overlayfs \${Version}`, 'fuse-overlayfs'],
    libfuse: ['dpkg-query', '-W', `-f=libfuse \${Version}`, 'libfuse3-dev'],
  });
  const hotlayer = describeHotlayer();
  const wrong = shortcomings(results, comparisons);
  const markdown = [
    '# hotlayer’s mounts beside other FUSE file systems',
    '',
    `hotlayer ${hotlayer.version} (${hotlayer.commit}); ${rounds} rounds.`,
    '',
    `Asked for: a start on \`hotlayer mount\` of an eStargz or a plain image no slower than on the fastest of the others, within noise, and ${WANTED_RATE / 1e9} GB/s when a big file is read. ${wrong.length === 0 ? 'This holds.' : 'It does not hold here:'}`,
    ...(wrong.length === 0 ? [] : ['', ...wrong.map((line) => `- ${line}`)]),
    ...(['first', 'again'] as const).flatMap((which) => [
      '',
      which === 'first' ? '## On a new mount' : '## Once more on the same mount',
      '',
      markdownTable(
        ['ms', ...tasks.map(({ name }) => name)],
        backends.map(({ name }) => [
          name,
          ...tasks.map((task) => median(timesOf(measured, task.name, name, which)).toFixed(0)),
        ]),
      ),
      '',
      markdownTable(
        ['to the fastest peer', ...tasks.map(({ name }) => name)],
        backends
          .filter(({ kind }) => kind === 'ours')
          .map(({ name }) => [
            name,
            ...tasks.map((task) => {
              const one = comparisons.find((c) => c.task === task.name && c.which === which && c.backend === name);
              return one ? `${show(one.ratio)} ${one.peer}` : '';
            }),
          ]),
      ),
    ]),
    '',
    `**Method.** All mounts show the same tree: ${size.entries} files to walk, ${size.small} small ones, one of ${formatBytes(size.big)}, and Python and Node with what they need. Tasks:`,
    '',
    ...tasks.map(({ name, about }) => `- _${name}_: ${about}`),
    '',
    'Mounts:',
    '',
    ...backends.map(({ name, about }) => `- _${name}_: ${about}`),
    '',
    `Every measurement has a mount of its own, made before the clock starts; mounts take turns to be first. What they read from is in memory (tmpfs and page cache), in a network and mount namespace of its own. Times are medians; ratios are of medians, with the 95 % interval of a bootstrap over rounds. "Once more": the kernel answers what it has kept.`,
    '',
    `**Machine.** ${machineLine(machine)}${note === '' ? '' : ` ${note}`}`,
    '',
  ].join('\n');
  process.stdout.write(markdown);
  if (dry) return;
  const described = { tasks: tasks.map(({ name, about }) => ({ name, about })), backends };
  const data = { schemaVersion: 1, hotlayer, machine, note, rounds, size, ...described, comparisons, wrong, measured };
  process.stderr.write(`written: ${writeReport('bench-fuse', data, markdown).join(', ')}\n`);
}

function compare({ measured, tasks, backends }: Results): Comparison[] {
  const named = (kind: Backend['kind']) => backends.filter((b) => b.kind === kind).map(({ name }) => name);
  const comparisons: Comparison[] = [];
  for (const { name: task } of tasks) {
    for (const which of ['first', 'again'] as const) {
      const times = (backend: string) => timesOf(measured, task, backend, which);
      const [peer] = named('peer').sort((a, b) => median(times(a)) - median(times(b)));
      if (peer === undefined) continue;
      for (const backend of named('ours'))
        comparisons.push({ task, which, backend, peer, ratio: ratioOf(times(backend), times(peer)) });
    }
  }
  return comparisons;
}

/** What was asked for and does not hold, in words. `hotlayer dir` is what profile serves, and is only shown. */
function shortcomings({ measured, tasks }: Results, comparisons: readonly Comparison[]): string[] {
  const wrong: string[] = [];
  const counted = comparisons.filter(({ which, backend }) => which === 'first' && backend !== 'hotlayer dir');
  for (const { task, backend, peer, ratio } of counted) {
    const { startup, bytes } = tasks.find(({ name }) => name === task)!;
    if (startup && ratio.interval[0] > 1) wrong.push(`${task} on ${backend}: ${show(ratio)} of ${peer}'s time`);
    if (bytes === undefined) continue;
    const rate = (1000 * bytes) / median(timesOf(measured, task, backend, 'first'));
    if (rate < WANTED_RATE) wrong.push(`${task} on ${backend}: ${(rate / 1e9).toFixed(2)} GB/s`);
  }
  return wrong;
}

function timesOf(measured: readonly Measurement[], task: string, backend: string, which: Which): number[] {
  return measured.filter((m) => m.task === task && m.backend === backend).map((m) => m[which]);
}

function show({ ratio, interval }: Ratio): string {
  return `${ratio.toFixed(2)} (${interval.map((end) => end.toFixed(2)).join('–')})`;
}
