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
    redrawn(chart, () => chart.replaceChildren(contours(plane, Math.min(700, chart.clientWidth))));
  }
  const rows = simulation.networks.flatMap(({ name }) =>
    simulation.variants.flatMap(({ label, on }) =>
      on.filter(({ network }) => network === name).map((result) => ({ label, result })),
    ),
  );
  foldedTable(into, () => {
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
  });
  if (plane) {
    const points = plane.bytesPerSecond.flatMap((rate, i) => plane.rtts.map((rtt, k) => ({ rate, rtt, i, k })));
    foldedTable(
      into,
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

/** Lines of equal speed-up over bandwidth and round-trip time, both on logarithmic scales. */
function contours(plane: NonNullable<Simulation['plane']>, width: number): SVGSVGElement {
  const { bytesPerSecond, rtts, from, to } = plane;
  const size = frame(
    width,
    320,
    { top: 24, right: 20, bottom: 40, left: 76 },
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
  for (const [n, { value, coordinates }] of all.entries()) {
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
    size.plot.append(
      svg('path', { class: `t${Math.min(6, Math.round((6 * n) / Math.max(1, all.length - 1)))} contour`, d }),
    );
    const ring = coordinates[0]?.[0];
    const middle = ring?.[Math.floor(ring.length / 3)];
    if (n > 0 && middle) {
      const [px, py] = at(middle);
      size.plot.append(
        svg(
          'text',
          { class: 'value halo', x: Math.min(size.width - 24, px + 4), y: Math.max(12, py - 4) },
          `${value}×`,
        ),
      );
    }
  }
  axisBelow(size, x, (rate) => (isOne(rate * 8) ? bits(rate) : ''), 'bandwidth');
  axisLeft(size, y, (rtt) => (isOne(rtt) ? formatNanos(rtt) : ''), 'round-trip time');
  return size.root;
}

/** Of the many ticks of a logarithmic axis those that are 1, 2 or 5 times a power of ten have room. */
function isOne(value: number): boolean {
  const lead = value / 10 ** Math.floor(Math.log10(value) + 1e-9);
  return [1, 2, 5].some((n) => Math.abs(lead - n) < 0.01);
}
