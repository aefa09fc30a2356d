// FS module for mounted.test.ts: a DirFs, or a LayersFs over the tars named.
import { closeSync, fstatSync, openSync } from 'node:fs';
import { DirFs } from '../../src/rootfs/dir-fs.js';
import { openLayersFs } from '../../src/rootfs/layers-fs.js';
import type { RootFs } from '../../src/rootfs/types.js';

export type MountedArgs = { dir: string; exclude: string[] } | { tars: string[] };

const fds: number[] = [];

export function createFs(args: MountedArgs): RootFs {
  if ('dir' in args) return new DirFs(args.dir, { exclude: args.exclude });
  fds.push(...args.tars.map((file) => openSync(file, 'r')));
  return openLayersFs(fds.map((fd) => ({ fd, size: fstatSync(fd).size })));
}

/** How many nodes were left at the end; 0 for layers. */
export function closeFs(fs: RootFs): number {
  const left = fs instanceof DirFs ? fs.nodeCount : 0;
  fs.close();
  for (const fd of fds.splice(0)) closeSync(fd);
  return left;
}
