// Rootless podman as an ordinary user with subordinate ids, inside a capsule: the user, its ids and its runtime
// directory exist only there, the storage in a directory of its own.
import { chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { makeTempDir, type TempDir } from '../../../src/temp.js';
import { Capsule, type CommandResult } from './capsule.js';

const UID = 23_456;
const SUBORDINATE = 1_000_000;

/** $1: uid; $2: first subordinate id; $3: home. newuidmap(1) goes by these files. */
const USER = `set -eu
mkdir -p "/run/user/$1" /run/etc; chown "$1:$1" "/run/user/$1"
{ cat /etc/passwd; echo "lab:x:$1:$1::$3:/bin/sh"; } >/run/etc/passwd
echo "lab:$2:65536" >/run/etc/subid
mount --bind /run/etc/passwd /etc/passwd
for f in /etc/subuid /etc/subgid; do mount --bind /run/etc/subid "$f"; done
mknod -m 666 /run/fuse c 10 229; mount --bind /run/fuse /dev/fuse # as udev has it
mount --make-rshared / # of this namespace only; podman wants it
`;

/**
 * runc, because Debian's crun refuses machines with both cgroup versions; cgroupfs, because there may be no systemd; vfs,
 * because it works on whatever /tmp is.
 */
const GLOBAL = ['--runtime=runc', '--cgroup-manager=cgroupfs', '--storage-driver=vfs', '--events-backend=file'];

const AS_USER = ['setpriv', `--reuid=${UID}`, `--regid=${UID}`, '--clear-groups', '--inh-caps=-all', '--'];

export class Podman implements AsyncDisposable {
  /** What every command of it needs here; of one line. */
  static readonly global = GLOBAL.join(' ');

  private constructor(
    private readonly capsule: Capsule,
    private readonly home: TempDir,
  ) {}

  static async start(): Promise<Podman> {
    const home = makeTempDir(undefined, 'hl-podman');
    try {
      const capsule = await Capsule.open(home.path);
      chownSync(home.path, UID, UID);
      const podman = new Podman(capsule, home);
      await capsule.output(['sh', '-c', USER, 'sh', String(UID), String(SUBORDINATE), home.path]);
      return podman;
    } catch (error) {
      home.remove();
      throw error;
    }
  }

  run(args: readonly string[]): Promise<CommandResult> {
    return this.capsule.run([...AS_USER, 'podman', ...GLOBAL, ...args], {
      env: { XDG_RUNTIME_DIR: `/run/user/${UID}` },
    });
  }

  /** A directory of the user. */
  directory(name: string): string {
    const path = join(this.home.path, name);
    mkdirSync(path);
    chownSync(path, UID, UID);
    return path;
  }

  async close(): Promise<void> {
    await this.capsule.close();
    this.home.remove();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
