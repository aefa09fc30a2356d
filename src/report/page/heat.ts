// Big files as strips along their bytes: which parts the runs read.

import { formatBytes, formatShare } from '../../units.js';
import type { PageData } from '../html/page-types.js';
import { html, place, redrawn, svg } from './dom.js';
import { foldedTable, tableView } from './table.js';

const ROW = 38;
/** Shades, by per cent read. */
const SHADES = [1, 20, 40, 60, 80, 101];

export function drawHeat(data: PageData): void {
  const into = place('heat');
  const chart = html('div');
  into.append(chart);
  redrawn(chart, () => {
    const width = chart.clientWidth;
    const root = svg('svg', {
      width,
      height: data.heat.length * ROW,
      viewBox: `0 0 ${width} ${data.heat.length * ROW}`,
      role: 'img',
      'aria-label': 'Parts of big files that are read',
    });
    for (const [i, { path, size, read, cells }] of data.heat.entries()) {
      const cell = width / cells.length;
      const group = svg('g', { transform: `translate(0,${i * ROW})` });
      const most = Math.floor(width / 7.2) - 34;
      const shown = path.length > most ? `…${path.slice(-most)}` : path;
      group.append(
        svg('title', {}, `${path}: ${formatBytes(read)} of ${formatBytes(size)} read`),
        svg(
          'text',
          { class: 'label', x: 0, y: 12 },
          `${shown}  ${formatBytes(read)} of ${formatBytes(size)}, ${formatShare(read, size)}`,
        ),
        svg('rect', { class: 'strip', x: 0, y: 17, width, height: 14 }),
      );
      for (let shade = 0; shade < SHADES.length - 1; shade++) {
        let d = '';
        for (let k = 0; k < cells.length; k++) {
          const within = (value: number): boolean => value >= SHADES[shade]! && value < SHADES[shade + 1]!;
          if (!within(cells[k]!)) continue;
          let to = k + 1;
          while (to < cells.length && within(cells[to]!)) to += 1;
          d += `M${(k * cell).toFixed(1)} 17h${((to - k) * cell).toFixed(1)}v14h${(-(to - k) * cell).toFixed(1)}z`;
          k = to - 1;
        }
        if (d !== '') group.append(svg('path', { class: `heat h${shade}`, d }));
      }
      root.append(group);
    }
    chart.replaceChildren(root);
  });
  foldedTable(
    into,
    'big files',
    () =>
      tableView(
        'Big files and what of them is read',
        [
          { title: 'path', long: true, text: (i) => data.heat[i]!.path },
          {
            title: 'size',
            number: true,
            text: (i) => formatBytes(data.heat[i]!.size),
            value: (i) => data.heat[i]!.size,
          },
          {
            title: 'read',
            number: true,
            text: (i) => formatBytes(data.heat[i]!.read),
            value: (i) => data.heat[i]!.read,
          },
          {
            title: 'share',
            number: true,
            text: (i) => formatShare(data.heat[i]!.read, data.heat[i]!.size),
            value: (i) => data.heat[i]!.read / data.heat[i]!.size,
          },
        ],
        data.heat.length,
      ).element,
  );
}
