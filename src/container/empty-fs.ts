// A file system with nothing in it: a root to mount other things on (probe.ts).
import { ERRNO, FsError, type RootFs } from '../rootfs/types.js';

const ROOT = {
  ino: 1,
  type: 'dir',
  mode: 0o755,
  uid: 0,
  gid: 0,
  nlink: 2,
  size: 0,
  blocks: 0,
  mtimeSec: 0,
  mtimeNsec: 0,
  rdevMajor: 0,
  rdevMinor: 0,
} as const;

function refuse(errno: number): () => never {
  return () => {
    throw new FsError(errno);
  };
}

export function createFs(): RootFs {
  return {
    lookup: refuse(ERRNO.ENOENT),
    getattr: () => ROOT,
    readlink: refuse(ERRNO.EINVAL),
    readdir: () => [],
    parent: () => ROOT.ino,
    open: refuse(ERRNO.EISDIR),
    read: refuse(ERRNO.EISDIR),
    release: () => {},
    xattrs: () => new Map(),
    pathOf: () => '/',
    statfs: () => ({ blocks: 0, files: 1 }),
    close: () => {},
  };
}
