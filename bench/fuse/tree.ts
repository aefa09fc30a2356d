// The directory that every backend serves: this machine's python and node with all that they load, and files made for
// the other tasks. The made files are the same on every run.
import { execFileSync } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import { closeSync, cpSync, existsSync, mkdirSync, openSync, realpathSync, writeFileSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { KIB, MIB } from '../../src/units.js';
import { ROOT } from '../support/report.js';
import { makeRandom } from '../support/statistics.js';

export interface TreeSize {
  /** Files that are only listed and stat'ed. */
  readonly entries: number;
  /** Files of 0.5 to 16 KiB that are read. */
  readonly small: number;
  /** Bytes of the one big file. */
  readonly big: number;
}

/** All together fewer files than descriptors that a process may have here: passthrough_ll holds one of each. */
export const FULL: TreeSize = { entries: 8000, small: 5000, big: 512 * MIB };
export const QUICK: TreeSize = { entries: 2000, small: 500, big: 64 * MIB };

/** Places in the tree. */
export const PLACES = { walk: 'walk', small: 'small', big: 'big/file', app: 'app' } as const;

const PYTHON = '/usr/bin/python3';
const PER_DIRECTORY = 100;
/** What `app/main.js` loads, of this repository's own packages: some 300 files. */
const PACKAGES = [
  'undici',
  'commander',
  'ajv',
  'fast-deep-equal',
  'fast-uri',
  'json-schema-traverse',
  'require-from-string',
  'pako',
  'tar-stream',
  'marked',
  'simple-statistics',
];

/** @param root an empty directory */
export function makeTree(root: string, size: TreeSize): void {
  makeFiles(join(root, PLACES.walk), size.entries, () => 16);
  const random = makeRandom(1);
  makeFiles(join(root, PLACES.small), size.small, () => Math.floor(KIB / 2 + random() * 15.5 * KIB));
  makeBig(join(root, PLACES.big), size.big);
  copyProgram(root, PYTHON, realpathSync(PYTHON));
  copyPythonLibrary(root);
  copyProgram(root, '/usr/bin/node', realpathSync(process.execPath));
  makeApp(root);
  for (const dir of ['dev', 'proc', 'tmp']) mkdirSync(join(root, dir));
}

function makeFiles(root: string, count: number, sizeOf: () => number): void {
  const noise = noiseOf(MIB);
  for (let i = 0; i < count; i++) {
    const dir = join(root, `d${String(Math.floor(i / PER_DIRECTORY)).padStart(4, '0')}`);
    if (i % PER_DIRECTORY === 0) mkdirSync(dir, { recursive: true });
    const size = sizeOf();
    const at = (i * 4093) % (MIB - size);
    writeFileSync(join(dir, `f${String(i).padStart(6, '0')}.txt`), noise.subarray(at, at + size));
  }
}

function makeBig(path: string, size: number): void {
  mkdirSync(dirname(path), { recursive: true });
  const fd = openSync(path, 'w');
  try {
    const noise = noiseOf(8 * MIB);
    for (let done = 0; done < size; done += noise.length) {
      noise.writeUInt32LE(done / noise.length); // no two pieces alike
      writeSync(fd, noise, 0, Math.min(noise.length, size - done));
    }
  } finally {
    closeSync(fd);
  }
}

function noiseOf(bytes: number): Buffer {
  return createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16)).update(Buffer.alloc(bytes));
}

/** A program at `at`, and the libraries that the dynamic linker finds for it, at their own places. */
function copyProgram(root: string, at: string, from: string): void {
  copy(from, join(root, at));
  copyLibraries(root, from);
}

function copyLibraries(root: string, binary: string): void {
  const said = execFileSync('ldd', [binary], { encoding: 'utf8' });
  for (const [, library] of said.matchAll(/(\/\S+) \(0x/g)) copy(realpathSync(library!), join(root, library!));
}

/** The standard library of Debian's python, with the compiled files beside the sources, and what its extensions link. */
function copyPythonLibrary(root: string): void {
  const ask = 'import sysconfig; print(sysconfig.get_path("stdlib"))';
  const library = execFileSync(PYTHON, ['-c', ask], { encoding: 'utf8' }).trim();
  cpSync(library, join(root, library), { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
  const extensions = execFileSync('find', [join(library, 'lib-dynload'), '-name', '*.so'], { encoding: 'utf8' });
  for (const extension of extensions.split('\n').filter(Boolean)) copyLibraries(root, extension);
}

function makeApp(root: string): void {
  const app = join(root, PLACES.app);
  const found = PACKAGES.filter((name) => existsSync(join(ROOT, 'node_modules', name)));
  for (const name of found)
    cpSync(join(ROOT, 'node_modules', name), join(app, 'node_modules', name), {
      recursive: true,
      preserveTimestamps: true,
    });
  const loads = ['undici', 'commander', 'ajv', 'pako', 'simple-statistics'].map((name) => `require('${name}')`);
  writeFileSync(join(app, 'main.js'), `${loads.join(';\n')};\nprocess.stdout.write('ready');\n`);
}

function copy(from: string, to: string): void {
  if (existsSync(to)) return;
  mkdirSync(dirname(to), { recursive: true });
  cpSync(from, to, { preserveTimestamps: true });
}
