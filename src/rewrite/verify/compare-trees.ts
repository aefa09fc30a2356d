// The file system a container sees, before and after: all layers merged, node against node.
import { comparePaths } from '../../paths.js';
import type { Tree, TreeFile, TreeNode } from '../../rootfs/tree.js';
import type { TarEntry } from '../../stargz/tar/entry.js';
import { xattrDifferences } from './fields.js';
import type { Findings } from './findings.js';

export interface TreeSide {
  readonly tree: Tree;
  /** Content digest of the regular file that an entry describes. */
  readonly digestOf: (layer: number, entryIndex: number) => string | undefined;
}

/**
 * Adds every difference to `findings`.
 * @param copied entries of the original that are hardlinks there and copies after: not one file any more
 * @returns number of names compared
 */
export function compareTrees(
  before: TreeSide,
  after: TreeSide,
  copied: ReadonlySet<TarEntry>,
  findings: Findings,
): number {
  const a = before.tree.walk();
  const b = after.tree.walk();
  let names = 0;
  let left = a.next();
  let right = b.next();
  while (!left.done || !right.done) {
    const order = left.done ? 1 : right.done ? -1 : compareWalk(left.value.path, right.value.path);
    if (order < 0) {
      missing(findings, left.value as TreeFile, 'is not in the optimized image');
      left = a.next();
    } else if (order > 0) {
      missing(findings, right.value as TreeFile, 'is not in the original image');
      right = b.next();
    } else {
      names += 1;
      compareNodes(before, after, left.value as TreeFile, right.value as TreeFile, copied, findings);
      left = a.next();
      right = b.next();
    }
  }
  return names;
}

/** The order of `Tree.walk`: a directory, then all below it, names in byte order. */
function compareWalk(a: string, b: string): number {
  // NUL cannot be in a name, so it sorts a directory's content before its longer-named siblings.
  return comparePaths(a.replaceAll('/', '\0'), b.replaceAll('/', '\0'));
}

function missing(findings: Findings, file: TreeFile, message: string): void {
  findings.fail('files', { entry: file.path, message: `merged tree: ${file.type} ${message}` });
}

function compareNodes(
  before: TreeSide,
  after: TreeSide,
  a: TreeFile,
  b: TreeFile,
  copied: ReadonlySet<TarEntry>,
  findings: Findings,
): void {
  const where = (what: string) => ({ entry: a.path, message: `merged tree: ${what} differs` });
  const values = (node: TreeNode): Record<string, unknown> => ({
    type: node.type,
    mode: `0${node.mode.toString(8)}`,
    uid: node.uid,
    gid: node.gid,
    'user name': node.entry?.uname ?? '',
    'group name': node.entry?.gname ?? '',
    size: node.size,
    mtime: `${node.mtime.sec}.${String(node.mtime.nsec).padStart(9, '0')}`,
    device: `${node.devMajor}:${node.devMinor}`,
    'link target': node.linkTarget,
  });
  const one = values(a.node);
  const two = values(b.node);
  for (const field of Object.keys(one)) findings.same('files', one[field], two[field], where(field));
  for (const { field, expected, found } of xattrDifferences(a.node.xattrs, b.node.xattrs)) {
    findings.same('files', expected, found, where(field));
  }
  if (a.type !== 'reg' || b.type !== 'reg') return;
  findings.same('content', digestOf(before, a), digestOf(after, b), where('content'));
  const names = before.tree.pathsOf(a.node);
  if (names.length === 1 && !b.node.otherNames) return;
  // Compared once, at the first name.
  if (names[0] !== a.path || isCopied(a.node, copied)) return;
  findings.same('files', names.sort(), after.tree.pathsOf(b.node).sort(), where('set of hardlinked names'));
}

function isCopied(node: TreeNode, copied: ReadonlySet<TarEntry>): boolean {
  const places = [{ parent: node.parent, name: node.name }, ...(node.otherNames ?? [])];
  return places.some(({ parent, name }) => {
    const link = parent?.links?.get(name);
    return link !== undefined && copied.has(link.entry);
  });
}

function digestOf(side: TreeSide, file: TreeFile): string | undefined {
  return file.node.entry && side.digestOf(file.node.layer, file.node.entry.index);
}
