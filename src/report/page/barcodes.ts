// Layers as strips along their bytes: where the files lie that a start opens, and the landmark. Before above after.

import { formatBytes, formatCount } from '../../units.js';
import type { PageData, PageLayer } from '../html/page-types.js';
import { html, place, redrawn, svg } from './dom.js';
import { foldedTable, tableView } from './table.js';

const STRIP = 16;
const GAP = 22;
/** Room for labels, px: at most, and for each letter. */
const LABEL = 190;
const LETTER = 6.6;

export function drawBarcodes(data: PageData): void {
  const into = place('barcodes');
  const chart = html('div');
  into.append(
    html(
      'p',
      { class: 'hint keys' },
      html('span', {}, html('span', { class: 'key every' }), 'files that every run opens'),
      html('span', {}, html('span', { class: 'key some' }), 'that some runs open'),
      html('span', {}, html('span', { class: 'key strip' }), 'not opened'),
      html('span', {}, html('span', { class: 'key stop' }), 'landmark: what is left of it is prefetched'),
      'Left to right: the bytes of the layer as they are stored.',
    ),
    chart,
  );
  redrawn(chart, () => {
    chart.replaceChildren(...data.images.map(({ title, layers }) => strips(title, layers, chart.clientWidth)));
  });
  const rows = data.images.flatMap(({ title, layers }) => layers.map((layer) => ({ title, layer })));
  foldedTable(into, 'layers', () => {
    const of = (row: number): PageLayer => rows[row]!.layer;
    return tableView(
      'Layers and what of them a start opens',
      [
        { title: 'image', text: (row) => rows[row]!.title },
        { title: 'layer', text: (row) => of(row).label },
        { title: 'size', number: true, text: (row) => formatBytes(of(row).size), value: (row) => of(row).size },
        {
          title: 'files opened',
          number: true,
          text: (row) => formatCount(of(row).hotFiles),
          value: (row) => of(row).hotFiles,
        },
        {
          title: 'their bytes',
          number: true,
          text: (row) => formatBytes(of(row).hotBytes),
          value: (row) => of(row).hotBytes,
        },
        {
          title: 'prefetch',
          number: true,
          text: (row) => formatBytes(of(row).prefetch),
          value: (row) => of(row).prefetch,
        },
      ],
      rows.length,
    ).element;
  });
}

function strips(title: string, layers: readonly PageLayer[], width: number): HTMLElement {
  const largest = Math.max(1, ...layers.map(({ scale }) => scale));
  const longest = Math.max(1, ...layers.map(({ label }) => label.length));
  const left = Math.min(LABEL, width / 3, 14 + LETTER * longest);
  const room = Math.max(80, width - left - 90);
  const root = svg('svg', {
    width,
    height: layers.length * GAP + 4,
    viewBox: `0 0 ${width} ${layers.length * GAP + 4}`,
    role: 'img',
    'aria-label': `${title}: where in each layer the files lie that a start opens`,
  });
  for (const [i, layer] of layers.entries()) {
    // Strips are as long as their layers, but a small one still shows its ticks.
    const length = Math.max(24, room * Math.sqrt(layer.scale / largest));
    const group = svg('g', { transform: `translate(0,${i * GAP})` });
    const clipped = fitting(layer.label, left);
    const cell = length / layer.every.length;
    group.append(
      svg('title', {}, `${layer.label}: ${formatBytes(layer.size)}, ${formatCount(layer.hotFiles)} files opened`),
      svg('text', { class: 'label', x: 0, y: 12 }, clipped),
      svg('rect', { class: 'strip', x: left, y: 0, width: length, height: STRIP }),
      svg('path', { class: 'some', d: ticks(layer.some, left, cell) }),
      svg('path', { class: 'every', d: ticks(layer.every, left, cell) }),
    );
    if (layer.landmark >= 0) {
      const x = left + (length * layer.landmark) / Math.max(1, layer.scale);
      group.append(svg('path', { class: 'landmark', d: `M${x} -3V${STRIP + 3}` }));
    }
    group.append(svg('text', { class: 'label size', x: left + length + 6, y: 12 }, formatBytes(layer.size)));
    root.append(group);
  }
  return html('div', {}, html('h3', {}, title), root);
}

function fitting(label: string, width: number): string {
  const most = Math.max(3, Math.floor((width - 10) / LETTER));
  return label.length > most ? `${label.slice(0, most - 1)}…` : label;
}

/** One path for all cells: as high as they are full, at least a third. */
function ticks(cells: readonly number[], left: number, cell: number): string {
  let path = '';
  for (let i = 0; i < cells.length; i++) {
    const value = cells[i]!;
    let to = i + 1;
    while (to < cells.length && cells[to] === value) to += 1;
    if (value > 0) {
      const height = STRIP * (0.35 + (0.65 * value) / 100);
      path += `M${round(left + i * cell)} ${STRIP}v${-round(height)}h${round(Math.max(0.8, (to - i) * cell))}v${round(height)}z`;
    }
    i = to - 1;
  }
  return path;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
