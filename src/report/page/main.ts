// The page's beginning: unpacks the data and draws each chart for which there is a place.
import { formatBytes, formatCount } from '../../units.js';
import type { PageData } from '../html/page-types.js';
import { drawBarcodes } from './barcodes.js';
import { drawCumulative, drawFetched } from './cumulative.js';
import { html, place } from './dom.js';
import { type Files, unpackFiles } from './files.js';
import { drawHeat } from './heat.js';
import { drawSimulation } from './simulation.js';
import { drawStability } from './stability.js';
import { tableView } from './table.js';
import { drawTreemap } from './treemap.js';
import { drawWaterfall } from './waterfall.js';

async function unpack(): Promise<PageData> {
  const text = atob(place('data').textContent ?? '');
  const bytes = Uint8Array.from(text, (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return JSON.parse(await new Response(stream).text()) as PageData;
}

function drawFiles(data: PageData, files: Files): void {
  const { read, size, runs, layer, hot, owner } = data.files;
  const rows = Array.from({ length: files.length }, (_, i) => i).sort((a, b) => read[b]! - read[a]! || a - b);
  place('files').append(
    tableView(
      'Files that a start opens',
      [
        { title: 'path', long: true, text: (i) => files.path[i]! },
        { title: 'read', number: true, text: (i) => formatBytes(read[i]!), value: (i) => read[i]! },
        { title: 'size', number: true, text: (i) => formatBytes(size[i]!), value: (i) => size[i]! },
        { title: 'runs', number: true, text: (i) => `${runs[i]}/${data.runs}`, value: (i) => runs[i]! },
        {
          title: 'layer',
          number: true,
          text: (i) => (layer[i]! < 0 ? '–' : String(layer[i])),
          value: (i) => layer[i]!,
        },
        ...(data.packages.length > 0
          ? [{ title: 'package', text: (i: number) => data.packages[owner[i]!] ?? '' }]
          : []),
        ...(hot.some((h) => h >= 0)
          ? [{ title: 'prefetched', text: (i: number) => (hot[i] === 1 ? 'yes' : 'no') }]
          : []),
      ],
      rows,
    ).element,
  );
  if (data.left > 0)
    place('files').append(
      html(
        'p',
        { class: 'hint' },
        `${formatCount(data.left)} files of which less is read are left out of this page, for its size; the JSON report has them.`,
      ),
    );
}

function drawPrefetch(data: PageData): void {
  const { unused, missing } = data;
  if (missing.length > 0) {
    place('missing').append(
      tableView(
        'Read, but not prefetched',
        [
          { title: 'path', long: true, text: (i) => missing[i]![0] },
          { title: 'layer', number: true, text: (i) => String(missing[i]![1]), value: (i) => missing[i]![1] },
          { title: 'read', number: true, text: (i) => formatBytes(missing[i]![2]), value: (i) => missing[i]![2] },
          { title: 'because', long: true, text: (i) => missing[i]![3] },
        ],
        missing.map((_, i) => i),
      ).element,
    );
  }
  if (unused.length > 0) {
    place('unused').append(
      tableView(
        'Prefetched, but not read',
        [
          { title: 'path', long: true, text: (i) => unused[i]![0] },
          { title: 'layer', number: true, text: (i) => String(unused[i]![1]), value: (i) => unused[i]![1] },
          { title: 'size', number: true, text: (i) => formatBytes(unused[i]![2]), value: (i) => unused[i]![2] },
        ],
        unused.map((_, i) => i),
      ).element,
    );
  }
}

function drawMisses({ misses }: PageData): void {
  place('misses').append(
    tableView(
      'Directories in which names were asked for that do not exist',
      [
        { title: 'directory', long: true, text: (i) => misses[i]![0] },
        {
          title: 'look-ups, all runs',
          number: true,
          text: (i) => formatCount(misses[i]![1]),
          value: (i) => misses[i]![1],
        },
      ],
      misses.map((_, i) => i),
    ).element,
  );
}

/** Tables are folded away on the screen; on paper there is nothing to open. */
function openForPrint(): void {
  let opened: HTMLDetailsElement[] = [];
  addEventListener('beforeprint', () => {
    opened = [...document.querySelectorAll<HTMLDetailsElement>('details:not([open]):not(.data)')];
    for (const details of opened) details.open = true;
  });
  addEventListener('afterprint', () => {
    for (const details of opened) details.open = false;
  });
}

async function main(): Promise<void> {
  const data = await unpack();
  const files = unpackFiles(data);
  const has = (id: string): boolean => document.getElementById(id) !== null;
  if (has('waterfall')) drawWaterfall(data, files);
  if (has('cumulative')) drawCumulative(data);
  if (has('fetched') && data.simulation) drawFetched(data.simulation);
  if (has('barcodes')) drawBarcodes(data);
  if (has('treemap')) drawTreemap(data);
  if (has('heat')) drawHeat(data);
  if (has('stability')) drawStability(data);
  if (has('simulation') && data.simulation) drawSimulation(data.simulation);
  if (has('missing')) drawPrefetch(data);
  drawMisses(data);
  drawFiles(data, files);
  openForPrint();
  document.documentElement.dataset.drawn = 'yes';
}

void main();
