// Layers made by the tools that people make layers with, looked at by tools that we did not write: both the original
// and the optimized layer are extracted, and what find, stat, getfattr and sha256sum say of them must be the same.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { lacking } from '../support/tools.js';
import { blobsOf, complaints, tarsOf, Workbench } from './workbench.js';

const asRoot = (...tools: string[]): string | false => {
  const missing = lacking(...tools);
  if (missing !== false) return missing;
  return process.getuid?.() === 0 ? false : 'needs root: owners, devices and capabilities are restored';
};

function sh(script: string, cwd: string, env: Record<string, string> = {}): string {
  const run = spawnSync('bash', ['-euo', 'pipefail', '-c', script], {
    cwd,
    env: { ...process.env, LC_ALL: 'C', TZ: 'UTC', ...env },
    encoding: 'latin1',
    maxBuffer: 1 << 28,
  });
  assert.equal(run.status, 0, `${run.stderr}\n${script}`);
  return run.stdout;
}

/** Everything that a file system shows of a tree, one line per name and fact; what stargz adds is left out. */
function listing(dir: string): string[] {
  const out = sh(
    String.raw`
    skip=( ! -path ./.prefetch.landmark ! -path ./.no.prefetch.landmark ! -path ./stargz.index.json )
    find . -mindepth 1 "\${skip[@]}" ! -type d -printf '%P|%y|%m|%U|%G|%s|%T@|%l|%n\n'
    find . -mindepth 1 -type d -printf '%P|%y|%m|%U|%G|%T@\n'
    find . -mindepth 1 \( -type c -o -type b \) -print0 | xargs -0r stat -c '%n|rdev|%t:%T'
    find . -mindepth 1 "\${skip[@]}" -type f -print0 | xargs -0r sha256sum
    find . -mindepth 1 "\${skip[@]}" -type f -samefile . -o -links +1 -type f -printf '%i %P\n' | sort | awk '{if ($1==i) printf "same as %s: %s\n", p, $2; i=$1; p=$2}'
    getfattr -R -P -h -d -m - -e hex . 2>/dev/null | grep -v -e '^# file: .prefetch.landmark' || true
    `.replaceAll('\\$', '$'),
    dir,
  );
  return out.split('\n').sort();
}

function extract(bench: Workbench, tar: Buffer): string {
  const dir = bench.fresh('root');
  mkdirSync(dir);
  execFileSync(
    'tar',
    ['--xattrs', '--xattrs-include=*', '--numeric-owner', '--delay-directory-restore', '-xpf', '-', '-C', dir],
    { input: tar },
  );
  return dir;
}

/** One optimized layer against the original, extracted. */
async function sameWhenExtracted(
  bench: Workbench,
  original: Buffer,
  hot: string[],
  impliedDirectories = false,
): Promise<string[]> {
  const before = bench.layout({ layers: [original] });
  const { reference, plan, result } = await bench.optimize(before, [hot]);
  assert.deepEqual(complaints(await bench.verify(before, reference, plan)), []);
  for (const blob of await blobsOf(reference)) execFileSync('gzip', ['-t'], { input: blob });
  const [tar] = await tarsOf(reference);
  const list = (t: Buffer) => {
    const lines = listing(extract(bench, t));
    return impliedDirectories ? lines.map((line) => line.replace(/(\|d\|.*\|)[^|]*$/, '$1')) : lines;
  };
  const want = list(original);
  assert.deepEqual(list(tar!), want);
  assert.deepEqual(
    result.warnings.filter((w) => w.code === 'planned-missing'),
    [],
  );
  return want;
}

/** Files with everything that is hard to keep. */
const TREE = String.raw`
mkdir -p t/etc t/bin t/deep/$(printf 'd%.0s' {1..120})/$(printf 'e%.0s' {1..120})
echo hello >t/etc/hello; : >t/etc/empty; head -c 300000 /dev/urandom >t/bin/big
cp t/etc/hello t/bin/caps; setfattr -n security.capability -v 0x0100000280ff00000000000000000080ffff0000 t/bin/caps 2>/dev/null ||
  setfattr -n security.capability -v 0x0100000280000000000000000000000000000000 t/bin/caps
setfattr -n user.bin -v 0x00ff80fe0a3d t/etc/hello; setfattr -n user.dir -v 0xc3 t/etc
ln t/bin/big t/bin/big2; ln -s ../etc/hello t/bin/link; ln -s /$(printf 'x%.0s' {1..150}) t/bin/long-link
mknod t/null c 1 3; mknod t/disk b 259 1000; mkfifo t/pipe
echo x >"t/$(printf 'caf\351')"; ln -s "$(printf '\377')" t/bad-target; f=$(echo t/deep/*/*); echo y >$f/file; echo n >$'t/new\nline'
truncate -s 3M t/sparse; printf data | dd of=t/sparse bs=1 seek=1000000 conv=notrunc status=none
truncate -s 1M t/hole
chown 1000000:2000000 t/etc/hello; chown -h 7:8 t/bin/link; chmod 4755 t/bin/big; chmod 1777 t/deep; chmod 0 t/etc/empty
touch -d '2040-06-01 00:00:00.5Z' t/etc/hello; touch -d '1969-12-31 23:59:59Z' t/etc/empty; touch -d '2001-02-03 04:05:06.123456789Z' t/bin/big
touch -d '2010-01-01' -h t/bin/link t/bin t/etc t/deep
`;
const HOT = ['bin/big2', 'etc/hello', 'sparse', 'null', 'bin/link', 'etc/empty'];

for (const [name, command] of [
  ['GNU tar, posix format', 'tar --xattrs --xattrs-include=* --sparse --format=posix --sort=name -C t -cf t.tar .'],
  ['GNU tar, posix format, sparse 0.0', 'tar --xattrs --sparse --sparse-version=0.0 --format=posix -C t -cf t.tar .'],
  ['GNU tar, posix format, sparse 0.1', 'tar --xattrs --sparse --sparse-version=0.1 --format=posix -C t -cf t.tar .'],
  ['GNU tar, gnu format', 'tar --sparse --format=gnu -C t -cf t.tar .'],
  [
    'GNU tar, no entries for directories',
    '(cd t && find . ! -type d -print0) | tar --null --xattrs --format=posix -C t -T - -cf t.tar',
  ],
  [
    'GNU tar, files given twice',
    'tar --format=gnu -C t -cf t.tar etc bin/link ./etc/hello etc/hello bin/big2 bin/big sparse null',
  ],
  ['bsdtar, pax', "bsdtar --format=pax -C t -cf t.tar --exclude './caf*' --exclude ./bad-target ."],
  ['bsdtar, gnutar', 'bsdtar --format=gnutar -C t -cf t.tar .'],
] as const) {
  const tools = ['tar', 'getfattr', 'setfattr', ...(name.startsWith('bsdtar') ? ['bsdtar'] : [])];
  test(`${name}: the same tree when extracted`, { skip: asRoot(...tools) }, async () => {
    using bench = new Workbench();
    const work = bench.fresh('work');
    mkdirSync(work);
    sh(`${TREE}\n${command}`, work);
    // Directories without an entry get the time of their extraction.
    const implied = name.includes('no entries') || name.includes('given twice');
    const lines = await sameWhenExtracted(bench, readFileSync(join(work, 't.tar')), HOT, implied);
    const seen = lines.join('\n');
    // The fixture has in it what it is for.
    assert.match(seen, /^etc\/hello\|f\|644\|1000000\|2000000\|6\|2222121600/m);
    // bsdtar's gnutar format has no times before 1970.
    if (name !== 'bsdtar, gnutar') assert.match(seen, /^etc\/empty\|f\|0\|0\|0\|0\|-1\.0/m);
    if (command.includes('--xattrs')) assert.match(seen, /security\.capability=0x0100000280/);
  });
}

test('git archive: its global header, and the files', { skip: asRoot('git', 'tar') }, async () => {
  using bench = new Workbench();
  const work = bench.fresh('work');
  mkdirSync(work);
  sh(
    `git init -q r; cd r; mkdir -p src/deep; echo a >src/a; echo b >src/deep/b; ln -s a src/l; chmod +x src/a
     git add -A; git -c user.name=n -c user.email=e@x commit -q -m m; git archive HEAD >../t.tar`,
    work,
    { GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_SYSTEM: '/dev/null' },
  );
  const original = readFileSync(join(work, 't.tar'));
  assert.equal(String.fromCharCode(original[156]!), 'g');
  await sameWhenExtracted(bench, original, ['src/deep/b']);
  const before = bench.layout({ layers: [original] });
  const { reference } = await bench.optimize(before, [['src/deep/b']]);
  const [tar] = await tarsOf(reference);
  const commit = sh('git get-tar-commit-id <t.tar', work);
  assert.match(commit, /^[0-9a-f]{40}\n$/);
  writeFileSync(join(work, 'o.tar'), tar!);
  assert.equal(sh('git get-tar-commit-id <o.tar', work), commit);
});

test('dpkg: the file system part of a package', { skip: asRoot('dpkg-deb', 'tar') }, async () => {
  using bench = new Workbench();
  const work = bench.fresh('work');
  mkdirSync(work);
  sh(
    `mkdir -p p/DEBIAN p/usr/share/doc/p p/usr/bin; echo hi >p/usr/share/doc/p/README; ln p/usr/share/doc/p/README p/usr/share/doc/p/COPY
     printf '#!/bin/sh\n' >p/usr/bin/p; chmod 755 p/usr/bin/p; ln -s p p/usr/bin/q
     printf 'Package: p\nVersion: 1\nArchitecture: all\nMaintainer: m <m@x>\nDescription: d\n' >p/DEBIAN/control
     dpkg-deb --build -Znone p p.deb >/dev/null; dpkg-deb --fsys-tarfile p.deb >t.tar`,
    work,
  );
  await sameWhenExtracted(bench, readFileSync(join(work, 't.tar')), ['usr/share/doc/p/COPY', 'usr/bin/q']);
});

test('umoci: layers with changes, whiteouts and links, unpacked before and after', {
  skip: asRoot('umoci', 'getfattr', 'setfattr'),
}, async () => {
  using bench = new Workbench();
  const work = bench.fresh('work');
  mkdirSync(work);
  sh(
    `${TREE}
    umoci init --layout l; umoci new --image l:a
    tar --xattrs --xattrs-include=* --format=posix -C t -cf base.tar .
    umoci raw add-layer --image l:a base.tar
    umoci unpack --image l:a b >/dev/null 2>&1
    echo replaced >b/rootfs/etc/hello; rm b/rootfs/null; rm -r b/rootfs/deep; mkdir b/rootfs/deep; echo z >b/rootfs/deep/z
    mkdir -p b/rootfs/opt/x; echo o >b/rootfs/opt/x/o; setfattr -n user.u -v 0xfe b/rootfs/opt/x/o; ln b/rootfs/opt/x/o b/rootfs/opt/p
    umoci repack --refresh-bundle --image l:a b >/dev/null 2>&1
    echo more >b/rootfs/opt/x/o2; rm b/rootfs/opt/p; rm b/rootfs/etc/empty
    umoci repack --image l:a b >/dev/null 2>&1
    mkdir link; printf 'later\n' >link/f; mkdir -p up; (cd up && mkdir -p bin && ln ../t/bin/big bin/x && ln bin/x bin/over && tar -cf ../links.tar bin/x bin/over --transform 's,^bin/x$,bin/big,' --delay-directory-restore)
    tar --delete -f links.tar bin/big 2>/dev/null
    umoci raw add-layer --image l:a links.tar`,
    work,
  );
  const before = `oci:${join(work, 'l')}:a`;
  const { reference, plan, result } = await bench.optimize(before, [
    ['bin/big2', 'sparse'],
    ['opt/p', 'etc/hello'],
    ['opt/x/o2'],
    ['bin/over'],
  ]);
  assert.deepEqual(complaints(await bench.verify(before, reference, plan)), []);
  assert.deepEqual(
    result.layers.map((layer) => layer.landmark),
    ['prefetch', 'prefetch', 'prefetch', 'prefetch'],
  );
  // The last layer is one hardlink, to a file of the first.
  assert.deepEqual(
    result.warnings.filter((w) => w.code === 'hardlink-copied').map((w) => [w.layer, w.entry]),
    [[3, 'bin/over']],
  );
  const unpacked = ([before, reference] as const).map((image, i) => {
    sh(`umoci unpack --image ${image.slice(4)} u${i} >/dev/null 2>&1`, work);
    return join(work, `u${i}/rootfs`);
  });
  // One name less of the file that is linked across layers, as its copy is a file of its own: nlink is not compared.
  const withoutLinks = (lines: string[]) =>
    lines.filter((l) => !l.startsWith('same as')).map((l) => l.replace(/^(bin\/.*\|)\d+$/, '$1'));
  assert.deepEqual(withoutLinks(listing(unpacked[1]!)), withoutLinks(listing(unpacked[0]!)));
});

test('buildah: a committed image', { skip: asRoot('buildah', 'tar') }, async () => {
  using bench = new Workbench();
  const work = bench.fresh('work');
  mkdirSync(work);
  const storage = `--storage-driver vfs --root ${work}/s --runroot ${work}/r`;
  sh(
    `mkdir c; echo app >c/app; ln c/app c/app2; ln -s app c/l; setfattr -n user.x -v 0x80 c/app
     n=$(buildah ${storage} from scratch); buildah ${storage} copy --chown 12:34 $n c /srv >/dev/null
     buildah ${storage} config --env K=v --cmd /srv/app --label l=1 $n; i=$(buildah ${storage} commit -q $n)
     n=$(buildah ${storage} from $i); echo more >m; buildah ${storage} copy $n m /srv/m >/dev/null
     i=$(buildah ${storage} commit -q --rm $n); buildah ${storage} push -q $i oci:${work}/l:b`,
    work,
  );
  const before = `oci:${join(work, 'l')}:b`;
  const { reference, plan } = await bench.optimize(before, [['srv/app2'], ['srv/m']]);
  assert.deepEqual(complaints(await bench.verify(before, reference, plan)), []);
  const originals = (await blobsOf(before)).map((blob) => (blob[0] === 0x1f ? gunzipSync(blob) : blob));
  const tars = await tarsOf(reference);
  originals.forEach((tar, i) => {
    assert.deepEqual(listing(extract(bench, tars[i]!)), listing(extract(bench, tar)));
  });
});

test('skopeo takes the optimized image, and copies it without a change', { skip: asRoot('skopeo') }, async () => {
  using bench = new Workbench();
  const work = bench.fresh('work');
  mkdirSync(work);
  sh('mkdir t; echo 1 >t/a; tar -C t -cf t.tar a', work);
  const before = bench.layout({ layers: [readFileSync(join(work, 't.tar'))], media: 'docker' });
  const { reference, result } = await bench.optimize(before, [['a']]);
  sh(`skopeo copy -q --insecure-policy --preserve-digests ${reference} oci:${work}/copy:t`, work);
  const manifest = sh(`skopeo inspect --raw oci:${work}/copy:t | sha256sum`, work);
  assert.equal(`sha256:${manifest.slice(0, 64)}`, result.manifest.digest);
});
