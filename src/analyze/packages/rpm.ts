// Fedora, Red Hat and their kin. rpm has had three kinds of database: SQLite (since 4.16) is read; ndb (SUSE) and
// Berkeley DB (RHEL 8 and older) are named only.
import type { ImageFiles } from './image-files.js';
import { parseRpmHeader } from './rpm-header.js';
import { tableRows } from './sqlite-table.js';
import type { Claim, DatabaseReader, PackageDatabase } from './types.js';

/** The first where distributions put it now; usually one is a link to the other. */
const DIRECTORIES = ['/usr/lib/sysimage/rpm', '/var/lib/rpm'];

const OTHERS = [
  ['Packages.db', 'a database of the kind ndb'],
  ['Packages', 'a Berkeley DB'],
] as const;

export const readRpm: DatabaseReader = (files, claim) => {
  for (const directory of DIRECTORIES) {
    const found = readDirectory(files, directory, claim);
    if (found) return [found];
  }
  return [];
};

function readDirectory(files: ImageFiles, directory: string, claim: Claim): PackageDatabase | undefined {
  const path = `${directory}/rpmdb.sqlite`;
  const notRead = (why: string): PackageDatabase => ({ kind: 'rpm', path, packages: 0, notRead: why });
  const bytes = files.read(path);
  if (!bytes || bytes.length === 0) {
    const names = files.list(directory) ?? [];
    const other = OTHERS.find(([name]) => names.includes(name));
    return other && { ...notRead(`${other[1]}, which hotlayer does not read`), path: `${directory}/${other[0]}` };
  }
  // What was not yet written back lies in a journal beside the file.
  if ((files.read(`${path}-wal`)?.length ?? 0) > 0) return notRead(`${path}-wal has changes that are not in it yet`);
  try {
    let packages = 0;
    for (const blob of sqliteBlobs(bytes)) {
      const { owner, files: listed } = parseRpmHeader(blob);
      packages += 1;
      for (const file of listed) claim(file, owner);
    }
    return { kind: 'rpm', path, packages };
  } catch (error) {
    return notRead((error as Error).message);
  }
}

/** rpm, lib/backend/sqlite.c: CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL). */
function* sqliteBlobs(file: Buffer): Generator<Buffer> {
  for (const [, blob] of tableRows(file, 'Packages')) if (Buffer.isBuffer(blob)) yield blob;
}
