// What the analyzer asks of the tree that a container saw: which file a path is, how big, whose. Made from an image's
// merged layers or from a file system that is not being served (a plain directory).

import type { Tree, TreeNode } from '../rootfs/tree.js';
import { type Attr, FsError, type NodeId, type NodeType, ROOT_NODE, type RootFs } from '../rootfs/types.js';
import type { Bytes } from '../units.js';
import type { ProfileFile } from './types.js';

export interface ViewNode {
  /** The one name of this file that stands for all its names; absolute, no symlink in it. */
  readonly path: string;
  readonly type: ProfileFile['type'];
  /** Bytes of a regular file, 0 for all others. */
  readonly size: Bytes;
  /** Index of the layer that owns its content; absent for a plain directory. */
  readonly layer?: number;
}

export interface TreeView {
  /** The node at an absolute path, a symlink itself and not its target; undefined when there is none. */
  at(path: string): ViewNode | undefined;
  /** Regular files in the tree (a hardlinked file once) and their bytes. */
  totals(): { readonly files: number; readonly bytes: Bytes };
}

/** The view of an image. Each node is described once, however often and by whichever name it is asked for. */
export function viewOfTree(tree: Tree): TreeView {
  const byName = new Map<string, ViewNode | undefined>();
  const byNode = new Map<TreeNode, ViewNode>();
  const describe = (node: TreeNode): ViewNode => {
    let view = byNode.get(node);
    if (!view) {
      view = { path: tree.pathOf(node), type: typeOf(node.type), size: sizeOf(node), layer: node.layer };
      byNode.set(node, view);
    }
    return view;
  };
  return {
    at(path) {
      if (byName.has(path)) return byName.get(path);
      const node = tree.find(path, { followLast: false });
      const view = node && describe(node);
      byName.set(path, view);
      return view;
    },
    totals: () => ({ files: tree.totals.files, bytes: tree.totals.bytes }),
  };
}

function typeOf(type: NodeType): ViewNode['type'] {
  return type === 'reg' || type === 'dir' || type === 'symlink' ? type : 'other';
}

function sizeOf({ type, size }: { readonly type: NodeType; readonly size: Bytes }): Bytes {
  return type === 'reg' ? size : 0;
}

const NOBODY = { pid: 0, uid: 0, gid: 0 };

/** The view of a file system without layers. Nodes are kept as they are asked for. */
export function viewOfFs(fs: RootFs): Pick<TreeView, 'at'> {
  const nodes = new Map<string, { readonly id: NodeId; readonly node: ViewNode } | undefined>();

  /** By node: a directory on disk does not know all the names of a file, so the first one asked for is the canonical one. */
  const canonical = new Map<NodeId, string>();

  function describe(attr: Attr, path: string): { id: NodeId; node: ViewNode } {
    const { ino } = attr;
    if (!canonical.has(ino)) canonical.set(ino, path);
    return { id: ino, node: { path: canonical.get(ino)!, type: typeOf(attr.type), size: sizeOf(attr) } };
  }

  function find(path: string): { readonly id: NodeId; readonly node: ViewNode } | undefined {
    if (nodes.has(path)) return nodes.get(path);
    let found: { readonly id: NodeId; readonly node: ViewNode } | undefined;
    if (path === '/') {
      found = describe(fs.getattr(ROOT_NODE, NOBODY), path);
    } else {
      const slash = path.lastIndexOf('/');
      const parent = find(slash === 0 ? '/' : path.slice(0, slash));
      if (parent?.node.type === 'dir') {
        try {
          found = describe(fs.lookup(parent.id, path.slice(slash + 1), NOBODY), path);
        } catch (error) {
          if (!(error instanceof FsError)) throw error;
        }
      }
    }
    nodes.set(path, found);
    return found;
  }

  return {
    at: (path) => (path.startsWith('/') ? find(path)?.node : undefined),
  };
}
