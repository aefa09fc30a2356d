// The mounts that are compared. Each is a program of its own in the foreground, mounted anew for every measurement.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, statfsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROOT } from '../support/report.js';

export interface Backend {
  readonly name: string;
  readonly about: string;
  readonly kind: 'native' | 'ours' | 'peer';
  /** Absent: the tree itself is used. */
  command?(mountpoint: string): string[];
}

export interface Sources {
  readonly tree: string;
  /** The same tree as an image, plain and as eStargz. */
  readonly plain: string;
  readonly lazy: string;
  /** The chunk cache of `hotlayer mount`. */
  readonly cache: string;
  /** A program made from libfuse's example. */
  readonly passthrough: string;
}

const HOTLAYER = join(ROOT, 'bin/hotlayer.js');
const SERVE_DIR = fileURLToPath(new URL('./serve-dir.js', import.meta.url));

export function backendsOf({ tree, plain, lazy, cache, passthrough }: Sources): Backend[] {
  const mount = (image: string) => (mountpoint: string) => [
    process.execPath,
    HOTLAYER,
    'mount',
    image,
    mountpoint,
    '--cache-dir',
    cache,
    '-q',
  ];
  return [
    { name: 'native', about: 'the directory itself', kind: 'native' },
    {
      name: 'hotlayer eStargz',
      about: '`hotlayer mount` of an eStargz image, its content in the cache',
      kind: 'ours',
      command: mount(lazy),
    },
    {
      name: 'hotlayer tar',
      about: '`hotlayer mount` of a plain image, its layer in the cache',
      kind: 'ours',
      command: mount(plain),
    },
    {
      name: 'hotlayer dir',
      about: 'the tree of `dir:` images, as profile serves it',
      kind: 'ours',
      command: (mountpoint) => [process.execPath, SERVE_DIR, tree, mountpoint],
    },
    {
      name: 'bindfs',
      about: '`bindfs -r`',
      kind: 'peer',
      command: (mountpoint) => ['bindfs', '-f', '-r', tree, mountpoint],
    },
    {
      name: 'fuse-overlayfs',
      about: '`fuse-overlayfs -o lowerdir=`',
      kind: 'peer',
      command: (mountpoint) => ['fuse-overlayfs', '-f', '-o', `lowerdir=${tree}`, mountpoint],
    },
    {
      name: 'passthrough_ll',
      about: "libfuse's example `passthrough_ll -o cache=always,timeout=3600`",
      kind: 'peer',
      command: (mountpoint) => [
        // It holds a descriptor of every file that was looked up.
        'sh',
        '-c',
        'ulimit -n "$(ulimit -H -n)"; exec "$@"',
        'sh',
        passthrough,
        '-f',
        '-o',
        `source=${tree},cache=always,timeout=3600,allow_other,default_permissions`,
        mountpoint,
      ],
    },
  ];
}

/** Debian ships the source of libfuse's examples with libfuse3-dev. @returns the program */
export function buildPassthrough(directory: string): string {
  const from = '/usr/share/doc/libfuse3-dev/examples';
  const program = join(directory, 'passthrough_ll');
  mkdirSync(dirname(program), { recursive: true });
  for (const name of ['passthrough_ll.c', 'passthrough_helpers.h'])
    copyFileSync(join(from, name), join(directory, name));
  const flags = execFileSync('pkg-config', ['--cflags', '--libs', 'fuse3'], { encoding: 'utf8' }).trim().split(/\s+/);
  execFileSync('gcc', ['-O2', '-Wall', join(directory, 'passthrough_ll.c'), '-o', program, ...flags]);
  return program;
}

export interface Served extends AsyncDisposable {
  readonly root: string;
}

/** Mounts; the directory answers when the promise settles. */
export async function serve(backend: Backend, tree: string, mountpoint: string): Promise<Served> {
  if (!backend.command) return { root: tree, async [Symbol.asyncDispose]() {} };
  const [program, ...args] = backend.command(mountpoint);
  const child = spawn(program!, args, { cwd: '/', stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-2000);
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  while (!isMounted(mountpoint)) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`${backend.name} ended: ${said}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  statfsSync(mountpoint);
  return {
    root: mountpoint,
    async [Symbol.asyncDispose]() {
      execFileSync('umount', ['-i', mountpoint]);
      await endOf(child, ended);
    },
  };
}

async function endOf(child: ChildProcess, ended: Promise<void>): Promise<void> {
  const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
  await ended;
  clearTimeout(timer);
}

function isMounted(mountpoint: string): boolean {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .some((line) => line.split(' ')[4] === mountpoint);
}
