// What the real client needs on this machine; .ci/run installs it.
import { spawnSync } from 'node:child_process';
import { missingForGo } from '../go.js';
import { lacking, notHere } from '../tools.js';

const CLIENT = ['containerd', 'ctr', 'ctr-remote', 'runc', 'docker-registry', 'skopeo', 'unshare', 'nsenter'];
const IMAGES = ['mmdebstrap', 'tar', 'chroot', 'getfattr'];

/** For `describe(name, { skip: lackingClient('podman') }, …)`. @throws instead where nothing may be skipped */
export function lackingClient(...more: string[]): string | false {
  const root = process.getuid!() === 0 ? [] : ['the rights of root'];
  return notHere([...missingForGo(), ...root]) || lacking(...CLIENT, ...IMAGES, ...more) || notHere(missingRights());
}

/** Root in a container may not be allowed what root is allowed elsewhere. */
function missingRights(): string[] {
  const probe = ['--mount', '--pid', '--fork', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'];
  return spawnSync('unshare', probe, { stdio: 'ignore' }).status === 0 ? [] : ['the right to mount in a namespace'];
}
