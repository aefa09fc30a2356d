// Files that no package lists because a package's script wrote them after it was unpacked; some of them are among the
// first that every process reads. Only where that package is installed.
import type { Package } from './types.js';

const WRITTEN: readonly (readonly [path: RegExp, by: readonly string[]])[] = [
  [/^\/etc\/ld\.so\.cache$/, ['libc-bin', 'glibc-common', 'glibc', 'musl-utils']],
  [/^\/usr\/lib\/locale\/locale-archive$/, ['locales', 'libc-bin', 'glibc-common']],
  [/\/gconv\/gconv-modules\.cache$/, ['libc-bin', 'libc6', 'glibc-common']],
  [/^\/etc\/(?:passwd|group|shadow|gshadow)-?$/, ['base-passwd', 'setup', 'alpine-baselayout-data']],
  [/^\/(?:etc\/ssl|etc\/pki\/ca-trust\/extracted|usr\/lib\/ssl)\//, ['ca-certificates']],
  [/^\/usr\/share\/mime\//, ['shared-mime-info']],
  [/^\/var\/cache\/fontconfig\//, ['fontconfig']],
  [/^\/usr\/share\/glib-2\.0\/schemas\/gschemas\.compiled$/, ['libglib2.0-0t64', 'libglib2.0-0', 'glib2']],
  [/\/gdk-pixbuf-2\.0\/[^/]+\/loaders\.cache$/, ['libgdk-pixbuf-2.0-0', 'gdk-pixbuf2', 'gdk-pixbuf']],
];

export function scriptedOwner(path: string, installed: ReadonlyMap<string, Package>): Package | undefined {
  for (const [pattern, names] of WRITTEN) {
    if (!pattern.test(path)) continue;
    const name = names.find((candidate) => installed.has(candidate));
    if (name !== undefined) return installed.get(name);
  }
  return undefined;
}
