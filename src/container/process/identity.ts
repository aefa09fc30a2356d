// Ids: of the image's user, read through the mount (so that the read is part of the trace, as a container runtime's
// own would be), and of the user namespace that this process is in.
import { readFileSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { HotlayerError } from '../../errors.js';
import { MIB } from '../../units.js';
import { type Identity, parseGroup, parsePasswd, resolveUser } from './passwd.js';
import { resolveInRoot } from './resolve-in-root.js';

/** More than any real passwd or group file. */
const MAX_FILE = 16 * MIB;

/**
 * Reads both files always, as containerd does.
 * @throws HL_ERR_WORKLOAD when the user is not in them, HL_ERR_LIMIT when a file is absurdly large
 */
export async function readIdentity(root: string, user: string): Promise<Identity> {
  const [passwd, group] = await Promise.all([readImageText(root, '/etc/passwd'), readImageText(root, '/etc/group')]);
  return resolveUser(user, parsePasswd(passwd), parseGroup(group));
}

/** Not synchronously: the bytes may have to come from this very thread (rootfs/types.ts, Answerer). */
async function readImageText(root: string, path: string): Promise<string> {
  const { path: file, type } = resolveInRoot(root, path);
  if (type !== 'file') return '';
  const stat = statSync(file);
  if (!stat.isFile()) return '';
  if (stat.size > MAX_FILE) {
    throw new HotlayerError(
      'HL_ERR_LIMIT',
      `${path} of the image has ${stat.size} bytes; at most ${MAX_FILE} are read`,
      {
        context: { entry: path.slice(1) },
      },
    );
  }
  return readFile(file, 'utf8');
}

export interface Namespace {
  /** Not the machine's own user namespace. */
  readonly inner: boolean;
  /** How many user ids there are. */
  readonly uids: number;
  /** Whether a process in it can take these ids. */
  canBe(identity: Identity): boolean;
}

/** @param read for tests: a file of /proc/self, "" when there is none */
export function ownNamespace(read: (name: string) => string = readSelf): Namespace {
  const uids = parseMap(read('uid_map'));
  const gids = parseMap(read('gid_map'));
  const setgroups = read('setgroups').trim() !== 'deny';
  const has = (map: readonly IdRange[], id: number) => map.some((r) => id >= r.first && id < r.first + r.count);
  return {
    uids: uids.reduce((sum, { count }) => sum + count, 0),
    inner: !uids.some((r) => r.first === 0 && r.outside === 0 && r.count === 0xffff_ffff),
    canBe: ({ uid, gid, groups }) => setgroups && has(uids, uid) && [gid, ...groups].every((id) => has(gids, id)),
  };
}

interface IdRange {
  readonly first: number;
  readonly outside: number;
  readonly count: number;
}

/** user_namespaces(7): first id inside, first outside, count. A kernel without user namespaces has no such file. */
function parseMap(text: string): IdRange[] {
  const whole = { first: 0, outside: 0, count: 0xffff_ffff };
  if (text.trim() === '') return [whole];
  return text
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
    .map(([first = 0, outside = 0, count = 0]) => ({ first, outside, count }));
}

function readSelf(name: string): string {
  try {
    return readFileSync(`/proc/self/${name}`, 'latin1');
  } catch {
    return '';
  }
}
