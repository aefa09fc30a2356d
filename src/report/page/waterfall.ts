// Files over time, one row each by first access: a bar from the first access to the end of the last. Any number of rows:
// only those in view are drawn, on a canvas that stays where it is while the rows scroll.
import { formatBytes, formatCount, formatNanos } from '../../units.js';
import type { PageData } from '../html/page-types.js';
import { choice, css, html, place, redrawn, whenColours } from './dom.js';
import { type Files, isTimed } from './files.js';
import { timeTick } from './frame.js';
import { foldedTable, tableView } from './table.js';

const ROW = 18;
const VIEW = 430;
const AXIS = 22;
const OVERVIEW = 90;
/** Layers have a colour each; more of them than that share. */
export const COLOURS = 10;

/** What a row stands for: one file, or all files of a directory. */
interface Row {
  readonly label: string;
  readonly first: number;
  readonly last: number;
  readonly read: number;
  readonly files: number;
  readonly layer: number;
  /** Of one file. */
  readonly file?: number;
}

export function drawWaterfall(data: PageData, files: Files): void {
  const into = place('waterfall');
  const order = Array.from({ length: files.length }, (_, i) => i)
    .filter((i) => isTimed(data, i))
    .sort((a, b) => data.files.first[a]! - data.files.first[b]! || a - b);
  const end = Math.max(data.end, data.ready, 1);
  // What prepares the start (the user's name is looked up …) is before 0; it shall not take the room of the start itself.
  const start = Math.max(Math.min(0, data.files.first[order[0] ?? 0] ?? 0), -0.04 * end);
  const wanted = { text: '', layer: '', comm: '', runs: '', group: 'file' };
  let rows: Row[] = [];
  let [from, to] = [start, end];
  let selected = -1;

  const axis = html('canvas', { height: AXIS, 'aria-hidden': 'true' });
  const canvas = html('canvas', { class: 'rows', 'aria-hidden': 'true' });
  const spacer = html('div', { class: 'spacer' });
  const scroll = html(
    'div',
    { class: 'scroll', tabindex: 0, role: 'listbox', 'aria-label': 'Files by first access; arrow keys choose one' },
    canvas,
    spacer,
  );
  const overview = html('canvas', { class: 'overview', height: OVERVIEW, 'aria-hidden': 'true' });
  const counted = html('span', { class: 'hint', 'aria-live': 'polite' });
  const said = html(
    'p',
    { class: 'hint', 'aria-live': 'polite' },
    'Point at a row, or choose one with the arrow keys.',
  );

  const table = tableView(
    'Files by first access',
    [
      {
        title: 'first',
        number: true,
        text: (i) => formatNanos(data.files.first[i]! * 1000),
        value: (i) => data.files.first[i]!,
      },
      {
        title: 'last',
        number: true,
        text: (i) => formatNanos(data.files.last[i]! * 1000),
        value: (i) => data.files.last[i]!,
      },
      { title: 'path', long: true, text: (i) => files.path[i]! },
      { title: 'read', number: true, text: (i) => formatBytes(data.files.read[i]!), value: (i) => data.files.read[i]! },
      { title: 'process', text: (i) => data.comms[data.files.comm[i]!] ?? '' },
      {
        title: 'layer',
        number: true,
        text: (i) => layerText(data.files.layer[i]!),
        value: (i) => data.files.layer[i]!,
      },
    ],
    order,
  );

  const filtered = (): number[] => {
    const needle = wanted.text.toLowerCase();
    const lower = needle === '' ? undefined : files.lower();
    return order.filter(
      (i) =>
        (lower === undefined || lower[i]!.includes(needle)) &&
        (wanted.layer === '' || data.files.layer[i] === Number(wanted.layer)) &&
        (wanted.comm === '' || data.files.comm[i] === Number(wanted.comm)) &&
        (wanted.runs === '' || (wanted.runs === 'every') === (data.files.runs[i] === data.runs)),
    );
  };
  const refill = (): void => {
    const list = filtered();
    rows = wanted.group === 'file' ? list.map((i) => fileRow(i)) : directories(list, Number(wanted.group));
    selected = -1;
    labelOf = new Map();
    spacer.style.height = `${Math.max(0, rows.length * ROW - VIEW)}px`;
    counted.textContent = ` ${formatCount(rows.length)} ${wanted.group === 'file' ? 'files' : 'directories'}`;
    scroll.scrollTop = 0;
    table.show(list);
    drawOverview();
    request();
  };
  const fileRow = (i: number): Row => ({
    label: files.path[i]!,
    first: data.files.first[i]!,
    last: data.files.last[i]!,
    read: data.files.read[i]!,
    files: 1,
    layer: data.files.layer[i]!,
    file: i,
  });
  const directories = (list: readonly number[], depth: number): Row[] => {
    const found = new Map<
      string,
      { label: string; first: number; last: number; read: number; files: number; layer: number }
    >();
    for (const i of list) {
      const parts = files.path[i]!.split('/');
      const label = `${parts.slice(0, Math.min(parts.length - 1, depth + 1)).join('/')}/`;
      const row = found.get(label);
      if (row) {
        row.last = Math.max(row.last, data.files.last[i]!);
        row.read += data.files.read[i]!;
        row.files += 1;
      } else found.set(label, { ...fileRow(i), label });
    }
    return [...found.values()].map(({ label, first, last, read, files: count, layer }) => ({
      label,
      first,
      last,
      read,
      files: count,
      layer,
    }));
  };

  let colours = { ink: '', faint: '', line: '', mark: '', layers: [] as string[] };
  const readColours = (): void => {
    colours = {
      ink: css('--ink'),
      faint: css('--faint'),
      line: css('--line'),
      mark: css('--mark'),
      layers: Array.from({ length: COLOURS }, (_, i) => css(`--l${i}`)),
    };
  };
  const colourOf = (layer: number): string => (layer < 0 ? colours.faint : colours.layers[layer % COLOURS]!);
  const sized = (element: HTMLCanvasElement, height: number): CanvasRenderingContext2D => {
    const ratio = devicePixelRatio;
    const width = into.clientWidth;
    if (element.width !== Math.round(width * ratio) || element.height !== Math.round(height * ratio)) {
      element.width = Math.round(width * ratio);
      element.height = Math.round(height * ratio);
      element.style.width = `${width}px`;
      element.style.height = `${height}px`;
    }
    const context = element.getContext('2d')!;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = '12px system-ui, sans-serif';
    return context;
  };
  const labels = (): number => Math.min(420, Math.round(into.clientWidth * 0.38));
  const scaleOf = (a: number, b: number): D3Scale =>
    d3
      .scaleLinear()
      .domain([a, b])
      .range([labels(), into.clientWidth - 8]);
  const scaleNow = (): D3Scale => scaleOf(from, to);
  const whole = (): D3Scale => scaleOf(start, end);

  // Measuring text is what costs most of a frame: each label is fitted once for a width.
  let fittedFor = 0;
  let labelOf = new Map<number, string>();
  const drawAxis = (): void => {
    const x = scaleNow();
    const width = into.clientWidth;
    const head = sized(axis, AXIS);
    head.fillStyle = colours.ink;
    head.textAlign = 'center';
    for (const tick of x.ticks(Math.max(2, Math.floor((width - labels()) / 120)))) {
      head.fillRect(x(tick), AXIS - 4, 1, 4);
      head.fillText(timeTick(tick * 1000), Math.min(width - 24, x(tick)), AXIS - 8);
    }
    if (data.ready < from || data.ready > to) return;
    head.fillStyle = colours.mark;
    head.fillRect(x(data.ready), 0, 1.5, AXIS);
  };
  const draw = (): void => {
    const x = scaleNow();
    const width = into.clientWidth;
    const height = Math.min(VIEW, Math.max(ROW, rows.length * ROW));
    const pen = sized(canvas, height);
    const top = scroll.scrollTop;
    const firstRow = Math.floor(top / ROW);
    const room = labels() - 10;
    if (fittedFor !== room || labelOf.size > 5000) labelOf = new Map();
    fittedFor = room;
    for (let i = firstRow; i < rows.length && (i - firstRow) * ROW < height + ROW; i++) {
      const row = rows[i]!;
      const y = i * ROW - top;
      if (i === selected) {
        pen.fillStyle = colours.line;
        pen.fillRect(0, y, width, ROW);
      }
      pen.fillStyle = colours.ink;
      pen.textAlign = 'left';
      let label = labelOf.get(i);
      if (label === undefined) {
        label = fitted(pen, row.files > 1 ? `${row.label} (${row.files})` : row.label, room);
        labelOf.set(i, label);
      }
      pen.fillText(label, 2, y + 13);
      const [a, b] = [Math.max(labels(), x(row.first)), Math.min(width - 8, x(row.last))];
      if (b < labels() || a > width - 8) continue;
      pen.fillStyle = colourOf(row.layer);
      // The more it read, the darker.
      pen.globalAlpha = row.read === 0 ? 0.35 : Math.min(1, 0.45 + Math.log2(1 + row.read / 4096) / 18);
      pen.fillRect(a, y + 4, Math.max(2, b - a), ROW - 8);
      pen.globalAlpha = 1;
    }
    if (data.ready >= from && data.ready <= to) {
      pen.fillStyle = colours.mark;
      pen.fillRect(x(data.ready), 0, 1.5, height);
    }
  };
  /** All rows at once, at most one a pixel line; the part in time that is shown is framed. */
  const drawOverview = (): void => {
    const pen = sized(overview, OVERVIEW);
    const width = into.clientWidth;
    const x = whole();
    const each = OVERVIEW / Math.max(1, rows.length);
    const skip = Math.max(1, Math.floor(rows.length / (OVERVIEW * 12)));
    for (let i = 0; i < rows.length; i += skip) {
      const row = rows[i]!;
      pen.fillStyle = colourOf(row.layer);
      const left = Math.max(labels(), x(row.first));
      pen.fillRect(left, i * each, Math.max(1.5, Math.min(x(row.last) - left, width)), Math.max(1, each * 0.8));
    }
    pen.fillStyle = colours.mark;
    if (data.ready >= 0) pen.fillRect(x(data.ready), 0, 1.5, OVERVIEW);
    pen.fillStyle = colours.faint;
    pen.fillText(fitted(pen, 'all of it; drag to choose a time', labels() - 10), 2, 14);
    pen.strokeStyle = colours.ink;
    pen.strokeRect(x(from) + 0.5, 0.5, Math.max(2, x(to) - x(from) - 1), OVERVIEW - 1);
  };
  let asked = false;
  const request = (): void => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  };
  const zoom = (a: number, b: number): void => {
    const least = (end - start) / 2000;
    const span = Math.max(least, Math.min(end - start, b - a));
    from = Math.max(start, Math.min(end - span, a));
    to = from + span;
    drawOverview();
    drawAxis();
    request();
  };
  const about = (factor: number, middle = (from + to) / 2): void =>
    zoom(middle - (middle - from) * factor, middle + (to - middle) * factor);
  const select = (row: number): void => {
    if (rows.length === 0) return;
    selected = Math.max(0, Math.min(rows.length - 1, row));
    const y = selected * ROW;
    if (y < scroll.scrollTop) scroll.scrollTop = y;
    else if (y + ROW > scroll.scrollTop + VIEW) scroll.scrollTop = y + ROW - VIEW;
    said.textContent = describe(rows[selected]!);
    request();
  };
  const describe = ({ label, first, last, read, files: count, layer, file }: Row): string => {
    const comm = file === undefined ? '' : `, asked for by ${data.comms[data.files.comm[file]!] ?? 'nobody'}`;
    const owner = file === undefined ? undefined : data.packages[data.files.owner[file]!];
    const many = count > 1 ? ` (${formatCount(count)} files)` : '';
    return `${label}${many}: ${formatNanos(first * 1000)} to ${formatNanos(last * 1000)}, ${formatBytes(read)} read, layer ${layerText(layer)}${comm}${owner === undefined ? '' : `, ${owner}`}`;
  };

  scroll.addEventListener('scroll', request, { passive: true });
  scroll.addEventListener('pointermove', (event) => {
    const row = Math.floor((event.clientY - scroll.getBoundingClientRect().top + scroll.scrollTop) / ROW);
    if (row < 0 || row >= rows.length || row === selected) return;
    selected = row;
    said.textContent = describe(rows[row]!);
    request();
  });
  scroll.addEventListener(
    'wheel',
    (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      const middle = scaleNow().invert(event.clientX - canvas.getBoundingClientRect().left);
      about(event.deltaY > 0 ? 1.25 : 0.8, Math.max(from, Math.min(to, middle)));
    },
    { passive: false },
  );
  scroll.addEventListener('keydown', (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 20, PageUp: -20, Home: -rows.length, End: rows.length }[
      event.key
    ];
    const span = to - from;
    if (step !== undefined) select(selected + step);
    else if (event.key === 'ArrowRight') zoom(from + span / 8, to + span / 8);
    else if (event.key === 'ArrowLeft') zoom(from - span / 8, to - span / 8);
    else if (event.key === '+') about(0.8);
    else if (event.key === '-') about(1.25);
    else return;
    event.preventDefault();
  });
  let drag = Number.NaN;
  const timeAt = (event: PointerEvent): number =>
    Math.max(start, Math.min(end, whole().invert(event.clientX - overview.getBoundingClientRect().left)));
  overview.addEventListener('pointerdown', (event) => {
    drag = timeAt(event);
    overview.setPointerCapture(event.pointerId);
  });
  overview.addEventListener('pointermove', (event) => {
    if (!Number.isNaN(drag)) zoom(Math.min(drag, timeAt(event)), Math.max(drag, timeAt(event)));
  });
  overview.addEventListener('pointerup', () => {
    drag = Number.NaN;
  });

  const search = html('input', { type: 'search', placeholder: 'part of a path', 'aria-label': 'filter by path' });
  search.addEventListener('input', () => {
    wanted.text = search.value;
    refill();
  });
  const set = (key: 'layer' | 'comm' | 'runs' | 'group') => (value: string) => {
    wanted[key] = value;
    refill();
  };
  const button = (text: string, label: string, act: () => void): HTMLButtonElement => {
    const made = html('button', { type: 'button', 'aria-label': label }, text);
    made.addEventListener('click', act);
    return made;
  };
  const layers = [...new Set(data.files.layer)].sort((a, b) => a - b);
  into.append(
    html(
      'div',
      { class: 'bar' },
      search,
      choice('Layer', [['', 'all'], ...layers.map((l): [string, string] => [String(l), layerText(l)])], set('layer')),
      choice(
        'Process',
        [['', 'all'], ...data.comms.map((name, i): [string, string] => [String(i), name])],
        set('comm'),
      ),
      ...(data.runs > 1
        ? [
            choice(
              'Runs',
              [
                ['', 'any'],
                ['every', 'every run'],
                ['some', 'some runs'],
              ],
              set('runs'),
            ),
          ]
        : []),
      choice(
        'Rows',
        [
          ['file', 'files'],
          ['1', '/dir'],
          ['2', '/dir/dir'],
          ['3', '/dir/dir/dir'],
          ['99', 'directories'],
        ],
        set('group'),
      ),
      button('+', 'zoom in', () => about(0.5)),
      button('−', 'zoom out', () => about(2)),
      button('all', 'show all of the time', () => zoom(start, end)),
      counted,
    ),
    html(
      'p',
      { class: 'hint keys' },
      ...layers
        .filter((l) => l >= 0)
        .slice(0, COLOURS)
        .map((l) => html('span', {}, html('span', { class: `key l${l % COLOURS}` }), `layer ${layerText(l)}`)),
      'Bar: from the first access to the end of the last; the darker, the more is read. Line: ready.',
    ),
    overview,
    axis,
    scroll,
    said,
  );
  foldedTable(into, 'files', () => table.element);
  readColours();
  redrawn(into, () => {
    drawOverview();
    drawAxis();
    draw();
  });
  whenColours(() => {
    readColours();
    drawOverview();
    drawAxis();
    draw();
  });
  refill();
}

function layerText(layer: number): string {
  return layer < 0 ? '–' : String(layer);
}

/** The end of a path says most: it is what stays. Letters are about 6 pixels; the canvas measures what is near. */
function fitted(pen: CanvasRenderingContext2D, text: string, room: number): string {
  if (text.length * 5 < room && pen.measureText(text).width <= room) return text;
  let shown = text.slice(-Math.floor(room / 4.5));
  while (shown.length > 1 && pen.measureText(`…${shown}`).width > room)
    shown = shown.slice(Math.max(1, Math.floor(shown.length / 16)));
  return `…${shown}`;
}
