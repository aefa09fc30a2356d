// How many regular files a directory on disk has, and how big they are: the "whole" that a profile's part is held
// against. A root file system has half a million names, so this goes to the disk without a RootFs between.
import { type Dirent, lstatSync, readdirSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { pathToBytes } from '../paths.js';
import type { Bytes } from '../units.js';

/** Directories between two looks at the event loop, so that a signal is noticed. */
const BATCH = 200;

/**
 * A file with several names counts once. What cannot be listed or vanishes meanwhile does not count.
 * @param path lossless string (paths.ts)
 * @param exclude absolute paths that are not entered
 */
export async function countDirectory(
  path: string,
  exclude: readonly string[],
): Promise<{ readonly files: number; readonly bytes: Bytes }> {
  // Latin-1 strings hold names byte by byte: cheaper than buffers, and nothing is lost.
  const excluded = new Set(exclude.map((place) => pathToBytes(place).toString('latin1')));
  const open = [pathToBytes(path).toString('latin1')];
  const linked = new Set<string>();
  let files = 0;
  let bytes = 0;
  let listed = 0;
  for (let directory = open.pop(); directory !== undefined; directory = open.pop()) {
    listed += 1;
    if (listed % BATCH === 0) await setImmediate();
    for (const entry of list(directory)) {
      const at = directory === '/' ? `/${entry.name}` : `${directory}/${entry.name}`;
      if (entry.isDirectory()) {
        if (!excluded.has(at)) open.push(at);
      } else if (entry.isFile()) {
        const stats = lstatSync(Buffer.from(at, 'latin1'), { throwIfNoEntry: false });
        if (!stats?.isFile()) continue;
        const key = stats.nlink > 1 ? `${stats.dev}:${stats.ino}` : '';
        if (key !== '' && linked.has(key)) continue;
        if (key !== '') linked.add(key);
        files += 1;
        bytes += stats.size;
      }
    }
  }
  return { files, bytes };
}

function list(directory: string): Dirent[] {
  try {
    return readdirSync(Buffer.from(directory, 'latin1'), { withFileTypes: true, encoding: 'latin1' });
  } catch {
    return [];
  }
}
