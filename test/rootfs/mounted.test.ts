// Both sources behind a real mount, where GNU find and tar read them as any program would.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { linkSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { probeFuse, UNSHARE } from '../../src/fuse/index.js';
import { pathToBytes } from '../../src/paths.js';
import { makeTempDir } from '../../src/temp.js';
import { lacking } from '../support/tools.js';
import type { MountedArgs } from './mounted-fs.js';

const temp = makeTempDir(undefined, 'mounted-test');
after(() => temp.remove());

const probe = probeFuse();
if (!probe.ok && process.env.HOTLAYER_REQUIRE_E2E === '1') throw new Error(`no FUSE here: ${probe.detail}`);
const skip = probe.ok ? lacking('unshare', 'find', 'tar', 'setfattr', 'getfattr') : `no FUSE here: ${probe.detail}`;

/** Mounts, runs shell lines with $m = the mountpoint, unmounts. Returns what the lines print, and closeFs's result. */
function withMount(mountpoint: string, args: MountedArgs, lines: string): { out: string; left: number } {
  const url = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);
  const program = `
    import { execFile } from 'node:child_process';
    import { promisify } from 'node:util';
    import { rawTransport } from ${url('../../src/fuse/index.js')};
    const mounted = await rawTransport.mount({
      mountpoint: ${JSON.stringify(mountpoint)},
      module: ${url('./mounted-fs.js')},
      args: ${JSON.stringify(args)},
    });
    try {
      const env = { ...process.env, m: ${JSON.stringify(mountpoint)}, LC_ALL: 'C' };
      const options = { env, encoding: 'buffer', maxBuffer: 2 ** 26 };
      const { stdout } = await promisify(execFile)('sh', ['-ec', ${JSON.stringify(lines)}], options);
      process.stdout.write(stdout);
    } finally {
      await mounted.unmount();
    }
    process.stderr.write('LEFT ' + (await mounted.closed));
  `;
  const unshare = UNSHARE[probe.namespace ?? 'user'];
  const node = [process.execPath, '--input-type=module', '-e', program];
  const run = spawnSync('unshare', [...unshare, '--', ...node], { encoding: 'latin1', timeout: 60_000 });
  assert.equal(run.status, 0, run.stderr);
  return { out: run.stdout, left: Number(/LEFT (\d+)$/.exec(run.stderr)?.[1]) };
}

/** One line per file: everything find can say that does not change with the file system it lies on. */
const LIST = String.raw`find . -mindepth 1 \( -type d -printf '%p %y %m %U:%G\n' -o -printf '%p %y %m %U:%G %n %s %T@ %l\n' \) | sort`;
const SUMS = 'find . -type f -exec sha256sum {} + | sort';

describe('mounted', { skip }, () => {
  const dir = join(temp.path, 'tree');
  mkdirSync(join(dir, 'a/b/c'), { recursive: true });
  for (let i = 0; i < 300; i++) writeFileSync(join(dir, 'a', `f${i}`), `content ${i}`.repeat(i * 10));
  linkSync(join(dir, 'a/f1'), join(dir, 'a/b/hard'));
  symlinkSync('../f2', join(dir, 'a/b/link'));
  writeFileSync(pathToBytes(`${dir}/a/latin1-\udce9`), 'x');

  const onDisk = (lines: string) =>
    execFileSync('sh', ['-ec', `cd "$m"; ${lines}`], {
      env: { ...process.env, m: dir, LC_ALL: 'C' },
      encoding: 'latin1',
    });

  for (const over of ['elsewhere', 'over its own source']) {
    test(`a directory, ${over}`, () => {
      const place = over === 'elsewhere' ? join(temp.path, 'mnt') : dir;
      mkdirSync(place, { recursive: true });
      const { out, left } = withMount(place, { dir, exclude: [] }, `cd $m; ${LIST}; ${SUMS}`);
      assert.equal(out, onDisk(`${LIST}; ${SUMS}`));
      assert.ok(out.split('\n').length > 600);
      assert.equal(
        left,
        306,
        'one node each: the root, 3 directories, a symlink, 301 files of which one has two names',
      );
    });
  }

  test('a directory that holds its own mountpoint: walked to the end, never into itself', () => {
    const place = join(dir, 'a/b/c/mnt');
    mkdirSync(place);
    const { out } = withMount(
      place,
      { dir, exclude: [place] },
      `cd $m; find . -name mnt; ls -A a/b/c/mnt | wc -l; ${SUMS}`,
    );
    assert.equal(out, `./a/b/c/mnt\n0\n${onDisk(SUMS)}`);
  });

  test('layers, with hardlinks across them and xattrs', () => {
    const upper = join(temp.path, 'upper');
    mkdirSync(join(upper, 'a'), { recursive: true });
    writeFileSync(join(upper, 'a/.wh.f3'), '');
    writeFileSync(join(upper, 'a/f4'), 'new');
    execFileSync('setfattr', ['-n', 'user.x', '-v', '0x00ff80', join(upper, 'a/f4')]);
    const tars = [dir, upper].map((from, i) => {
      const file = join(temp.path, `${i}.tar`);
      execFileSync('tar', ['--format=posix', '--xattrs', '-cf', file, '-C', from, '.']);
      return file;
    });
    const place = join(temp.path, 'mnt2');
    mkdirSync(place);
    const xattr = 'getfattr -n user.x -e hex --only-values a/f4 | od -An -tx1';
    const { out } = withMount(place, { tars }, `cd $m; ${LIST}; ${xattr}; cat a/f4; ls a/f3 2>&1 || :`);
    const list = onDisk(LIST).split('\n');
    const shown = out.split('\n');
    const changed = (line: string) => !/^\.\/a\/f[34] |\.wh\./.test(line);
    assert.deepEqual(shown.slice(0, -3).filter(changed), list.slice(0, -1).filter(changed));
    assert.match(shown.find((line) => line.startsWith('./a/f4 '))!, / 1 3 \d+\.\d+ $/);
    assert.match(out, / 00 ff 80\nnewls: .*No such file or directory\n$/);
  });
});
