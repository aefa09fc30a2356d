// The part of d3 that the page uses. The modules are in the page as scripts that share the global `d3` (html/bundle.ts).

interface D3Scale {
  (value: number): number;
  domain(): number[];
  domain(values: readonly number[]): this;
  range(values: readonly number[]): this;
  nice(count?: number): this;
  ticks(count?: number): number[];
  invert(value: number): number;
}

interface D3Axis {
  (selection: unknown): void;
  ticks(count: number): this;
  tickValues(values: readonly number[]): this;
  tickFormat(format: (value: number) => string): this;
  tickSize(size: number): this;
  tickSizeOuter(size: number): this;
}

interface D3Line<Datum> {
  (data: readonly Datum[]): string | null;
  x(value: (datum: Datum) => number): this;
  y(value: (datum: Datum) => number): this;
  curve(curve: unknown): this;
}

interface D3Node<Datum> {
  readonly data: Datum;
  readonly depth: number;
  readonly value?: number;
  readonly x0: number;
  readonly y0: number;
  readonly x1: number;
  readonly y1: number;
  readonly children?: D3Node<Datum>[];
  readonly parent: D3Node<Datum> | null;
  sum(value: (datum: Datum) => number): this;
  sort(compare: (a: D3Node<Datum>, b: D3Node<Datum>) => number): this;
  descendants(): D3Node<Datum>[];
}

interface D3Treemap {
  (node: unknown): void;
  size(size: readonly [number, number]): this;
  paddingInner(pixels: number): this;
  paddingOuter(pixels: number | ((node: D3Node<unknown>) => number)): this;
  paddingTop(pixels: number | ((node: D3Node<unknown>) => number)): this;
  round(round: boolean): this;
}

interface D3Contours {
  (values: readonly number[]): { value: number; coordinates: number[][][][] }[];
  size(size: readonly [number, number]): this;
  thresholds(values: readonly number[]): this;
}

declare const d3: {
  select(element: Element): { call(axis: D3Axis): unknown };
  scaleLinear(): D3Scale;
  scaleLog(): D3Scale;
  axisBottom(scale: D3Scale): D3Axis;
  axisLeft(scale: D3Scale): D3Axis;
  line<Datum>(): D3Line<Datum>;
  curveStepAfter: unknown;
  hierarchy<Datum>(data: Datum): D3Node<Datum>;
  treemap(): D3Treemap;
  contours(): D3Contours;
};
