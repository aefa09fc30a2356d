// mount(8) and umount(8) of util-linux, and /dev/fuse: the only ways from here to the kernel's mount table. Each
// refusal becomes an HL_ERR_MACHINE that says what to change on the machine.
import { spawn, spawnSync } from 'node:child_process';
import { errnoOf, HotlayerError } from '../errors.js';
import { FUSE_DEVICE, takeDevice } from './device.js';
import { MAX_READ } from './protocol.js';

/** @throws HL_ERR_MACHINE with the mend. The descriptor is not inherited by child processes. */
export function openFuseDevice(): number {
  try {
    return takeDevice();
  } catch (cause) {
    throw new HotlayerError('HL_ERR_MACHINE', `cannot open ${FUSE_DEVICE}: ${(cause as Error).message}`, {
      hint: deviceMend(errnoOf(cause)),
      cause,
      context: { file: FUSE_DEVICE },
    });
  }
}

/** What to do about an errno of open("/dev/fuse"). */
export function deviceMend(errno: string | undefined): string {
  switch (errno) {
    case 'ENOENT':
      return 'load the kernel module (modprobe fuse); inside a container, start it with --device /dev/fuse';
    case 'EACCES':
      return 'let users open it (as root: chmod 666 /dev/fuse), or run as root';
    case 'EPERM':
      return 'the device is closed to this container: start it with --device /dev/fuse';
    case 'ENODEV':
    case 'ENXIO':
      return 'the kernel has no FUSE: load the module (modprobe fuse) or use a kernel with CONFIG_FUSE_FS';
    default:
      return 'check that /dev/fuse is the character device 10:229 and can be opened';
  }
}

export interface MountCommand {
  readonly mountpoint: string;
  /** Source in /proc/mounts. */
  readonly name: string;
  readonly allowOther: boolean;
  /** The mounter's ids in the namespace where mount(8) runs. Absent: this process's. */
  readonly owner?: { readonly uid: number; readonly gid: number };
}

/** Descriptor of /dev/fuse in the mount(8) process: the first after the standard ones. */
export const INHERITED_FD = 3;

/**
 * The arguments after `mount`. -i: no mount.fuse helper, mount(2) itself; -n: no mtab. default_permissions: the
 * kernel checks the mode bits; suid and dev are on, as in any container (a user namespace forces nodev itself).
 */
export function mountArgs(command: MountCommand): string[] {
  const { uid, gid } = command.owner ?? { uid: process.getuid!(), gid: process.getgid!() };
  const options = [
    `fd=${INHERITED_FD}`,
    'rootmode=40000',
    `user_id=${uid}`,
    `group_id=${gid}`,
    `max_read=${MAX_READ}`,
    'ro',
    'default_permissions',
    ...(command.allowOther ? ['allow_other'] : []),
  ];
  return ['-i', '-n', '-t', 'fuse', '-o', options.join(','), '--', command.name, command.mountpoint];
}

/** Mounts the connection that `fd` stands for. @throws HL_ERR_MACHINE */
export async function runMount(command: MountCommand, fd: number): Promise<void> {
  const result = await run('mount', mountArgs(command), fd);
  if (result.status === 0) return;
  throw mountError(command, result);
}

export interface CommandResult {
  /** Exit status; null when a signal ended it or it could not be started. */
  readonly status: number | null;
  readonly stderr: string;
  readonly error?: Error;
}

function mountError(command: MountCommand, result: CommandResult): HotlayerError {
  const { hint, why } = explainMount(result);
  return new HotlayerError('HL_ERR_MACHINE', `cannot mount a file system on ${command.mountpoint}: ${why}`, {
    hint,
    cause: result.error,
    context: { file: command.mountpoint },
  });
}

/** Why mount(8) refused, and the mend. */
export function explainMount(result: CommandResult): { readonly why: string; readonly hint: string } {
  const why = result.error
    ? result.error.message
    : result.stderr.trim().replaceAll('\n', '; ') || `mount ended with status ${result.status}`;
  if (errnoOf(result.error) === 'ENOENT') {
    return { why: 'there is no mount command', hint: 'install util-linux (Debian: apt-get install mount)' };
  }
  if (/unknown filesystem type/i.test(why)) return { why, hint: deviceMend('ENODEV') };
  if (/permission denied|must be superuser|not permitted/i.test(why)) {
    return {
      why,
      hint: 'mounting needs CAP_SYS_ADMIN in a mount namespace of its own (unshare -m, or unshare -Urm without root); inside a container, start it with --cap-add SYS_ADMIN --security-opt apparmor=unconfined',
    };
  }
  return { why, hint: 'hotlayer doctor shows what this machine allows' };
}

/** @param fd becomes INHERITED_FD there */
export function run(program: string, args: readonly string[], fd?: number): Promise<CommandResult> {
  return new Promise((resolve) => {
    const stdio: ('ignore' | 'pipe' | number)[] = ['ignore', 'ignore', 'pipe'];
    if (fd !== undefined) stdio.push(fd);
    // LC_ALL=C: the messages are matched above.
    const child = spawn(program, args, { stdio, env: { ...process.env, LC_ALL: 'C' }, cwd: '/' });
    let stderr = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', (error) => resolve({ status: null, stderr, error }));
    child.on('close', (status) => resolve({ status, stderr }));
  });
}

/**
 * Ends a mount and its connection. -f aborts the connection first, so that neither an open file, nor a copy of the
 * mount in another namespace, nor a request in flight keeps the serving thread waiting: each gets an error.
 * What is still open then keeps the (dead) mount in the table: -l takes it out.
 * @returns undefined, or why it is still there
 */
export async function runUmount(mountpoint: string): Promise<string | undefined> {
  let last: CommandResult | undefined;
  for (const how of UMOUNT_WAYS) {
    last = await run('umount', [...how, '--', mountpoint]);
    if (last.status === 0) return undefined;
  }
  return last?.error?.message ?? last?.stderr.trim();
}

/** The same at process exit, when nothing asynchronous runs any more. */
export function runUmountSync(mountpoint: string): boolean {
  return UMOUNT_WAYS.some((how) => {
    const { status } = spawnSync('umount', [...how, '--', mountpoint], { stdio: 'ignore', cwd: '/', timeout: 5000 });
    return status === 0;
  });
}

const UMOUNT_WAYS = [
  ['-i', '-n', '-f'],
  ['-i', '-n', '-l'],
] as const;

/** The command that takes it out of the table, whoever still uses it. */
export function lazyUmount(mountpoint: string): string[] {
  return ['umount', ...UMOUNT_WAYS[1], '--', mountpoint];
}
