// Takes a mount away when the process that mounted is gone: SIGKILL leaves one that answers nobody.
import { startReaperShell } from '../temp.js';

/**
 * Waits for the end of this process, then unmounts. A mount(8) that was under way may need a moment more, so the
 * directory is looked at for two seconds (40 × 50 ms); as long as it answers a statfs, which is never cached (ENOTCONN is
 * what a FUSE mount without its process says), there is no mount of ours, and another one is left alone.
 */
const REAPER = `trap '' INT TERM HUP QUIT; read -r _
n=0; while stat -f -- "$1" >/dev/null 2>&1; do n=$((n+1)); [ $n -lt 40 ] || exit 0; sleep 0.05; done
shift; exec "$@"`;

/** To be called before the mount: a kill may come between any two steps. @param unmount a command and its arguments */
export function startReaper(directory: string, unmount: readonly string[]): { kill(): void } {
  const shell = startReaperShell(REAPER, directory, ...unmount);
  return { kill: () => void shell.kill('SIGKILL') };
}
