// Random directory trees with everything a tar can hold, and the comparison of a scan with such a tree: the file
// system itself is the witness.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  ftruncateSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { bytesToPath, cleanPath } from '../../src/paths.js';
import type { Scanned } from './scan-both.js';

export interface TreeOptions {
  /** Longest path in bytes, and link target. */
  readonly maxPath: number;
  readonly maxLink: number;
  /** Times before 1970; whole seconds only, since bsdtar writes -1.25 (sec -2, nsec 750 000 000) as -2.75. */
  readonly oldTimes: boolean | 'whole';
  readonly devices: boolean;
  /** Ids and times that six and ten octal digits can hold. */
  readonly modest: boolean;
  /** Names that are not UTF-8. */
  readonly foreignNames: boolean;
  readonly xattrs: boolean;
}

export interface SourceTree {
  readonly root: string;
  /** Path → attribute → value. */
  readonly xattrs: ReadonlyMap<string, ReadonlyMap<string, Buffer>>;
}

const ROOT = process.getuid?.() === 0;
const TIMES = [0, 1, 2208988800, 1700000000.25, 999999999.999999, 4294967296.5];

export function makeTree(root: string, next: () => number, options: TreeOptions): SourceTree {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]!;
  const below = (limit: number) => Math.floor(next() * limit);
  const xattrs = new Map<string, Map<string, Buffer>>();
  const bytes = (path: string) => Buffer.from(path, 'latin1');
  const dirs = [''];
  const files: string[] = [];
  const used = new Set<string>();
  /** Paths are latin1 strings here: one character is one byte. */
  const freshName = (prefix: string, length: number): string => {
    for (let i = 0; ; i++) {
      // Names of two-byte letters can be cut within one.
      const foreign = ['fichier-\xe9\xff', 'na\xc3\xa4me '];
      const letters = pick(['abcdef', 'x', '-=%@*', '..a', ...(options.foreignNames ? foreign : [])]);
      const name = Array.from({ length }, (_, at) => letters[(at + i) % letters.length]).join('') + i;
      const path = prefix === '' ? name : `${prefix}/${name}`;
      if (!used.has(path)) {
        used.add(path);
        return path;
      }
    }
  };
  const place = () => pick(dirs.filter((dir) => dir.length < options.maxPath - 14));
  const nameIn = (dir: string) =>
    freshName(dir, Math.max(1, Math.min(pick([1, 3, 8, 99, 100, 150, 240]), options.maxPath - dir.length - 8)));
  const at = (path: string) => Buffer.concat([Buffer.from(`${root}/`), bytes(path)]);

  for (let i = 0; i < 12; i++) {
    const path = nameIn(place());
    mkdirSync(at(path));
    dirs.push(path);
  }
  for (let i = 0; i < 30; i++) {
    const path = nameIn(place());
    const size = pick([0, 1, 511, 512, 513, below(5000), below(200_000)]);
    writeFileSync(at(path), Buffer.alloc(size, `${i} ${path} `, 'latin1'));
    chmodSync(at(path), pick([0o644, 0o4755, 0o2711, 0o1600, 0o7777]));
    files.push(path);
  }
  for (const extents of [0, 1, 3, 7, 30]) {
    const path = nameIn(place());
    const fd = openSync(at(path), 'w');
    for (let i = 0; i < extents; i++) {
      writeSync(fd, Buffer.alloc(1 + below(9000), `${i}`), 0, undefined, (2 * i + below(2)) * 65536);
    }
    ftruncateSync(fd, 65536 * 2 * (extents + 1) + below(5000));
    closeSync(fd);
    files.push(path);
  }
  for (let i = 0; i < 6; i++) linkSync(at(pick(files)), at(nameIn(place())));
  for (let i = 0; i < 6; i++) {
    const target = pick([
      '..',
      '/absolute/../x',
      'l'.repeat(99),
      'm'.repeat(100),
      'n'.repeat(300),
      options.foreignNames ? '\xfc\xfe' : 'o',
    ]);
    symlinkSync(bytes(target.slice(0, options.maxLink)), at(nameIn(place())));
  }
  writeFileSync(`${root}/.wh.gone`, '');
  writeFileSync(`${root}/precise`, '');
  if (options.devices) execFileSync('mkfifo', [`${root}/fifo`]);
  if (options.devices && ROOT) {
    // May be refused in a container even for root; headers made by hand cover devices then.
    spawnSync('mknod', [`${root}/null`, 'c', '1', '3']);
    spawnSync('mknod', [`${root}/disk`, 'b', '259', '70000']);
  }
  if (options.xattrs) {
    for (const [name, attribute, hex] of [
      ['plain', 'user.bytes', Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0')).join('')],
      ['empty', 'user.empty', ''],
      ['capable', 'security.capability', '0100000280000000000000000000000000000000'],
    ] as const) {
      writeFileSync(`${root}/${name}`, name);
      const { status } = spawnSync('setfattr', ['-n', attribute, '-v', `0x${hex}`, `${root}/${name}`]);
      if (status === 0) xattrs.set(name, new Map([[attribute, Buffer.from(hex, 'hex')]]));
    }
  }
  for (const path of files) {
    const ids = options.modest ? [0, 8, 65534] : [0, 1000, 65534, 1_000_000, 2_000_000];
    if (ROOT) lchownSync(at(path), pick(ids), pick(ids));
    const time = pick(options.modest ? TIMES.filter((sec) => sec < 2 ** 30) : TIMES);
    utimesSync(at(path), time, time);
  }
  // chown has cleared these.
  for (const path of files) if (next() < 0.3) chmodSync(at(path), 0o6755);
  if (options.oldTimes) {
    for (const [name, time] of [
      ['minus', '@-1'],
      ['half', '@-1.25'],
    ] as const) {
      if (options.oldTimes === 'whole' && name === 'half') continue;
      writeFileSync(`${root}/${name}`, name);
      execFileSync('touch', ['-d', time, `${root}/${name}`]);
    }
  }
  const precise = options.modest ? '@987654321.123456789' : '@2208988800.123456789';
  execFileSync('touch', ['-h', '-d', precise, `${root}/precise`]);
  return { root, xattrs };
}

const KINDS = new Map([
  [0o010000, 'fifo'],
  [0o020000, 'char'],
  [0o040000, 'dir'],
  [0o060000, 'block'],
  [0o100000, 'reg'],
  [0o120000, 'symlink'],
]);

/** Every file of the tree is an entry, every entry a file, and they agree. */
export function compareWithTree(scanned: Scanned, tree: SourceTree, precision: 'ns' | 's'): void {
  const { scan } = scanned;
  const inodes = new Map<string, bigint>();
  const seen = new Set<string>();
  const entries = new Map(scan.entries.map((entry) => [entry.path, entry]));
  assert.equal(entries.size, scan.entries.length, 'a path twice');
  const visit = (path: Buffer, name: string) => {
    const stat = lstatSync(path, { bigint: true });
    const entry = entries.get(name);
    assert.ok(entry, `${JSON.stringify(name)} is missing`);
    seen.add(name);
    inodes.set(name, stat.ino);
    const kind = KINDS.get(Number(stat.mode) & 0o170000);
    assert.equal(entry.type === 'hardlink' ? kind : entry.type, entry.type === 'hardlink' ? 'reg' : kind, name);
    assert.equal(entry.mode & 0o7777, Number(stat.mode) & 0o7777, `mode of ${JSON.stringify(name)}`);
    assert.equal(entry.uid, Number(stat.uid));
    assert.equal(entry.gid, Number(stat.gid));
    if (precision === 'ns') {
      assert.equal(BigInt(entry.mtime.sec) * 1_000_000_000n + BigInt(entry.mtime.nsec), stat.mtimeNs, name);
      assert.ok(entry.mtime.nsec >= 0 && entry.mtime.nsec < 1e9);
    } else {
      assert.equal(
        entry.mtime.sec,
        Number((stat.mtimeNs - (((stat.mtimeNs % 10n ** 9n) + 10n ** 9n) % 10n ** 9n)) / 10n ** 9n),
      );
    }
    if (entry.type === 'reg') {
      assert.equal(entry.size, Number(stat.size), name);
      assert.ok(scanned.content(entry).equals(readFileSync(path)), `content of ${JSON.stringify(name)}`);
    }
    if (kind === 'symlink') assert.equal(entry.linkName, bytesToPath(readlinkSync(path, 'buffer')));
    if (kind === 'char' || kind === 'block') {
      const rdev = Number(stat.rdev);
      assert.equal(entry.devMajor, (rdev >>> 8) & 0xfff);
      assert.equal(entry.devMinor, (rdev & 0xff) | ((rdev >>> 12) & 0xfff00));
    }
    const attributes = tree.xattrs.get(name);
    if (attributes) assert.deepEqual(entry.xattrs, attributes);
    if (kind !== 'dir') return;
    for (const child of readdirSync(path, { encoding: 'buffer' })) {
      const childName = bytesToPath(child);
      visit(Buffer.concat([path, Buffer.from('/'), child]), name === '' ? childName : `${name}/${childName}`);
    }
  };
  visit(Buffer.from(tree.root), '');
  assert.equal(seen.size, entries.size, 'entries that are not in the tree');
  for (const entry of scan.entries) {
    if (entry.type !== 'hardlink') continue;
    assert.equal(inodes.get(cleanPath(entry.linkName)), inodes.get(entry.path), `target of ${entry.path}`);
  }
}
