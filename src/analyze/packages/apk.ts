// Alpine: one text file; a package is a block of lines "X:value", blocks end with an empty line.
// (apk-tools, doc/apk.5 and src/database.c: P name, V version, A architecture, F directory, R file in it)
import type { DatabaseReader, Package, PackageDatabase } from './types.js';

/** The second since the directories of the system were merged. */
const PLACES = ['/lib/apk/db/installed', '/usr/lib/apk/db/installed'];

export const readApk: DatabaseReader = (files, claim) => {
  for (const path of PLACES) {
    const text = files.text(path);
    if (text === undefined) continue;
    let packages = 0;
    for (const block of text.split(/\n\n+/)) {
      const lines = block.split('\n').filter((line) => line[1] === ':');
      const field = (letter: string): string | undefined => lines.find((line) => line[0] === letter)?.slice(2);
      const name = field('P');
      if (!name) continue;
      const architecture = field('A');
      const owner: Package = {
        kind: 'apk',
        name,
        version: field('V') ?? '',
        ...(architecture ? { architecture } : undefined),
      };
      packages += 1;
      let directory = '';
      for (const line of lines) {
        if (line[0] === 'F') directory = line.slice(2);
        if (line[0] === 'R') claim(`${directory === '' ? '' : `/${directory}`}/${line.slice(2)}`, owner);
      }
    }
    const found: PackageDatabase = { kind: 'apk', path, packages };
    return packages === 0 ? [] : [found];
  }
  return [];
};
