// Random layers, odd ones on purpose: names that collide, replace and hide each other, every header format, numbers
// and bytes at the edges. The same seed gives the same image everywhere.
import {
  blockDevice,
  charDevice,
  dir,
  fifo,
  file,
  globalPax,
  gnuSparse,
  hardlink,
  type Meta,
  opaque,
  paxSparse,
  symlink,
  tarOf,
  whiteout,
} from '../support/tar.js';

/** mulberry32: 32 bits of state, enough to be different each time. */
export class Random {
  constructor(private state: number) {}

  /** 0 … 1, 1 not included. */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  /** 0 … n - 1. */
  below(n: number): number {
    return Math.floor(this.next() * n);
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  chance(p: number): boolean {
    return this.next() < p;
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }
}

export interface RandomImage {
  readonly layers: Buffer[];
  /** Per layer: paths to be put first; some do not exist. */
  readonly hot: string[][];
}

/** Few names, so that they meet; the last ones are long, not UTF-8, or look like something else. */
const PARTS = [
  'a',
  'b',
  'c',
  'usr',
  'lib',
  'x.so',
  'caf\u00e9',
  'l\udce9',
  '\ud83d\ude00',
  'n'.repeat(120),
  'PaxHeaders',
  '.wh',
  '-',
];

export function randomImage(random: Random): RandomImage {
  const layers: Buffer[] = [];
  const hot: string[][] = [];
  /** Paths of files in any layer so far: what hardlinks may name. */
  const files: string[] = [];
  for (let layer = 1 + random.below(3); layer > 0; layer--) {
    const entries: Buffer[] = [];
    const names: string[] = [];
    for (let n = random.below(25); n > 0; n--) entries.push(randomEntry(random, names, files));
    layers.push(random.chance(0.1) ? Buffer.concat(entries.length > 0 ? entries : [tarOf()]) : tarOf(...entries));
    hot.push(
      Array.from({ length: random.below(6) }, () =>
        random.chance(0.9) && names.length > 0 ? random.pick(names) : randomPath(random),
      ),
    );
  }
  return { layers, hot };
}

function randomPath(random: Random): string {
  const length = 1 + random.below(4);
  return Array.from({ length }, () => random.pick(PARTS.slice(0, random.chance(0.3) ? PARTS.length : 6))).join('/');
}

function randomMeta(random: Random, name: string): Meta {
  const meta: Meta = { mode: random.pick([0o644, 0o755, 0o4755, 0o1777, 0, 0o100644]) };
  if (random.chance(0.4))
    Object.assign(meta, { uid: random.pick([1, 1000, 65534, 1000000, 2 ** 31]), gid: random.pick([2, 100, 3000000]) });
  if (random.chance(0.4))
    Object.assign(meta, { uname: random.pick(['root', 'me', 'j\u00fcrgen']), gname: random.pick(['wheel', 'us']) });
  if (random.chance(0.6)) {
    meta.mtime = random.pick([
      1,
      1_700_000_000,
      2 ** 31 + 5,
      2 ** 33 + 1,
      { sec: 5, nsec: 500_000_000 },
      { sec: 1_600_000_000, nsec: 1 },
      { sec: -1, nsec: 999_999_999 },
      { sec: -7, nsec: 0 },
    ]);
  }
  if (random.chance(0.2))
    meta.xattrs = {
      'user.x': random.bytes(random.below(40)),
      ...(random.chance(0.5) ? { 'security.capability': random.bytes(20) } : {}),
    };
  if (random.chance(0.1)) meta.pax = { 'VENDOR.note': random.bytes(5), atime: '12.5' };
  const fractional = typeof meta.mtime === 'object';
  if (!meta.xattrs && !meta.pax && !fractional && !/[^\x20-\x7e]/.test(`${meta.uname ?? ''}`) && random.chance(0.3)) {
    meta.format = 'gnu';
  } else if (
    typeof meta.mtime === 'number' &&
    meta.mtime < 2 ** 33 &&
    (meta.uid ?? 0) < 2 ** 20 &&
    name.length < 90 &&
    random.chance(0.2)
  ) {
    if (!meta.xattrs && !meta.pax) Object.assign(meta, { format: 'ustar', uid: 3, gid: 4 });
  }
  return meta;
}

function randomEntry(random: Random, names: string[], files: string[]): Buffer {
  const path = names.length > 0 && random.chance(0.15) ? random.pick(names) : randomPath(random);
  const name = random.pick(['', '', '', './', '/', './/', 'up/../']) + path;
  const meta = randomMeta(random, name);
  names.push(path);
  const kind = random.below(22);
  // Link targets may be longer than ustar takes.
  if (kind >= 13 && kind < 16 && meta.format === 'ustar') delete meta.format;
  if (kind < 9) {
    files.push(path);
    const content = random.bytes(random.pick([0, 1, 100, 511, 512, 513, 5000]));
    if (random.chance(0.05)) return file(name, content, { ...meta, typeflag: '7' });
    return file(name, content, meta);
  }
  if (kind < 13) return dir(`${name}/`, meta);
  if (kind === 13)
    return symlink(name, random.pick([randomPath(random), '/a', '../b', 'l\udce9', 'a'.repeat(200)]), meta);
  if (kind < 16) {
    if (files.length === 0) return dir(`${name}/`, meta);
    return hardlink(name, random.pick(['', './', '/']) + random.pick(files), meta);
  }
  if (kind === 16) return random.chance(0.5) ? charDevice(name, 1, 3, meta) : blockDevice(name, 259, 1, meta);
  if (kind === 17) return fifo(name, meta);
  if (kind === 18) return random.chance(0.3) ? opaque(path) : whiteout(path);
  if (kind === 19) {
    files.push(path);
    const end: [number, Buffer] = [9000, Buffer.alloc(0)];
    return random.chance(0.5)
      ? gnuSparse(name.slice(0, 90), 9000, [[512, random.bytes(100)], end], { uid: 5 })
      : paxSparse(name, 9000, [[4096, random.bytes(600)], end]);
  }
  if (kind === 20) {
    names.pop();
    // No empty numbers: GNU tar calls those malformed.
    return globalPax(
      random.pick([{ comment: 'hello' }, { mtime: '77' }, { uid: '42' }, { uname: '' }, { gname: 'all' }]),
    );
  }
  return dir(`${name}/`, { ...meta, format: 'gnu', uid: 9, mtime: 3 } as Meta);
}
