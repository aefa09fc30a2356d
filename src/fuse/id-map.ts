// Owners inside a user namespace. An unprivileged user's namespace usually knows one uid; a file of any other owner
// would have "no owner" there: not readable with mode 0600, not to be copied up by overlayfs. Such owners are shown
// as the namespace's root, as rootless container tools do (podman: ignore_chown_errors).
import { readFileSync } from 'node:fs';

type Range = readonly [first: number, end: number];

/**
 * A function from the image's ids to ids that exist in the namespace described by a map as in
 * /proc/self/uid_map (user_namespaces(7): first inside, first outside, count). Undefined: every id exists.
 */
export function parseIdMap(text: string): ((id: number) => number) | undefined {
  const ranges: Range[] = [];
  for (const line of text.split('\n')) {
    const [inside, , count] = line.trim().split(/\s+/).map(Number);
    if (inside === undefined || count === undefined || !(count > 0)) continue;
    ranges.push([inside, inside + count]);
  }
  // 2^32 - 1 is not an id, so the whole range counts 4294967295. No map at all: no user namespaces here.
  if (ranges.length === 0 || ranges.some(([first, end]) => first === 0 && end >= 0xffff_ffff)) return undefined;
  return (id) => (ranges.some(([first, end]) => id >= first && id < end) ? id : 0);
}

/** The maps of this process's user namespace. */
export function ownIdMaps(): { mapUid?: (uid: number) => number; mapGid?: (gid: number) => number } {
  const mapUid = parseIdMap(readMap('uid_map'));
  const mapGid = parseIdMap(readMap('gid_map'));
  return { ...(mapUid && { mapUid }), ...(mapGid && { mapGid }) };
}

function readMap(name: string): string {
  try {
    return readFileSync(`/proc/self/${name}`, 'latin1');
  } catch {
    return '';
  }
}
