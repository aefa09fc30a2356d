// Python packages: each has a directory NAME-VERSION.dist-info beside it, whose RECORD lists its files, relative to the
// directory of all packages (packaging.python.org, "Recording installed projects"); older ones NAME.egg-info with
// installed-files.txt, relative to itself.
import { cleanPath } from '../../paths.js';
import type { ImageFiles } from './image-files.js';
import type { Claim, DatabaseReader, Package } from './types.js';

export const readPip: DatabaseReader = (files, claim, wanted) => {
  const places = new Set<string>();
  for (const path of wanted) {
    const place = /^(.*\/(?:site|dist)-packages)\//.exec(path)?.[1];
    if (place !== undefined) places.add(place);
  }
  return [...places].sort().flatMap((path) => {
    const packages = readPlace(files, path, claim);
    return packages === 0 ? [] : [{ kind: 'pypi' as const, path, packages }];
  });
};

function readPlace(files: ImageFiles, place: string, claim: Claim): number {
  let packages = 0;
  for (const name of files.list(place) ?? []) {
    const info = `${place}/${name}`;
    if (name.endsWith('.dist-info')) {
      const owner = ownerIn(files.text(`${info}/METADATA`));
      const record = files.text(`${info}/RECORD`);
      if (!owner || record === undefined) continue;
      packages += 1;
      for (const line of record.split('\n')) claimFile(firstField(line), place, owner, claim);
    } else if (name.endsWith('.egg-info')) {
      const owner = ownerIn(files.text(`${info}/PKG-INFO`));
      const list = files.text(`${info}/installed-files.txt`);
      if (!owner || list === undefined) continue;
      packages += 1;
      for (const line of list.split('\n')) claimFile(line.trim(), info, owner, claim);
    }
  }
  return packages;
}

function claimFile(path: string, base: string, owner: Package, claim: Claim): void {
  if (path !== '') claim(path.startsWith('/') ? path : `/${cleanPath(`${base}/${path}`)}`, owner);
}

/** A line of comma-separated values: path, hash, size; a path with a comma or a quotation mark is quoted. */
function firstField(line: string): string {
  const quoted = /^"((?:[^"]|"")*)"/.exec(line)?.[1];
  return quoted === undefined ? (line.split(',')[0] ?? '').trim() : quoted.replaceAll('""', '"');
}

/** Mail headers; the first lines are enough. */
function ownerIn(metadata: string | undefined): Package | undefined {
  const name = /^Name: *(\S+)/m.exec(metadata ?? '')?.[1];
  if (name === undefined) return undefined;
  return { kind: 'pypi', name, version: /^Version: *(\S+)/m.exec(metadata!)?.[1] ?? '' };
}
