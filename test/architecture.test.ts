// The shape of the source tree (design: "Layout"): imports point one way, and each external package has one room.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const SRC = resolve(dirname(fileURLToPath(import.meta.url)), '../../src');

/** Lowest floor first: a room may import from its own floor's room and from those below. */
const FLOORS: readonly (readonly string[])[] = [
  ['core'],
  ['image'],
  ['stargz'],
  ['rootfs'],
  ['lazy'],
  ['fuse'],
  ['container'],
  ['trace'],
  ['analyze'],
  ['rewrite', 'interop'],
  ['report'],
  ['index.ts'],
  ['cli'],
];

const PACKAGE_ROOMS: Record<string, string> = {
  commander: 'cli',
  'tar-stream': 'image',
  'simple-statistics': 'analyze',
  pako: 'stargz',
  libdeflate: 'stargz',
  fzstd: 'stargz',
  undici: 'image',
  'fuse-native': 'fuse',
};

interface Import {
  readonly from: string;
  readonly to: string;
}

function imports(top = SRC): Import[] {
  const files = readdirSync(top, { recursive: true, encoding: 'utf8' }).filter(
    (f) => f.endsWith('.ts') && !f.endsWith('.d.ts'),
  );
  return files.flatMap((file) => {
    const text = readFileSync(join(top, file), 'utf8');
    const statements = text.matchAll(/^(?:import|export)\b(?:[^;'"`]*\bfrom)?\s*'([^']+)'/gm);
    const dynamic = text.matchAll(/\bimport\(\s*'([^']+)'/g);
    const specifiers = [...statements, ...dynamic].map((m) => m[1]!);
    return specifiers.map((to) => ({ from: file, to }));
  });
}

/** Files beside the rooms are the common ground under all of them. */
const CORE = ['errors.ts', 'units.ts', 'paths.ts', 'temp.ts', 'garbage.ts'];
const roomOf = (file: string): string => (CORE.includes(file) ? 'core' : file.split('/')[0]!);
const floorOf = (room: string): number => FLOORS.findIndex((rooms) => rooms.includes(room));

const ALL = imports();

test('there is something to check', () => {
  assert.ok(ALL.length > 50, `only ${ALL.length} imports found`);
});

test('every room is on a floor', () => {
  const unknown = [...new Set(ALL.map((i) => roomOf(i.from)))].filter((room) => floorOf(room) < 0);
  assert.deepEqual(unknown, []);
});

test('imports point down', () => {
  const wrong = ALL.filter((i) => i.to.startsWith('.'))
    .map((i) => ({ ...i, target: roomOf(relative(SRC, resolve(SRC, dirname(i.from), i.to)).replace(/\.js$/, '.ts')) }))
    .filter((i) => roomOf(i.from) !== i.target && floorOf(i.target) >= floorOf(roomOf(i.from)))
    .map((i) => `${i.from} imports ${i.to}`);
  assert.deepEqual(wrong, []);
});

test('trace and the layer writer do not know each other', () => {
  const wrong = ALL.filter((i) => roomOf(i.from) === 'trace' && /stargz\/(writer|codec)/.test(i.to)).map(
    (i) => `${i.from} imports ${i.to}`,
  );
  assert.deepEqual(wrong, []);
});

test('each external package is imported from one room', () => {
  const wrong = ALL.filter((i) => !i.to.startsWith('.') && !i.to.startsWith('node:'))
    .filter((i) => PACKAGE_ROOMS[i.to.split('/')[0]!] !== roomOf(i.from))
    .map((i) => `${i.from} imports ${i.to}`);
  assert.deepEqual(wrong, []);
});

test('what is shipped knows neither tests nor benchmarks', () => {
  const wrong = ALL.filter(
    (i) => i.to.startsWith('.') && relative(SRC, resolve(SRC, dirname(i.from), i.to)).startsWith('..'),
  )
    .filter((i) => !i.to.endsWith('package.json'))
    .map((i) => `${i.from} imports ${i.to}`);
  assert.deepEqual(wrong, []);
});

test('benchmarks use the product, what tests share, and tar-stream to make images', () => {
  const top = resolve(SRC, '../bench');
  const all = imports(top);
  assert.ok(all.length > 10, `only ${all.length} imports found`);
  const may = /^(src|bench|test\/support)\//;
  const wrong = all
    .filter(({ from, to }) =>
      to.startsWith('.')
        ? !may.test(relative(resolve(SRC, '..'), resolve(top, dirname(from), to)))
        : !/^(node:|tar-stream$)/.test(to),
    )
    .map((i) => `${i.from} imports ${i.to}`);
  assert.deepEqual(wrong, []);
});
