// Names of packages that other tools understand, too: package URLs (github.com/package-url/purl-spec).
import type { ImageFiles } from './image-files.js';
import type { Package, PackageKind } from './types.js';

/**
 * @param distribution of the image, for the system's packages: "debian"
 * @example purlOf({ kind: 'deb', name: 'libc6', version: '2.36-9+deb12u4', architecture: 'amd64' }, 'debian')
 *   // pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?arch=amd64
 */
export function purlOf({ kind, name, version, architecture }: Package, distribution: string): string {
  const system = kind === 'deb' || kind === 'apk' || kind === 'rpm';
  const parts = system
    ? [distribution, name]
    : kind === 'npm'
      ? name.split('/')
      : [kind === 'pypi' ? pypiName(name) : name];
  // An epoch is a qualifier for rpm, part of the version for deb.
  const [, epoch, rest] = (kind === 'rpm' && /^(\d+):(.*)$/.exec(version)) || [undefined, undefined, version];
  const qualifiers = [
    ...(architecture ? [`arch=${encode(architecture)}`] : []),
    ...(epoch === undefined ? [] : [`epoch=${epoch}`]),
  ];
  const tail = qualifiers.length === 0 ? '' : `?${qualifiers.join('&')}`;
  return `pkg:${kind}/${parts.map(encode).join('/')}${rest === '' ? '' : `@${encode(rest!)}`}${tail}`;
}

/** The kind and the plain name, for people. Undefined for what is not a package URL of a kind we make. */
export function parsePurl(purl: string): { kind: PackageKind; name: string; version: string } | undefined {
  const [, kind, path, version] = /^pkg:(deb|apk|rpm|npm|pypi|gem)\/([^@?]+)(?:@([^?]*))?/.exec(purl) ?? [];
  if (kind === undefined || path === undefined) return undefined;
  const parts = path.split('/').map(decodeURIComponent);
  const name = kind === 'npm' ? parts.join('/') : parts.at(-1)!;
  return { kind: kind as PackageKind, name, version: decodeURIComponent(version ?? '') };
}

/** ID of os-release(5), or what the kind of database suggests. */
export function distributionOf(files: ImageFiles, kind: PackageKind | undefined): string {
  const text = files.text('/etc/os-release') ?? files.text('/usr/lib/os-release') ?? '';
  const id = /^ID=["']?([\w.-]+)/m.exec(text)?.[1];
  return id ?? (kind === 'apk' ? 'alpine' : kind === 'rpm' ? 'redhat' : 'debian');
}

/** As purl-spec asks: percent-encoded, but for the characters that stand for themselves, ":" among them. */
function encode(text: string): string {
  return encodeURIComponent(text)
    .replaceAll('%3A', ':')
    .replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** purl-spec, type pypi: lower case, "_" as "-". */
function pypiName(name: string): string {
  return name.toLowerCase().replaceAll('_', '-');
}
