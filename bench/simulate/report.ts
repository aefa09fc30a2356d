// The report of bench:simulate: figures, a scatter, every point.
import { type ClientModel, STARGZ_SNAPSHOTTER } from '../../src/analyze/model/client.js';
import { type Machine, machineLine, markdownTable } from '../support/report.js';
import { FITTED } from './fit.js';
import { type Errors, errorsOf, type Point, type Ranks, ranksOf, verdictsOf } from './results.js';

export interface ReportInput {
  readonly points: readonly Point[];
  readonly client: ClientModel;
  readonly assumptions: readonly string[];
  readonly machine: Machine;
  readonly hotlayer: { readonly version: string; readonly commit: string };
  /** Of the scatter, beside the report. */
  readonly scatter: string;
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

export function render({ points, client, assumptions, machine, hotlayer, scatter }: ReportInput): string {
  const test = points.filter(({ fitted }) => !fitted);
  const train = points.filter(({ fitted }) => fitted);
  const names = (list: readonly Point[]) => [...new Set(list.map(({ image }) => image))].join(', ');
  const lines = [
    '# Simulated against measured starts',
    '',
    `Time to ready as \`optimize\` foretells it, against cold starts of the same images with containerd and the stargz snapshotter on a throttled network (bench:startup, medians of its rounds). The simulator is given the image's TOCs, the profile that hotlayer made of the workload, and the network; nothing of the measurements. The client's times were fitted on ${names(train) || 'no image'} and are tested on **${names(test)}**.`,
    '',
    `hotlayer ${hotlayer.version} (${hotlayer.commit}). ${machineLine(machine)}`,
    '',
    markdownTable(
      ['', 'points', 'median error', '95th percentile', 'largest', 'median ratio'],
      [
        row('time to ready, test images', errorsOf(test, 'Ms')),
        row('time to ready, fitted images', errorsOf(train, 'Ms')),
        row('bytes, all', errorsOf(points, 'Bytes')),
        row('requests, all', errorsOf(points, 'Requests')),
      ],
    ),
    '',
    ...ranks('Variants that differ by more than 10 % are ranked right', ranksOf(points)),
    ...ranks('Lazy or not, where that makes more than 10 %, is said right', verdictsOf(points)),
    '',
    `![predicted against measured](${scatter})`,
    '',
    '## Every point',
    '',
    markdownTable(
      ['image', 'network', 'variant', 'measured', 'foretold', 'ratio', 'bytes', 'requests', 'rounds'],
      points.map((p) => [
        `${p.image}${p.fitted ? ' (fitted)' : ''}`,
        p.network,
        p.variant,
        `${(p.measuredMs / 1000).toFixed(2)} s`,
        `${(p.predictedMs / 1000).toFixed(2)} s`,
        (p.predictedMs / p.measuredMs).toFixed(2),
        (p.predictedBytes / p.measuredBytes).toFixed(3),
        `${p.predictedRequests}/${p.measuredRequests}`,
        String(p.rounds),
      ]),
    ),
    '',
    "## The client's times",
    '',
    'Nanoseconds; `slowdown` is a factor. In use: `src/analyze/model/client.ts`.',
    '',
    markdownTable(
      ['', 'fitted here', 'in use'],
      FITTED.map((name) => [name, String(Number(client[name].toPrecision(3))), String(STARGZ_SNAPSHOTTER[name])]),
    ),
    '',
    '## Assumptions',
    '',
    ...assumptions.map((line) => `- ${line}`),
    '',
  ];
  return lines.join('\n');
}

function row(title: string, { points, median, p95, largest, bias }: Errors): string[] {
  return [title, String(points), percent(median), percent(p95), percent(largest), bias.toFixed(3)];
}

function ranks(title: string, { pairs, right, wrong }: Ranks): string[] {
  return [`${title}: **${right} of ${pairs}**.`, ...wrong.map((line) => `- ${line}`), ''];
}

const SIZE = 520;
const EDGE = 56;
const COLOURS: Readonly<Record<string, string>> = { full: '#888', plain: '#c60', peer: '#06c', hotlayer: '#090' };

/** Logarithmic on both axes; the lines are equality and 20 % on both sides. */
export function drawScatter(points: readonly Point[]): string {
  const values = points.flatMap(({ measuredMs, predictedMs }) => [measuredMs, predictedMs]);
  const [least, most] = [Math.min(...values) / 1.15, Math.max(...values) * 1.15];
  const at = (ms: number) => (Math.log(ms / least) / Math.log(most / least)) * (SIZE - 2 * EDGE);
  const x = (ms: number) => (EDGE + at(ms)).toFixed(1);
  const y = (ms: number) => (SIZE - EDGE - at(ms)).toFixed(1);
  const line = (factor: number, dash: string) => {
    const [from, to] = [Math.max(least, least / factor), Math.min(most, most / factor)];
    return `<line x1="${x(from)}" y1="${y(from * factor)}" x2="${x(to)}" y2="${y(to * factor)}" stroke="#999" stroke-dasharray="${dash}"/>`;
  };
  const ticks = [0.5, 1, 2, 5, 10, 20, 50, 100].map((s) => s * 1000).filter((ms) => ms > least && ms < most);
  const marks = points.map(({ image, network, variant, fitted, measuredMs, predictedMs }) => {
    const colour = COLOURS[variant] ?? '#000';
    const title = `<title>${image}, ${network}, ${variant}: measured ${Math.round(measuredMs)} ms, foretold ${Math.round(predictedMs)} ms</title>`;
    return `<circle cx="${x(measuredMs)}" cy="${y(predictedMs)}" r="4" fill="${fitted ? 'none' : colour}" fill-opacity="0.7" stroke="${colour}">${title}</circle>`;
  });
  const legend = Object.entries(COLOURS).map(
    ([name, colour], i) =>
      `<circle cx="${EDGE + 14}" cy="${EDGE + 14 + 18 * i}" r="4" fill="${colour}"/><text x="${EDGE + 24}" y="${EDGE + 18 + 18 * i}">${name}</text>`,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${SIZE} ${SIZE}" font-family="sans-serif" font-size="12">`,
    `<rect width="${SIZE}" height="${SIZE}" fill="#fff"/>`,
    `<rect x="${EDGE}" y="${EDGE}" width="${SIZE - 2 * EDGE}" height="${SIZE - 2 * EDGE}" fill="none" stroke="#333"/>`,
    ...ticks.flatMap((ms) => [
      `<text x="${x(ms)}" y="${SIZE - EDGE + 16}" text-anchor="middle">${ms / 1000}</text>`,
      `<text x="${EDGE - 6}" y="${Number(y(ms)) + 4}" text-anchor="end">${ms / 1000}</text>`,
    ]),
    `<text x="${SIZE / 2}" y="${SIZE - 14}" text-anchor="middle">measured, s</text>`,
    `<text x="16" y="${SIZE / 2}" text-anchor="middle" transform="rotate(-90 16 ${SIZE / 2})">foretold, s</text>`,
    line(1, ''),
    line(1.2, '4 4'),
    line(1 / 1.2, '4 4'),
    ...marks,
    ...legend,
    `<text x="${EDGE + 10}" y="${EDGE + 22 + 18 * legend.length}">hollow: fitted on this image</text>`,
    '</svg>',
    '',
  ].join('\n');
}
