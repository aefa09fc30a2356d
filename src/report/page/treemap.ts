// The image's directories as areas: the larger the more bytes, the darker the more of them in files that a start opens.
import { formatBytes, formatCount, formatShare } from '../../units.js';
import type { PageData, PageTree } from '../html/page-types.js';
import { choice, html, place, redrawn, svg } from './dom.js';
import { foldedTable, tableView } from './table.js';

const HEIGHT = 380;

export function drawTreemap(data: PageData): void {
  const into = place('treemap');
  const whole = data.trees.map((tree, i) => ({ ...tree, name: `layer ${i}` }));
  const all: PageTree = sum(whole);
  let trail: PageTree[] = [all];
  const crumbs = html('nav', { 'aria-label': 'directory', class: 'crumbs' });
  const chart = html('div');
  const draw = (): void => {
    crumbs.replaceChildren(
      ...trail.map((node, i) => {
        const button = html('button', { type: 'button', disabled: i === trail.length - 1 }, node.name);
        button.addEventListener('click', () => {
          trail = trail.slice(0, i + 1);
          draw();
        });
        return button;
      }),
    );
    chart.replaceChildren(
      picture(trail.at(-1)!, chart.clientWidth, (node) => {
        trail = [...trail, node];
        draw();
      }),
    );
  };
  const pick = choice(
    'Layer',
    [
      ['', 'all layers'],
      ...whole.map(({ name, size }, i): [string, string] => [String(i), `${name}, ${formatBytes(size)}`]),
    ],
    (value) => {
      trail = value === '' ? [all] : [all, whole[Number(value)]!];
      draw();
    },
  );
  into.append(html('div', { class: 'bar' }, pick, crumbs), chart);
  redrawn(chart, draw);
  foldedTable(into, 'directories', () => {
    const rows: { path: string; node: PageTree }[] = [];
    const visit = (node: PageTree, path: string): void => {
      rows.push({ path, node });
      for (const child of node.children ?? []) visit(child, `${path}/${child.name}`);
    };
    for (const node of whole) visit(node, node.name);
    const of = (row: number): PageTree => rows[row]!.node;
    return tableView(
      'Directories and what of them a start opens',
      [
        { title: 'directory', long: true, text: (row) => rows[row]!.path },
        { title: 'files', number: true, text: (row) => formatCount(of(row).files), value: (row) => of(row).files },
        { title: 'size', number: true, text: (row) => formatBytes(of(row).size), value: (row) => of(row).size },
        { title: 'every run', number: true, text: (row) => formatBytes(of(row).every), value: (row) => of(row).every },
        { title: 'some runs', number: true, text: (row) => formatBytes(of(row).some), value: (row) => of(row).some },
        { title: 'cold', number: true, text: (row) => formatBytes(cold(of(row))), value: (row) => cold(of(row)) },
      ],
      rows.length,
    ).element;
  });
}

function sum(layers: readonly PageTree[]): PageTree {
  const add = (of: (node: PageTree) => number): number => layers.reduce((total, node) => total + of(node), 0);
  return {
    name: 'image',
    size: add(({ size }) => size),
    every: add(({ every }) => every),
    some: add(({ some }) => some),
    files: add(({ files }) => files),
    children: [...layers].filter(({ size }) => size > 0),
  };
}

function cold({ size, every, some }: PageTree): number {
  return size - every - some;
}

/** How deep directories are shown within each other, and how high one must be to have its name above them. */
const DEPTH = 5;
const ROOM = 36;

function picture(root: PageTree, width: number, open: (node: PageTree) => void): SVGSVGElement {
  const cut = (node: PageTree, depth: number): PageTree => {
    const { children, ...rest } = node;
    return children && depth > 0 ? { ...rest, children: children.map((child) => cut(child, depth - 1)) } : rest;
  };
  const originals = new Map<string, PageTree>();
  const index = (node: PageTree, path: string): void => {
    originals.set(path, node);
    for (const child of node.children ?? []) index(child, `${path}\n${child.name}`);
  };
  index(root, '');
  const tree = d3
    .hierarchy(cut(root, DEPTH))
    .sum(({ children, size }) => (children ? 0 : size))
    .sort((a, b) => (b.value ?? 0) - (a.value ?? 0));
  d3
    .treemap()
    .size([width, HEIGHT])
    .paddingInner(1)
    // Before the top's, which it would set, too.
    .paddingOuter((node) => (node.depth > 0 && node.children ? 1 : 0))
    .paddingTop((node) => (node.depth > 0 && node.children && node.y1 - node.y0 > ROOM ? 17 : 0))
    .round(true)(tree);
  const picture = svg('svg', {
    width,
    height: HEIGHT,
    viewBox: `0 0 ${width} ${HEIGHT}`,
    role: 'group',
    'aria-label': `Directories of ${root.name} by size`,
  });
  const pathOf = (node: D3Node<PageTree>): string => (node.parent ? `${pathOf(node.parent)}\n${node.data.name}` : '');
  // Parents come before their children, which are drawn over them.
  for (const node of tree.descendants()) {
    if (node.depth === 0) continue;
    const [w, h] = [node.x1 - node.x0, node.y1 - node.y0];
    if (w < 2 || h < 2) continue;
    const { name, size, every, some, files } = node.data;
    const original = originals.get(pathOf(node));
    const can = original?.children !== undefined && original.size > 0;
    const text = `${name}: ${formatBytes(size)} in ${formatCount(files)} files; ${formatShare(every, size)} opened in every run, ${formatShare(some, size)} in some`;
    const group = svg('g', {
      transform: `translate(${node.x0},${node.y0})`,
      class: can ? 'cell can' : 'cell',
      ...(can ? { tabindex: 0, role: 'button', 'aria-label': text } : {}),
    });
    const warmth = size === 0 ? 0 : Math.ceil((6 * (every + some / 2)) / size);
    group.append(
      svg('title', {}, text),
      svg('rect', { class: `t${Math.max(0, Math.min(6, warmth))}`, width: w, height: h }),
    );
    const letters = Math.floor((w - 6) / 7);
    if (letters > 2 && h > 14)
      group.append(
        svg(
          'text',
          { x: 4, y: 13, class: warmth > 3 ? 'on-hot' : undefined },
          name.length > letters ? `${name.slice(0, letters - 1)}…` : name,
        ),
      );
    if (can) {
      group.addEventListener('click', () => open(original));
      group.addEventListener('keydown', (event) => {
        if (event.key !== 'Enter' && event.key !== ' ') return;
        event.preventDefault();
        open(original);
      });
    }
    picture.append(group);
  }
  return picture;
}
