// The union of layers against two implementations that are not ours: `umoci unpack`, which applies layers one after
// the other as container tools do, and the kernel's overlayfs, which never applies anything. Random stacks; the seed
// is in the test's name.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, lstatSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { cleanPath } from '../../src/paths.js';
import { type LayersFs, type LayerTar, openLayersFs } from '../../src/rootfs/layers-fs.js';
import { copyEntry, type TarEntry } from '../../src/stargz/tar/entry.js';
import { scanTarFd } from '../../src/stargz/tar/scan.js';
import { makeTempDir } from '../../src/temp.js';
import { buildLayout } from '../support/layout.js';
import * as tar from '../support/tar.js';
import { lacking } from '../support/tools.js';
import { ofDirectory, ofRootFs, random, type SnapshotOptions } from './snapshot.js';

const temp = makeTempDir(undefined, 'foreign-test');
const fds: number[] = [];
after(() => {
  for (const fd of fds) closeSync(fd);
  // What the layers hold may be unreadable directories.
  spawnSync('chmod', ['-R', 'u+rwx', temp.path]);
  temp.remove();
});

/** More of them: HOTLAYER_TEST_SEEDS=100. */
const UMOCI_SEEDS = Number(process.env.HOTLAYER_TEST_SEEDS ?? 10);
const OVERLAY_SEEDS = Number(process.env.HOTLAYER_TEST_SEEDS ?? 6);
const isRoot = process.getuid?.() === 0;
const NAMESPACES = isRoot ? ['--mount'] : ['--user', '--map-root-user', '--mount'];

function open(file: string): LayerTar {
  const fd = openSync(file, 'r');
  fds.push(fd);
  return { fd, size: lstatSync(file).size };
}

/** Layers as a builder would write them: each path once, parents before children, anything over anything. */
function randomLayers(seed: number, count: number): Buffer[] {
  const next = random(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]!;
  const names = ['a', 'b', 'c', 'dd', '.e', 'f\u00fc', 'g h'];
  /** The merged state: path → kind. Symlinks are not walked through. */
  const state = new Map<string, 'reg' | 'dir' | 'symlink'>();
  const below = (path: string) => [...state.keys()].filter((p) => p.startsWith(`${path}/`));
  const drop = (path: string) => {
    for (const p of below(path)) state.delete(p);
    state.delete(path);
  };
  const layers: Buffer[] = [];
  for (let l = 0; l < count; l++) {
    const entries: Buffer[] = [];
    const done = new Set<string>();
    const gone: string[] = [];
    const own = new Set<string>();
    const meta = () => ({
      mode: pick([0o644, 0o600, 0o4755, 0o751]),
      uid: Math.floor(next() * 3000),
      gid: 5000 + Math.floor(next() * 3000),
      mtime: 1_000_000_000 + Math.floor(next() * 1e9),
    });
    for (let i = 0; i < 25; i++) {
      const dirs = ['', ...[...state].filter(([, kind]) => kind === 'dir').map(([path]) => path)];
      const dir = pick(dirs);
      const path = dir === '' ? pick(names) : `${dir}/${pick(names)}`;
      if (done.has(path) || path.split('/').length > 5) continue;
      // Not below what this layer took away, and not over what this layer put there.
      if (gone.some((g) => path.startsWith(`${g}/`)) || [...own].some((o) => o.startsWith(`${path}/`))) continue;
      done.add(path);
      const kind = state.get(path);
      const roll = next();
      if (kind && roll < 0.25) {
        entries.push(tar.whiteout(path));
        drop(path);
        gone.push(path);
        continue;
      }
      own.add(path);
      if (roll < 0.5) {
        entries.push(tar.dir(`${path}/`, { ...meta(), mode: pick([0o755, 0o700, 0o1777]) }));
        if (kind !== 'dir') drop(path);
        state.set(path, 'dir');
        if (kind === 'dir' && next() < 0.5) {
          const early = next() < 0.5;
          if (early) entries.push(tar.opaque(path));
          for (const p of below(path)) state.delete(p);
          const inside = `${path}/opaque-kept`;
          entries.push(tar.file(inside, `in ${path} of ${l}`, meta()));
          own.add(inside);
          done.add(inside);
          state.set(inside, 'reg');
          if (!early) entries.push(tar.opaque(path));
        }
        continue;
      }
      const targets = [...state].filter(([p, k]) => k === 'reg' && p !== path && !p.startsWith(`${path}/`));
      drop(path);
      gone.push(path);
      if (roll < 0.6 && targets.length > 0) {
        entries.push(tar.hardlink(pick(['', './', '/']) + path, pick(targets)[0]));
        state.set(path, 'reg');
      } else if (roll < 0.7) {
        entries.push(tar.symlink(path, pick(['a', '../b', '/a/b', 'nowhere', '..']), meta()));
        state.set(path, 'symlink');
      } else if (roll < 0.74) {
        entries.push(tar.fifo(path, meta()));
        state.set(path, 'symlink');
      } else {
        entries.push(tar.file(path, `${path} of layer ${l}`.repeat(1 + Math.floor(next() * 80)), meta()));
        state.set(path, 'reg');
      }
    }
    layers.push(tar.tarOf(...entries));
  }
  return layers;
}

describe('against umoci unpack', { skip: lacking('umoci') }, () => {
  const unpack = (layers: Buffer[], name: string): string => {
    const image = join(temp.path, `image-${name}`);
    buildLayout(image, { layers });
    const bundle = join(temp.path, `bundle-${name}`);
    const args = ['unpack', ...(isRoot ? [] : ['--rootless']), '--image', `${image}:latest`, bundle];
    execFileSync('umoci', args, { stdio: 'pipe' });
    return join(bundle, 'rootfs');
  };
  const ours = (layers: Buffer[], name: string): LayersFs =>
    openLayersFs(
      layers.map((bytes, i) => {
        const file = join(temp.path, `${name}-${i}.tar`);
        writeFileSync(file, bytes);
        return open(file);
      }),
    );
  // umoci sets the times of directories as it goes, so a later layer changes them.
  const options: SnapshotOptions = { dirTimes: false, owners: isRoot };

  for (let seed = 1; seed <= UMOCI_SEEDS; seed++) {
    test(`seed ${seed}`, () => {
      const layers = randomLayers(seed, 4);
      const fs = ours(layers, `seed-${seed}`);
      assert.ok(fs.tree.totals.names > 10, `only ${fs.tree.totals.names} names`);
      assert.deepEqual(ofRootFs(fs, options), ofDirectory(unpack(layers, `seed-${seed}`), options));
    });
  }

  test('names through symlinks, hardlinks into lower layers, names that leave the root', () => {
    const layers = [
      tar.tarOf(
        tar.dir('usr/'),
        tar.dir('usr/lib/'),
        tar.file('usr/lib/one', '1', { uid: 4 }),
        tar.symlink('lib', 'usr/lib'),
        tar.symlink('abs', '/usr/lib'),
        tar.symlink('up', '../../../../usr'),
        tar.symlink('dangling', 'made/here'),
      ),
      tar.tarOf(
        tar.file('lib/two', '2'),
        tar.file('abs/three', '3'),
        tar.file('up/lib/four', '4'),
        tar.file('dangling/five', '5'),
        tar.file('../../../six', '6'),
        tar.file('/seven', '7'),
        tar.hardlink('eight', 'lib/one'),
        tar.hardlink('nine', '/lib/two'),
        tar.hardlink('ten', 'lib'),
      ),
      tar.tarOf(tar.whiteout('lib/one'), tar.whiteout('up/lib/four'), tar.file('usr/lib/two', 'new')),
    ];
    assert.deepEqual(ofRootFs(ours(layers, 'links'), options), ofDirectory(unpack(layers, 'links'), options));
  });
});

/** Something to change: 16 directories of two files each. */
const POPULATE =
  'for x in a b c d; do for y in a b c d; do mkdir -p $x/$y; echo $x > $x/$y/d; echo $y > $x/$y/e; done; done';

/** Shell lines that change a mounted overlay at random: the kernel decides what becomes a whiteout or opaque. */
function randomChanges(seed: number, count: number): string {
  const next = random(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]!;
  const name = () => pick(['a', 'b', 'c', 'd']);
  const path = () => Array.from({ length: 1 + Math.ceil(next() * 3) }, name).join('/');
  const lines: string[] = [];
  for (let i = 0; i < count; i++) {
    const p = path();
    const parent = p.includes('/') ? p.slice(0, p.lastIndexOf('/')) : '.';
    const q = path();
    lines.push(
      pick([
        `rm -rf ${p}/${name()}`,
        `rm -rf ${p}; mkdir -p ${p}; echo ${i} > ${p}/fresh`,
        `mkdir -p ${p} && chmod ${pick(['755', '1777', '700'])} ${p}`,
        `mkdir -p ${parent} && rm -rf ${p} && echo content ${i} > ${p} && chmod ${pick(['644', '4711'])} ${p}`,
        `mkdir -p ${parent} && rm -rf ${p} && printf %${i * 37}s x > ${p}`,
        `mkdir -p ${parent} && echo more >> ${p}`,
        `[ -f ${q} ] && [ ! -L ${q} ] && mkdir -p ${parent} && [ ! -e ${p} ] && ln ${q} ${p}`,
        `mkdir -p ${parent} && rm -rf ${p} && ln -s ../${name()} ${p}`,
        `[ -d ${parent} ] && cp -a ${parent} ${parent}-copy${i}`,
        `[ -e ${p} ] && touch -hd @${1_000_000_000 + i}.123456789 ${p}`,
      ]),
    );
  }
  return lines.map((line) => `{ ${line}; } 2>/dev/null || :`).join('\n');
}

/** An overlay's upper directory, as tar has it, as the layer it would be committed to (image-spec layer.md). */
function asLayer(entries: readonly TarEntry[]): TarEntry[] {
  return entries.flatMap((entry) => {
    const at = entry.path.lastIndexOf('/') + 1;
    const rename = (path: string): TarEntry => ({
      ...copyEntry(entry),
      type: 'reg',
      size: 0,
      name: path,
      path: cleanPath(path),
    });
    if (entry.type === 'char' && entry.devMajor === 0 && entry.devMinor === 0) {
      return [rename(`${entry.path.slice(0, at)}.wh.${entry.path.slice(at)}`)];
    }
    const opaque = ['trusted', 'user'].some((ns) => entry.xattrs?.get(`${ns}.overlay.opaque`)?.toString() === 'y');
    return opaque ? [entry, rename(`${entry.path}/.wh..wh..opq`)] : [entry];
  });
}

describe('against the kernel’s overlayfs', { skip: lacking('unshare', 'mount', 'tar', 'cp') || noOverlay() }, () => {
  let removed = 0;
  for (let seed = 1; seed <= OVERLAY_SEEDS; seed++) {
    test(`seed ${seed}: layers that the kernel made, merged by it and by us`, () => {
      const out = join(temp.path, `overlay-${seed}`);
      mkdirSync(out);
      const count = 4;
      const script = ['set -e', 'mount -t tmpfs tmpfs /mnt', 'cd /mnt', 'mkdir w m'];
      const lower: string[] = [];
      for (let i = 0; i < count; i++) {
        script.push(`mkdir u${i}`);
        if (i === 0) script.push('cd u0', POPULATE, randomChanges(seed * 100, 10), 'cd ..');
        else {
          script.push(mountOverlay(lower, `u${i}`), 'cd m', randomChanges(seed * 100 + i, 25), 'cd ..', 'umount m');
        }
        script.push(`tar --xattrs --xattrs-include='*' --format=posix -cf ${out}/${i}.tar -C u${i} .`);
        lower.unshift(`u${i}`);
      }
      script.push(mountOverlay(lower), `tar --format=posix -cf ${out}/merged.tar -C m .`);
      execFileSync('unshare', [...NAMESPACES, 'sh', '-c', script.join('\n')], { stdio: 'pipe' });

      const layers = Array.from({ length: count }, (_, i) => {
        const layer = open(join(out, `${i}.tar`));
        return { ...layer, entries: asLayer(scanTarFd(layer.fd, layer.size).entries) };
      });
      const fs = openLayersFs(layers);
      assert.ok(fs.tree.totals.names > 15, `only ${fs.tree.totals.names} names`);
      removed += layers.flatMap(({ entries }) => entries).filter(({ path }) => path.includes('.wh.')).length;
      assert.deepEqual(fs.tree.warnings, []);
      mkdirSync(join(out, 'merged'));
      execFileSync('tar', ['-xpf', join(out, 'merged.tar'), '-C', join(out, 'merged')]);
      // Which names share a file: overlayfs splits hardlinks of different layers when one of them is written to.
      const options = { owners: isRoot, links: false };
      assert.deepEqual(ofRootFs(fs, options), ofDirectory(join(out, 'merged'), options));
    });
  }

  test('whiteouts and opaque directories took part', () => {
    assert.ok(removed > OVERLAY_SEEDS, `${removed} in ${OVERLAY_SEEDS} stacks`);
  });
});

/** Why overlayfs cannot be mounted here, false when it can. */
function noOverlay(): string | false {
  const lines = ['mount -t tmpfs tmpfs /mnt', 'cd /mnt', 'mkdir a b w m', mountOverlay(['a'], 'b')];
  const tried = spawnSync('unshare', [...NAMESPACES, 'sh', '-ec', lines.join('\n')], { encoding: 'utf8' });
  if (tried.status === 0) return false;
  const reason = `overlayfs cannot be mounted: ${tried.stderr.trim() || tried.error?.message}`;
  if (process.env.HOTLAYER_REQUIRE_E2E === '1') throw new Error(reason);
  return reason;
}

function mountOverlay(lower: string[], upper?: string): string {
  const writable = upper ? `,upperdir=${upper},workdir=w` : '';
  const flags = isRoot ? '' : ',userxattr';
  return `mount -t overlay -o lowerdir=${lower.join(':')}${writable}${flags} overlay m`;
}
