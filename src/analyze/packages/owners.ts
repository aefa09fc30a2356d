// Paths → packages. The system's packages come first: a Python module that Debian packaged is Debian's.
import { readApk } from './apk.js';
import { readDpkg } from './dpkg.js';
import { readGem } from './gem.js';
import { scriptedOwner } from './generated.js';
import type { ImageFiles } from './image-files.js';
import { readNpm } from './npm.js';
import { readPip } from './pip.js';
import { readRpm } from './rpm.js';
import type { DatabaseReader, Package, PackageDatabase, PackageKind } from './types.js';

const SYSTEM: ReadonlySet<PackageKind> = new Set(['deb', 'apk', 'rpm']);

const READERS: readonly DatabaseReader[] = [readDpkg, readApk, readRpm, readPip, readGem, readNpm];

export interface Owners {
  /** By path as it was asked for; files that no package owns are missing. */
  readonly byPath: ReadonlyMap<string, Package>;
  readonly databases: readonly PackageDatabase[];
}

/**
 * @param wanted canonical paths of regular files and symlinks
 * @param otherNames further names of a hardlinked file
 */
export function findOwners(
  files: ImageFiles,
  wanted: readonly string[],
  otherNames: (path: string) => readonly string[] = () => [],
): Owners {
  const claims = new Claims(files);
  for (const path of wanted) {
    claims.want(path, path);
    for (const name of otherNames(path)) claims.want(name, path);
    const source = pythonSource(path);
    if (source !== undefined) claims.want(source, path);
  }
  const databases = READERS.flatMap((read) => read(files, (path, owner) => claims.claim(path, owner), wanted));
  const byPath = new Map<string, Package>();
  for (const path of wanted) {
    const owner = claims.ownerOf(path) ?? scriptedOwner(path, claims.installed);
    if (owner) byPath.set(path, owner);
  }
  return { byPath, databases };
}

/** The module that a file of byte code was compiled from (PEP 3147); undefined for all others. */
function pythonSource(path: string): string | undefined {
  const match = /^(.*\/)__pycache__\/([^/]+?)\.[^/.]+-\d+(?:\.opt-\d)?\.pyc$/.exec(path);
  return match ? `${match[1]}${match[2]}.py` : undefined;
}

/**
 * Databases list millions of paths, of which few are wanted, and name them as they were packaged: /lib/x where /lib is
 * a link to usr/lib by now. So a path counts when its last part is wanted and its directory, with links followed, is
 * that of a wanted file.
 */
class Claims {
  /** Every package that the system's databases named, by name. */
  readonly installed = new Map<string, Package>();
  readonly #files: ImageFiles;
  /** Wanted paths by last part: [directory, path it stands for]. */
  readonly #wanted = new Map<string, [directory: string, path: string][]>();
  readonly #owners = new Map<string, Package>();

  constructor(files: ImageFiles) {
    this.#files = files;
  }

  want(name: string, path: string): void {
    const slash = name.lastIndexOf('/');
    const base = name.slice(slash + 1);
    const place: [string, string] = [slash === 0 ? '/' : name.slice(0, slash), path];
    const list = this.#wanted.get(base);
    if (list) list.push(place);
    else this.#wanted.set(base, [place]);
  }

  /** The first claim counts. */
  claim(name: string, owner: Package): void {
    if (SYSTEM.has(owner.kind) && !this.installed.has(owner.name)) this.installed.set(owner.name, owner);
    const slash = name.lastIndexOf('/');
    const list = this.#wanted.get(name.slice(slash + 1));
    if (!list) return;
    const directory = this.#files.realDirectory(name.slice(0, slash) || '/');
    if (directory === undefined) return;
    for (const [wantedIn, path] of list) {
      if (wantedIn === directory && !this.#owners.has(path)) this.#owners.set(path, owner);
    }
  }

  ownerOf(path: string): Package | undefined {
    return this.#owners.get(path);
  }
}
