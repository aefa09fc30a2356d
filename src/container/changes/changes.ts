// What a disposable layer changed, found by looking: the upper directory says where something happened, the file system
// below and the view through both say what. Whiteouts and opaque directories need not be read for that: a name that is
// below and not in the view was deleted, however the overlay writes it down (kernel or fuse-overlayfs, with or without
// root).
import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { errnoOf } from '../../errors.js';
import { bytesToPath, comparePaths, pathToBytes } from '../../paths.js';
import type { Change } from '../types.js';

/** Three directories that show the same root. */
export interface Sides {
  readonly upper: string;
  readonly lower: string;
  readonly view: string;
}

export interface Changes {
  /** In the order of comparePaths. */
  readonly list: readonly Change[];
  /**
   * Files that were copied up, but are as they were in all that can be seen here: opened for writing and not written,
   * or only an extended attribute was set.
   */
  readonly untouched: readonly string[];
}

type Stats = Awaited<ReturnType<typeof statOf>>;

export async function findChanges(sides: Sides): Promise<Changes> {
  const list: Change[] = [];
  const untouched: string[] = [];
  const open: { readonly path: string; readonly below: boolean }[] = [{ path: '', below: true }];
  for (let at = open.pop(); at; at = open.pop()) {
    // So that a signal is noticed.
    await setImmediate();
    const { path, below } = at;
    const old = new Set(below ? await namesIn(sides.lower, path) : []);
    const written = await namesIn(sides.upper, path);
    const shown = await namesShown(sides.view, path, [...old, ...(written ?? [])]);
    for (const name of written ?? []) {
      if (!shown.has(name)) continue;
      const child = `${path}/${name}`;
      const now = await statOf(sides.upper, child);
      const was = old.has(name) ? await statOf(sides.lower, child) : undefined;
      if (!now) continue;
      const isDirectory = now.isDirectory();
      if (isDirectory) open.push({ path: child, below: was?.isDirectory() === true });
      if (!was) list.push({ path: child, kind: 'added', type: typeOf(now) });
      else if (await differs(sides, child, was, now)) list.push({ path: child, kind: 'changed', type: typeOf(now) });
      else if (!isDirectory) untouched.push(child);
    }
    for (const name of old) {
      if (shown.has(name)) continue;
      const child = `${path}/${name}`;
      const was = await statOf(sides.lower, child);
      if (was) list.push({ path: child, kind: 'deleted', type: typeOf(was) });
    }
  }
  return { list: list.sort((a, b) => comparePaths(a.path, b.path)), untouched: untouched.sort(comparePaths) };
}

/** A path of the root as one of this machine. */
export function pathUnder(root: string, path: string): Buffer {
  return pathToBytes(`${root}${path}`);
}

/** fuse-overlayfs does not list a directory in which one is that this user may not open. */
async function namesShown(view: string, path: string, candidates: readonly string[]): Promise<Set<string>> {
  const names = await namesIn(view, path);
  if (names) return new Set(names);
  const found = await Promise.all(candidates.map((name) => isThere(view, `${path}/${name}`)));
  return new Set(candidates.filter((_, i) => found[i]));
}

async function isThere(root: string, path: string): Promise<boolean> {
  try {
    await lstat(pathUnder(root, path));
    return true;
  } catch (error) {
    return errnoOf(error) !== 'ENOENT';
  }
}

/**
 * Directories of files in the upper half are always there; one below may be closed to us: then nothing in it was deleted.
 * @returns undefined: it is closed to this user
 */
async function namesIn(root: string, path: string): Promise<string[] | undefined> {
  try {
    const names = await readdir(pathUnder(root, path === '' ? '/' : path), { encoding: 'buffer' });
    return names.map(bytesToPath).sort(comparePaths);
  } catch (error) {
    if (['EACCES', 'EPERM'].includes(errnoOf(error) ?? '')) return undefined;
    if (['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return [];
    throw error;
  }
}

async function statOf(root: string, path: string) {
  try {
    return await lstat(pathUnder(root, path), { bigint: true });
  } catch (error) {
    if (['ENOENT', 'EACCES', 'EPERM'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}

function typeOf(stats: NonNullable<Stats>): Change['type'] {
  if (stats.isDirectory()) return 'dir';
  if (stats.isSymbolicLink()) return 'symlink';
  return stats.isFile() ? 'file' : 'other';
}

/** The time of a directory says only that something in it has changed, and that is told of what is in it. */
async function differs(sides: Sides, path: string, was: NonNullable<Stats>, now: NonNullable<Stats>): Promise<boolean> {
  if (was.mode !== now.mode || was.uid !== now.uid || was.gid !== now.gid) return true;
  if (now.isDirectory()) return false;
  if (was.mtimeNs !== now.mtimeNs || was.rdev !== now.rdev) return true;
  if (now.isSymbolicLink()) {
    const [a, b] = await Promise.all(
      [sides.lower, sides.upper].map((root) => readlink(pathUnder(root, path), { encoding: 'buffer' })),
    );
    return !a!.equals(b!);
  }
  if (!now.isFile()) return false;
  return was.size !== now.size || !(await sameContent(pathUnder(sides.lower, path), pathUnder(sides.upper, path)));
}

/** Of two files of one size. One that cannot be read counts as another. */
async function sameContent(a: Buffer, b: Buffer): Promise<boolean> {
  const left = createReadStream(a);
  const right = createReadStream(b);
  try {
    const others = right[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    let rest: Buffer = Buffer.alloc(0);
    for await (const piece of left as AsyncIterable<Buffer>) {
      while (rest.length < piece.length) {
        const next = await others.next();
        if (next.done) return false;
        rest = rest.length === 0 ? next.value : Buffer.concat([rest, next.value]);
      }
      if (!rest.subarray(0, piece.length).equals(piece)) return false;
      rest = rest.subarray(piece.length);
    }
    return rest.length === 0 && (await others.next()).done === true;
  } catch {
    return false;
  } finally {
    left.destroy();
    right.destroy();
  }
}
