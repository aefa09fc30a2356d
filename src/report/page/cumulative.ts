// The bytes that a start has needed until each moment, against what there is.

import { formatBytes, formatCount, formatNanos } from '../../units.js';
import type { PageData } from '../html/page-types.js';
import { html, place, redrawn, svg } from './dom.js';
import { axisBelow, axisLeft, byteTicks, frame, marker, timeTick } from './frame.js';
import { foldedTable, tableView } from './table.js';

/** Of the ways to start, as in the bars of their times. */
const WAYS = { top: 22, right: 130, bottom: 40, left: 78 };
const MARGINS = { top: 22, right: 16, bottom: 40, left: 78 };

export function drawCumulative(data: PageData): void {
  const into = place('cumulative');
  const steps = data.cumulative;
  const chart = html('div');
  const said = html(
    'p',
    { class: 'hint', 'aria-live': 'polite' },
    'Point at the curve, or move along it with the arrow keys.',
  );
  into.append(chart, said);
  redrawn(chart, () => {
    const size = frame(chart.clientWidth, 260, MARGINS, 'Bytes needed over time; the table below has the numbers');
    const start = Math.min(0, steps[0]?.[0] ?? 0);
    const end = Math.max(data.end, data.ready, steps.at(-1)?.[0] ?? 0, 1);
    const needed = steps.at(-1)?.[1] ?? 0;
    const x = d3.scaleLinear().domain([start, end]).range([0, size.width]);
    // What is prefetched belongs into the picture when the curve can still be seen beside it.
    const lines: [string, number][] = [];
    if (data.prefetchBytes > 0 && data.prefetchBytes < 8 * needed)
      lines.push(['prefetched files, whole', data.prefetchBytes]);
    if (data.imageBytes < 8 * needed) lines.push(['the whole image', data.imageBytes]);
    const y = d3
      .scaleLinear()
      .domain([0, Math.max(needed, 1, ...lines.map(([, bytes]) => bytes)) * 1.05])
      .range([size.height, 0]);
    axisBelow(size, x, (t) => timeTick(t * 1000), 'time since the workload was started');
    const ticks = byteTicks(y.domain()[1]!, size.height / 45);
    axisLeft(size, y, formatBytes, 'bytes, uncompressed', ticks);
    const path = d3
      .line<readonly [number, number, number]>()
      .x(([t]) => x(t))
      .y(([, bytes]) => y(bytes))
      .curve(d3.curveStepAfter)([[start, 0, 0], ...steps, [end, needed, steps.at(-1)?.[2] ?? 0]]);
    for (const [text, bytes] of lines) {
      size.plot.append(
        svg('line', { class: 'limit', x1: 0, x2: size.width, y1: y(bytes), y2: y(bytes) }),
        svg('text', { class: 'limit', x: 8, y: y(bytes) + 14 }, `${text}: ${formatBytes(bytes)}`),
      );
    }
    size.plot.append(svg('path', { class: 'curve', d: path ?? '' }));
    if (data.ready >= 0) marker(size, x(data.ready), 'ready');
    const dot = svg('circle', { class: 'dot', r: 4, cx: -99, cy: -99 });
    size.plot.append(dot);
    let at = 0;
    const show = (i: number): void => {
      at = Math.max(0, Math.min(steps.length - 1, i));
      const [t, bytes, files] = steps[at] ?? [0, 0, 0];
      dot.setAttribute('cx', String(x(t)));
      dot.setAttribute('cy', String(y(bytes)));
      said.textContent = `${formatNanos(Math.round(t * 1000))}: ${formatBytes(bytes)} of ${formatCount(files)} files`;
    };
    size.root.setAttribute('tabindex', '0');
    size.root.addEventListener('pointermove', (event) => {
      const t = x.invert(event.clientX - size.root.getBoundingClientRect().left - MARGINS.left);
      let i = steps.findIndex(([time]) => time > t);
      if (i < 0) i = steps.length;
      show(i - 1);
    });
    size.root.addEventListener('keydown', (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1, PageDown: 20, PageUp: -20 }[event.key];
      if (by === undefined) return;
      event.preventDefault();
      show(at + by);
    });
    chart.replaceChildren(size.root);
  });
  foldedTable(
    into,
    'bytes needed',
    () =>
      tableView(
        'Bytes needed over time',
        [
          { title: 'time', number: true, text: (i) => formatNanos(steps[i]![0] * 1000), value: (i) => steps[i]![0] },
          { title: 'bytes needed', number: true, text: (i) => formatBytes(steps[i]![1]), value: (i) => steps[i]![1] },
          { title: 'files opened', number: true, text: (i) => formatCount(steps[i]![2]), value: (i) => steps[i]![2] },
        ],
        steps.length,
      ).element,
  );
}

/** The same of simulated starts: what comes over the line until each is ready. */
export function drawFetched({ fetched, variants }: NonNullable<PageData['simulation']>): void {
  if (!fetched) return;
  const into = place('fetched');
  const chart = html('div');
  into.append(chart);
  const { ways } = fetched;
  const labelOf = (id: string): string => variants.find((variant) => variant.id === id)?.label ?? id;
  redrawn(chart, () => {
    const name = `Bytes fetched over simulated starts on ${fetched.network}; the table below has the numbers`;
    const size = frame(chart.clientWidth, 260, WAYS, name);
    const x = d3
      .scaleLinear()
      .domain([0, Math.max(1, ...ways.map(({ ready }) => ready))])
      .range([0, size.width]);
    const most = Math.max(1, ...ways.map(({ curve }) => curve.at(-1)?.[1] ?? 0));
    const y = d3
      .scaleLinear()
      .domain([0, most * 1.05])
      .range([size.height, 0]);
    axisBelow(size, x, timeTick, `time since the pull began, simulated on ${fetched.network}`);
    axisLeft(size, y, formatBytes, 'bytes fetched, compressed', byteTicks(most * 1.05, size.height / 45));
    const line = d3
      .line<readonly [number, number]>()
      .x(([t]) => x(t))
      .y(([, bytes]) => y(bytes));
    let above = Number.POSITIVE_INFINITY;
    for (const { id, ready, curve } of [...ways].sort(
      (a, b) => (b.curve.at(-1)?.[1] ?? 0) - (a.curve.at(-1)?.[1] ?? 0),
    )) {
      const bytes = curve.at(-1)?.[1] ?? 0;
      const own = y(bytes) + 4;
      // Labels of curves that end close to each other stand below each other.
      above = above === Number.POSITIVE_INFINITY ? own : Math.max(own, above + 14);
      size.plot.append(
        svg('path', { class: `line ${id}`, d: line(curve) ?? '' }),
        svg('circle', { class: `way ${id}`, r: 4.5, cx: x(ready), cy: y(bytes) }),
        svg('text', { class: 'label halo', x: x(ready) + 9, y: above }, labelOf(id)),
      );
    }
    chart.replaceChildren(size.root);
  });
  const rows = ways.flatMap(({ id, curve }) => curve.map(([t, bytes]) => ({ way: labelOf(id), t, bytes })));
  foldedTable(
    into,
    'bytes fetched',
    () =>
      tableView(
        `Bytes fetched over simulated starts on ${fetched.network}`,
        [
          { title: 'way', text: (i) => rows[i]!.way },
          { title: 'time', number: true, text: (i) => formatNanos(rows[i]!.t), value: (i) => rows[i]!.t },
          { title: 'fetched', number: true, text: (i) => formatBytes(rows[i]!.bytes), value: (i) => rows[i]!.bytes },
        ],
        rows.length,
      ).element,
  );
}
