// Owners of files of this machine, read inside a user namespace: whoever has no id there is read as the overflow id
// (65534, "nobody"), who may well have one. Most of them are the machine's root, and as root they are shown.
import { readFileSync } from 'node:fs';

type Ids = Readonly<Record<'uid' | 'gid', (id: number) => number>>;

/** @param read a file of /proc; "" when there is none */
export function strangersAsRoot(read: (name: string) => string = readProc): Ids {
  const of = (kind: 'uid' | 'gid') => {
    const map = read(`self/${kind}_map`).trim();
    // All ids, or a kernel without user namespaces (user_namespaces(7)).
    if (map === '' || /^0\s+0\s+4294967295$/.test(map)) return (id: number) => id;
    const overflow = Number(read(`sys/kernel/overflow${kind}`) || 65534);
    return (id: number) => (id === overflow ? 0 : id);
  };
  return { uid: of('uid'), gid: of('gid') };
}

function readProc(name: string): string {
  try {
    return readFileSync(`/proc/${name}`, 'latin1');
  } catch {
    return '';
  }
}
