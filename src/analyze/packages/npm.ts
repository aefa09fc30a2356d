// npm packages: a file belongs to the nearest directory above it whose package.json has a name. (npm: package-json(5))
import type { ImageFiles } from './image-files.js';
import type { DatabaseReader, Package } from './types.js';

export const readNpm: DatabaseReader = (files, claim, wanted) => {
  const known = new Map<string, Package | undefined>();
  const packages = new Set<Package>();
  for (const path of wanted) {
    const owner = ownerOf(files, path.slice(0, path.lastIndexOf('/')), known);
    if (!owner) continue;
    packages.add(owner);
    claim(path, owner);
  }
  return packages.size === 0 ? [] : [{ kind: 'npm', path: 'package.json', packages: packages.size }];
};

/** A package.json in the root directory is not asked: the whole system would be its package. */
function ownerOf(files: ImageFiles, directory: string, known: Map<string, Package | undefined>): Package | undefined {
  const asked: string[] = [];
  let owner: Package | undefined;
  for (let at = directory; at !== '' && at !== '/'; at = at.slice(0, at.lastIndexOf('/'))) {
    if (known.has(at)) {
      owner = known.get(at);
      break;
    }
    asked.push(at);
    owner = parsePackageJson(files.text(`${at}/package.json`));
    // What is installed is never the application's own.
    if (owner || at.endsWith('/node_modules')) break;
  }
  for (const at of asked) known.set(at, owner);
  return owner;
}

/** One without a name only says how its directory is to be read ({"type": "module"}). */
function parsePackageJson(text: string | undefined): Package | undefined {
  if (text === undefined) return undefined;
  try {
    const { name, version } = JSON.parse(text) as { name?: unknown; version?: unknown };
    if (typeof name !== 'string' || name === '') return undefined;
    return { kind: 'npm', name, version: typeof version === 'string' ? version : '' };
  } catch {
    return undefined;
  }
}
