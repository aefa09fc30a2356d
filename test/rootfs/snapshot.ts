// A whole tree as lines of text, once through a RootFs and once through lstat, so that two trees compare as a diff.
import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { bytesToPath, comparePaths, pathToBytes } from '../../src/paths.js';
import { type Attr, Later, type NodeId, ROOT_NODE, type RootFs } from '../../src/rootfs/types.js';

export const NOBODY = { pid: 0, uid: 0, gid: 0 };

export interface SnapshotOptions {
  /** Times of directories; extraction over several layers changes them. Default true. */
  dirTimes?: boolean;
  /** Owners; a test that is not root cannot make them. Default true. */
  owners?: boolean;
  /** Link counts and which names share a file. Default true. */
  links?: boolean;
  /** Contents. Default true. */
  content?: boolean;
}

interface Found {
  path: string;
  ino: string;
  type: string;
  mode: number;
  owner: string;
  nlink: number;
  size: number;
  mtime: string;
  rdev: string;
  content: string;
}

/** Everything below the root, through lookup, readdir, readlink and read. */
export function ofRootFs(fs: RootFs, options: SnapshotOptions = {}): string[] {
  const found: Found[] = [];
  const held: NodeId[] = [];
  const visit = (node: NodeId, prefix: string) => {
    for (const entry of fs.readdir(node, NOBODY)) {
      const attr = fs.lookup(node, entry.name, NOBODY);
      const path = `${prefix}/${entry.name}`;
      found.push(foundOf(fs, path, attr, options));
      held.push(attr.ino);
      if (attr.type === 'dir') visit(attr.ino, path);
    }
  };
  visit(ROOT_NODE, '');
  // As the kernel would: a node forgotten while it is in use may come back under another number.
  for (const node of held) fs.forget?.(node, 1);
  return lines(found, options);
}

function foundOf(fs: RootFs, path: string, attr: Attr, options: SnapshotOptions): Found {
  let content = '';
  if (attr.type === 'symlink') content = bytesToPath(fs.readlink(attr.ino, NOBODY));
  if (attr.type === 'reg' && options.content !== false) content = hash(readAll(fs, attr.ino));
  return {
    path,
    ino: String(attr.ino),
    type: attr.type,
    mode: attr.mode,
    owner: `${attr.uid}:${attr.gid}`,
    nlink: attr.nlink,
    size: attr.type === 'dir' ? 0 : attr.size,
    mtime: `${attr.mtimeSec}.${String(attr.mtimeNsec).padStart(9, '0')}`,
    rdev: `${attr.rdevMajor}:${attr.rdevMinor}`,
    content,
  };
}

export function readAll(fs: RootFs, node: NodeId): Buffer {
  const { size } = fs.getattr(node, NOBODY);
  const into = Buffer.alloc(size + 1);
  const handle = fs.open(node, 0, NOBODY);
  try {
    const got = fs.read(node, handle, into, 0, size + 1, 0, NOBODY);
    if (got instanceof Later) throw new Error('the read was put off');
    return into.subarray(0, got);
  } finally {
    fs.release(node, handle);
  }
}

/** The same of a directory on disk; symlinks are not followed. */
export function ofDirectory(root: string, options: SnapshotOptions = {}): string[] {
  const found: Found[] = [];
  const visit = (dir: string) => {
    for (const bytes of readdirSync(pathToBytes(root + dir), { encoding: 'buffer' })) {
      const path = `${dir}/${bytesToPath(bytes)}`;
      const full = pathToBytes(root + path);
      const stats = lstatSync(full, { bigint: true });
      const type = stats.isFile()
        ? 'reg'
        : stats.isDirectory()
          ? 'dir'
          : stats.isSymbolicLink()
            ? 'symlink'
            : stats.isFIFO()
              ? 'fifo'
              : stats.isCharacterDevice()
                ? 'char'
                : stats.isBlockDevice()
                  ? 'block'
                  : 'socket';
      let content = '';
      if (type === 'symlink') content = bytesToPath(readlinkSync(full, { encoding: 'buffer' }));
      if (type === 'reg' && options.content !== false) content = hash(readFileSync(full));
      // Down to the second before, as struct timespec counts.
      const nanos = ((stats.mtimeNs % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
      const device = type === 'char' || type === 'block' ? stats.rdev : 0n;
      found.push({
        path,
        ino: `${stats.dev}:${stats.ino}`,
        type,
        mode: Number(stats.mode) & 0o7777,
        owner: `${stats.uid}:${stats.gid}`,
        nlink: Number(stats.nlink),
        size: type === 'dir' ? 0 : Number(stats.size),
        mtime: `${(stats.mtimeNs - nanos) / 1_000_000_000n}.${String(nanos).padStart(9, '0')}`,
        // Enough for the small numbers in tests: 12 bits of major, 8 of minor.
        rdev: `${(device >> 8n) & 0xfffn}:${device & 0xffn}`,
        content,
      });
      if (type === 'dir') visit(path);
    }
  };
  visit('');
  return lines(found, options);
}

function lines(found: Found[], options: SnapshotOptions): string[] {
  found.sort((a, b) => comparePaths(a.path, b.path));
  const first = new Map<string, string>();
  return found.map((f) => {
    if (!first.has(f.ino)) first.set(f.ino, f.path);
    const parts = [f.path, f.type, f.type === 'symlink' ? '-' : f.mode.toString(8)];
    if (options.owners !== false) parts.push(f.owner);
    if (options.links !== false) parts.push(f.type === 'dir' ? '-' : `x${f.nlink}`, `=${first.get(f.ino)}`);
    if (f.type !== 'dir' || options.dirTimes !== false) parts.push(f.mtime);
    return [...parts, String(f.size), f.rdev, f.content].join(' ');
  });
}

function hash(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex').slice(0, 16);
}

/** splitmix32: numbers in [0, 1), the same for the same seed. */
export function random(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32;
  };
}
