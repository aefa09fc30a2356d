// Who a container's process is: the image's own /etc/passwd and /etc/group against `user[:group]`. Pure; the rules are
// those of moby/sys user.GetExecUser, which docker and containerd use, so that the same image gets the same ids here.
import { HotlayerError } from '../../errors.js';

export interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  /** Home directory; "" when the field is empty. */
  readonly home: string;
}

export interface GroupEntry {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

export interface Identity {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups, ascending, without `gid`. */
  readonly groups: readonly number[];
  /** "/" when /etc/passwd does not know the user. */
  readonly home: string;
}

/** Largest id the kernel accepts: 2^32 - 2 (2^32 - 1 means "unchanged" in setuid(2)'s family). */
const MAX_ID = 0xffff_fffe;

/** Decimal id, or undefined for anything else (a name, a negative number, more than 32 bits). */
function parseId(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined;
  const id = Number(text);
  return id <= MAX_ID ? id : undefined;
}

function* records(text: string): Generator<string[]> {
  for (const raw of text.split('\n')) {
    const line = raw.trim();
    // NIS lines (+name, -name) and comments do not name a local user.
    if (line === '' || /^[#+-]/.test(line)) continue;
    yield line.split(':');
  }
}

/** Entries of a passwd(5) file in its order; lines that are not of that form are skipped, as libc does. */
export function parsePasswd(text: string): PasswdEntry[] {
  const out: PasswdEntry[] = [];
  for (const [name, , uidText, gidText, , home = ''] of records(text)) {
    const uid = parseId(uidText);
    const gid = parseId(gidText);
    if (name && uid !== undefined && gid !== undefined) out.push({ name, uid, gid, home });
  }
  return out;
}

/** Entries of a group(5) file in its order; lines that are not of that form are skipped. */
export function parseGroup(text: string): GroupEntry[] {
  const out: GroupEntry[] = [];
  for (const [name, , gidText, members = ''] of records(text)) {
    const gid = parseId(gidText);
    if (name && gid !== undefined) out.push({ name, gid, members: members.split(',').filter((m) => m !== '') });
  }
  return out;
}

/**
 * The ids that `user` stands for.
 * - `""` is uid 0; its gid and home are those of passwd, when there is such a line.
 * - A number need not be in passwd: its gid is then 0.
 * - With `:group` the supplementary groups are not read, as in docker.
 * @param user `name`, `uid`, `name:group`, `uid:gid` …
 * @throws HL_ERR_WORKLOAD when a name is not in the file, or a number is out of range
 */
export function resolveUser(user: string, passwd: readonly PasswdEntry[], group: readonly GroupEntry[]): Identity {
  const colon = user.indexOf(':');
  const userText = colon < 0 ? user : user.slice(0, colon);
  const groupText = colon < 0 ? '' : user.slice(colon + 1);

  const uidAsked = userText === '' ? 0 : parseId(userText);
  const entry = passwd.find((p) => (uidAsked === undefined ? p.name === userText : p.uid === uidAsked));
  if (!entry && uidAsked === undefined) {
    throw refused('user', userText, '/etc/passwd', passwd.length);
  }
  const uid = entry?.uid ?? uidAsked ?? 0;
  let gid = entry?.gid ?? 0;
  let groups: number[] = [];
  if (groupText !== '') {
    const gidAsked = parseId(groupText);
    const found = group.find((g) => (gidAsked === undefined ? g.name === groupText : g.gid === gidAsked));
    if (!found && gidAsked === undefined) throw refused('group', groupText, '/etc/group', group.length);
    gid = found?.gid ?? gidAsked ?? 0;
  } else if (entry) {
    groups = group.filter((g) => g.members.includes(entry.name)).map((g) => g.gid);
  }
  return {
    uid,
    gid,
    groups: [...new Set(groups)].filter((g) => g !== gid).sort((a, b) => a - b),
    home: entry?.home || '/',
  };
}

function refused(kind: 'user' | 'group', text: string, file: string, entries: number): HotlayerError {
  const what = /^-?\d+$/.test(text)
    ? `${kind} id ${text} is not between 0 and ${MAX_ID}`
    : `${kind} "${text}" is not in the image's ${file}, which has ${entries} ${entries === 1 ? 'entry' : 'entries'}`;
  return new HotlayerError('HL_ERR_WORKLOAD', what, {
    hint: 'name one that the image has, or a number, with --user',
    context: { entry: file.slice(1) },
  });
}
