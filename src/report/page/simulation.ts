// Simulated time to ready: each way to start on each network, and over the plane of rates and round-trip times.
import { formatBytes, formatCount, formatNanos } from '../../units.js';
import type { PageData } from '../html/page-types.js';
import { html, place, redrawn, svg } from './dom.js';
import { axisBelow, axisLeft, frame } from './frame.js';
import { foldedTable, tableView } from './table.js';

type Simulation = NonNullable<PageData['simulation']>;

export function drawSimulation(simulation: Simulation): void {
  const into = place('simulation');
  const bars = html('div');
  into.append(bars);
  redrawn(bars, () => {
    bars.replaceChildren(...simulation.networks.map((network) => ways(simulation, network, bars.clientWidth)));
  });
  const { plane } = simulation;
  if (plane) {
    const chart = html('div');
    into.append(html('h3', {}, 'How many times sooner, by bandwidth and round-trip time (simulated)'), chart);
    redrawn(chart, () => chart.replaceChildren(...contours(simulation, plane, Math.min(760, chart.clientWidth))));
  }
  const rows = simulation.networks.flatMap(({ name }) =>
    simulation.variants.flatMap(({ label, on }) =>
      on.filter(({ network }) => network === name).map((result) => ({ label, result })),
    ),
  );
  const starts = () => {
    const of = (row: number) => rows[row]!.result;
    return tableView(
      'Simulated starts, medians over runs',
      [
        { title: 'network', text: (row) => of(row).network },
        { title: 'way', text: (row) => rows[row]!.label },
        {
          title: 'ready',
          number: true,
          text: (row) => formatNanos(of(row).ready.median),
          value: (row) => of(row).ready.median,
        },
        {
          title: 'bytes',
          number: true,
          text: (row) => formatBytes(of(row).bytes.median),
          value: (row) => of(row).bytes.median,
        },
        {
          title: 'requests',
          number: true,
          text: (row) => formatCount(of(row).requests.median),
          value: (row) => of(row).requests.median,
        },
        {
          title: 'waits',
          number: true,
          text: (row) => formatCount(of(row).misses.median),
          value: (row) => of(row).misses.median,
        },
      ],
      rows.length,
    ).element;
  };
  foldedTable(into, 'starts', starts);
  if (plane) {
    const points = plane.bytesPerSecond.flatMap((rate, i) => plane.rtts.map((rtt, k) => ({ rate, rtt, i, k })));
    foldedTable(
      into,
      'by bandwidth and round-trip time',
      () =>
        tableView(
          'Simulated time to ready over bandwidth and round-trip time',
          [
            {
              title: 'bandwidth',
              number: true,
              text: (row) => bits(points[row]!.rate),
              value: (row) => points[row]!.rate,
            },
            {
              title: 'round trip',
              number: true,
              text: (row) => formatNanos(points[row]!.rtt),
              value: (row) => points[row]!.rtt,
            },
            {
              title: 'before',
              number: true,
              text: (row) => formatNanos(cell(plane.from.ready, points[row]!)),
              value: (row) => cell(plane.from.ready, points[row]!),
            },
            {
              title: 'after',
              number: true,
              text: (row) => formatNanos(cell(plane.to.ready, points[row]!)),
              value: (row) => cell(plane.to.ready, points[row]!),
            },
          ],
          points.length,
        ).element,
    );
  }
}

function cell(grid: readonly (readonly number[])[], { i, k }: { i: number; k: number }): number {
  return grid[i]![k]!;
}

function bits(bytesPerSecond: number): string {
  const rate = bytesPerSecond * 8;
  return rate >= 1e9 ? `${trim(rate / 1e9)} Gbit/s` : `${trim(rate / 1e6)} Mbit/s`;
}

function trim(value: number): string {
  return String(Number(value.toPrecision(3)));
}

/** One network: a bar for each way, as long as its median, with a line from the fastest run to the slowest. */
function ways({ variants }: Simulation, network: Simulation['networks'][number], width: number): HTMLElement {
  const rate = network.bytesPerSecond === undefined ? 'no limit' : bits(network.bytesPerSecond);
  const row = 26;
  const found = variants.flatMap(({ id, label, on }) =>
    on.filter((o) => o.network === network.name).map((o) => ({ id, label, ...o })),
  );
  const size = frame(
    width,
    found.length * row + 4,
    { top: 0, right: 150, bottom: 4, left: 170 },
    `Simulated time to ready on ${network.name}`,
  );
  const x = d3
    .scaleLinear()
    .domain([0, Math.max(1, ...found.map(({ ready }) => ready.max))])
    .range([0, size.width]);
  for (const [i, { id, label, ready, requests }] of found.entries()) {
    const y = i * row;
    size.plot.append(
      svg('text', { class: 'label', x: -6, y: y + 16, 'text-anchor': 'end' }, label),
      svg('rect', { class: `way ${id}`, x: 0, y: y + 4, width: Math.max(1, x(ready.median)), height: row - 10 }),
      svg('path', { class: 'whisker', d: `M${x(ready.min)} ${y + row / 2 - 1}H${x(ready.max)}` }),
      svg(
        'text',
        { class: 'label', x: x(ready.max) + 6, y: y + 16 },
        `${formatNanos(ready.median)}, ${formatCount(requests.median)} requests`,
      ),
    );
  }
  return html(
    'div',
    {},
    html('h3', {}, `${network.name}: ${rate}, ${formatNanos(network.rtt)} (simulated)`),
    size.root,
  );
}

/**
 * Bands of equal speed-up over bandwidth and round-trip time, both on logarithmic scales, the networks in it as points.
 * @returns a legend, and the chart
 */
function contours(
  { networks }: Simulation,
  plane: NonNullable<Simulation['plane']>,
  width: number,
): [HTMLElement, SVGSVGElement] {
  const { bytesPerSecond, rtts, from, to } = plane;
  const size = frame(
    width,
    320,
    { top: 24, right: 48, bottom: 40, left: 76 },
    'Speed-up over bandwidth and round-trip time; the table below has the numbers',
  );
  const [columns, lines] = [bytesPerSecond.length, rtts.length];
  const values: number[] = [];
  for (let k = 0; k < lines; k++)
    for (let i = 0; i < columns; i++) values.push(from.ready[i]![k]! / Math.max(1, to.ready[i]![k]!));
  const x = d3
    .scaleLog()
    .domain([bytesPerSecond[0]!, bytesPerSecond.at(-1)!])
    .range([0, size.width]);
  const y = d3
    .scaleLog()
    .domain([rtts[0]!, rtts.at(-1)!])
    .range([size.height, 0]);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const thresholds = [0.5, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50].filter((t) => t > least && t < most);
  // Grid points lie in the middle of the cells that contours are drawn in.
  const at = ([i, k]: number[]): [number, number] => [
    (Math.max(0, Math.min(columns - 1, i! - 0.5)) / Math.max(1, columns - 1)) * size.width,
    size.height - (Math.max(0, Math.min(lines - 1, k! - 0.5)) / Math.max(1, lines - 1)) * size.height,
  ];
  const all = d3
    .contours()
    .size([columns, lines])
    .thresholds([least, ...thresholds])(values);
  for (const [n, { coordinates }] of all.entries()) {
    const d = coordinates
      .flat()
      .map(
        (ring) =>
          `M${ring
            .map((point) =>
              at(point)
                .map((v) => v.toFixed(1))
                .join(' '),
            )
            .join('L')}Z`,
      )
      .join('');
    size.plot.append(svg('path', { class: `${shade(n, all.length)} contour`, d }));
  }
  for (const { name, bytesPerSecond: rate, rtt } of networks) {
    const within = rate !== undefined && rate >= bytesPerSecond[0]! && rate <= bytesPerSecond.at(-1)!;
    if (!within || rtt < rtts[0]! || rtt > rtts.at(-1)!) continue;
    const left = x(rate) > size.width - 60;
    size.plot.append(
      svg('circle', { class: 'spot', r: 4, cx: x(rate), cy: y(rtt) }),
      svg(
        'text',
        { class: 'label halo', x: x(rate) + (left ? -9 : 9), y: y(rtt) + 4, 'text-anchor': left ? 'end' : 'start' },
        name,
      ),
    );
  }
  axisBelow(
    size,
    x,
    bits,
    'bandwidth',
    bytesPerSecond.filter((_, i) => width > 500 || i % 2 === 0),
  );
  axisLeft(size, y, formatNanos, 'round-trip time', rtts);
  const borders = [least, ...thresholds, most];
  const keys = all.map((_, n) => {
    const [low, high] = [borders[n]!, borders[n + 1]!].map(trim);
    return html('span', {}, html('span', { class: `key ${shade(n, all.length)}` }), `${low}–${high}×`);
  });
  return [html('p', { class: 'hint keys' }, ...keys), size.root];
}

/** Of so many bands the n-th's: the faster, the darker. */
function shade(n: number, of: number): string {
  return `t${Math.min(6, Math.round((6 * (n + 1)) / of))}`;
}
