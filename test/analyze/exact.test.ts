// The trace is exact: a program that reads known ranges of known files yields exactly those pages, through the whole
// chain of layout, layers, FUSE mount, overlay, trace and profile.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { planImage } from '../../src/analyze/plan.js';
import { type ProfileOptions, profileDirectory, profileImage } from '../../src/analyze/profile-image.js';
import { type Range, unionRanges } from '../../src/analyze/ranges.js';
import type { Profile, ProfileFile, RangeCount } from '../../src/analyze/types.js';
import { probeFuse } from '../../src/fuse/index.js';
import { openImage } from '../../src/image/index.js';
import { spoolImage } from '../../src/rootfs/spooled-image.js';
import { makeTempDir } from '../../src/temp.js';
import { readTrace } from '../../src/trace/trace-file.js';
import { buildLayout } from '../support/layout.js';
import { patternBytes } from '../support/memory-fs.js';
import { refused } from '../support/refused.js';
import { dir, file, hardlink, symlink, tarOf, whiteout } from '../support/tar.js';
import { lacking } from '../support/tools.js';
import { newSeed, random } from './support.js';

const PAGE = 4096;

function whyNot(): string | false {
  const tools = lacking('gcc', 'unshare', 'mount');
  if (tools) return tools;
  const probe = probeFuse();
  if (probe.ok) return false;
  if (process.env.HOTLAYER_REQUIRE_E2E === '1') throw new Error(`HOTLAYER_REQUIRE_E2E=1, but ${probe.detail}`);
  return probe.detail;
}
const skip = whyNot();

const SIZES: Record<string, number> = { big: 3_000_000, odd: 123_457, small: 100, over: 50_000, empty: 0, only: 5000 };

const tmp = makeTempDir();
after(() => tmp.remove());
let reference = '';
let program = Buffer.alloc(0);

before(() => {
  if (skip) return;
  const binary = join(tmp.path, 'access');
  const source = fileURLToPath(new URL('../../../test/trace/access.c', import.meta.url));
  execFileSync('gcc', ['-static', '-O1', '-o', binary, source]);
  program = readFileSync(binary);
  const data = (name: string, seed: number) => file(`data/${name}`, patternBytes(seed, SIZES[name]!));
  const lower = tarOf(
    dir('bin/'),
    file('etc/passwd', 'root:x:0:0::/:/bin/sh\napp:x:1000:1001::/:/bin/sh\n'),
    file('etc/group', 'app:x:1001:\n'),
    file('bin/access', program, { mode: 0o755 }),
    dir('data/'),
    data('big', 1),
    file('data/over', 'the old content'),
    file('data/gone', 'deleted above'),
    data('only', 2),
    hardlink('data/only-too', 'data/only'),
    symlink('data/to-big', 'big'),
    symlink('dirlink', '/data'),
  );
  const upper = tarOf(data('odd', 3), data('small', 4), data('over', 5), data('empty', 6), whiteout('data/gone'));
  reference = buildLayout(join(tmp.path, 'image'), {
    layers: [lower, upper],
    config: { config: { Cmd: ['/bin/access'] } },
  }).reference;
});

async function profile(args: readonly string[], more: Partial<ProfileOptions> = {}): Promise<Profile> {
  await using image = await openImage(reference);
  using spooled = await spoolImage(image);
  return await profileImage(spooled, {
    runs: 1,
    process: { args: ['/bin/access', ...args], env: ['PATH=/bin'], cwd: '/', user: '' },
    until: [],
    timeoutNanos: 30e9,
    precision: 'exact',
    tempParent: tmp.path,
    ...more,
  });
}

function fileOf(of: Profile, path: string): ProfileFile {
  const found = of.files.find((f) => f.path === path);
  assert.ok(found, `${path} is not in the profile: ${of.files.map((f) => f.path).join(' ')}`);
  return found;
}

/** Whole pages of the file that the ranges lie on. */
function pages(name: string, ranges: readonly Range[]): Range[] {
  const size = SIZES[name]!;
  return unionRanges(
    ranges.map(([offset, length]): Range => {
      const first = Math.floor(offset / PAGE) * PAGE;
      return [first, Math.min(size, Math.ceil((offset + length) / PAGE) * PAGE) - first];
    }),
  );
}

const counted = (ranges: readonly Range[], runs: number) =>
  ranges.map(([offset, length]): RangeCount => [offset, length, runs]);

test('each way of reading yields exactly the pages it touches, in every run', { skip }, async () => {
  const traces = join(tmp.path, 'traces');
  const steps: string[] = [];
  const got = await profile(
    [
      'r:/data/big:10000:5',
      's:/data/big:100000:9000',
      'm:/data/big:2000000:20000',
      'm:/data/odd:123456:1',
      's:/data/small:0:100',
      'r:/data/to-big:2999999:1',
      'r:/dirlink/over:4095:2',
      'r:/data/only-too:4999:1',
      'o:/data/empty',
      'n:/data/gone',
      'n:/data/never',
      'n:/nowhere/at/all',
      'l:/dirlink',
      'd:/data',
    ],
    { runs: 2, keepTraces: traces, onProgress: ({ phase, run }) => steps.push(`${phase} ${run}`) },
  );
  assert.equal(got.complete, true, got.runs.map((run) => run.incompleteBecause).join());
  assert.deepEqual(
    fileOf(got, '/data/big').ranges,
    counted(
      pages('big', [
        [10_000, 5],
        [100_000, 9000],
        [2_000_000, 20_000],
        [2_999_999, 1],
      ]),
      2,
    ),
  );
  assert.deepEqual(fileOf(got, '/data/odd').ranges, counted(pages('odd', [[123_456, 1]]), 2));
  assert.deepEqual(fileOf(got, '/data/small').ranges, [[0, 100, 2]]);
  assert.deepEqual(fileOf(got, '/data/over').ranges, [[0, 8192, 2]]);
  assert.deepEqual(fileOf(got, '/data/only').ranges, [[4096, 904, 2]]);
  const facts = (path: string) => {
    const { layer, size, seenIn, openedIn, executed, comms } = fileOf(got, path);
    return { layer, size, seenIn, openedIn, executed, comms };
  };
  const twice = { seenIn: 2, openedIn: 2, executed: undefined, comms: ['access'] };
  assert.deepEqual(facts('/data/over'), { layer: 1, size: 50_000, ...twice });
  assert.deepEqual(facts('/data/only'), { layer: 0, size: 5000, ...twice });
  assert.deepEqual(facts('/data/empty'), { layer: 1, size: 0, ...twice });
  assert.deepEqual(facts('/dirlink'), { layer: 0, size: 0, ...twice });
  assert.equal(fileOf(got, '/bin/access').executed, true);
  assert.equal(fileOf(got, '/bin/access').size, program.length);
  assert.equal(got.agreement.files, 1);
  const missed = Object.fromEntries(got.misses.directories.map(({ path, count }) => [path, count]));
  assert.equal(missed['/data'], 4, 'data/gone and data/never, in two runs');
  assert.ok(missed['/']! >= 2, 'nowhere');
  assert.ok(got.files.every(({ path }) => !/gone|never|nowhere|only-too/.test(path)));
  assert.deepEqual(steps, ['start 1', 'end 1', 'start 2', 'end 2']);
  assert.deepEqual(readdirSync(traces).sort(), ['run-1.trace.gz', 'run-2.trace.gz']);
  const trace = await readTrace(join(traces, 'run-2.trace.gz'));
  assert.equal(trace.end.complete, true);
  assert.equal(trace.end.events, got.runs[1]?.events);
  assert.equal(trace.header.image.digest, got.image.digest);
});

test('random ranges by read, mmap and parallel children', { skip }, async () => {
  const seed = newSeed('exact');
  const draw = random(seed);
  const wanted = new Map<string, Range[]>();
  const actions: string[] = [];
  for (let i = 0; i < 80; i++) {
    const name = ['big', 'odd', 'over'][draw(3)]!;
    const offset = draw(SIZES[name]!);
    const length = 1 + draw(Math.min(30_000, SIZES[name]! - offset));
    actions.push(`${'rsmf'[draw(4)]}:${draw(2) ? '/data' : '/dirlink'}/${name}:${offset}:${length}`);
    wanted.set(name, [...(wanted.get(name) ?? []), [offset, length]]);
  }
  const got = await profile(actions);
  assert.equal(got.complete, true);
  for (const [name, ranges] of wanted) {
    assert.deepEqual(fileOf(got, `/data/${name}`).ranges, counted(pages(name, ranges), 1), `SEED=${seed} ${name}`);
  }
});

test('fast precision shows at least the pages that were read', { skip }, async () => {
  const got = await profile(['r:/data/big:100000:9000'], { precision: 'fast' });
  assert.equal(got.precision, 'fast');
  const read = fileOf(got, '/data/big').ranges;
  const want = pages('big', [[100_000, 9000]]);
  assert.deepEqual(
    unionRanges([...read.map(([o, l]): Range => [o, l]), ...want]),
    read.map(([o, l]) => [o, l]),
  );
});

test("a file that was only stat'ed is seen, not opened", { skip }, async () => {
  const got = await profile(['t:/data/big']);
  const { seenIn, openedIn, ranges } = fileOf(got, '/data/big');
  assert.deepEqual([seenIn, openedIn, ranges], [1, 0, []]);
});

test('what the runner reads to find the user counts, with a time before the start', { skip }, async () => {
  const process = { args: ['/bin/access', 'r:/data/small:0:1'], env: [], cwd: '/', user: 'app' };
  const got = await profile([], { process });
  for (const path of ['/etc/passwd', '/etc/group']) {
    const { openedIn, firstAccess, ranges, size } = fileOf(got, path);
    assert.equal(openedIn, 1, path);
    assert.ok(firstAccess.median < 0, `${path} at ${firstAccess.median}`);
    assert.deepEqual(ranges, [[0, size, 1]]);
  }
  assert.ok(fileOf(got, '/data/small').firstAccess.median > 0);
  assert.equal(got.workload.user, 'app');
});

test('the plan puts what was touched first, in the layer that owns it', { skip }, async () => {
  const got = await profile(['r:/dirlink/over:0:1', 'r:/data/only-too:0:1', 't:/data/big']);
  await using image = await openImage(reference);
  using spooled = await spoolImage(image);
  const plan = planImage(spooled, { profile: got });
  assert.deepEqual(
    plan.layers.map((layer) => layer.hot.map((entry) => entry.path)),
    [['etc/passwd', 'etc/group', 'bin', 'bin/access', 'data', 'data/only'], ['data/over']],
  );
  // A symlink's target is in the table of contents.
  assert.deepEqual(
    plan.behind?.map(({ path }) => path),
    ['/dirlink'],
  );
  assert.deepEqual(
    plan.layers.map(({ digest, diffId }) => [digest, diffId]),
    image.layers.map(({ descriptor, diffId }) => [descriptor.digest, diffId]),
  );
  assert.deepEqual(plan.missed, []);
  const accounts = fileOf(got, '/etc/passwd').size + fileOf(got, '/etc/group').size;
  assert.equal(plan.layers[0]?.hotBytes, accounts + program.length + 5000);
  const none = planImage(spooled);
  assert.deepEqual(
    none.layers.map(({ landmark }) => landmark),
    ['no-prefetch', 'no-prefetch'],
  );
});

test('a workload that fails: its trace is kept, nothing else', { skip }, async () => {
  const traces = join(tmp.path, 'failed');
  const run = profile(['r:/data/nothing:0:1'], { keepTraces: traces });
  await assert.rejects(run, refused('HL_ERR_WORKLOAD', 'exit status 9', '/data/nothing'));
  assert.deepEqual(readdirSync(traces), ['run-1.trace.gz']);
  assert.deepEqual(
    readdirSync(tmp.path).filter((name) => name.startsWith('.')),
    [],
  );
});

test('a directory as the root file system', { skip }, async () => {
  const root = join(tmp.path, 'root');
  mkdirSync(root);
  await using image = await openImage(reference);
  using spooled = await spoolImage(image);
  for (const layer of spooled.layers) {
    execFileSync('tar', ['-xf', '-', '-C', root, '--exclude=.wh.*', '--no-same-owner'], {
      input: readAll(layer.fd, layer.size),
    });
  }
  const got = await profileDirectory(root, {
    runs: 1,
    process: { args: ['/bin/access', 'r:/dirlink/big:100000:9000', 'm:/data/odd:0:5000'], env: [], cwd: '/', user: '' },
    until: [],
    timeoutNanos: 30e9,
    precision: 'exact',
    tempParent: tmp.path,
  });
  assert.equal(got.complete, true);
  assert.deepEqual(fileOf(got, '/data/big').ranges, counted(pages('big', [[100_000, 9000]]), 1));
  assert.deepEqual(fileOf(got, '/data/odd').ranges, counted(pages('odd', [[0, 5000]]), 1));
  assert.equal(fileOf(got, '/data/big').layer, undefined);
  assert.equal(got.image.digest, undefined);
  // access, passwd, group, big, gone, odd, small, over, empty, only (one file of two names)
  assert.equal(got.image.files, 10);
  assert.ok(!existsSync(join(root, 'proc')));
});

function readAll(fd: number, size: number): Buffer {
  const chunks = readFileSync(`/proc/self/fd/${fd}`);
  assert.equal(chunks.length, size);
  return chunks;
}
