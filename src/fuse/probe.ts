// Can this machine serve a file system through /dev/fuse? Answered by doing it: a mount that nobody serves, in a
// mount namespace that ends with the command.
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { closeSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import type { HotlayerError } from '../errors.js';
import { FUSE_DEVICE } from './device.js';
import { explainMount, INHERITED_FD, mountArgs, openFuseDevice } from './mount-command.js';

export interface FuseProbe {
  readonly ok: boolean;
  /** One line: what works, or what was refused. */
  readonly detail: string;
  /** What to change. Absent when ok. */
  readonly mend?: string;
  /** The namespaces a mount needs here: `mount` with the rights of root, `user` without. Absent unless ok. */
  readonly namespace?: 'mount' | 'user';
}

/** unshare(1) options that make a private mount namespace, for root and for anybody else. */
export const UNSHARE = {
  mount: ['--mount', '--propagation', 'private'],
  user: ['--user', '--map-root-user', '--mount', '--propagation', 'private'],
} as const;

/** Takes some 20 ms; mounts nothing that outlives it. Never throws. */
export function probeFuse(): FuseProbe {
  try {
    closeSync(openFuseDevice());
  } catch (error) {
    const { message, hint } = error as HotlayerError;
    return { ok: false, detail: message, ...(hint !== undefined && { mend: hint }) };
  }
  const ways: ('mount' | 'user')[] = process.getuid!() === 0 ? ['mount', 'user'] : ['user'];
  let refusal: FuseProbe = { ok: false, detail: 'not tried' };
  for (const namespace of ways) {
    const probe = tryMount(namespace);
    if (probe.ok) return probe;
    refusal = probe;
  }
  return refusal;
}

/** The device has to be opened inside: the kernel wants a descriptor of the user namespace that mounts. */
const OPEN_AND_MOUNT = `exec ${INHERITED_FD}<>${FUSE_DEVICE} && exec mount "$@"`;

function tryMount(namespace: 'mount' | 'user'): FuseProbe {
  // The new namespace's root is uid 0 to mount(2), whoever we are here.
  const command = { mountpoint: tmpdir(), name: 'hotlayer-probe', allowOther: true, owner: { uid: 0, gid: 0 } };
  const args = [...UNSHARE[namespace], '--', 'sh', '-c', OPEN_AND_MOUNT, 'sh', ...mountArgs(command)];
  const result = spawnSync('unshare', args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, LC_ALL: 'C' },
    encoding: 'utf8',
    timeout: 10_000,
  });
  if (result.status === 0) {
    const how = namespace === 'mount' ? 'a mount namespace' : 'a user and mount namespace';
    return { ok: true, detail: `/dev/fuse can be opened and mounted in ${how}`, namespace };
  }
  return { ok: false, ...explainProbe(result, namespace) };
}

function explainProbe(result: SpawnSyncReturns<string>, namespace: 'mount' | 'user'): { detail: string; mend: string } {
  const stderr = result.stderr ?? '';
  if (result.error && 'code' in result.error && result.error.code === 'ENOENT') {
    return { detail: 'there is no unshare command', mend: 'install util-linux (Debian: apt-get install util-linux)' };
  }
  if (/mount: not found|mount: No such file/m.test(stderr)) {
    return { detail: 'there is no mount command', mend: 'install util-linux (Debian: apt-get install mount)' };
  }
  if (/^unshare:/m.test(stderr)) return { detail: stderr.trim().split('\n')[0]!, mend: namespaceMend(namespace) };
  const { why, hint } = explainMount({
    status: result.status,
    stderr,
    ...(result.error && { error: result.error }),
  });
  return { detail: `mounting in a ${namespace} namespace: ${why}`, mend: hint };
}

/** Why unshare(2) may be refused: distributions have three switches for it, containers a fourth. */
function namespaceMend(namespace: 'mount' | 'user'): string {
  if (namespace === 'user') {
    if (sysctl('kernel/unprivileged_userns_clone') === '0') {
      return 'allow user namespaces: sysctl -w kernel.unprivileged_userns_clone=1, or run as root';
    }
    if (sysctl('kernel/apparmor_restrict_unprivileged_userns') === '1') {
      return 'allow user namespaces: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or run as root';
    }
    if (sysctl('user/max_user_namespaces') === '0') {
      return 'allow user namespaces: sysctl -w user.max_user_namespaces=10000, or run as root';
    }
  }
  return 'inside a container, start it with --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined';
}

function sysctl(name: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/${name}`, 'latin1').trim();
  } catch {
    return undefined;
  }
}
