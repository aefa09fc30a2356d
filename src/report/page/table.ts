// The table behind a chart: all rows, in pages, sorted by any column, filtered by text. What a chart shows can always be
// read here, also by a screen reader, and copied.
import { html } from './dom.js';

export interface TableColumn {
  readonly title: string;
  /** Numbers to the right. */
  readonly number?: boolean;
  /** Paths and sentences: broken anywhere, but not narrower than is readable. */
  readonly long?: boolean;
  readonly text: (row: number) => string;
  /** What it is sorted by; absent: the text. */
  readonly value?: (row: number) => number | string;
}

const PAGE = 25;

/**
 * @param rows how many there are, or which
 * @param caption says what the table is, to those who do not see it
 */
export function tableView(
  caption: string,
  columns: readonly TableColumn[],
  rows: number | readonly number[],
): { readonly element: HTMLElement; show(rows: readonly number[]): void } {
  let all = typeof rows === 'number' ? Array.from({ length: rows }, (_, i) => i) : [...rows];
  let sorted = all;
  let by = -1;
  let down = false;
  let page = 0;
  let filter = '';

  const body = html('tbody');
  const heads = columns.map(({ title, number }, i) => {
    const button = html('button', { type: 'button' }, title);
    button.addEventListener('click', () => {
      down = by === i ? !down : (number ?? false);
      by = i;
      page = 0;
      update();
    });
    return html('th', { scope: 'col', class: number ? 'n' : undefined }, button);
  });
  const where = html('span', { 'aria-live': 'polite' });
  const step = (text: string, label: string, to: () => number): HTMLButtonElement => {
    const button = html('button', { type: 'button', 'aria-label': label }, text);
    button.addEventListener('click', () => {
      page = to();
      draw();
    });
    return button;
  };
  const last = (): number => Math.max(0, Math.ceil(sorted.length / PAGE) - 1);
  const back = step('‹', 'previous page', () => Math.max(0, page - 1));
  const next = step('›', 'next page', () => Math.min(last(), page + 1));
  const input = html('input', { type: 'search', placeholder: 'filter', 'aria-label': `filter: ${caption}` });
  input.addEventListener('input', () => {
    filter = input.value.toLowerCase();
    page = 0;
    update();
  });

  const update = (): void => {
    const kept =
      filter === ''
        ? [...all]
        : all.filter((row) => columns.some(({ text }) => text(row).toLowerCase().includes(filter)));
    const column = columns[by];
    if (column) {
      const value = column.value ?? column.text;
      const keys = new Map(kept.map((row) => [row, value(row)]));
      kept.sort((a, b) => {
        const [x, y] = [keys.get(a)!, keys.get(b)!];
        return (x < y ? -1 : x > y ? 1 : a - b) * (down ? -1 : 1);
      });
    }
    for (const [i, head] of heads.entries()) {
      if (i === by) head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
      else head.removeAttribute('aria-sort');
    }
    sorted = kept;
    draw();
  };
  const draw = (): void => {
    const shown = sorted.slice(page * PAGE, (page + 1) * PAGE);
    body.replaceChildren(
      ...shown.map((row) =>
        html(
          'tr',
          {},
          ...columns.map(({ text, number, long }) =>
            html('td', { class: number ? 'n' : long ? 'long' : undefined }, text(row)),
          ),
        ),
      ),
    );
    const to = Math.min(sorted.length, (page + 1) * PAGE);
    where.textContent = sorted.length === 0 ? 'no rows' : ` ${page * PAGE + 1}–${to} of ${sorted.length} `;
    back.disabled = page === 0;
    next.disabled = page >= last();
  };
  update();
  const small = all.length <= PAGE;
  const bar = html('div', { class: 'bar' }, input, back, where, next);
  const table = html('table', {}, html('caption', {}, caption), html('thead', {}, html('tr', {}, ...heads)), body);
  const scroll = html('div', { class: 'wide', tabindex: 0, role: 'region', 'aria-label': caption }, table);
  return {
    element: small && typeof rows === 'number' ? html('div', {}, scroll) : html('div', {}, bar, scroll),
    show(some) {
      all = [...some];
      page = 0;
      update();
    },
  };
}

/** Folded below its chart; made when it is opened for the first time, or printed. @param rows what they are, plural */
export function foldedTable(into: HTMLElement, rows: string, make: () => HTMLElement): void {
  const details = html('details', { class: 'data' }, html('summary', {}, `Table: ${rows}`));
  let made = false;
  details.addEventListener('toggle', () => {
    if (made) return;
    made = true;
    details.append(make());
  });
  into.append(details);
}
