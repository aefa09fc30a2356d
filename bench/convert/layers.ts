// The layers that are converted: a real one, Debian with an interpreter, and two of other shapes with the content of
// its files: very many small ones, a few big ones. Made once and kept.
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { scanTarFd, type TarEntry } from '../../src/stargz/index.js';
import { makeTempDir } from '../../src/temp.js';
import { KIB, MIB } from '../../src/units.js';
import { aptScript } from '../../test/support/lab/images.js';
import { buildLayout } from '../../test/support/layout.js';
import { dir, END, file } from '../../test/support/tar.js';
import { makeRandom } from '../support/statistics.js';

export interface Shape {
  readonly name: 'debian' | 'small' | 'big';
  readonly about: string;
}

export const SHAPES: readonly Shape[] = [
  { name: 'debian', about: 'minimal Debian 12 with python3, pip and git' },
  { name: 'small', about: '60 000 files, most of them smaller than 2 KiB, cut from its text files' },
  { name: 'big', about: 'its content one file after the other, in 7 files of 32 MiB' },
];

export interface SampleLayer extends Shape {
  /** The uncompressed layer. */
  readonly tar: string;
  /** An OCI layout with this one layer, as a registry would have it: gzip. `oci:DIR:latest` */
  readonly gzipImage: string;
  /** The same with the tar as it is. */
  readonly tarImage: string;
  readonly bytes: number;
  readonly entries: number;
  readonly files: number;
  /** Paths of the files that go first, and what they hold: about a twentieth of the layer; of a few big files, none. */
  readonly hot: readonly string[];
  readonly hotBytes: number;
}

const DEBIAN_SCRIPT = `set -eu
mount -t tmpfs -o mode=1777,size=90% lab /mnt; export TMPDIR=/mnt
mmdebstrap --quiet --mode=root --variant=minbase --include=python3,python3-pip,git \\
  --aptopt='Acquire::Retries "3"' \\
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \\
  --dpkgopt='path-exclude=/usr/share/locale/*' \\
  bookworm "$1" \${2:+"$2"}
`;

const SMALL_FILES = 60_000;
const SMALL_PER_DIRECTORY = 40;
const BIG_FILES = 7;
const BIG_BYTES = 32 * MIB;
const HOT_PART = 0.05;

/** @param directory made when missing; what is there already is used */
export async function sampleLayer(directory: string, shape: Shape, say: (text: string) => void): Promise<SampleLayer> {
  mkdirSync(directory, { recursive: true });
  const tar = join(directory, `${shape.name}.tar`);
  if (!existsSync(tar)) {
    say(`making ${tar} …`);
    const made = `${tar}.tmp.tar`; // mmdebstrap goes by the end of the name
    rmSync(made, { force: true });
    if (shape.name === 'debian') await makeDebian(made);
    else {
      const debian = await sampleLayer(directory, SHAPES[0]!, say);
      (shape.name === 'small' ? makeSmall : makeBig)(debian.tar, made);
    }
    renameSync(made, tar);
  }
  const images = [true, false].map((gzip) => {
    const layout = join(directory, `${shape.name}-${gzip ? 'gzip' : 'tar'}`);
    if (!existsSync(layout)) {
      rmSync(`${layout}.tmp`, { recursive: true, force: true });
      buildLayout(`${layout}.tmp`, { layers: [readFileSync(tar)], gzip });
      renameSync(`${layout}.tmp`, layout);
    }
    return `oci:${layout}:latest`;
  });
  return { ...shape, tar, gzipImage: images[0]!, tarImage: images[1]!, ...describe(tar) };
}

async function makeDebian(path: string): Promise<void> {
  using work = makeTempDir(undefined, 'hl-debian');
  await aptScript(work.path, DEBIAN_SCRIPT, (sources) => [path, sources]);
}

/** Sizes as in a tree of packages: half of them below a KiB, few above 16. Names are as long as they are there. */
function makeSmall(debian: string, path: string): void {
  const text = contentOf(debian, ({ path: name }) => /\.(?:py|pm|pl|h|sh|json|txt|conf|list|md5sums)$/.test(name));
  const random = makeRandom(SMALL_FILES);
  const written = openSync(path, 'w');
  try {
    let entries: Buffer[] = [];
    for (let i = 0; i < SMALL_FILES; i++) {
      const directory = `app/node_modules/package-${Math.floor(i / SMALL_PER_DIRECTORY)}/lib/`;
      if (i % SMALL_PER_DIRECTORY === 0) entries.push(dir(directory));
      // A quotient of two uniform numbers: many small, some much larger.
      const size = Math.min(64 * KIB, Math.round((800 * random()) / (random() + 0.01)) + 40);
      const at = Math.floor(random() * (text.length - size));
      entries.push(file(`${directory}module-${i}.js`, text.subarray(at, at + size), { mtime: 1_700_000_000 + i }));
      if (entries.length > 1000) entries = flush(written, entries);
    }
    flush(written, [...entries, END]);
  } finally {
    closeSync(written);
  }
}

function makeBig(debian: string, path: string): void {
  const content = contentOf(debian, () => true);
  const written = openSync(path, 'w');
  try {
    for (let i = 0; i < BIG_FILES; i++) {
      // Begun again where it ends.
      const at = (i * BIG_BYTES) % content.length;
      const whole = Buffer.concat([
        content.subarray(at),
        content.subarray(0, Math.max(0, at + BIG_BYTES - content.length)),
      ]);
      flush(written, [file(`data/part-${i}.bin`, whole.subarray(0, BIG_BYTES), { mtime: 1_700_000_000 })]);
    }
    flush(written, [END]);
  } finally {
    closeSync(written);
  }
}

function flush(fd: number, parts: readonly Buffer[]): Buffer[] {
  const bytes = Buffer.concat(parts);
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
  return [];
}

function contentOf(tar: string, wanted: (entry: TarEntry) => boolean): Buffer {
  const bytes = readFileSync(tar);
  const fd = openSync(tar, 'r');
  try {
    const files = scanTarFd(fd, bytes.length).entries.filter((entry) => entry.type === 'reg' && wanted(entry));
    return Buffer.concat(files.map(({ payloadOffset: at, payloadSize }) => bytes.subarray(at, at + payloadSize)));
  } finally {
    closeSync(fd);
  }
}

function describe(tar: string): Pick<SampleLayer, 'bytes' | 'entries' | 'files' | 'hot' | 'hotBytes'> {
  const fd = openSync(tar, 'r');
  try {
    const bytes = readFileSync(tar).length;
    const { entries } = scanTarFd(fd, bytes);
    const files = entries.filter((entry) => entry.type === 'reg' && entry.size > 0);
    const step = Math.round(1 / HOT_PART);
    const hot = files.filter((_, i) => files.length > step && i % step === step >> 1);
    const hotBytes = hot.reduce((sum, entry) => sum + entry.size, 0);
    return { bytes, entries: entries.length, files: files.length, hot: hot.map((entry) => entry.path), hotBytes };
  } finally {
    closeSync(fd);
  }
}
