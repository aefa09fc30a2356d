// A chart's frame: an SVG of the width that there is, with margins and axes whose ticks carry units.
import { formatNanos } from '../../units.js';
import { svg } from './dom.js';

export interface Frame {
  readonly root: SVGSVGElement;
  /** Where the data goes; its origin is inside the margins. */
  readonly plot: SVGGElement;
  readonly width: number;
  readonly height: number;
}

export interface Margins {
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
  readonly left: number;
}

/** @param label what the picture is, in words */
export function frame(width: number, height: number, margins: Margins, label: string): Frame {
  const root = svg('svg', { width, height, viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': label });
  const plot = svg('g', { transform: `translate(${margins.left},${margins.top})` });
  root.append(plot);
  return {
    root,
    plot,
    width: Math.max(10, width - margins.left - margins.right),
    height: Math.max(10, height - margins.top - margins.bottom),
  };
}

export function axisBelow(
  { plot, width, height }: Frame,
  scale: D3Scale,
  format: (value: number) => string,
  name: string,
  values?: readonly number[],
): void {
  const group = svg('g', { class: 'axis', transform: `translate(0,${height})` });
  plot.append(group);
  const axis = d3.axisBottom(scale).tickFormat(format).tickSizeOuter(0);
  d3.select(group).call(values ? axis.tickValues(values) : axis.ticks(Math.max(2, Math.floor(width / 110))));
  group.append(svg('text', { class: 'name', x: width, y: 34, 'text-anchor': 'end' }, name));
}

export function axisLeft(
  { plot, height }: Frame,
  scale: D3Scale,
  format: (value: number) => string,
  name: string,
  values?: readonly number[],
): void {
  const group = svg('g', { class: 'axis' });
  plot.append(group);
  const axis = d3.axisLeft(scale).tickFormat(format).tickSizeOuter(0);
  d3.select(group).call(values ? axis.tickValues(values) : axis.ticks(Math.max(2, Math.floor(height / 45))));
  group.append(svg('text', { class: 'name', x: 4, y: -6, 'text-anchor': 'start' }, name));
}

/** A few round numbers of bytes, as people count them: powers of two. */
export function byteTicks(most: number, count: number): number[] {
  let step = 2 ** Math.ceil(Math.log2(Math.max(1, most / count)));
  if (most / step < 2) step /= 2;
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => i * step);
}

/** A moment on an axis. @param nanos */
export function timeTick(nanos: number): string {
  return nanos === 0 ? '0' : formatNanos(Math.round(nanos));
}

/** A vertical line with its meaning. */
export function marker({ plot, height, width }: Frame, x: number, text: string): void {
  const left = x > width - 80;
  plot.append(
    svg('line', { class: 'marker', x1: x, x2: x, y1: 0, y2: height }),
    svg('text', { class: 'marker', x: left ? x - 4 : x + 4, y: 10, 'text-anchor': left ? 'end' : 'start' }, text),
  );
}
