// Elements in a line. Text only ever becomes text: nothing here parses markup.

type Attributes = Readonly<Record<string, string | number | boolean | undefined>>;

const SVG = 'http://www.w3.org/2000/svg';

function fill(element: Element, attributes: Attributes, children: readonly (Node | string)[]): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children);
}

export function html<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  fill(element, attributes, children);
  return element;
}

export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly (Node | string)[]
): SVGElementTagNameMap[K] {
  const element = document.createElementNS(SVG, tag);
  fill(element, attributes, children);
  return element;
}

/** The place that the page left for a chart. */
export function place(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

export function css(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** A choice with a label. @param values [value, text] */
export function choice(
  label: string,
  values: readonly (readonly [string, string])[],
  changed: (value: string) => void,
): HTMLLabelElement {
  const select = html('select', {}, ...values.map(([value, text]) => html('option', { value }, text)));
  select.addEventListener('change', () => changed(select.value));
  return html('label', {}, `${label} `, select);
}

/** Calls it again when the page gets another width, or other colours. */
export function redrawn(element: HTMLElement, draw: () => void): void {
  let width = element.clientWidth;
  if (width > 0) draw();
  new ResizeObserver(() => {
    // None: it is not shown just now.
    if (element.clientWidth === width || element.clientWidth === 0) return;
    width = element.clientWidth;
    draw();
  }).observe(element);
}

/** Calls it when light becomes dark, or the page is about to be printed (in light colours). */
export function whenColours(draw: () => void): void {
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
  matchMedia('print').addEventListener('change', draw);
}
