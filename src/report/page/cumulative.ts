// The bytes that a start has needed until each moment, against what there is.

import { formatBytes, formatCount, formatNanos } from '../../units.js';
import type { PageData } from '../html/page-types.js';
import { html, place, redrawn, svg } from './dom.js';
import { axisBelow, axisLeft, frame, marker } from './frame.js';
import { foldedTable, tableView } from './table.js';

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
    axisBelow(size, x, (t) => formatNanos(Math.round(t * 1000)), 'time since the workload was started');
    axisLeft(size, y, (bytes) => formatBytes(Math.round(bytes)), 'bytes, uncompressed');
    const path = d3
      .line<readonly [number, number, number]>()
      .x(([t]) => x(t))
      .y(([, bytes]) => y(bytes))
      .curve(d3.curveStepAfter)([[start, 0, 0], ...steps, [end, needed, steps.at(-1)?.[2] ?? 0]]);
    for (const [text, bytes] of lines) {
      size.plot.append(
        svg('line', { class: 'limit', x1: 0, x2: size.width, y1: y(bytes), y2: y(bytes) }),
        svg(
          'text',
          { class: 'limit', x: size.width, y: y(bytes) - 4, 'text-anchor': 'end' },
          `${text}: ${formatBytes(bytes)}`,
        ),
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
