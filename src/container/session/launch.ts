// The two shell scripts that become the workload. Pure: text only, so that it can be read and tested.
//
// Stage 1 is process 1 of the new pid namespace, root of its user namespace. It mounts what belongs to the new
// namespaces (proc, mqueue, sysfs) and turns into stage 2 through setpriv(1), which takes the rights and ids away.
// Stage 2 is the same process, a shell that is loaded and waits. The session now puts the container's root under it
// (pivot_root(2) moves the root of every process of the mount namespace, so no program of this machine is needed
// inside), notes the time and says go. What is left to do needs no file of this machine: cd, export and exec are built in.

import { type MountStep, mountScript, quote, script } from '../machine/shell.js';
import type { Tools } from '../machine/tools.js';
import { CAPABILITIES, MASKED_PROC, READONLY_PROC } from '../process/confinement.js';
import type { Identity } from '../process/passwd.js';
import type { Net, ProcessSpec } from '../types.js';

/**
 * Descriptors of the two stages. Standard error is theirs and unshare's; the workload's comes in as 4, so that nothing
 * of ours mixes with it. None of these but the standard ones is left at exec.
 */
export const SOCKET = 3;
export const WORKLOAD_STDERR = 4;
/** With a terminal, where standard error is the workload's: what the helpers say. */
export const COMPLAINTS = 5;
const VARIABLES = 5;

const BOUNDING = `--bounding-set=-all,${CAPABILITIES.map((name) => `+${name}`).join(',')}`;

/** Places under the container's root where stage 1 mounts, as paths of this machine; absent ones do not exist. */
export interface Places {
  readonly proc: string | undefined;
  readonly sys: string | undefined;
  readonly mqueue: string | undefined;
}

export interface LaunchPlan {
  readonly process: ProcessSpec;
  readonly identity: Identity;
  readonly places: Places;
  /** File with the text of `variableScript`. */
  readonly variables: string;
  /** File to be written: what stage 1 mounts. */
  readonly table: string;
  readonly hostname: string;
  readonly net: Net;
  /** In a user namespace that knows one id: only root there. */
  readonly singleId: boolean;
  /** /sys/fs/cgroup of this machine is a cgroup2 mount. */
  readonly cgroup2: boolean;
}

/** The command line of the process that turns into the workload; the caller gives it SOCKET and WORKLOAD_STDERR. */
export function launchCommand(plan: LaunchPlan, tools: Tools, shell: string): string[] {
  const namespaces = ['--mount', '--propagation', 'private', '--pid', '--ipc', '--uts'];
  if (plan.net !== 'host') namespaces.push('--net');
  return [
    ...[tools.setpriv, '--pdeathsig', 'KILL', '--', tools.unshare, ...namespaces, '--fork', '--kill-child', '--'],
    // The text of stage 1 may be long, and one argument holds at most 128 KiB: variables are in a file for that reason.
    ...[shell, '-c', stage1(plan, tools, shell), 'hotlayer', ...plan.process.args],
  ];
}

/**
 * The same with a terminal: script(1) opens one, for which the container's /dev/pts is put where it looks, and passes
 * on what is typed and printed, and the size. Its child is the first process of the terminal's session.
 * @param script that program @param dev the container's /dev as a directory of this machine
 */
export function onTerminal(command: readonly string[], script: string, dev: string, tools: Tools): string[] {
  const inside = `exec ${WORKLOAD_STDERR}>&1 2>&${COMPLAINTS} ${COMPLAINTS}>&-; exec ${command.map(quote).join(' ')}`;
  const outside = `${quote(tools.mount)} -n --bind ${quote(`${dev}/pts`)} /dev/pts || exit 125
${quote(tools.mount)} -n --bind ${quote(`${dev}/pts/ptmx`)} /dev/ptmx || exit 125
exec ${quote(script)} -q -e -f -c "$1" /dev/null`;
  const own = [tools.unshare, '--mount', '--propagation', 'private', '--'];
  return [tools.setpriv, '--pdeathsig', 'KILL', '--', ...own, tools.sh, '-c', outside, 'hotlayer', inside];
}

function stage1(plan: LaunchPlan, tools: Tools, shell: string): string {
  return `umask 022
ulimit -S -c 0
read -r pid rest < /proc/self/stat
echo "pid $pid" >&${SOCKET}
${hostnameText(plan.hostname)}
${procText(plan, tools)}
${mountScript(tools, plan.table, namespaceMounts(plan))}
${sysText(plan, tools)}
exec ${VARIABLES}< ${quote(plan.variables)}
exec ${[...identityCommand(plan, tools), shell, '-c', stage2(plan), 'hotlayer'].map(quote).join(' ')} "$@"`;
}

function stage2(plan: LaunchPlan): string {
  const own = (name: string) => plan.process.env.find((line) => line.startsWith(`${name}=`));
  // The shell sets these itself when it changes directory.
  const shellsOwn = ['PWD', 'OLDPWD'].map((name) => {
    const line = own(name);
    return line === undefined ? `unset ${name}` : `export ${quote(line)}`;
  });
  const unset = ['LC_ALL', 'SHLVL', '_'].filter((name) => own(name) === undefined);
  return `unset ${unset.join(' ')}
. /proc/self/fd/${VARIABLES}
exec ${VARIABLES}<&- 2>&${WORKLOAD_STDERR} ${WORKLOAD_STDERR}>&-
echo ready >&${SOCKET}
read -r go <&${SOCKET} || exit 125
cd -P -- ${quote(plan.process.cwd)} || exit 126
${shellsOwn.join('\n')}
exec "$@" ${SOCKET}>&-`;
}

/** Exit statuses 126 and 127 with this at the start of the last line mean that the workload never ran. */
export const EXEC_FAILED = /^hotlayer: (?:line )?\d+: (?:exec: |cd: )?/;

/** What a shell can hold as a variable (POSIX: Name). */
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * Exports of the variables, sourced by stage 2.
 * `unnameable`: lines that no shell can export, like `spring.port=1`; some can still pass them on (shell.ts).
 */
export function variableScript(env: readonly string[]): {
  readonly text: string;
  readonly unnameable: readonly string[];
} {
  const lines: string[] = [];
  const unnameable: string[] = [];
  for (const line of env) {
    const name = line.slice(0, line.indexOf('='));
    if (!NAME.test(name)) unnameable.push(line);
    // "command": a variable that bash keeps to itself is then no reason to exit.
    else if (name !== 'PWD' && name !== 'OLDPWD') lines.push(`command export ${quote(line)}`);
  }
  return { text: `${lines.join('\n')}\n`, unnameable };
}

/** From the namespaces' root to the container's user. The order is the kernel's: groups while there is CAP_SETGID, uid last. */
export function identityCommand(plan: Pick<LaunchPlan, 'identity' | 'singleId'>, tools: Tools): string[] {
  const { uid, gid, groups } = plan.identity;
  if (plan.singleId) {
    const drop = [tools.setpriv, '--inh-caps=-all', BOUNDING, '--'];
    if (uid === 0 && gid === 0) return drop;
    // One id is all there is, but what it is called can be chosen once more. A uid that is not 0 keeps no rights.
    const rename = [tools.unshare, `--map-user=${uid}`, `--map-group=${gid}`, '--'];
    return uid === 0 ? [...rename, ...drop] : rename;
  }
  const supplementary = groups.length > 0 ? [`--groups=${groups.join(',')}`] : ['--clear-groups'];
  return [tools.setpriv, `--reuid=${uid}`, `--regid=${gid}`, ...supplementary, '--inh-caps=-all', BOUNDING, '--'];
}

function hostnameText(hostname: string): string {
  const name = quote(hostname);
  // Writing the file needs the machine's own root, sethostname(2) only that of the namespace; util-linux has no
  // command for it, but nearly every system has hostname(1).
  return `{ echo ${name} > /proc/sys/kernel/hostname; } 2>/dev/null || hostname ${name} 2>/dev/null || echo "warn the host name could not be set" >&${SOCKET}`;
}

function procText(plan: LaunchPlan, tools: Tools): string {
  const { proc } = plan.places;
  if (proc === undefined) return '';
  return script([{ command: [tools.mount, '-n', '-t', 'proc', '-o', 'nosuid,nodev,noexec', 'proc', proc] }]);
}

/** What is to be hidden or kept from writing in it, as far as this kernel has it; and the message queues. */
function namespaceMounts(plan: LaunchPlan): MountStep[] {
  const { proc, mqueue } = plan.places;
  const steps: MountStep[] = [];
  const inProc = (name: string, what: string, mount: (target: string) => Omit<MountStep, 'target'>) => {
    const target = `${proc}/${name}`;
    steps.push({ ...mount(target), target, ifExists: target, orWarn: `/proc/${name} ${what}` });
  };
  if (proc !== undefined) {
    for (const name of READONLY_PROC) inProc(name, 'is writable', (target) => ({ source: target, options: 'bind,ro' }));
    for (const name of MASKED_PROC.files) inProc(name, 'can be read', () => ({ source: '/dev/null', options: 'bind' }));
    const options = 'ro,nosuid,nodev,noexec';
    for (const name of MASKED_PROC.dirs)
      inProc(name, 'can be read', () => ({ source: 'tmpfs', type: 'tmpfs', options }));
  }
  if (mqueue !== undefined) {
    const options = 'nosuid,nodev,noexec';
    steps.push({ source: 'mqueue', target: mqueue, type: 'mqueue', options, orWarn: 'no /dev/mqueue' });
  }
  return steps;
}

/**
 * /sys of the new network namespace; where that is not allowed (a user namespace on the machine's network), the
 * machine's own. And the loopback device up: no tool of util-linux does it, but the flags of a device are a file.
 */
function sysText(plan: LaunchPlan, tools: Tools): string {
  const { sys } = plan.places;
  const mount = quote(tools.mount);
  const lines: string[] = [];
  const up = (dir: string) => `{ echo 0x49 > ${quote(`${dir}/class/net/lo/flags`)}; } 2>/dev/null`; // IFF_UP | IFF_LOOPBACK | IFF_RUNNING
  const otherWays = `ip link set lo up 2>/dev/null || ifconfig lo up 2>/dev/null || echo "warn the loopback device could not be brought up" >&${SOCKET}`;
  if (sys === undefined) {
    if (plan.net !== 'host') lines.push(otherWays);
    return lines.join('\n');
  }
  const at = quote(sys);
  lines.push(`if ${mount} -n -t sysfs -o nosuid,nodev,noexec sysfs ${at} 2>/dev/null; then`);
  if (plan.net !== 'host') lines.push(`${up(sys)} || ${otherWays}`);
  if (plan.cgroup2) lines.push(`${mount} -n -o bind,ro /sys/fs/cgroup ${quote(`${sys}/fs/cgroup`)} 2>/dev/null`);
  const firmware = quote(`${sys}/firmware`);
  lines.push(`[ ! -d ${firmware} ] || ${mount} -n -t tmpfs -o ro tmpfs ${firmware} 2>/dev/null`);
  lines.push(`${mount} -n -o remount,bind,ro,nosuid,nodev,noexec ${at} 2>/dev/null`);
  lines.push('else');
  if (plan.net !== 'host') lines.push(otherWays);
  lines.push(`${mount} -n --rbind /sys ${at} 2>/dev/null || echo "warn no /sys" >&${SOCKET}`);
  lines.push(`${mount} -n -o remount,bind,ro,nosuid,nodev,noexec ${at} 2>/dev/null`);
  lines.push('fi');
  return lines.join('\n');
}
