// Debian and its kin: /var/lib/dpkg/status with one list of files a package, or, in distroless images, status.d with
// one stanza and one list of checksums a package. (deb-control(5), dpkg-query(1), dpkg-divert(1))
import type { ImageFiles } from './image-files.js';
import type { Claim, DatabaseReader, Package, PackageDatabase } from './types.js';

const STATUS = '/var/lib/dpkg/status';
const INFO = '/var/lib/dpkg/info';
const STATUS_D = '/var/lib/dpkg/status.d';
const DIVERSIONS = '/var/lib/dpkg/diversions';

export const readDpkg: DatabaseReader = (files, claim) => [
  ...readStatus(files, claim),
  ...readDistroless(files, claim),
];

function readStatus(files: ImageFiles, claim: Claim): PackageDatabase[] {
  const status = files.text(STATUS);
  if (status === undefined) return [];
  const diverted = diversions(files.text(DIVERSIONS) ?? '');
  let packages = 0;
  // A package that several architectures may have at once is listed under name:architecture (Multi-Arch: same).
  const lists = new Set(files.list(INFO));
  for (const stanza of stanzas(status)) {
    const owner = packageOf(stanza);
    if (!owner || !/\binstalled$/.test(stanza.get('status') ?? '')) continue;
    packages += 1;
    const base = [`${owner.name}:${owner.architecture}`, owner.name].find((name) => lists.has(`${name}.list`));
    const listed = base === undefined ? undefined : files.text(`${INFO}/${base}.list`);
    for (const path of listed?.split('\n') ?? []) {
      if (path === '') continue;
      const diversion = diverted.get(path);
      claim(diversion && diversion.by !== owner.name ? diversion.to : path, owner);
    }
  }
  // An empty file lies in many images that have no packages at all.
  return packages === 0 ? [] : [{ kind: 'deb', path: STATUS, packages }];
}

function readDistroless(files: ImageFiles, claim: Claim): PackageDatabase[] {
  let packages = 0;
  for (const name of files.list(STATUS_D) ?? []) {
    if (name.endsWith('.md5sums')) continue;
    const [stanza] = stanzas(files.text(`${STATUS_D}/${name}`) ?? '');
    const owner = stanza && packageOf(stanza);
    if (!owner) continue;
    packages += 1;
    for (const line of files.text(`${STATUS_D}/${name}.md5sums`)?.split('\n') ?? []) {
      const path = /^[0-9a-f]{32} [ *](.+)$/.exec(line)?.[1];
      if (path !== undefined) claim(path.startsWith('/') ? path : `/${path.replace(/^\.\//, '')}`, owner);
    }
  }
  return packages === 0 ? [] : [{ kind: 'deb', path: STATUS_D, packages }];
}

function packageOf(stanza: ReadonlyMap<string, string>): Package | undefined {
  const name = stanza.get('package');
  if (!name) return undefined;
  const architecture = stanza.get('architecture');
  return { kind: 'deb', name, version: stanza.get('version') ?? '', ...(architecture ? { architecture } : undefined) };
}

/** Fields by lower-case name, first lines only: continuation lines (descriptions) are not needed. */
function* stanzas(text: string): Generator<ReadonlyMap<string, string>> {
  for (const block of text.split(/\n(?:[ \t]*\n)+/)) {
    const fields = new Map<string, string>();
    for (const line of block.split('\n')) {
      const colon = line.indexOf(':');
      if (colon > 0 && !/^[ \t]/.test(line))
        fields.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
    }
    if (fields.size > 0) yield fields;
  }
}

/** Where the file of another package went, by its name: three lines each (from, to, by whom; ":" for the administrator). */
function diversions(text: string): ReadonlyMap<string, { readonly to: string; readonly by: string }> {
  const lines = text.split('\n');
  const out = new Map<string, { to: string; by: string }>();
  for (let i = 0; i + 2 < lines.length; i += 3) out.set(lines[i]!, { to: lines[i + 1]!, by: lines[i + 2]! });
  return out;
}
