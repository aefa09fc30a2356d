// Makes a layer's tar from files of this machine or from given bytes: for sample images. Owner root, sorted by the
// bytes of the name, whole seconds; nothing is followed or guessed.
import { createReadStream, lstatSync, readdirSync, readlinkSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { pack as createPack, type Header, type Pack } from 'tar-stream';
import { HotlayerError } from '../errors.js';
import { comparePaths } from '../paths.js';

export interface PackItem {
  /** In the image, from the root, no leading slash. Names that are not UTF-8 cannot be packed. */
  readonly path: string;
  /** File, directory (itself, not what is in it) or symlink of this machine … */
  readonly from?: string;
  /** … or the bytes of a regular file; neither: an empty directory. */
  readonly content?: string | Uint8Array;
  /** Permission bits; absent: as on this machine, 0644 for content, 0755 for directories. */
  readonly mode?: number;
}

/** Everything under a directory of this machine as items under `to`; `skip` says which relative paths to leave out. */
export function itemsUnder(
  directory: string,
  to: string,
  skip: (relative: string) => boolean = () => false,
): PackItem[] {
  const items: PackItem[] = [{ path: to, from: directory }];
  const visit = (relative: string): void => {
    for (const entry of readdirSync(join(directory, relative), { withFileTypes: true })) {
      const inner = relative === '' ? entry.name : `${relative}/${entry.name}`;
      if (skip(inner)) continue;
      items.push({ path: `${to}/${inner}`, from: join(directory, inner) });
      if (entry.isDirectory()) visit(inner);
    }
  };
  visit('');
  return items;
}

/** The tar as a stream. Missing parent directories are added. @throws (on the stream) HL_ERR_IO for unreadable files */
export function packLayer(items: readonly PackItem[]): Readable {
  const pack = createPack();
  const all = new Map<string, PackItem>();
  for (const item of items) {
    const parts = item.path.split('/');
    for (let i = 1; i < parts.length; i++) {
      const parent = parts.slice(0, i).join('/');
      if (!all.has(parent)) all.set(parent, { path: parent });
    }
    all.set(item.path, item);
  }
  const sorted = [...all.values()].sort((a, b) => comparePaths(a.path, b.path));
  void fill(pack, sorted).catch((error: Error) => pack.destroy(error));
  return pack as unknown as Readable;
}

async function fill(pack: Pack, items: readonly PackItem[]): Promise<void> {
  for (const item of items) await add(pack, item);
  pack.finalize();
}

async function add(pack: Pack, item: PackItem): Promise<void> {
  const base = { name: item.path, uid: 0, gid: 0, uname: 'root', gname: 'root' };
  if (item.from === undefined) {
    const mtime = new Date(0);
    if (item.content === undefined) return entry(pack, { ...base, type: 'directory', mode: item.mode ?? 0o755, mtime });
    return entry(
      pack,
      { ...base, type: 'file', mode: item.mode ?? 0o644, mtime },
      Buffer.from(item.content as Uint8Array),
    );
  }
  const stat = statOf(item.from);
  const header = {
    ...base,
    mode: item.mode ?? stat.mode & 0o7777,
    mtime: new Date(Math.floor(stat.mtimeMs / 1000) * 1000),
  };
  if (stat.isDirectory()) return entry(pack, { ...header, type: 'directory' });
  if (stat.isSymbolicLink()) return entry(pack, { ...header, type: 'symlink', linkname: readlinkSync(item.from) });
  if (!stat.isFile()) return;
  const sink = pack.entry({ ...header, type: 'file', size: stat.size });
  await pipeline(createReadStream(item.from), sink);
}

function statOf(path: string): Stats {
  try {
    return lstatSync(path);
  } catch (cause) {
    throw new HotlayerError('HL_ERR_IO', `cannot read ${path}: ${(cause as Error).message}`, {
      cause,
      context: { file: path },
    });
  }
}

function entry(pack: Pack, header: Partial<Header> & { name: string }, content?: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (error?: Error | null): void => (error ? reject(error) : resolve());
    if (content) pack.entry(header, content, done);
    else pack.entry(header, done);
  });
}
