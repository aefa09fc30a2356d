// Same input, same bytes: whatever the locale, the clock, the place of temporary files, the order of directories, the
// number of jobs; and what is optimized already stays as it is.
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Plan } from '../../src/analyze/types.js';
import type { OptimizeResult } from '../../src/rewrite/optimize.js';
import { makeTempDir } from '../../src/temp.js';
import { digestOf } from '../support/layout.js';
import { type CliOptions, documentOf, expectCli, noFuse } from './cli.js';
import { sampleImage } from './sample.js';

const temp = makeTempDir(undefined, 'hl-e2e-same');
const at = (name: string) => join(temp.path, name);
after(() => temp.remove());
const cwd = temp.path;

/** Some hot files of each layer, without running anything. */
const HOT = [
  ['etc', 'etc/passwd', 'usr', 'usr/bin', 'usr/bin/cat'],
  ['app', 'app/data.txt'],
  ['etc', 'etc/app', 'etc/app/settings'],
];

before(async () => {
  sampleImage(at('image'));
  const args = ['optimize', 'oci:image', 'oci:none', '--no-profile', '--dry-run', '--json'];
  // Chunks of several pieces, so that their boundaries are in the bytes.
  const { plan } = documentOf<{ plan: Plan }>(await expectCli(0, [...args, '--chunk-size', '64KiB'], { cwd }));
  const layers = plan.layers.map((layer, i) => {
    const hot = HOT[i]!.map((path) => ({ path, because: 'test', size: 0 }));
    return { ...layer, hot, landmark: 'prefetch' };
  });
  writeFileSync(at('plan.json'), JSON.stringify({ ...plan, layers }));
});

/** Every file of a layout, name and bytes. */
function filesOf(layout: string): Record<string, string> {
  const names = readdirSync(layout, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = names.map((entry) => join(entry.parentPath ?? entry.path, entry.name));
  return Object.fromEntries(paths.sort().map((path) => [path.slice(layout.length), digestOf(readFileSync(path))]));
}

let count = 0;
async function optimized(flags: string[] = [], options: CliOptions = {}, source = 'oci:image') {
  const target = `out-${count++}`;
  const how = flags.includes('-p') || flags.includes('--no-profile') ? [] : ['--plan', 'plan.json'];
  const args = ['optimize', source, `oci:${target}:same`, ...how, ...flags, '--chunk-size', '64KiB', '--json'];
  const { result } = documentOf<{ result: OptimizeResult }>(await expectCli(0, args, { cwd, ...options }));
  return { target, result, files: filesOf(at(target)) };
}

describe('same input, same bytes', () => {
  let first: Awaited<ReturnType<typeof optimized>>;
  before(async () => {
    first = await optimized();
    assert.ok(Object.keys(first.files).length === 7, 'five blobs, index.json, oci-layout');
  });

  const circumstances: [name: string, flags: string[], env: Record<string, string>][] = [
    ['once more', [], {}],
    ['another language', [], { LANG: 'tr_TR.UTF-8', LC_ALL: 'de_DE.UTF-8' }],
    ['another time zone', [], { TZ: 'Pacific/Kiritimati' }],
    ['SOURCE_DATE_EPOCH', [], { SOURCE_DATE_EPOCH: '1000000000' }],
    ['another place for temporary files', ['--tmpdir', 'elsewhere'], {}],
    ['more jobs', ['--jobs', '4'], {}],
    ['one job', ['--jobs', '1'], {}],
  ];
  for (const [name, flags, env] of circumstances) {
    test(name, async () => {
      mkdirSync(at('elsewhere'), { recursive: true });
      assert.deepEqual((await optimized(flags, { env })).files, first.files);
    });
  }

  test('another order of the directories on disk, and other times', async () => {
    cpSync(at('image'), at('shuffled'), { recursive: true });
    const blobs = join(at('shuffled'), 'blobs/sha256');
    for (const name of readdirSync(blobs).reverse()) {
      renameSync(join(blobs, name), at('moved'));
      writeFileSync(join(blobs, `padding-${name}`), '');
      renameSync(at('moved'), join(blobs, name));
      rmSync(join(blobs, `padding-${name}`));
      utimesSync(join(blobs, name), 1, 1);
    }
    assert.deepEqual((await optimized([], {}, 'oci:shuffled')).files, first.files);
  });

  test('zlib and pako write the same bytes', async () => {
    const zlib = await optimized(['--codec', 'zlib']);
    assert.deepEqual((await optimized(['--codec', 'pako'])).files, zlib.files);
    assert.notDeepEqual(zlib.files, first.files);
  });

  test('archives, too', async () => {
    const bytes = [];
    for (const kind of ['oci-archive', 'docker-archive']) {
      for (const name of ['one', 'two']) {
        const target = `${kind}:${kind}-${name}.tar:same/same:same`.replace(
          'same/same:',
          kind === 'oci-archive' ? '' : 'same/same:',
        );
        await expectCli(0, ['optimize', 'oci:image', target, '--plan', 'plan.json'], { cwd });
        bytes.push(digestOf(readFileSync(at(`${kind}-${name}.tar`))));
      }
    }
    assert.equal(bytes[0], bytes[1]);
    assert.equal(bytes[2], bytes[3]);
  });
});

describe('twice is once', () => {
  test('without a profile', async () => {
    const once = await optimized(['--no-profile']);
    const twice = await optimized(['--no-profile'], {}, `oci:${once.target}`);
    assert.deepEqual(twice.files, once.files);
  });

  test('with the same profile', { skip: noFuse() }, async () => {
    const args = ['profile', 'oci:image', '-r', '1', '-o', 'p.json', '--', '/app/run.sh'];
    await expectCli(0, args, { cwd });
    const once = await optimized(['-p', 'p.json']);
    assert.ok(once.result.layers.every((layer) => layer.hotEntries > 0));
    const twice = await optimized(['-p', 'p.json'], {}, `oci:${once.target}`);
    assert.deepEqual(
      twice.result.layers.map((layer) => layer.digest),
      once.result.layers.map((layer) => layer.digest),
    );
    assert.deepEqual(twice.files, once.files);
    await expectCli(0, ['verify', 'oci:image', `oci:${twice.target}`], { cwd });
  });

  test('a profile of the optimized image is one of the original', { skip: noFuse() }, async () => {
    const once = await optimized(['--no-profile']);
    const paths = async (image: string) => {
      const args = ['profile', image, '-r', '1', '-o', 'q.json', '--json', '--', '/app/run.sh'];
      const profile = documentOf<{ files: { path: string; ranges: unknown }[] }>(await expectCli(0, args, { cwd }));
      return profile.files.map((f) => [f.path, f.ranges]);
    };
    assert.deepEqual(await paths(`oci:${once.target}`), await paths('oci:image'));
  });
});
