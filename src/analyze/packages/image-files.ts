// Files of an image by path, symlinks followed inside of it: what the readers of package databases need of a RootFs.
import { bytesToPath } from '../../paths.js';
import { MAX_SYMLINKS } from '../../rootfs/tree.js';
import { FsError, Later, type NodeId, ROOT_NODE, type RootFs } from '../../rootfs/types.js';
import { MIB } from '../../units.js';

const NOBODY = { pid: 0, uid: 0, gid: 0 };

/** Larger files are not read: the package databases of a full desktop have 200 MB. */
export const MAX_DATABASE_BYTES = 512 * MIB;

interface Found {
  readonly node: NodeId;
  readonly type: string;
  readonly size: number;
  /** Without symlinks. */
  readonly path: string;
}

export class ImageFiles {
  readonly #fs: RootFs;
  /** Directories that were asked for, by the path they were asked by. */
  readonly #directories = new Map<string, Found | undefined>();

  constructor(fs: RootFs) {
    this.#fs = fs;
  }

  /** The whole content; undefined when there is no such file, it cannot be read, or it is too large. */
  read(path: string): Buffer | undefined {
    const found = this.#find(path);
    if (found?.type !== 'reg' || found.size > MAX_DATABASE_BYTES) return undefined;
    return this.#try(() => {
      const handle = this.#fs.open(found.node, 0, NOBODY);
      try {
        const out = Buffer.alloc(found.size);
        let done = 0;
        while (done < out.length) {
          const got = this.#fs.read(found.node, handle, out, done, out.length - done, done, NOBODY);
          // A file system that fetches as it is read has nobody here to wait for.
          if (got instanceof Later || got === 0) break;
          done += got;
        }
        return out.subarray(0, done);
      } finally {
        this.#fs.release(found.node, handle);
      }
    });
  }

  /** As `read`, as text; names in it are lossless (paths.ts). */
  text(path: string): string | undefined {
    const bytes = this.read(path);
    return bytes && bytesToPath(bytes);
  }

  /** Names in a directory, in byte order; undefined when it is none. */
  list(path: string): readonly string[] | undefined {
    const found = this.#directory(path);
    return found && this.#try(() => this.#fs.readdir(found.node, NOBODY).map(({ name }) => name));
  }

  /** The path of a directory without symlinks; undefined when there is no such directory. */
  realDirectory(path: string): string | undefined {
    return this.#directory(path)?.path;
  }

  #directory(path: string): Found | undefined {
    if (!this.#directories.has(path)) {
      const found = this.#find(path);
      this.#directories.set(path, found?.type === 'dir' ? found : undefined);
    }
    return this.#directories.get(path);
  }

  #find(path: string): Found | undefined {
    return this.#try(() => {
      const todo = path.split('/').reverse();
      const root: Found = { node: ROOT_NODE, type: 'dir', size: 0, path: '/' };
      let stack: Found[] = [root];
      for (let links = 0; todo.length > 0; ) {
        const name = todo.pop()!;
        if (name === '' || name === '.') continue;
        if (name === '..') {
          if (stack.length > 1) stack.pop();
          continue;
        }
        const here = stack.at(-1)!;
        if (here.type !== 'dir') return undefined;
        const attr = this.#fs.lookup(here.node, name, NOBODY);
        if (attr.type !== 'symlink') {
          const at = here.path === '/' ? `/${name}` : `${here.path}/${name}`;
          stack.push({ node: attr.ino, type: attr.type, size: attr.size, path: at });
          continue;
        }
        links += 1;
        if (links > MAX_SYMLINKS) return undefined;
        const target = bytesToPath(this.#fs.readlink(attr.ino, NOBODY));
        if (target.startsWith('/')) stack = [root];
        todo.push(...target.split('/').reverse());
      }
      return stack.at(-1);
    });
  }

  /** What cannot be read is as good as absent: attribution never fails a run. */
  #try<T>(what: () => T): T | undefined {
    try {
      return what();
    } catch (error) {
      if (error instanceof FsError) return undefined;
      throw error;
    }
  }
}
