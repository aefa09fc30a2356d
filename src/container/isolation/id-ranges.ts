// The ids that an ordinary user may have in a user namespace: their own, which is root there, and after it the ranges
// that /etc/subuid and /etc/subgid give them, which newuidmap(1) and newgidmap(1) hand out (package uidmap or shadow).
import { userInfo } from 'node:os';
import { readText } from '../machine/read-text.js';
import { quote } from '../machine/shell.js';
import { findTool, type Tools } from '../machine/tools.js';

/** As a line of /proc/PID/uid_map (user_namespaces(7)): first id inside, first outside, how many. */
export type IdLine = readonly [inside: number, outside: number, count: number];

export interface IdRanges {
  readonly newuidmap: string;
  readonly newgidmap: string;
  readonly uids: readonly IdLine[];
  readonly gids: readonly IdLine[];
}

/**
 * The map of whoever has this id, root first, then their ranges one after another.
 * @param text of /etc/subuid or /etc/subgid: `NAME-OR-UID:FIRST:COUNT` a line (subuid(5))
 * @param owner names that they go by there @returns one line when they have no range
 */
export function idMap(text: string, owner: readonly string[], own: number): IdLine[] {
  const map: IdLine[] = [[0, own, 1]];
  let next = 1;
  for (const line of text.split('\n')) {
    const [name, first, count, ...rest] = line.trim().split(':');
    if (rest.length > 0 || !owner.includes(name!) || !/^\d+$/.test(first ?? '') || !/^\d+$/.test(count ?? '')) continue;
    const many = Number(count);
    if (many === 0 || next + many > 0xffff_ffff) continue;
    map.push([next, Number(first), many]);
    next += many;
  }
  return map;
}

/** Undefined: there are none for both kinds of id, or no program to hand them out. */
export function ownRanges(): IdRanges | undefined {
  const uid = process.geteuid!();
  const owner = [String(uid), ...nameOf()];
  const uids = idMap(readText('/etc/subuid'), owner, uid);
  const gids = idMap(readText('/etc/subgid'), owner, process.getegid!());
  if (uids.length === 1 || gids.length === 1) return undefined;
  const [newuidmap, newgidmap] = [findTool('newuidmap'), findTool('newgidmap')];
  return newuidmap === undefined || newgidmap === undefined ? undefined : { newuidmap, newgidmap, uids, gids };
}

/** In the directory: a FIFO, and what the two programs say when they refuse. */
const MAPPED = 'mapped';
export const REFUSED = 'ids-refused';

/**
 * `command` in a user namespace with those ids; a kind of id whose program refuses is the one own id, as without ranges.
 * The process becomes the command itself. Whoever is to map it has to be outside and to wait until it is inside, and it
 * has to wait for the map: only then is it root there, at its next exec. That exec forgets the parent's death signal.
 * @param dir a directory of the caller's
 */
export function mappedCommand(ranges: IdRanges, dir: string, command: readonly string[], tools: Tools): string[] {
  const { newuidmap, newgidmap, uids, gids } = ranges;
  const fifo = quote(`${dir}/${MAPPED}`);
  const give = (program: string, map: readonly IdLine[], file: string, first = '') =>
    `${quote(program)} "$1" ${map.flat().join(' ')} || { ${first}echo ${map[0]!.join(' ')} > "/proc/$1/${file}"; }`;
  const helper = `read -r _ < ${fifo}
${give(newuidmap, uids, 'uid_map')}
${give(newgidmap, gids, 'gid_map', 'echo deny > "/proc/$1/setgroups"; ')}
echo > ${fifo}`;
  const inside = `echo > ${fifo} && read -r _ < ${fifo} && exec "$@"`;
  const { sh, setpriv, unshare, mkfifo } = tools;
  const outside = `${quote(mkfifo)} -m 600 ${fifo} || exit 125
${[setpriv, '--pdeathsig', 'KILL', '--', sh, '-c', helper, 'sh'].map(quote).join(' ')} $$ \
</dev/null >/dev/null 2>${quote(`${dir}/${REFUSED}`)} 3>&- &
exec ${[unshare, '--user', '--', sh, '-c', inside, 'sh'].map(quote).join(' ')} "$@"`;
  return [sh, '-c', outside, 'sh', setpriv, '--pdeathsig', 'KILL', '--', ...command];
}

function nameOf(): string[] {
  try {
    return [userInfo().username];
  } catch {
    return []; // not in /etc/passwd
  }
}
