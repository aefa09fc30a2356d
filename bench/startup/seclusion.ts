// A place of its own for what is measured: a network namespace, so that no other program has the workloads' ports or
// answers for them, and temporary files in memory, so that other programs' writes to the disk hold nobody up. Both go
// with the process.
import { spawn } from 'node:child_process';

const MARK = 'HOTLAYER_BENCH_SECLUDED';
/** Mounted over for this process and what it starts only; TMPDIR from then on. */
const MEMORY = '/mnt';

const ENTER = `set -e
ip link set lo up
mount -t tmpfs -o mode=1777,size=80% tmpfs ${MEMORY}
export TMPDIR=${MEMORY} ${MARK}=1
exec "$@"`;

export function isSecluded(): boolean {
  return process.env[MARK] === '1';
}

/** Runs this program again, with the same arguments, in seclusion. It ends with us. @returns its exit status */
export function runSecluded(): Promise<number> {
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const unshare = ['unshare', '--net', '--mount', '--propagation', 'private', '--'];
  const child = spawn('setpriv', ['--pdeathsig', 'TERM', ...unshare, 'sh', '-c', ENTER, 'sh', ...again], {
    stdio: 'inherit',
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => resolve(status ?? 1));
  });
}
