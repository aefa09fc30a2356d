// Very large layers: 10 GB beside 0.3 GB of the same kind, and a million entries. Peak memory, and whether the time grows
// with the size only.
//   npm run bench:scale -- [--rounds 3] [--only small,large,entries,planned] [--directory DIR] [--note TEXT] [--no-report]
// The layers are made anew and are large: DIR (default: TMPDIR) needs some 3 GB, on a file system that stores holes.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Digest } from '../src/image/digest.js';
import { MEDIA } from '../src/image/types.js';
import { makeTempDir } from '../src/temp.js';
import { formatBytes, MIB } from '../src/units.js';
import { addToIndex, HOST_ARCHITECTURE, putJson } from '../test/support/layout.js';
import { dir, END, file, symlink } from '../test/support/tar.js';
import { type Cost, measure } from './support/measure.js';
import { describeHotlayer, describeMachine, machineLine, markdownTable, ROOT, writeReport } from './support/report.js';
import { makeRandom, median } from './support/statistics.js';

interface Case {
  readonly name: 'small' | 'large' | 'entries' | 'planned';
  readonly about: string;
  /** Bytes of peak memory that are allowed. */
  readonly maxMemory: number;
  /** Writes the tar. @returns how many entries it has */
  make(fd: number): number;
  /** The files that a start reads; absent: nothing goes first. */
  readonly hot?: readonly string[];
}

const HOTLAYER = [process.execPath, join(ROOT, 'bin/hotlayer.js')];
const MB = 1e6;
const FILE_BYTES = 32 * MIB;
/** So much at the begin of each file has content; the rest is a hole, which is as much work to hash, less to compress. */
const CONTENT_BYTES = 4 * MIB;
const LARGE_BYTES = 10_000 * MB;
const SMALL_BYTES = 300 * MB;
const ENTRIES = 1_000_000;
/** Bytes per second on the large layer, of those on the small one. */
const MIN_LINEARITY = 0.9;

const CASES: readonly Case[] = [
  { name: 'small', about: '0.3 GB in files of 32 MiB', maxMemory: 300 * MB, make: (fd) => bigFiles(fd, SMALL_BYTES) },
  { name: 'large', about: '10 GB of the same', maxMemory: 300 * MB, make: (fd) => bigFiles(fd, LARGE_BYTES) },
  { name: 'entries', about: '1 000 000 entries, most of them small files', maxMemory: 600 * MB, make: manyEntries },
  {
    name: 'planned',
    about: 'the same, planned by a profile of 2000 files',
    maxMemory: 600 * MB,
    make: manyEntries,
    hot: Array.from({ length: 2000 }, (_, i) => `/${entryName(2 + 450 * i + (i % 48))}`),
  },
];

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', default: CASES.map((one) => one.name).join() },
    directory: { type: 'string', default: process.env.TMPDIR || tmpdir() },
    note: { type: 'string', default: '' },
    'no-report': { type: 'boolean', default: false },
  },
});
const say = (text: string) => process.stderr.write(`${text}\n`);
using temp = makeTempDir(values.directory, 'hotlayer-scale');
const chosen = CASES.filter((one) => values.only.split(',').includes(one.name));
const layers = chosen.map((one) => {
  say(`making ${one.about} …`);
  const image = makeImage(one, join(temp.path, one.name));
  return { ...one, ...image, how: howToPlan(one, image.reference), costs: [] as Cost[] };
});
for (let round = 0; round < Number(values.rounds); round++) {
  for (const { name, reference, how, costs } of layers) {
    const target = join(temp.path, 'target');
    const cost = await measure([
      ...HOTLAYER,
      ...['optimize', reference, `oci:${target}:new`, ...how, '--quiet', '--tmpdir', temp.path],
    ]);
    rmSync(target, { recursive: true });
    costs.push(cost);
    say(
      `${round + 1}/${values.rounds} ${name.padEnd(8)} ${(cost.wallMs / 1000).toFixed(2)} s, ${formatBytes(cost.peakBytes)}`,
    );
  }
}
const results = layers.map(({ name, about, maxMemory, bytes, entries, costs }) => {
  const rate = bytes / MB / (median(costs.map((cost) => cost.wallMs)) / 1000);
  return {
    name,
    about,
    maxMemory,
    bytes,
    entries,
    costs,
    rate,
    peakBytes: Math.max(...costs.map((one) => one.peakBytes)),
  };
});
const rateOf = (name: Case['name']) => results.find((result) => result.name === name)?.rate;
/** Of CPU time, which neighbours change less. */
const perCpu = (name: Case['name']) => {
  const found = results.find((result) => result.name === name);
  return found && found.bytes / median(found.costs.map((cost) => cost.cpuMs));
};
const [smallCpu, largeCpu] = [perCpu('small'), perCpu('large')];
const [small, large] = [rateOf('small'), rateOf('large')];
const linearity = small !== undefined && large !== undefined ? large / small : undefined;
const misses = [
  ...results
    .filter(({ peakBytes, maxMemory }) => peakBytes > maxMemory)
    .map(
      ({ about, peakBytes, maxMemory }) =>
        `${about}: ${formatBytes(peakBytes)} of memory, allowed are ${formatBytes(maxMemory)}`,
    ),
  ...(linearity !== undefined && linearity < MIN_LINEARITY
    ? [`10 GB go at ${linearity.toFixed(2)} of the small layer's rate`]
    : []),
];
const machine = describeMachine({ architecture: ['uname', '-m'] });
const rows = results.map(({ about, bytes, entries, rate, costs, peakBytes, maxMemory }) => [
  about,
  formatBytes(bytes),
  `${entries}`,
  `${(median(costs.map((cost) => cost.wallMs)) / 1000).toFixed(1)} s`,
  `${(median(costs.map((cost) => cost.cpuMs)) / 1000).toFixed(1)} s`,
  `${rate.toFixed(0)} MB/s`,
  formatBytes(peakBytes),
  formatBytes(maxMemory),
]);
const markdown = `# Very large layers

${misses.length === 0 ? 'Everything that was asked for holds.' : `**Does not hold:** ${misses.join('; ')}.`}

${markdownTable(['', 'tar', 'entries', 'time', 'CPU', 'rate', 'peak memory', 'allowed'], rows)}
${linearity === undefined ? '' : `\n10 GB are converted at ${linearity.toFixed(2)} of the rate of 0.3 GB, or ${(largeCpu! / smallCpu!).toFixed(2)} by CPU time; asked for is ${MIN_LINEARITY} at least.\n`}
**Method.** The command that a user runs, \`hotlayer optimize\`, from an OCI layout with the layer as an uncompressed tar into another OCI layout, with \`--no-profile\` or, where it says so, with \`-p\` and a profile made by \`hotlayer import\`;
${values.rounds} rounds in turn, medians. An eighth of each file of 32 MiB is text-like content, the rest is zeros. Memory is the largest VmHWM of the process in all rounds, its threads included; its only child, a shell that waits to clean up, has 1 MB.

**Machine.** ${machineLine(machine)} ${values.note}
`;
process.stdout.write(markdown);
if (!values['no-report'])
  say(
    `written: ${writeReport('bench-scale', { schemaVersion: 1, hotlayer: describeHotlayer(), machine, linearity, results }, markdown).join(', ')}`,
  );
process.exitCode = misses.length === 0 ? 0 : 1;

/** Flags that say what goes first. */
function howToPlan({ name, hot }: Case, reference: string): string[] {
  if (!hot) return ['--no-profile'];
  const [list, profile] = [join(temp.path, `${name}.list`), join(temp.path, `${name}.json`)];
  writeFileSync(list, `${hot.join('\n')}\n`);
  const args = ['import', list, reference, '--output', profile, '--quiet', '--tmpdir', temp.path];
  execFileSync(HOTLAYER[0]!, [...HOTLAYER.slice(1), ...args], { stdio: 'ignore' });
  return ['--profile', profile];
}

function makeImage({ make }: Case, layout: string): { reference: string; bytes: number; entries: number } {
  const blobs = join(layout, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  const path = join(layout, 'layer.tar');
  const fd = openSync(path, 'w+');
  const entries = make(fd);
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(4 * MIB);
  let bytes = 0;
  for (let got = -1; got !== 0; bytes += got) {
    got = readSync(fd, buffer, 0, buffer.length, bytes);
    hash.update(buffer.subarray(0, got));
  }
  closeSync(fd);
  const digest: Digest = `sha256:${hash.digest('hex')}`;
  renameSync(path, join(blobs, digest.slice(7)));
  const platform = { os: 'linux', architecture: HOST_ARCHITECTURE };
  const config = putJson(layout, { ...platform, rootfs: { type: 'layers', diff_ids: [digest] } }, MEDIA.config);
  const layer = { mediaType: MEDIA.layerTar, digest, size: bytes };
  const manifest = { schemaVersion: 2, mediaType: MEDIA.manifest, config, layers: [layer] };
  const named = { 'org.opencontainers.image.ref.name': 'latest' };
  addToIndex(layout, { ...putJson(layout, manifest, MEDIA.manifest), annotations: named });
  return { reference: `oci:${layout}:latest`, bytes, entries };
}

/** Sentences of random words: compresses to about a third, as programs do. */
function content(seed: number): Buffer {
  const random = makeRandom(seed);
  const words = Array.from({ length: 4096 }, () =>
    Math.floor(random() * 36 ** 6)
      .toString(36)
      .padEnd(3 + Math.floor(random() * 8), 'e'),
  );
  const parts: string[] = [];
  for (let size = 0; size < CONTENT_BYTES; size += parts.at(-1)!.length)
    parts.push(`${words[Math.floor(random() * random() * words.length)]} `);
  return Buffer.from(parts.join('').slice(0, CONTENT_BYTES));
}

function bigFiles(fd: number, bytes: number): number {
  const bodies = [1, 2, 3, 4].map(content);
  const count = Math.round(bytes / FILE_BYTES);
  let at = 0;
  for (let i = 0; i < count; i++) {
    const [header] = [file(`data/file-${i}`, Buffer.alloc(FILE_BYTES)).subarray(0, 512)];
    writeSync(fd, header!, 0, 512, at);
    writeSync(fd, bodies[i % 4]!, 0, CONTENT_BYTES, at + 512);
    at += 512 + FILE_BYTES;
  }
  ftruncateSync(fd, at + END.length);
  return count;
}

function directoryOf(i: number): string {
  return `srv/packages/group-${Math.floor(i / 10_000)}/package-${Math.floor(i / 50)}/`;
}

/** Of a regular file: every fiftieth entry is a directory, the one after it a symlink. */
function entryName(i: number): string {
  return `${directoryOf(i)}module-${i}.js`;
}

function manyEntries(fd: number): number {
  const body = content(5);
  let parts: Buffer[] = [];
  for (let i = 0; i < ENTRIES; i++) {
    const parent = directoryOf(i);
    const mtime = 1_700_000_000 + (i % 1000);
    if (i % 50 === 0) parts.push(dir(parent, { mtime }));
    else if (i % 50 === 1) parts.push(symlink(`${parent}latest`, `module-${i + 1}.js`, { mtime }));
    else parts.push(file(entryName(i), body.subarray(i, i + 100 + (i % 300)), { mtime }));
    if (parts.length < 2000 && i + 1 < ENTRIES) continue;
    const bytes = Buffer.concat(i + 1 < ENTRIES ? parts : [...parts, END]);
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
    parts = [];
  }
  return ENTRIES;
}
