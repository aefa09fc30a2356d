// How alike the runs are: in how many runs files are opened, pairs of runs, files that come and go.
import { formatBytes, formatCount, formatNanos } from '../../units.js';
import type { PageData } from '../html/page-types.js';
import { html, place, redrawn, svg } from './dom.js';
import { frame } from './frame.js';
import { tableView } from './table.js';

export function drawStability(data: PageData): void {
  const into = place('stability');
  const { openedIn, jaccard, compared, sometimes } = data.stability;
  const chart = html('div', { class: 'side' });
  into.append(chart);
  redrawn(into, () => {
    const width = Math.min(460, into.clientWidth);
    chart.replaceChildren(
      html('div', {}, html('h3', {}, 'Files by the number of runs that open them'), histogram(openedIn, width)),
      ...(jaccard.length > 1
        ? [
            html(
              'div',
              {},
              html('h3', {}, 'Files that two runs have in common (Jaccard, 1.00: all)'),
              matrix(jaccard, compared, width),
            ),
          ]
        : []),
    );
  });
  into.append(
    tableView(
      'Runs',
      [
        { title: 'run', number: true, text: (i) => String(i + 1), value: (i) => i },
        {
          title: 'ready',
          number: true,
          text: (i) => (data.times[i]! < 0 ? '–' : formatNanos(data.times[i]!)),
          value: (i) => data.times[i]!,
        },
      ],
      data.runs,
    ).element,
  );
  if (sometimes.length > 0) {
    into.append(
      html(
        'h3',
        {},
        `Files that come and go${data.stability.sometimesTotal > sometimes.length ? `: the ${sometimes.length} largest of ${data.stability.sometimesTotal}` : ''}`,
      ),
      tableView(
        'Files that some runs open and others do not',
        [
          { title: 'path', long: true, text: (i) => sometimes[i]![0] },
          {
            title: 'runs',
            text: (i) => sometimes[i]![1].replaceAll('1', '●').replaceAll('0', '○'),
            value: (i) => sometimes[i]![1].replaceAll('0', '').length,
          },
          { title: 'read', number: true, text: (i) => formatBytes(sometimes[i]![2]), value: (i) => sometimes[i]![2] },
          { title: 'what became of it', long: true, text: (i) => sometimes[i]![3] },
        ],
        Array.from({ length: sometimes.length }, (_, i) => i),
      ).element,
    );
  }
}

function histogram(openedIn: readonly number[], width: number): SVGSVGElement {
  const row = openedIn.length > 12 ? 14 : 22;
  const size = frame(
    width,
    openedIn.length * row + 4,
    { top: 0, right: 60, bottom: 4, left: 70 },
    'Files by the number of runs that open them',
  );
  const x = d3
    .scaleLinear()
    .domain([0, Math.max(1, ...openedIn)])
    .range([0, size.width]);
  for (const [i, files] of openedIn.entries()) {
    const y = i * row;
    size.plot.append(
      svg(
        'text',
        { class: 'label', x: -6, y: y + row / 2 + 4, 'text-anchor': 'end' },
        `${i + 1} of ${openedIn.length}`,
      ),
      svg('rect', {
        class: i === openedIn.length - 1 ? 'every' : 'some',
        x: 0,
        y: y + 2,
        width: Math.max(files > 0 ? 1 : 0, x(files)),
        height: row - 4,
      }),
      svg('text', { class: 'label', x: x(files) + 5, y: y + row / 2 + 4 }, formatCount(files)),
    );
  }
  return size.root;
}

function matrix(values: readonly (readonly number[])[], numbers: readonly number[], width: number): SVGSVGElement {
  const cell = Math.min(44, (width - 30) / values.length);
  const side = cell * values.length + 30;
  const root = svg('svg', {
    width: side,
    height: side,
    viewBox: `0 0 ${side} ${side}`,
    role: 'img',
    'aria-label': 'Jaccard index of each pair of runs',
  });
  const low = Math.min(...values.flat());
  for (const [i, row] of values.entries()) {
    root.append(
      svg('text', { class: 'label', x: 22, y: 30 + i * cell + cell / 2 + 4, 'text-anchor': 'end' }, String(numbers[i])),
      svg('text', { class: 'label', x: 30 + i * cell + cell / 2, y: 22, 'text-anchor': 'middle' }, String(numbers[i])),
    );
    for (const [k, value] of row.entries()) {
      const shade = low === 1 ? 6 : 1 + Math.round((5 * (value - low)) / (1 - low));
      root.append(
        svg(
          'rect',
          { class: `t${shade}`, x: 30 + k * cell, y: 30 + i * cell, width: cell - 1, height: cell - 1 },
          svg('title', {}, `runs ${numbers[i]} and ${numbers[k]}: ${value.toFixed(3)}`),
        ),
      );
      if (cell >= 28)
        root.append(
          svg(
            'text',
            {
              class: shade > 3 ? 'value on-hot' : 'value',
              x: 30 + (k + 0.5) * cell,
              y: 34 + (i + 0.5) * cell,
              'text-anchor': 'middle',
            },
            value.toFixed(2),
          ),
        );
    }
  }
  return root;
}
