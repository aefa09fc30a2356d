// Layers → tree. Pure: entry lists in, `Tree` out. What a layer means is what extracting it over the layers below
// gives (OCI image-spec layer.md "Applying Changesets"; containerd archive.Apply): entries in the order of the tar,
// later ones over earlier ones, parents looked up through the symlinks of the tree so far and never outside it.
// Whiteouts hide lower layers only, wherever they stand in their tar.
import { cleanPath } from '../paths.js';
import type { TarEntry } from '../stargz/tar/entry.js';
import { DirectoryNode, type MergeProblem, type MergeWarning, Tree, TreeNode } from './tree.js';

const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';
/** Names starting so are aufs's own (`.wh..wh.plnk`), never files of the image. */
const WHITEOUT_META = '.wh..wh.';

/** What stargz adds at a layer's root (estargz.md); no part of the image's tree. */
export const LAYER_BOOKKEEPING: ReadonlySet<string> = new Set([
  '.prefetch.landmark',
  '.no.prefetch.landmark',
  'stargz.index.json',
]);

/** Bytes of one name (NAME_MAX) and of a symlink's target (PATH_MAX less its NUL), linux/limits.h. */
const NAME_MAX = 255;
const TARGET_MAX = 4095;
/** Directories above an entry. PATH_MAX allows 2048; beyond this a tar is out to harm. */
const MAX_DEPTH = 4096;
/** Symlinks on the way to one entry's parent, as in containerd's continuity fs.RootPath. */
const MAX_PARENT_SYMLINKS = 255;
/** Names on that way, those of symlink targets included: a loop of long targets must not take long either. */
const MAX_STEPS = 2 * MAX_DEPTH;

/**
 * The union of layers, lowest first, each given as the entries of its tar in order.
 * Nothing throws: what cannot be is left out and listed in `Tree.warnings`.
 */
export function mergeLayers(layers: readonly (readonly TarEntry[])[]): Tree {
  const root = new DirectoryNode(0, undefined, undefined, '');
  const warnings: MergeWarning[] = [];
  for (const [layer, entries] of layers.entries()) new LayerMerge(root, layer, warnings).apply(entries);
  return new Tree(root, layers.length, warnings);
}

/** A hardlink whose target was not there when it was reached; `node` holds its place. */
interface PendingLink {
  readonly entry: TarEntry;
  readonly dir: TreeNode;
  readonly name: string;
  readonly node: TreeNode;
}

class LayerMerge {
  private readonly pending = new Map<TreeNode, PendingLink>();
  /** Parents by path as written. Emptied when a directory or symlink goes away: then any of them may be stale. */
  private readonly parents = new Map<string, TreeNode>();
  /** Symlinks at which a walk was given up; as short-lived as `parents`. */
  private readonly hopeless = new Set<TreeNode>();

  constructor(
    private readonly root: TreeNode,
    private readonly layer: number,
    private readonly warnings: MergeWarning[],
  ) {}

  apply(entries: readonly TarEntry[]): void {
    for (const entry of entries) this.applyEntry(entry);
    this.settlePending();
  }

  private applyEntry(entry: TarEntry): void {
    const { path } = entry;
    if (path === '') {
      this.applyRoot(entry);
      return;
    }
    const at = path.lastIndexOf('/');
    const name = entry.base ?? path.slice(at + 1);
    if (at < 0 && LAYER_BOOKKEEPING.has(name)) return;
    if (!validName(name) || (entry.type === 'symlink' && !validTarget(entry.linkName))) {
      this.warn('name-invalid', entry);
      return;
    }
    const dir = this.parent(at < 0 ? '' : path.slice(0, at), entry);
    if (!dir) return;
    if (name.startsWith(WHITEOUT)) {
      this.whiteout(dir, name, entry);
      return;
    }
    // What is above a touched one is touched.
    for (let up: TreeNode | undefined = dir; up instanceof DirectoryNode && up.touched !== this.layer; up = up.parent)
      up.touched = this.layer;
    const existing = dir.children!.get(name);
    if (entry.type === 'hardlink') {
      this.hardlink(dir, name, entry);
    } else if (entry.type === 'dir' && existing?.type === 'dir') {
      existing.entry = entry;
      existing.layer = this.layer;
      this.touch(existing);
    } else if (entry.type === 'dir') {
      const node = new DirectoryNode(this.layer, entry, dir, name);
      this.touch(node);
      this.put(dir, name, node);
    } else {
      this.put(dir, name, new TreeNode(entry.type, this.layer, entry, dir, name));
    }
  }

  private touch(node: TreeNode): void {
    if (node instanceof DirectoryNode) node.touched = this.layer;
  }

  private applyRoot(entry: TarEntry): void {
    if (entry.type === 'dir') {
      this.root.entry = entry;
      this.root.layer = this.layer;
    } else {
      this.warn('entry-ignored', entry);
    }
  }

  private whiteout(dir: TreeNode, name: string, entry: TarEntry): void {
    if (name === OPAQUE) {
      this.dropLower(dir);
      return;
    }
    if (name.startsWith(WHITEOUT_META)) return;
    const hidden = name.slice(WHITEOUT.length);
    const child = dir.children!.get(hidden);
    if (hidden === '' || hidden === '.' || hidden === '..') this.warn('entry-ignored', entry);
    else if (child) this.hideLower(dir, hidden, child);
  }

  /** Takes away what lower layers have under one name. */
  private hideLower(dir: TreeNode, name: string, child: TreeNode): void {
    const own = (dir.links?.get(name)?.layer ?? child.layer) === this.layer;
    if (child instanceof DirectoryNode && (own || child.touched === this.layer)) {
      this.dropLower(child);
      if (own) return;
      // Only files below it are this layer's: what is left of the directory itself is that they need one.
      child.entry = undefined;
      child.layer = this.layer;
    } else if (!own) {
      this.remove(dir, name);
    }
  }

  private dropLower(dir: TreeNode): void {
    for (const [name, child] of [...dir.children!]) this.hideLower(dir, name, child);
  }

  private hardlink(dir: TreeNode, name: string, entry: TarEntry): void {
    const target = this.linkTarget(entry.linkName);
    if (target?.type === 'dir') {
      this.remove(dir, name);
      this.warn('link-to-directory', entry);
    } else if (!target || this.pending.has(target)) {
      const node = new TreeNode('reg', this.layer, undefined, dir, name);
      this.put(dir, name, node);
      this.pending.set(node, { entry, dir, name, node });
    } else {
      this.link(dir, name, target, entry);
    }
  }

  private link(dir: TreeNode, name: string, target: TreeNode, entry: TarEntry): void {
    if (dir.children!.get(name) !== target) this.put(dir, name, target);
    dir.links ??= new Map();
    dir.links.set(name, { layer: this.layer, entry });
  }

  /** Links whose target came later, or is itself such a link. What is left after that has no target. */
  private settlePending(): void {
    const waiting = new Map<TreeNode, PendingLink[]>();
    for (const link of this.pending.values()) {
      // A later entry took the name, or hid it.
      if (link.dir.children!.get(link.name) !== link.node) {
        this.pending.delete(link.node);
        continue;
      }
      const target = this.linkTarget(link.entry.linkName);
      if (!target) continue;
      if (this.pending.has(target)) {
        const others = waiting.get(target);
        if (others) others.push(link);
        else waiting.set(target, [link]);
      } else {
        this.settle(link, target, waiting);
      }
    }
    for (const { entry, dir, name } of this.pending.values()) {
      this.remove(dir, name);
      this.warn('link-target-missing', entry);
    }
    this.pending.clear();
  }

  /** Gives a waiting link its target, and with it all that wait for this one. */
  private settle(first: PendingLink, target: TreeNode, waiting: Map<TreeNode, PendingLink[]>): void {
    const todo = [first];
    for (let link = todo.pop(); link; link = todo.pop()) {
      this.pending.delete(link.node);
      if (target.type === 'dir') {
        this.remove(link.dir, link.name);
        this.warn('link-to-directory', link.entry);
      } else {
        this.link(link.dir, link.name, target, link.entry);
      }
      for (const next of waiting.get(link.node) ?? []) todo.push(next);
    }
  }

  /** What a hardlink names: parents through symlinks, the last name itself never (link(2)). */
  private linkTarget(linkName: string): TreeNode | undefined {
    const path = cleanPath(linkName);
    const at = path.lastIndexOf('/');
    const dir = at < 0 ? this.root : this.walk(path.slice(0, at))?.dir;
    return path === '' ? this.root : dir?.children?.get(path.slice(at + 1));
  }

  /** The directory an entry goes into, made if it is missing; undefined after a warning. */
  private parent(path: string, entry: TarEntry): TreeNode | undefined {
    const known = this.parents.get(path);
    if (known) return known;
    const tooDeep = path.length > 2 * MAX_DEPTH && path.split('/').length > MAX_DEPTH;
    const found = tooDeep ? undefined : this.walk(path);
    if (!found || found.missing.length + found.route.length > MAX_DEPTH || !found.missing.every(validName)) {
      this.warn(found || tooDeep ? 'name-invalid' : 'symlink-loop', entry);
      return undefined;
    }
    let dir = found.route[found.route.length - 1]!;
    for (const name of found.missing) {
      if (dir.children!.has(name)) this.warn('parent-not-directory', entry);
      const made = new DirectoryNode(this.layer, undefined, dir, name);
      this.put(dir, name, made);
      dir = made;
    }
    this.parents.set(path, dir);
    return dir;
  }

  /**
   * Follows a directory path inside the tree. `route`: the directories passed, root first; `missing`: the names below
   * the last of them that are no directories yet; `dir`: the end when nothing is missing. Undefined: a symlink loop, or a
   * way as long as one.
   */
  private walk(path: string): { route: TreeNode[]; missing: string[]; dir: TreeNode | undefined } | undefined {
    let route = [this.root];
    let missing: string[] = [];
    const todo = path.split('/').reverse();
    let followed = 0;
    let symlink: TreeNode | undefined;
    for (let steps = 0; todo.length > 0; steps++) {
      if (
        followed > MAX_PARENT_SYMLINKS ||
        steps + todo.length > MAX_STEPS ||
        (symlink && this.hopeless.has(symlink))
      ) {
        if (symlink) this.hopeless.add(symlink);
        return undefined;
      }
      const name = todo.pop()!;
      if (name === '' || name === '.') continue;
      if (name === '..') {
        if (missing.length > 0) missing.pop();
        else if (route.length > 1) route.pop();
        continue;
      }
      const child = missing.length > 0 ? undefined : route[route.length - 1]!.children!.get(name);
      if (child?.type === 'dir') {
        route.push(child);
      } else if (child?.type === 'symlink') {
        followed += 1;
        symlink = child;
        if (child.linkTarget.startsWith('/')) {
          route = [this.root];
          missing = [];
        }
        for (const part of child.linkTarget.split('/').reverse()) todo.push(part);
      } else {
        missing.push(name);
      }
    }
    return { route, missing, dir: missing.length === 0 ? route[route.length - 1] : undefined };
  }

  private put(dir: TreeNode, name: string, node: TreeNode): void {
    this.remove(dir, name);
    dir.children!.set(name, node);
  }

  private remove(dir: TreeNode, name: string): void {
    const node = dir.children!.get(name);
    if (!node) return;
    dir.children!.delete(name);
    dir.links?.delete(name);
    if (node.type === 'dir' || node.type === 'symlink') {
      this.parents.clear();
      this.hopeless.clear();
    }
  }

  private warn(problem: MergeProblem, entry: TarEntry): void {
    const target = entry.linkName === '' ? {} : { target: entry.linkName };
    this.warnings.push({ problem, layer: this.layer, entryIndex: entry.index, path: entry.path, ...target });
  }
}

function validName(name: string): boolean {
  // A UTF-16 unit is at least one byte and at most three.
  if (name.length > NAME_MAX || name.includes('\0')) return false;
  return name.length * 3 <= NAME_MAX || byteLength(name) <= NAME_MAX;
}

function validTarget(target: string): boolean {
  if (target.length > TARGET_MAX || target.includes('\0')) return false;
  return target.length * 3 <= TARGET_MAX || byteLength(target) <= TARGET_MAX;
}

/** Bytes of a lossless string: an escaped byte (paths.ts) is encoded by Buffer as three. */
function byteLength(name: string): number {
  const escaped = name.match(/(?<![\ud800-\udbff])[\udc80-\udcff]/g)?.length ?? 0;
  return Buffer.byteLength(name) - 2 * escaped;
}
