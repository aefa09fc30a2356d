// What the fuse-native transport needs of this machine: the package with its library, and a way to mount.
import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { mayMount } from './may-mount.js';
import type { NativeMode } from './native-messages.js';

export interface NativeSupport {
  readonly mode: NativeMode;
  /** libfuse as the package brings it; absent: it was compiled here, with the library that the machine has. */
  readonly library: string | undefined;
  /** For mode `fusermount`. */
  readonly fusermount: string | undefined;
}

export interface NativeLack {
  readonly why: string;
  readonly mend: string;
}

const INSTALL =
  'install it with npm i --ignore-scripts hotlayer: what is prebuilt in the package suffices on linux-x64, and nothing is compiled or downloaded';
const USUAL = ['/usr/bin', '/bin', '/usr/sbin', '/sbin', '/usr/local/bin'];

/** Looks only; whether it works is seen when it mounts. */
export function nativeSupport(): NativeSupport | NativeLack {
  const found = findPackage();
  if (found === undefined) return { why: 'the optional package fuse-native is not installed', mend: INSTALL };
  const { library, compiled } = found;
  if (library === undefined && !compiled) {
    const here = `${process.platform}-${process.arch}`;
    return {
      why: `fuse-native has no binary for ${here}`,
      mend: `compile it: npm rebuild fuse-native (needs libfuse 2)`,
    };
  }
  if (mayMount()) return { mode: 'mount', library, fusermount: undefined };
  const fusermount = findFusermount();
  if (fusermount !== undefined) return { mode: 'fusermount', library, fusermount };
  return {
    why: 'there is no setuid fusermount',
    mend: 'install it (Debian: apt-get install fuse3), or run as root',
  };
}

export function isLack(support: NativeSupport | NativeLack): support is NativeLack {
  return 'why' in support;
}

function findPackage(): { readonly library: string | undefined; readonly compiled: boolean } | undefined {
  let directory: string;
  try {
    directory = dirname(createRequire(import.meta.url).resolve('fuse-native'));
  } catch {
    return undefined;
  }
  const bundled = join(directory, 'prebuilds', `${process.platform}-${process.arch}`, 'libfuse.so');
  const compiled = isFile(join(directory, 'build/Release/fuse.node'));
  return { library: isFile(bundled) ? bundled : undefined, compiled };
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

/** fusermount or fusermount3, whichever comes first, if it has the rights of root. */
export function findFusermount(path: string = process.env.PATH ?? ''): string | undefined {
  for (const directory of new Set([...path.split(':').filter((dir) => dir.startsWith('/')), ...USUAL])) {
    for (const name of ['fusermount', 'fusermount3']) {
      const file = join(directory, name);
      try {
        const { mode, uid } = statSync(file);
        if (uid !== 0 || (mode & 0o4000) === 0) continue;
        accessSync(file, constants.X_OK);
        return file;
      } catch {
        // not here, or not for this user
      }
    }
  }
  return undefined;
}

/** Whether fusermount lets users open their mounts to others (fuse.conf(5)). */
export function userMayAllowOthers(file = '/etc/fuse.conf'): boolean {
  try {
    return /^\s*user_allow_other\s*$/m.test(readFileSync(file, 'utf8'));
  } catch {
    return false;
  }
}
