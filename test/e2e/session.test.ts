// Disposable sessions: over a directory, over this machine's own root, and of an image; what is kept, listed and
// committed of them. What others make of the layer counts: umoci unpacks it, skopeo copies it, tar lists it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Profile } from '../../src/analyze/types.js';
import { openImage } from '../../src/image/open.js';
import { makeTempDir } from '../../src/temp.js';
import { which } from '../support/host-root.js';
import { dir, file, tarOf } from '../support/tar.js';
import { lacking } from '../support/tools.js';
import { type CliOptions, cli, documentOf, expectCli, noFuse } from './cli.js';
import { programFiles, sampleImage, sampleLayers, writeRoot } from './sample.js';
import { asNobody, NOBODY } from './users.js';

const skip = noFuse() || lacking('umoci', 'skopeo', 'setfattr', 'setcap', 'fuse-overlayfs');
const isRoot = process.getuid!() === 0;
const nobody = asNobody(0o666);
const PROGRAMS = ['sh', 'cat', 'rm', 'mkdir', 'mv', 'chmod', 'chown', 'ln', 'touch'];

interface Entry {
  readonly name: string;
  readonly line: string;
}

/** Each user has a directory of their own; the roots belong to whoever runs the tests. */
for (const who of isRoot ? (['root', 'an ordinary user'] as const) : (['an ordinary user'] as const)) {
  describe(`sessions of ${who}`, { skip: skip || (who === 'root' ? false : nobody.skip) }, () => {
    const temp = makeTempDir(undefined, 'hl-e2e-session');
    after(() => temp.remove());
    const at = (name: string) => join(temp.path, name);
    const home = at('home');
    const options: CliOptions = { cwd: home, ...(who !== 'root' && { through: nobody.through }) };
    const root = () => `dir:${at('root')}`;
    const session = (status: number, reference: string, script: string, ...flags: string[]) =>
      expectCli(
        status,
        ['run', '--cache-dir', join(home, 'cache'), ...flags, reference, '--', '/bin/sh', '-c', script],
        options,
      );
    const tarList = (layout: string, layer: { digest: string }): Entry[] =>
      execFileSync('tar', ['-tvvzf', join(home, layout, 'blobs/sha256', layer.digest.slice(7)), '--xattrs'], {
        encoding: 'utf8',
        env: { ...process.env, TZ: 'UTC', LC_ALL: 'C' },
      })
        .split('\n')
        .filter((line) => /^[-dlhcbp]/.test(line))
        .map((line) => ({ line, name: line.split(/\s+/).slice(5).join(' ') }))
        .filter(({ name }) => !/landmark|stargz\.index/.test(name));

    before(() => {
      chmodSync(temp.path, 0o755);
      mkdirSync(home);
      if (isRoot && who !== 'root') chownSync(home, NOBODY, NOBODY);
      mkdirSync(at('root'));
      writeRoot(at('root'), PROGRAMS);
      for (const name of ['etc', 'tmp', 'var', 'var/old', 'var/other']) mkdirSync(join(at('root'), name));
      for (const [name, text] of [
        ['etc/passwd', 'root:x:0:0::/root:/bin/sh\n'],
        ['etc/conf', 'before\n'],
        ['etc/same', 'unchanged\n'],
        ['etc/gone', 'x'],
        ['var/old/a', 'a'],
        ['var/old/b', 'b'],
        ['var/other/c', 'c'],
      ] as const)
        writeFileSync(join(at('root'), name), text);
    });

    const SCRIPT = `echo after > /etc/conf; echo new > /etc/new; ln /etc/new /etc/twin; rm /etc/gone
      : >> /etc/same; chmod 751 /var; rm -r /var/old; mkdir /var/old; echo b2 > /var/old/b
      rm -r /var/other; mkdir -p /opt/x/y; echo deep > /opt/x/y/z; ln -s ../etc/new /opt/link`;
    /** No name for a file of a layer; fuse-overlayfs does not let it be made at all. */
    const ODD = `; touch /opt/.wh.odd`;
    const CHANGES = [
      ['changed', '/etc/conf'],
      ['deleted', '/etc/gone'],
      ['added', '/etc/new'],
      ['added', '/etc/twin'],
      ['added', '/opt'],
      ['added', '/opt/.wh.odd'],
      ['added', '/opt/link'],
      ['added', '/opt/x'],
      ['added', '/opt/x/y'],
      ['added', '/opt/x/y/z'],
      ['changed', '/var'],
      ['deleted', '/var/old/a'],
      ['changed', '/var/old/b'],
      ['deleted', '/var/other'],
    ];

    test('writes are thrown away, and listed with --changes', async () => {
      const result = await session(
        0,
        root(),
        `${SCRIPT}${ODD}; cat /etc/conf /etc/twin /opt/x/y/z`,
        '--changes',
        '--json',
      );
      assert.match(result.stderr, /^after\nnew\ndeep\n/);
      const { changes, exitCode } = documentOf<{ exitCode: number; changes: { kind: string; path: string }[] }>(result);
      assert.equal(exitCode, 0);
      assert.deepEqual(
        changes.map(({ kind, path }) => [kind, path]),
        CHANGES,
      );
      for (const text of ['A /etc/new\n', 'D /var/other/\n', 'C /var/\n'])
        assert.ok(result.stderr.includes(text), text);
      assert.equal(readFileSync(join(at('root'), 'etc/conf'), 'utf8'), 'before\n');
      assert.deepEqual(readdirSync(join(at('root'), 'var/old')), ['a', 'b']);
      assert.deepEqual(readdirSync(home), []);
      const nothing = await session(7, root(), 'exit 7', '--changes', '--json');
      assert.deepEqual(documentOf<{ changes: unknown[] }>(nothing).changes, []);
    });

    test('--keep: what was written stays, and the same again goes on with it', async () => {
      const first = await session(3, root(), `${SCRIPT}${ODD}; exit 3`, '--keep', 'kept');
      assert.match(first.stderr, /What was written is in .*kept\/upper/);
      const upper = join(home, 'kept/upper');
      assert.equal(readFileSync(join(upper, 'etc/conf'), 'utf8'), 'after\n');
      const gone = lstatSync(join(upper, 'etc/gone'));
      assert.ok(gone.isCharacterDevice() && gone.rdev === 0, 'a whiteout as overlayfs has it');
      assert.deepEqual(readdirSync(join(home, 'kept')).sort(), ['session.json', 'upper']);
      assert.ok(!existsSync(join(upper, 'etc/hostname')) && !existsSync(join(upper, 'proc')), 'nothing of ours');
      const again = await session(0, root(), 'cat /etc/conf; : > /etc/more', '--keep', 'kept', '--changes', '--json');
      assert.match(again.stderr, /^after\n/);
      const { changes } = documentOf<{ changes: { kind: string; path: string }[] }>(again);
      const [before, rest] = [CHANGES.slice(0, 2), CHANGES.slice(2)];
      assert.deepEqual(
        changes.map(({ kind, path }) => [kind, path]),
        [...before, ['added', '/etc/more'], ...rest],
      );
      const other = await session(2, `dir:${at('root/etc')}`, 'true', '--keep', 'kept');
      assert.match(other.stderr, /--keep .*kept: it holds what was changed in dir:/);
      mkdirSync(at('home/full/of'), { recursive: true });
      assert.match((await session(2, root(), 'true', '--keep', 'full')).stderr, /name a new or an empty directory/);
      assert.match(
        (await session(2, root(), 'true', '--keep', 'k', '--read-only')).stderr,
        /--read-only leaves nothing/,
      );
    });

    test('--commit: a layer that tar, skopeo and umoci read, with owners, modes, times and whiteouts', async () => {
      const script = isRoot && who === 'root' ? `${SCRIPT}${ODD}; chown 1000:1001 /etc/new` : SCRIPT + ODD;
      const result = await session(0, root(), script, '--commit', 'oci:out:one', '--json', '--verbose');
      assert.match(result.stderr, /\.wh\.odd is not in the layer/);
      const { image } = documentOf<{ image: { layer: { digest: string } } }>(result);
      const entries = tarList('out', image.layer);
      assert.deepEqual(
        entries.map(({ name }) => name.replace(/\/$/, '').replace(/ link to .*| -> .*/, '')),
        [
          'etc',
          'etc/conf',
          'etc/.wh.gone',
          'etc/new',
          'etc/same',
          'etc/twin',
          'opt',
          'opt/link',
          'opt/x',
          'opt/x/y',
          'opt/x/y/z',
          'var',
          'var/old',
          'var/old/.wh.a',
          'var/old/b',
          'var/.wh.other',
        ],
      );
      const line = (name: string) => entries.find((entry) => entry.name.startsWith(name))!.line;
      const owner = who === 'root' ? '1000/1001' : '0/0';
      assert.match(line('etc/new'), new RegExp(`^-rw-r--r-- +${owner} `));
      assert.match(line('etc/twin'), /link to etc\/new$/);
      assert.match(line('var/'), /^drwxr-x--x +0\/0 /);
      execFileSync('skopeo', ['--insecure-policy', 'copy', '-q', 'oci:out:one', 'dir:copied'], { cwd: home });
      execFileSync('umoci', ['unpack', '--rootless', '--image', 'out:one', 'bundle'], { cwd: home, stdio: 'pipe' });
      assert.equal(readFileSync(at('home/bundle/rootfs/opt/x/y/z'), 'utf8'), 'deep\n');
      rmSync(at('home/bundle'), { recursive: true });
    });

    test("over this machine's own root: where the caller is, with the caller's variables; capabilities and attributes", async () => {
      const script = `pwd; echo $HOME $NOTE; id -u; head -c 3 /etc/hostname >/dev/null
        cp /bin/true /usr/local/bin/raw; setcap cap_net_raw+ep /usr/local/bin/raw; setfattr -n user.note -v hi /usr/local/bin/raw
        rm -f /etc/issue; echo mine > /etc/motd; ls /proc/1 >/dev/null && ls -d /sys/kernel; cat /etc/motd`;
      const args = ['run', '--net', 'none', '--commit', 'oci:own:1', '--json', 'dir:/', '--', 'sh', '-c', script];
      const result = await expectCli(0, args, { ...options, env: { NOTE: 'hello' } });
      assert.equal(
        result.stderr.split('\n').slice(0, 5).join('\n'),
        `${home}\n${process.env.HOME ?? '/'} hello\n0\n/sys/kernel\nmine`,
      );
      assert.ok(existsSync('/etc/issue') && !existsSync('/usr/local/bin/raw'));
      const { image } = documentOf<{ image: { layer: { digest: string } } }>(result);
      const names = tarList('own', image.layer).map(({ name }) => name);
      for (const name of ['etc/.wh.issue', 'etc/motd', 'usr/local/bin/raw']) assert.ok(names.includes(name), name);
      if (!isRoot) return;
      execFileSync('umoci', ['unpack', '--image', 'own:1', 'own-bundle'], { cwd: home, stdio: 'pipe' });
      const raw = at('home/own-bundle/rootfs/usr/local/bin/raw');
      assert.match(execFileSync('getcap', [raw], { encoding: 'utf8' }), /cap_net_raw[=+]ep/);
      assert.match(execFileSync('getfattr', ['-n', 'user.note', raw], { encoding: 'utf8', stdio: 'pipe' }), /="hi"/);
      rmSync(at('home/own-bundle'), { recursive: true });
    });

    test('where the kernel refuses its overlayfs: fuse-overlayfs, the same to see; else read-only', async () => {
      const words = ['--changes', '--json', '--commit', 'oci:fuse:one'];
      const chosen = await session(0, root(), SCRIPT, '--overlay', 'fuse-overlayfs', ...words);
      const found = documentOf<{
        writable: string;
        changes: { kind: string; path: string }[];
        image: { layer: { digest: string } };
      }>(chosen);
      assert.deepEqual(
        found.changes.map(({ kind, path }) => [kind, path]),
        CHANGES.filter(([, path]) => path !== '/opt/.wh.odd'),
      );
      assert.equal(found.writable, 'fuse-overlayfs');
      await session(0, root(), SCRIPT, ...words.slice(0, 3), 'oci:kernel:one');
      const [fuse, kernel] = ['fuse', 'kernel'].map((layout) => {
        const index = JSON.parse(readFileSync(join(home, layout, 'index.json'), 'utf8'));
        const blob = (digest: string) => join(home, layout, 'blobs/sha256', digest.slice(7));
        const { layers } = JSON.parse(readFileSync(blob(index.manifests[0].digest), 'utf8'));
        return tarList(layout, layers[0]).map(({ line }) => line.replace(/ \d+-\d+-\d+ \d+:\d+ /, ' '));
      });
      assert.deepEqual(fuse, kernel);

      // A kernel without it, as its mount(8) says so; and a fuse-overlayfs that cannot do it either.
      const refusing = (name: string, script: string) => {
        mkdirSync(at('refusing'), { recursive: true });
        writeFileSync(at(`refusing/${name}`), `#!/bin/sh\n${script}`, { mode: 0o755 });
      };
      const withRefusing = `${at('refusing')}:${dirname(process.execPath)}:${process.env.PATH}`;
      const plainRun = (status: number, script: string, ...flags: string[]) =>
        expectCli(status, ['run', ...flags, root(), '--', '/bin/sh', '-c', script], {
          ...options,
          env: { PATH: withRefusing },
        });
      refusing(
        'mount',
        `case "$*" in *"-t overlay"*) echo "mount: unknown filesystem type 'overlay'." >&2; exit 32;; esac
exec '${which('mount')}' "$@"`,
      );
      const second = await plainRun(0, 'echo x >/etc/new; cat /etc/new', '--verbose');
      assert.equal(second.stdout, 'x\n');
      assert.match(second.stderr, /the layer is fuse-overlayfs's: .*unknown filesystem type 'overlay'/);
      assert.match(second.stderr, /went through fuse-overlayfs/);
      const doctor = await cli(['doctor'], { ...options, env: { PATH: withRefusing } });
      assert.match(doctor.stdout, /FUSE root with a disposable layer of fuse-overlayfs/);
      assert.match((await plainRun(4, 'true', '--overlay', 'kernel')).stderr, /unknown filesystem type 'overlay'/);
      refusing('fuse-overlayfs', 'echo "fuse-overlayfs: cannot mount" >&2; exit 1');
      const third = await plainRun(0, 'echo x >/etc/new; echo y >/tmp/new; cat /tmp/new', '--json');
      assert.equal(documentOf<{ writable: string }>(third).writable, 'readonly');
      assert.match(third.stderr, /\/etc\/new: Read-only file system\ny\n/);
      assert.match(third.stderr, /the root was read-only, but for \/tmp, \/run and \/var\/tmp/);
      const kept = await plainRun(4, 'true', '--changes');
      assert.match(kept.stderr, /unknown filesystem type 'overlay'.*; fuse-overlayfs: .*cannot mount/);
    });

    test('profile dir:/ traces a program of this machine', async () => {
      const args = ['profile', 'dir:/', '-r', '1', '-o', 'host.json', '--json', '--', 'sh', '-c', 'cat /etc/passwd'];
      const result = await expectCli(0, args, options);
      const { files } = documentOf<Profile>(result);
      const passwd = files.find(({ path }) => path === '/etc/passwd');
      assert.deepEqual(passwd?.ranges, [[0, passwd?.size, 1]]);
      assert.ok(files.some(({ path, executed }) => executed && path.endsWith('/bin/cat')));
    });

    test('of an image: the layer lies on the image’s, which is lazy as before', async () => {
      const files = [...programFiles(PROGRAMS)].filter(([, from]) => !from.includes('/lib'));
      const more = tarOf(
        dir('usr/'),
        dir('usr/bin/'),
        ...files.map(([path, from]) => file(path, readFileSync(from), { mode: 0o755 })),
      );
      const libs = tarOf(
        ...[...programFiles(PROGRAMS)].map(([path, from]) => file(path, readFileSync(from), { mode: 0o755 })),
      );
      sampleImage(join(home, 'image'), { layers: [...sampleLayers(), more, libs] });
      if (isRoot) execFileSync('chown', ['-R', `${who === 'root' ? 0 : NOBODY}`, join(home, 'image')]);
      await expectCli(
        0,
        ['optimize', '--no-profile', '--codec', 'zlib', '--compression-level', '1', 'oci:image', 'oci:lazy:1'],
        options,
      );
      const script = 'echo changed > /app/data.txt; rm /etc/motd; rm -r /srv/old; echo x > /srv/file';
      const flags = ['--user', '0', '--entrypoint', '', '--commit', 'oci:lazy:2', '--changes', '--json'];
      const first = await session(0, 'oci:lazy:1', script, ...flags);
      assert.deepEqual(
        documentOf<{ changes: { kind: string; path: string }[] }>(first).changes.map(
          ({ kind, path }) => `${kind} ${path}`,
        ),
        ['changed /app/data.txt', 'deleted /etc/motd', 'added /srv/file', 'deleted /srv/old'],
      );
      await using before = await openImage(`oci:${join(home, 'lazy')}:1`);
      await using made = await openImage(`oci:${join(home, 'lazy')}:2`);
      assert.deepEqual(
        made.layers.slice(0, -1).map((layer) => layer.descriptor),
        before.layers.map((layer) => layer.descriptor),
      );
      assert.deepEqual(made.config.config, before.config.config);
      assert.equal(made.config.history?.at(-1)?.created_by, `/bin/sh -c ${script}`);
      const look = '[ -e /etc/motd ] || [ -e /srv/old ] || cat /app/data.txt /srv/file /app/again';
      const second = await session(0, 'oci:lazy:2', look, '--user', '0', '--entrypoint', '');
      assert.deepEqual([second.stdout, second.stderr], ['changed\nx\ndata of the app\n', '']);
      execFileSync('umoci', ['unpack', '--rootless', '--image', 'lazy:2', 'bundle'], { cwd: home, stdio: 'pipe' });
      assert.equal(readFileSync(at('home/bundle/rootfs/app/data.txt'), 'utf8'), 'changed\n');
      assert.deepEqual(readdirSync(at('home/bundle/rootfs/srv')), ['file']);
      rmSync(at('home/bundle'), { recursive: true });
    });

    test('errors come before anything runs', async () => {
      const wrong = await session(2, root(), 'echo ran', '--commit', 'dir:/x');
      assert.deepEqual([wrong.stdout, /cannot be written as a root file system/.test(wrong.stderr)], ['', true]);
      assert.match((await session(3, `dir:${at('nowhere')}`, 'true')).stderr, /HL_ERR_NOT_FOUND/);
      assert.match((await session(2, root(), 'true', '--trace', 't')).stderr, /hotlayer profile --keep-traces/);
    });
  });
}
