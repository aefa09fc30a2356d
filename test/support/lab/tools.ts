// What the real client needs on this machine, and which Debian package has it.
import { missingForGo } from '../go.js';
import { lacking, notHere } from '../tools.js';

const CLIENT = ['containerd', 'ctr', 'ctr-remote', 'runc', 'docker-registry', 'skopeo', 'unshare', 'nsenter'];
const IMAGES = ['mmdebstrap', 'tar', 'chroot', 'getfattr'];

/** For `describe(name, { skip: lackingClient('podman') }, …)`. @throws instead where nothing may be skipped */
export function lackingClient(...more: string[]): string | false {
  const root = process.getuid!() === 0 ? [] : ['the rights of root'];
  return notHere([...missingForGo(), ...root]) || lacking(...CLIENT, ...IMAGES, ...more);
}
