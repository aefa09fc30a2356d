// Tars made by the real GNU tar and bsdtar, in all their formats, from random trees; compared with the tree itself and
// with the block numbers that GNU tar finds in them.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { testDir } from '../support/temp.js';
import { lacking } from '../support/tools.js';
import { random, type Scanned, scanBoth } from './scan-both.js';
import { compareWithTree, makeTree, type TreeOptions } from './source-tree.js';

interface Format {
  readonly tool: 'tar' | 'bsdtar';
  readonly args: readonly string[];
  readonly tree?: Partial<TreeOptions>;
  readonly precision?: 'ns';
  readonly sparse?: true;
}

const V7 = { maxPath: 95, maxLink: 99, oldTimes: false, devices: false };
const USTAR = { maxPath: 98, maxLink: 99, oldTimes: false };
const XATTRS = ['--xattrs', '--xattrs-include=*'];

const FORMATS: Record<string, Format> = {
  'GNU tar v7': { tool: 'tar', args: ['--format=v7'], tree: V7 },
  'GNU tar ustar': { tool: 'tar', args: ['--format=ustar'], tree: USTAR },
  'GNU tar oldgnu': { tool: 'tar', args: ['--format=oldgnu'] },
  'GNU tar gnu': { tool: 'tar', args: ['--format=gnu', '-b', '1'] },
  'GNU tar gnu, sparse': { tool: 'tar', args: ['--format=gnu', '-S'], sparse: true },
  'GNU tar gnu, incremental': { tool: 'tar', args: ['--format=gnu', '--incremental'] },
  'GNU tar gnu, labelled': { tool: 'tar', args: ['--format=gnu', '--label=a volume'] },
  'GNU tar posix': { tool: 'tar', args: ['--format=posix', ...XATTRS], tree: { xattrs: true }, precision: 'ns' },
  'GNU tar posix, labelled': { tool: 'tar', args: ['--format=posix', '--label=a volume'], precision: 'ns' },
  'GNU tar posix, global header': {
    tool: 'tar',
    args: ['--format=posix', '--pax-option=globexthdr.name=g,comment=made by a test,delete=atime'],
    precision: 'ns',
  },
  'GNU tar posix, sparse 0.0': {
    tool: 'tar',
    args: ['--format=posix', '-S', '--sparse-version=0.0'],
    precision: 'ns',
    sparse: true,
  },
  'GNU tar posix, sparse 0.1': {
    tool: 'tar',
    args: ['--format=posix', '-S', '--sparse-version=0.1'],
    precision: 'ns',
    sparse: true,
  },
  'GNU tar posix, sparse 1.0': {
    tool: 'tar',
    args: ['--format=posix', '-S', '--sparse-version=1.0', ...XATTRS],
    tree: { xattrs: true },
    precision: 'ns',
    sparse: true,
  },
  'bsdtar v7': { tool: 'bsdtar', args: ['--format=v7'], tree: { ...V7, modest: true } },
  'bsdtar ustar': { tool: 'bsdtar', args: ['--format=ustar'], tree: { ...USTAR, modest: true } },
  'bsdtar gnutar': { tool: 'bsdtar', args: ['--format=gnutar'], tree: { oldTimes: false } },
  'bsdtar pax': {
    tool: 'bsdtar',
    args: ['--format=pax', '--xattrs', '--no-read-sparse'],
    tree: { xattrs: true, oldTimes: 'whole' },
    precision: 'ns',
  },
  // bsdtar 3.6 writes a wrong GNU.sparse.name (that of another entry) for names that its locale cannot express.
  'bsdtar pax, sparse': {
    tool: 'bsdtar',
    args: ['--format=pax', '--xattrs'],
    tree: { xattrs: true, oldTimes: 'whole', foreignNames: false },
    precision: 'ns',
    sparse: true,
  },
};

const DEFAULT_TREE: TreeOptions = {
  maxPath: 900,
  maxLink: 4000,
  oldTimes: true,
  devices: true,
  modest: false,
  foreignNames: true,
  xattrs: false,
};

function run(tool: string, args: readonly string[]): Buffer {
  const { status, stdout, stderr, error } = spawnSync(tool, args, {
    env: { ...process.env, LC_ALL: 'C', TAR_OPTIONS: '' },
    maxBuffer: 1 << 28,
  });
  if (error) throw error;
  assert.equal(status, 0, `${tool} ${args.join(' ')}: ${stderr}`);
  return stdout;
}

/** Where GNU tar sees headers and the end. */
function compareWithBlockNumbers(path: string, { scan }: Scanned): void {
  const blocks: number[] = [];
  let end: number | undefined;
  const listing = run('tar', ['-t', '-R', '--quoting-style=escape', '--warning=none', '-f', path]).toString('latin1');
  for (const line of listing.split('\n')) {
    const match = /^block (\d+): (.*)$/.exec(line);
    if (!match) continue;
    if (match[2] === '** Block of NULs **') end = Number(match[1]);
    else blocks.push(Number(match[1]));
  }
  // GNU tar lists labels, which PAX has in a global header, but no other global headers.
  const labels = scan.globals.filter(({ flag, records }) => flag === 'V' || records.has('GNU.volume.label'));
  const listed = [...scan.entries, ...labels].sort((a, b) => a.headerOffset - b.headerOffset);
  assert.equal(blocks.length, listed.length);
  for (const [i, { headerOffset, end }] of listed.entries()) {
    const at = blocks[i]! * 512;
    assert.ok(headerOffset <= at && at < end, `entry ${i}: ${headerOffset} … ${end}, GNU tar has it at ${at}`);
  }
  assert.equal(scan.end, (end ?? Number.NaN) * 512);
}

function roundTrip(t: TestContext, format: Format, seed: number): Scanned {
  t.diagnostic(`seed ${seed}`);
  const dir = testDir(t);
  const next = random(seed);
  mkdirSync(join(dir, 'root'));
  const tree = makeTree(join(dir, 'root'), next, { ...DEFAULT_TREE, ...format.tree });
  const path = join(dir, 'x.tar');
  run(format.tool, [...format.args, '-cf', path, '-C', tree.root, '.']);
  const tar = readFileSync(path);
  const scanned = scanBoth(t, tar, next);
  compareWithTree(scanned, tree, format.precision ?? 's');
  compareWithBlockNumbers(path, scanned);
  assert.equal(scanned.scan.trailing, 0);
  if (format.sparse) {
    const extents = scanned.scan.entries.map((entry) => entry.sparse?.length ?? 0);
    assert.ok(Math.max(...extents) > 4, 'no sparse file with more than four extents');
  }
  return scanned;
}

for (const [title, format] of Object.entries(FORMATS)) {
  test(title, { skip: lacking('tar', format.tool, 'setfattr') }, (t) => {
    const { scan } = roundTrip(t, format, 1);
    assert.deepEqual(scan.warnings, []);
    if (title.includes('labelled')) assert.equal(scan.globals.length, 1);
    if (title.includes('global')) assert.equal(scan.globals[0]?.records.get('comment')?.toString(), 'made by a test');
  });
}

const SEEDS = Number(process.env.HOTLAYER_TEST_SEEDS ?? 6);
const FIRST_SEED = Number(process.env.HOTLAYER_TEST_SEED ?? Date.now() % 1_000_000);
for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
  const names = Object.keys(FORMATS);
  const name = names[Math.floor(random(seed)() * names.length)]!;
  const format = FORMATS[name]!;
  test(`random tree, seed ${seed}: ${name}`, { skip: lacking('tar', format.tool, 'setfattr') }, (t) => {
    roundTrip(t, format, seed);
  });
}
