// Other circumstances on this machine: an ordinary user, with and without a /dev/fuse that may be opened.
import { spawnSync } from 'node:child_process';
import { UNSHARE } from '../../src/fuse/index.js';

export interface Circumstance {
  /** Words before the command. */
  readonly through: readonly string[];
  /** Why it cannot be had here; false when it can. */
  readonly skip: string | false;
}

/** uid and gid of the ordinary user when root runs the tests. */
export const NOBODY = 65534;
const isRoot = process.getuid!() === 0;

/** What may be mounted over: every machine has /mnt; the tmpfs exists in this mount namespace only. */
const NODE = (mode: number) => `set -e
mount -t tmpfs -o mode=755 hotlayer-test /mnt
mknod -m ${mode.toString(8)} /mnt/fuse c 10 229
mount --bind /mnt/fuse /dev/fuse
exec setpriv --reuid ${NOBODY} --regid ${NOBODY} --clear-groups --inh-caps=-all -- "$@"`;

/** A /dev that has only the usual nodes. */
const EMPTY_DEV = `set -e
mount -t tmpfs -o mode=755 hotlayer-test /mnt
for name in null zero full random urandom tty; do
  : > /mnt/$name
  mount --bind /dev/$name /mnt/$name
done
mount --rbind /mnt /dev
exec "$@"`;

/** As an ordinary user; /dev/fuse is there with this mode. Somebody who is one already can only have it as it is. */
export function asNobody(fuseMode: number): Circumstance {
  if (!isRoot) {
    const open = spawnSync('test', ['-w', '/dev/fuse']).status === 0;
    const wanted = (fuseMode & 0o006) !== 0;
    const skip =
      open === wanted ? false : `only root can change who may open /dev/fuse (${open ? 'everybody' : 'root'} now)`;
    return possible({ through: [], skip });
  }
  return possible({ through: ['unshare', ...UNSHARE.mount, '--', 'sh', '-c', NODE(fuseMode), 'sh'], skip: false });
}

/** The user who runs the tests, on a machine that has no /dev/fuse. */
export function withoutFuse(): Circumstance {
  const unshare = isRoot ? UNSHARE.mount : UNSHARE.user;
  return possible({ through: ['unshare', ...unshare, '--', 'sh', '-c', EMPTY_DEV, 'sh'], skip: false });
}

function possible(circumstance: Circumstance): Circumstance {
  let { skip } = circumstance;
  const [program, ...args] = [...circumstance.through, 'true'];
  const { status, stderr } = spawnSync(program!, args, { encoding: 'utf8' });
  if (status !== 0) skip = `cannot be arranged here: ${String(stderr).trim()}`;
  if (skip !== false && process.env.HOTLAYER_REQUIRE_E2E === '1')
    throw new Error(`HOTLAYER_REQUIRE_E2E=1, but ${skip}`);
  return { ...circumstance, skip };
}
