// Files as a tree of directories for a treemap: the large ones each, small ones summed up, so that a layer of any size
// gives a picture of a limited one. Nothing is lost: a node's numbers are those of all below it.
import type { Bytes } from '../units.js';
import type { TreeNode } from './types.js';

/** Nodes below one layer. */
export const MAX_NODES = 900;
/** Smaller shares of a layer are no more than a dot. */
const SMALLEST = 1 / 4000;

export interface TreeFile {
  /** Cleaned: no leading or trailing slash. */
  readonly path: string;
  readonly size: Bytes;
  readonly heat: 0 | 1 | 2;
}

interface Directory {
  readonly name: string;
  size: Bytes;
  every: Bytes;
  some: Bytes;
  files: number;
  children?: Map<string, Directory>;
}

export function fileTree(files: readonly TreeFile[]): TreeNode {
  const root = newDirectory('/');
  for (const { path, size, heat } of files) {
    let node = root;
    add(node, size, heat);
    for (const part of path.split('/')) {
      node.children ??= new Map();
      let next = node.children.get(part);
      if (!next) {
        next = newDirectory(part);
        node.children.set(part, next);
      }
      node = next;
      add(node, size, heat);
    }
  }
  return pruned(root);
}

function newDirectory(name: string): Directory {
  return { name, size: 0, every: 0, some: 0, files: 0 };
}

function add(node: Directory, size: Bytes, heat: 0 | 1 | 2): void {
  node.size += size;
  node.files += 1;
  if (heat === 2) node.every += size;
  else if (heat === 1) node.some += size;
}

/** The largest nodes are opened first until there are enough of them. */
function pruned(root: Directory): TreeNode {
  const least = Math.max(1, root.size * SMALLEST);
  const opened = new Set<Directory>();
  let nodes = 1;
  let edge = [root];
  while (edge.length > 0 && nodes < MAX_NODES) {
    edge.sort(bySize);
    const next: Directory[] = [];
    for (const node of edge) {
      if (!node.children || node.size < least || nodes + node.children.size > 2 * MAX_NODES) continue;
      opened.add(node);
      const large = [...node.children.values()].filter(({ size }) => size >= least);
      nodes += large.length + 1;
      next.push(...large);
      if (nodes >= MAX_NODES) break;
    }
    edge = next;
  }
  return shape(root, opened, least);
}

function shape(node: Directory, opened: ReadonlySet<Directory>, least: Bytes, above = ''): TreeNode {
  const name = above === '' ? node.name : `${above}/${node.name}`;
  const { size, every, some, files } = node;
  if (!node.children || !opened.has(node)) return { name, size, every, some, files };
  const children = [...node.children.values()].sort(bySize);
  const only = children[0]!;
  if (children.length === 1 && node.name !== '/' && only.children) return shape(only, opened, least, name);
  const large = children.filter((child) => child.size >= least);
  const small = children.slice(large.length);
  const shown = large.map((child) => shape(child, opened, least));
  if (small.length > 0) {
    const rest = newDirectory('…');
    for (const child of small) {
      rest.size += child.size;
      rest.every += child.every;
      rest.some += child.some;
      rest.files += child.files;
    }
    shown.push({ name: rest.name, size: rest.size, every: rest.every, some: rest.some, files: rest.files });
  }
  return { name, size, every, some, files, children: shown };
}

function bySize(a: Directory, b: Directory): number {
  return b.size - a.size || (a.name < b.name ? -1 : 1);
}
