// A small root file system for workloads in tests, made of programs of this machine and the libraries they need,
// as nodes for memory-fs.ts.
import { execFileSync } from 'node:child_process';
import { accessSync, constants, lstatSync, readlinkSync, realpathSync, statSync } from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';
import type { NodeSpec } from './memory-fs.js';

/** Absolute path of a program in PATH. @throws when there is none */
export function which(program: string): string {
  for (const dir of [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']) {
    try {
      accessSync(join(dir, program), constants.X_OK);
      return join(dir, program);
    } catch {
      // not here
    }
  }
  throw new Error(`${program} is not installed`);
}

/** Absolute paths of the shared libraries, the loader included, as ldd(1) lists them. */
function libraries(file: string): string[] {
  const text = execFileSync('ldd', [file], { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } });
  return [...text.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map((match) => match[1]!);
}

function hostFile(path: string, file: string): NodeSpec {
  const { size } = statSync(file);
  return { path: path.slice(1), type: 'reg', mode: 0o755, content: { host: realpathSync(file), size } };
}

export const PASSWD = 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\n';
export const GROUP = 'root:x:0:\napp:x:1001:\nextra:x:2000:app\naudio:x:29:app,root\n';

/**
 * @param programs by name, put into /bin; sh is always there
 * @param more nodes beside them; a path given here replaces the one made here
 */
export function hostRoot(programs: readonly string[], more: readonly NodeSpec[] = []): NodeSpec[] {
  const nodes = new Map<string, NodeSpec>();
  const add = (node: NodeSpec) => nodes.set(node.path, node);
  for (const path of ['proc', 'sys', 'dev', 'root', 'home/app', 'bin']) add({ path, type: 'dir' });
  add({ path: 'etc/passwd', type: 'reg', content: { text: PASSWD } });
  add({ path: 'etc/group', type: 'reg', content: { text: GROUP } });
  for (const program of ['sh', ...programs]) {
    const file = realpathSync(program.startsWith('/') ? program : which(program));
    add(hostFile(`/bin/${program.split('/').pop()}`, file));
    for (const library of libraries(file)) {
      // A merged /usr: the loader's name in the program may go through a symlink; here it is a directory.
      const link = lstatSync(library).isSymbolicLink() ? resolve(dirname(library), readlinkSync(library)) : library;
      add(hostFile(library, link));
    }
  }
  for (const node of more) add(node);
  return [...nodes.values()];
}
