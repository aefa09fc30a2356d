// The same image whatever Node runs hotlayer and however many threads there are. Other versions of Node are packages in
// npm's registry, which hold the program itself; where they cannot be had, that is said and the test is skipped.
import assert from 'node:assert/strict';
import { execFileSync, type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { withLock } from '../../src/image/lock.js';
import { makeTempDir } from '../../src/temp.js';
import { MIB } from '../../src/units.js';
import { CACHE } from '../support/go.js';
import { digestOf } from '../support/layout.js';
import { dir, file, tarOf } from '../support/tar.js';
import { BIN, noFuse } from './cli.js';
import { noise, sampleImage } from './sample.js';

const VERSIONS = ['22.23.3', '24.21.0'];
const PACKAGE = `node-linux-${process.arch}`;

/** Path of that version's program, from the cache or installed now; a reason when it cannot be had. */
async function nodeOf(version: string): Promise<{ program: string } | { lacking: string }> {
  const home = join(CACHE, `node-${version}`);
  const program = join(home, 'node_modules', PACKAGE, 'bin/node');
  mkdirSync(CACHE, { recursive: true });
  await withLock(
    CACHE,
    async () => {
      if (existsSync(program)) return;
      const flags = ['--ignore-scripts', '--no-save', '--no-package-lock', '--no-audit', '--no-fund'];
      const made = `${home}.tmp`;
      try {
        rmSync(made, { recursive: true, force: true });
        mkdirSync(made);
        execFileSync('npm', ['install', ...flags, '--prefix', made, `${PACKAGE}@${version}`], {
          stdio: 'pipe',
          timeout: 5 * 60_000,
        });
        rmSync(home, { recursive: true, force: true });
        renameSync(made, home);
      } catch {
        rmSync(made, { recursive: true, force: true });
      }
    },
    10 * 60_000,
  );
  return existsSync(program)
    ? { program }
    : { lacking: `the package ${PACKAGE}@${version} cannot be installed from here` };
}

describe('the same bytes', () => {
  const temp = makeTempDir(undefined, 'hl-e2e-nodes');
  after(() => temp.remove());
  let serial = 0;

  /** Digests of all files of the optimized image, and the TOC digest and diffID beside them in its documents. */
  function optimized(node: string, flags: readonly string[]): Record<string, string> {
    const target = join(temp.path, `out-${serial++}`);
    const args = ['optimize', `oci:${join(temp.path, 'image')}`, `oci:${target}:t`, '--plan', join(temp.path, 'plan')];
    execFileSync(node, [BIN, ...args, '--chunk-size', '256KiB', ...flags], { stdio: 'pipe' });
    const files = readdirSync(target, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    const paths = files.map((entry) => join(entry.parentPath ?? entry.path, entry.name)).sort();
    return Object.fromEntries(paths.map((path) => [path.slice(target.length), digestOf(readFileSync(path))]));
  }

  const flagsOf: readonly (readonly string[])[] = [[], ['--codec', 'zlib'], ['--codec', 'pako', '--hot-level', '1']];
  const first: Record<string, string>[] = [];
  before(() => {
    // More than one batch of bytes, and more than the megabyte below which no threads are started.
    const small = Array.from({ length: 500 }, (_, i) => file(`app/f${i}`, noise(3000 + i, i).toString('base64')));
    const layers = [tarOf(dir('app/'), ...small, file('app/big', noise(3 * MIB))), tarOf(file('etc/x', 'x'))];
    sampleImage(join(temp.path, 'image'), { layers });
    const plan = join(temp.path, 'plan');
    const args = ['optimize', `oci:${join(temp.path, 'image')}`, 'oci:unused', '--no-profile', '--dry-run'];
    execFileSync(process.execPath, [BIN, ...args, '--save-plan', plan, '--chunk-size', '256KiB'], { stdio: 'pipe' });
    const document = JSON.parse(readFileSync(plan, 'utf8')) as { layers: object[] };
    const hot = ['app', 'app/f7', 'app/big', 'app/f300'].map((path) => ({ path, because: 'test', size: 0 }));
    Object.assign(document.layers[0]!, { hot, landmark: 'prefetch' });
    writeFileSync(plan, JSON.stringify(document));
    for (const flags of flagsOf) first.push(optimized(process.execPath, flags));
    assert.ok(Object.keys(first[0]!).length === 6, 'two layers, two documents, index.json, oci-layout');
  });

  for (const jobs of [1, 2, 8]) {
    test(`${jobs} threads`, () => {
      assert.deepEqual(optimized(process.execPath, ['--jobs', `${jobs}`]), first[0]);
    });
  }

  for (const version of VERSIONS) {
    test(`Node ${version}`, async (t) => {
      const node = await nodeOf(version);
      if ('lacking' in node) return t.skip(node.lacking);
      assert.equal(execFileSync(node.program, ['--version'], { encoding: 'utf8' }).trim(), `v${version}`);
      for (const [i, flags] of flagsOf.entries())
        assert.deepEqual(optimized(node.program, flags), first[i], `${flags}`);
    });
  }
});

describe('nothing but what the container says', { skip: noFuse() }, () => {
  for (const version of VERSIONS) {
    test(`run on Node ${version}, through both transports`, async (t) => {
      const node = await nodeOf(version);
      if ('lacking' in node) return t.skip(node.lacking);
      for (const transport of ['raw', 'fuse-native']) {
        const words = [BIN, 'run', '--transport', transport, 'dir:/', '--', 'echo', 'said'];
        const ran: SpawnSyncReturns<string> = spawnSync(node.program, ['--', ...words], { encoding: 'utf8' });
        const { status, stdout, stderr } = ran;
        assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: 'said\n', stderr: '' }, transport);
      }
    });
  }
});
