// A small but real image, made at test time from this machine's own shell and cat with the libraries they need: a
// merged /usr (symlinked directories), a file that is replaced, one that is removed, an opaque directory, hardlinks in a
// layer and across layers, a user by name.
import { execFileSync } from 'node:child_process';
import { chmodSync, constants, copyFileSync, mkdirSync, readFileSync, realpathSync, symlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { which } from '../support/host-root.js';
import { type BuiltLayout, buildLayout, type LayoutSpec } from '../support/layout.js';
import { dir, file, hardlink, opaque, symlink, tarOf, whiteout } from '../support/tar.js';

export const PASSWD = 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\n';
export const GROUP = 'root:x:0:\napp:x:1001:\nextra:x:2000:app\n';

const EXECUTABLE = { mode: 0o755 };

/** As `ldd` lists them, the loader included; none for a static program. */
function libraries(program: string): string[] {
  try {
    const text = execFileSync('ldd', [program], {
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return [...text.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map((match) => match[1]!);
  } catch (error) {
    if (/not a dynamic executable|statically linked/i.test(String((error as { stderr?: unknown }).stderr))) return [];
    throw error;
  }
}

/** /lib/x → usr/lib/x: where a file lies in an image whose /bin, /lib and /lib64 are symlinks into /usr. */
function merged(path: string): string {
  return path.replace(/^\/(?:usr\/)?/, 'usr/');
}

/** Path in an image → file of this machine, for programs (names or absolute paths) and what they need. */
export function programFiles(programs: readonly string[]): Map<string, string> {
  const files = programs.flatMap((program) => {
    const from = realpathSync(program.startsWith('/') ? program : which(program));
    const own: [string, string] = [`usr/bin/${basename(program)}`, from];
    return [own, ...libraries(from).map((path): [string, string] => [merged(path), realpathSync(path)])];
  });
  return new Map(files);
}

/** Makes a root file system of them in a directory: a merged /usr, as the image has it. */
export function writeRoot(directory: string, programs: readonly string[]): void {
  const files = programFiles(programs);
  for (const [path, from] of files) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    copyFileSync(from, join(directory, path), constants.COPYFILE_FICLONE);
    chmodSync(join(directory, path), 0o755);
  }
  for (const top of topsOf(files.keys())) symlinkSync(`usr/${top}`, join(directory, top));
  chmodSync(directory, 0o755);
}

/** bin, lib, lib64: what lies directly below usr. */
function topsOf(paths: Iterable<string>): string[] {
  return [...new Set([...paths].map((path) => path.split('/')[1]!))].sort();
}

const PROGRAMS = programFiles(['sh', 'cat', 'sleep']);

/** Absolute paths in the image of what a program needs to start: itself, its loader and its libraries. */
export function needs(name: string): string[] {
  const from = realpathSync(which(name));
  return [`/usr/bin/${name}`, ...libraries(from).map((path) => `/${merged(path)}`)];
}

function parents(paths: Iterable<string>): string[] {
  const all = new Set<string>();
  for (const path of paths) {
    const parts = path.split('/');
    for (let n = 1; n < parts.length; n++) all.add(`${parts.slice(0, n).join('/')}/`);
  }
  return [...all].sort();
}

/** Looks up two names that do not exist, reads four files, one through a symlinked directory, one by a hardlink. */
export const RUN_SH = `#!/bin/sh
[ -e /app/none-1 ] || [ -e /app/none-2 ] || echo starting
cat /etc/motd /app/data.txt /app/conf/settings /app/again
`;

export const MOTD = 'new motd\n';
export const DATA = 'data of the app\n';
export const SETTINGS = 'colour = blue\n';
/** What the workload writes to stdout. */
export const SAYS = `starting\n${MOTD}${DATA}${SETTINGS}${DATA}`;

/** Bytes that gzip cannot shrink, the same each time. */
export function noise(size: number, seed = 1): Buffer {
  const out = Buffer.alloc(size);
  let x = seed >>> 0 || 1;
  for (let i = 0; i < size; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    out[i] = x;
  }
  return out;
}

/** Uncompressed tars, lowest first. */
export function sampleLayers(): Buffer[] {
  const paths = [...PROGRAMS.keys()];
  const base = tarOf(
    ...parents(paths).map((name) => dir(name)),
    ...topsOf(paths).map((name) => symlink(name, `usr/${name}`)),
    ...[...PROGRAMS].map(([path, from]) => file(path, readFileSync(from), EXECUTABLE)),
    dir('etc/'),
    file('etc/passwd', PASSWD),
    file('etc/group', GROUP),
    file('etc/motd', 'old motd\n'),
    dir('root/', { mode: 0o700 }),
    dir('home/'),
    dir('home/app/', { uid: 1000, gid: 1001 }),
    dir('srv/'),
    file('srv/gone', 'removed in the next layer\n'),
    dir('srv/old/'),
    file('srv/old/hidden', 'hidden by an opaque directory\n'),
  );
  const app = tarOf(
    dir('app/'),
    file('app/unread.bin', noise(200_000)),
    file('app/run.sh', RUN_SH, EXECUTABLE),
    file('app/data.txt', DATA, { mode: 0o640, uid: 1000, gid: 1001, mtime: { sec: 1_700_000_000, nsec: 250_000_000 } }),
    hardlink('app/again', 'app/data.txt', { mode: 0o640, uid: 1000, gid: 1001 }),
    file('etc/motd', MOTD),
    whiteout('srv/gone'),
  );
  const top = tarOf(
    dir('app/'),
    symlink('app/conf', '../etc/app'),
    dir('etc/app/'),
    file('etc/app/settings', SETTINGS),
    dir('srv/old/'),
    opaque('srv/old'),
    file('srv/old/fresh', 'fresh\n'),
    hardlink('app/elsewhere', 'app/run.sh', EXECUTABLE),
  );
  return [base, app, top];
}

export const IMAGE_CONFIG = {
  Entrypoint: ['/bin/sh'],
  Cmd: ['/app/run.sh'],
  Env: ['PATH=/usr/bin:/bin', 'GREETING=hello'],
  WorkingDir: '/app',
  User: 'app',
};

/** The image in a layout at `directory`; `oci:DIR:latest`. */
export function sampleImage(directory: string, spec: Partial<LayoutSpec> = {}): BuiltLayout {
  return buildLayout(directory, {
    layers: sampleLayers(),
    config: {
      config: IMAGE_CONFIG,
      history: [{ created_by: 'base' }, { created_by: 'COPY app' }, { created_by: 'COPY conf' }],
      created: '2024-05-06T07:08:09Z',
    },
    annotations: { 'org.example.note': 'kept' },
    ...spec,
  });
}
