// Whether this process may call mount(2) where it is.
import { readFileSync } from 'node:fs';

/** CAP_SYS_ADMIN, bit 21 (capability.h): root in a container usually lacks it. */
const SYS_ADMIN = 1n << 21n;

export function mayMount(): boolean {
  if (process.geteuid!() !== 0) return false;
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0';
  return (BigInt(`0x${effective}`) & SYS_ADMIN) !== 0n;
}
