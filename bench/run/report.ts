// What the measurements of bench/run come to, as data and as Markdown. Pure.
import { type Machine, machineLine, markdownTable } from '../support/report.js';
import { geometricMeanRatio, median, type Ratio, ratioOf } from '../support/statistics.js';
import type { Start } from './lazy-start.js';
import { FITTED_TO, type Prediction } from './predict.js';

/** One line of the journal: one image on one network, once in each way. */
export interface Measured {
  readonly image: string;
  readonly network: string;
  readonly round: number;
  /** Of the manifests, the peer's and ours; and the program's commit. */
  readonly digests: string;
  readonly peer: Start;
  readonly cold: Start;
  /** The second start, from the cache. */
  readonly warm: Start;
  /** On an extracted directory, with the same runtime. */
  readonly directory: Start;
}

export interface Case {
  readonly image: string;
  readonly network: string;
  /** 0: not limited. */
  readonly mbit: number;
  /** Not in the means. */
  readonly extra: boolean;
  /** Compressed bytes of the chunks that a start reads. */
  readonly touched: number;
  /** ms to ready of the second start, and on an extracted directory; of all networks, which have no part in them. */
  readonly warm: readonly number[];
  readonly directory: readonly number[];
  readonly measured: readonly Measured[];
  /** What the simulator says of `cold`; absent: the profile has no run that can be played. */
  readonly predicted?: Prediction;
}

/** How far the simulator's model of the runtime is from what was measured. */
function simulatedSection(cases: readonly Case[]): string[] {
  const points = cases.flatMap((one) => {
    const { predicted } = one;
    if (!predicted) return [];
    const measured = {
      readyMs: median(of(one, (m) => m.cold.readyMs)),
      bytes: median(of(one, (m) => m.cold.bytes)),
      requests: median(of(one, (m) => m.cold.requests)),
    };
    return [{ image: one.image, network: one.network, measured, predicted }];
  });
  if (points.length === 0) return [];
  const part = (value: number) => `${value > 0 ? '+' : ''}${(100 * value).toFixed(1)} %`;
  const sizes = (of: keyof Prediction, among = points) =>
    among.map(({ measured, predicted }) => Math.abs(predicted[of] / measured[of] - 1));
  const inWords = (errors: readonly number[]) =>
    errors.length === 0
      ? 'not known'
      : `${(100 * median(errors)).toFixed(1)} % in the median, ${(100 * Math.max(...errors)).toFixed(1)} % at most`;
  const [fitted, others] = [true, false].map((is) => points.filter(({ image }) => FITTED_TO.includes(image) === is));
  const rows = points.map(({ image, network, measured, predicted }) => [
    ...[`${image}${FITTED_TO.includes(image) ? ' (fitted)' : ''}`, network],
    ...[seconds(measured.readyMs), seconds(predicted.readyMs)],
    part(predicted.readyMs / measured.readyMs - 1),
    ...[mega(measured.bytes), mega(predicted.bytes), String(measured.requests), String(predicted.requests)],
  ]);
  const head = ['', 'network', 'measured', 'simulated', 'off by', 'MB', 'simulated', 'requests', 'simulated'];
  const summary = `Times are off by ${inWords(sizes('readyMs', others))}, for the images that the runtime's times were fitted to by ${inWords(sizes('readyMs', fitted))}; bytes by ${inWords(sizes('bytes'))}. The model is that of a machine with nothing else to do.`;
  return ['## Simulated cold starts\n', `${markdownTable(head, rows)}\n`, `${summary}\n`];
}

/** What is asked for: the mean of the ratios, and no image's above the second. */
const ASKED = { mean: 0.45, image: 0.6, warm: 1.3 };

const of = (one: Case, pick: (m: Measured) => number) => one.measured.map(pick);
const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`;
const mega = (bytes: number) => (bytes / 1e6).toFixed(2);
const ratioText = ({ ratio, interval }: Ratio) =>
  `${ratio.toFixed(2)} (${interval.map((value) => value.toFixed(2)).join('–')})`;

export function render(
  cases: readonly Case[],
  machine: Machine,
  hotlayer: { readonly version: string; readonly commit: string },
): { markdown: string; data: object } {
  const rows = cases.map((one) => {
    const warm = median(one.warm);
    const line = one.mbit > 0 ? (one.touched * 8) / (one.mbit * 1000) : 0;
    return {
      one,
      time: ratioOf(
        of(one, (m) => m.cold.readyMs),
        of(one, (m) => m.peer.readyMs),
      ),
      bytes: ratioOf(
        of(one, (m) => m.cold.bytes),
        of(one, (m) => m.peer.bytes),
      ),
      warm,
      limit: line + warm,
      warmRatio: one.directory.length > 0 ? warm / median(one.directory) : undefined,
    };
  });
  const networks = [...new Set(cases.map(({ network }) => network))];
  const means = networks.map((network) => {
    const own = cases.filter((one) => one.network === network && !one.extra);
    const mean = (pick: (s: Start) => number) =>
      own.length === 0
        ? undefined
        : geometricMeanRatio(own.map((one) => [of(one, (m) => pick(m.cold)), of(one, (m) => pick(m.peer))] as const));
    return { network, time: mean((s) => s.readyMs), bytes: mean((s) => s.bytes) };
  });
  const failed = [
    ...means.flatMap(({ network, time, bytes }) => [
      ...(time && time.ratio > ASKED.mean ? [`${network}: time, geometric mean ${time.ratio.toFixed(2)}`] : []),
      ...(bytes && bytes.ratio > ASKED.mean ? [`${network}: bytes, geometric mean ${bytes.ratio.toFixed(2)}`] : []),
    ]),
    ...rows.flatMap(({ one, time, bytes }) => [
      ...(time.ratio > ASKED.image ? [`${one.image}, ${one.network}: time ${time.ratio.toFixed(2)}`] : []),
      ...(bytes.ratio > ASKED.image ? [`${one.image}, ${one.network}: bytes ${bytes.ratio.toFixed(2)}`] : []),
    ]),
    ...rows.flatMap(({ one, warmRatio }) =>
      warmRatio !== undefined && warmRatio > ASKED.warm && one.network === networks[0]
        ? [`${one.image}: warm start ${warmRatio.toFixed(2)} × that on a directory`]
        : [],
    ),
    ...(rows.every(({ warmRatio }) => warmRatio === undefined) ? ['warm starts: not measured beside a directory'] : []),
  ];
  const sections = networks.flatMap((network) => {
    const own = rows.filter(({ one }) => one.network === network);
    const mean = means.find((one) => one.network === network)!;
    const table = own.map(({ one, time, bytes, limit }) => [
      `${one.image}${one.extra ? ' *' : ''}`,
      seconds(median(of(one, (m) => m.peer.readyMs))),
      seconds(median(of(one, (m) => m.cold.readyMs))),
      ratioText(time),
      seconds(limit),
      mega(median(of(one, (m) => m.peer.bytes))),
      mega(median(of(one, (m) => m.cold.bytes))),
      ratioText(bytes),
      String(median(of(one, (m) => m.cold.requests))),
    ]);
    table.push([
      ...['geometric mean', '', '', mean.time ? `**${ratioText(mean.time)}**` : '', '', '', ''],
      mean.bytes ? `**${ratioText(mean.bytes)}**` : '',
      '',
    ]);
    const head = ['ready after', 'peer', 'hotlayer run', 'ratio', 'limit', 'peer: MB', 'run: MB', 'ratio', 'requests'];
    return [`## ${network}\n`, `${markdownTable(head, table)}\n`];
  });
  const warmTable = rows
    .filter(({ one }) => one.network === networks[0])
    .map(({ one, warm, warmRatio }) => [
      one.image,
      seconds(warm),
      one.directory.length > 0 ? seconds(median(one.directory)) : '',
      warmRatio?.toFixed(2) ?? '',
    ]);
  const counts = cases.map(({ measured }) => measured.length);
  const shares = cases.flatMap(({ measured }) =>
    measured.map(({ cold }) => cold.neighboursMs / (cold.readyMs * machine.cores)),
  );
  const markdown = `${[
    '# Time to ready of `hotlayer run` beside containerd with the stargz snapshotter\n',
    `hotlayer ${hotlayer.version} (${hotlayer.commit}); ${Math.min(...counts)}–${Math.max(...counts)} rounds.\n`,
    `Asked for: at most ${ASKED.mean} × the time and the bytes in the geometric mean, no image above ${ASKED.image}; a warm start within ${ASKED.warm} × of one on a directory. ${
      failed.length === 0 ? 'It holds.' : `It does not hold here:\n\n${failed.map((line) => `- ${line}`).join('\n')}`
    }\n`,
    ...sections,
    ...simulatedSection(cases),
    '## Warm starts\n',
    `${markdownTable(['', 'second start', 'on a directory', 'ratio'], warmTable)}\n`,
    `**Method.** Each round starts every image once in each way, in turn. Peer: a new containerd with a new stargz snapshotter on empty directories pulls and runs what \`ctr-remote
image optimize\` made of the same workload, as in bench:startup. hotlayer run: an empty cache, and the image that \`hotlayer profile\` and \`hotlayer optimize --reader hotlayer\` made: the profile's hot
ranges stand in the image's manifest. The clock runs from the start of the command (of the daemons for nobody) until the workload is ready as seen from outside; bytes and requests are those of all
connections with the registry until then, through a proxy with that round trip and rate. Limit: the compressed bytes of the chunks that a start reads, at that rate, and then a warm start.
Warm: the second start, from the cache; a page that the first one did not read would be fetched. On a directory, right after it: \`hotlayer run dir:\` on the same image extracted by GNU tar. Medians; ratios are of medians, with their 95 % interval from
resampled rounds. Images marked * are not in the means.\n`,
    `**Machine.** ${machineLine(machine)} Other programs used ${Math.round(median(shares) * 100)} % of it in the median.`,
  ].join('\n')}\n`;
  const data = {
    means,
    failed,
    cases: rows.map(({ one, ...row }) => ({ ...one, ...row })),
  };
  return { markdown, data };
}
