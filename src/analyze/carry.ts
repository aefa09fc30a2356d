// A profile made on one platform, read for another one of the same image: the same programs start there, but their
// paths spell the architecture in many ways. Pure. Whatever has no counterpart stays in the profile under its most
// likely name, so that the plan lists it as missed.
import { comparePaths } from '../paths.js';
import type { Bytes } from '../units.js';
import { renumberFiles, replayOf, saveReplay } from './replay.js';
import type { ViewNode } from './tree-view.js';
import type { Profile, ProfileFile } from './types.js';

type Platform = NonNullable<Profile['platform']>;

/** How one architecture is spelled. Members that an architecture has no name for are absent. */
interface Spelling {
  /** Debian's multiarch directories, also in names of Python and Perl extensions (wiki.debian.org/Multiarch/Tuples). */
  readonly gnu: string;
  /** Python extensions on musl. */
  readonly musl: string;
  /** The glibc loader's file name (glibc: sysdeps/…/shlib-versions). */
  readonly loader: string;
  /** musl's: `ld-musl-NAME.so.1` (musl: ldso/dynlink.c, LDSO_ARCH). */
  readonly muslLoader: string;
  /** `uname -m`. */
  readonly machine: string;
  /** Debian's package architecture: /usr/lib/jvm/java-17-openjdk-amd64. */
  readonly debian: string;
  /** Node's process.arch, in names of npm packages: @esbuild/linux-x64. */
  readonly node?: string;
}

const musl = (arch: string): string => `ld-musl-${arch}.so.1`;

/** By Go's name of the architecture; arm by variant. */
const SPELLINGS: Readonly<Record<string, Spelling>> = {
  amd64: {
    gnu: 'x86_64-linux-gnu',
    musl: 'x86_64-linux-musl',
    loader: 'ld-linux-x86-64.so.2',
    muslLoader: musl('x86_64'),
    machine: 'x86_64',
    debian: 'amd64',
    node: 'x64',
  },
  arm64: {
    gnu: 'aarch64-linux-gnu',
    musl: 'aarch64-linux-musl',
    loader: 'ld-linux-aarch64.so.1',
    muslLoader: musl('aarch64'),
    machine: 'aarch64',
    debian: 'arm64',
    node: 'arm64',
  },
  arm: {
    gnu: 'arm-linux-gnueabihf',
    musl: 'arm-linux-musleabihf',
    loader: 'ld-linux-armhf.so.3',
    muslLoader: musl('armhf'),
    machine: 'armv7l',
    debian: 'armhf',
    node: 'arm',
  },
  'arm/v5': {
    gnu: 'arm-linux-gnueabi',
    musl: 'arm-linux-musleabi',
    loader: 'ld-linux.so.3',
    muslLoader: musl('arm'),
    machine: 'armv5tel',
    debian: 'armel',
    node: 'arm',
  },
  '386': {
    gnu: 'i386-linux-gnu',
    musl: 'i386-linux-musl',
    loader: 'ld-linux.so.2',
    muslLoader: musl('i386'),
    machine: 'i686',
    debian: 'i386',
    node: 'ia32',
  },
  riscv64: {
    gnu: 'riscv64-linux-gnu',
    musl: 'riscv64-linux-musl',
    loader: 'ld-linux-riscv64-lp64d.so.1',
    muslLoader: musl('riscv64'),
    machine: 'riscv64',
    debian: 'riscv64',
    node: 'riscv64',
  },
  s390x: {
    gnu: 's390x-linux-gnu',
    musl: 's390x-linux-musl',
    loader: 'ld64.so.1',
    muslLoader: musl('s390x'),
    machine: 's390x',
    debian: 's390x',
    node: 's390x',
  },
  ppc64le: {
    gnu: 'powerpc64le-linux-gnu',
    musl: 'powerpc64le-linux-musl',
    loader: 'ld64.so.2',
    muslLoader: musl('powerpc64le'),
    machine: 'ppc64le',
    debian: 'ppc64el',
    node: 'ppc64',
  },
  mips64le: {
    gnu: 'mips64el-linux-gnuabi64',
    musl: 'mips64el-linux-musl',
    loader: 'ld.so.1',
    muslLoader: musl('mips64el'),
    machine: 'mips64',
    debian: 'mips64el',
  },
  loong64: {
    gnu: 'loongarch64-linux-gnu',
    musl: 'loongarch64-linux-musl',
    loader: 'ld-linux-loongarch-lp64d.so.1',
    muslLoader: musl('loongarch64'),
    machine: 'loongarch64',
    debian: 'loong64',
    node: 'loong64',
  },
};

/** Where loaders lie: the one of x86-64 is asked for in /lib64, most others in /lib. */
const LOADER_DIRECTORIES = ['/lib', '/lib64', '/usr/lib', '/usr/lib64'];

/** Undefined: an architecture that the table does not know. */
function spellingOf({ architecture, variant }: Platform): Spelling | undefined {
  return SPELLINGS[`${architecture}/${variant}`] ?? SPELLINGS[architecture];
}

/**
 * Where a file of one platform may lie on another, most likely place first; the path itself is always among them.
 * @example counterparts('/lib64/ld-linux-x86-64.so.2', {amd64}, {arm64})[0] // '/lib64/ld-linux-aarch64.so.1', then /lib/…
 */
export function counterparts(path: string, from: Platform, to: Platform): string[] {
  const [a, b] = [spellingOf(from), spellingOf(to)];
  if (!a || !b || a === b) return [path];
  const certain: (keyof Spelling)[] = ['gnu', 'musl', 'loader', 'muslLoader'];
  // Some words mean the same architecture to several (arm64 to Debian and to Node): each reading is tried.
  const readings: (keyof Spelling)[][] = [['machine', 'debian', 'node'], ['node', 'debian', 'machine'], ['debian'], []];
  const places = readings.map((kinds) => renamed(path, a, b, [...certain, ...kinds]));
  const base = path.slice(path.lastIndexOf('/') + 1);
  if (base === a.loader || base === a.muslLoader) {
    const name = base === a.loader ? b.loader : b.muslLoader;
    places.push(
      ...['/lib', `/lib/${b.gnu}`, `/usr/lib/${b.gnu}`, ...LOADER_DIRECTORIES].map((dir) => `${dir}/${name}`),
    );
  }
  // Variants for newer processors of the one architecture have the plain library as their counterpart.
  for (const place of places.slice(0, readings.length)) places.push(place.replace(/\/glibc-hwcaps\/[^/]+\//, '/'));
  return [...new Set([...places, path])];
}

/** The names of one spelling replaced where they stand as whole words. */
function renamed(path: string, from: Spelling, to: Spelling, kinds: readonly (keyof Spelling)[]): string {
  const table = new Map<string, string>();
  for (const kind of kinds) {
    const [a, b] = [from[kind], to[kind]];
    if (a !== undefined && b !== undefined && !table.has(a)) table.set(a, b);
  }
  // Longest first: x86_64-linux-gnu before x86_64.
  const names = [...table.keys()].sort((x, y) => y.length - x.length).map((name) => name.replace(/[.]/g, '\\.'));
  const word = new RegExp(`(?<![A-Za-z0-9_])(?:${names.join('|')})(?![A-Za-z0-9_])`, 'g');
  return path.replace(word, (name) => table.get(name)!);
}

export interface Coverage {
  /** Files whose content the startup asked for, and links it followed. */
  readonly wanted: number;
  /** Those of them that the other platform has, under the same name or its counterpart. */
  readonly found: number;
  /** Found under another name. */
  readonly renamed: number;
  /** Uncompressed bytes of the regular files found, there. */
  readonly bytes: Bytes;
  /** Uncompressed bytes of the regular files wanted, on the platform that was run. */
  readonly wantedBytes: Bytes;
  /** Paths, as on the platform that was run, that have no counterpart; in byte order. */
  readonly missed: readonly string[];
}

export interface Carried {
  readonly profile: Profile;
  readonly coverage: Coverage;
}

/**
 * The profile as it would be, had the workload been run on the other platform. What was read of a file is kept where the
 * file has the same size there; of others the whole counts as read, because nobody knows.
 * @param at the node at a path of the other platform's tree, symlinks on the way followed, one at the end not
 */
export function carryProfile(
  profile: Profile,
  from: Platform,
  to: Platform,
  at: (path: string) => ViewNode | undefined,
): Carried {
  const files = new Map<string, ProfileFile>();
  /** Where each file of the profile went, in its order there. */
  const movedTo = new Map<ProfileFile, string>();
  const missed: string[] = [];
  let wanted = 0;
  let found = 0;
  let renamedCount = 0;
  let bytes = 0;
  let wantedBytes = 0;
  // Byte order decides when two files have one counterpart: the result must not depend on anything else.
  for (const file of [...profile.files].sort((a, b) => comparePaths(a.path, b.path))) {
    const hot = file.openedIn > 0 && (file.type === 'reg' || file.type === 'symlink');
    const places = counterparts(file.path, from, to);
    const place = places.find((path) => {
      const node = at(path);
      return node !== undefined && (node.type === file.type || (file.type === 'reg' && node.type === 'symlink'));
    });
    const node = place === undefined ? undefined : at(place);
    if (hot) {
      wanted += 1;
      wantedBytes += file.type === 'reg' ? file.size : 0;
      if (!node) missed.push(file.path);
      else {
        found += 1;
        if (place !== file.path) renamedCount += 1;
      }
    }
    const moved = node ? asThere(file, place!, node) : withoutLayer(file, places[0]!);
    movedTo.set(file, moved.path);
    const other = files.get(moved.path);
    if (!other || other.openedIn < moved.openedIn) {
      files.set(moved.path, moved);
      if (hot && node && other?.openedIn === undefined) bytes += moved.type === 'reg' ? moved.size : 0;
    }
  }
  const { platform: _, ...rest } = profile;
  const sorted = [...files.values()].sort((a, b) => comparePaths(a.path, b.path));
  const numberOf = new Map(sorted.map(({ path }, i) => [path, i]));
  const numbers = profile.files.map((file) => numberOf.get(movedTo.get(file)!)!);
  return {
    profile: {
      ...rest,
      platform: to,
      runs: profile.runs.map((run) => ({ ...run, replay: saveReplay(renumberFiles(replayOf(run), numbers)) })),
      files: sorted,
    },
    coverage: { wanted, found, renamed: renamedCount, bytes, wantedBytes, missed: missed.sort(comparePaths) },
  };
}

function withoutLayer(file: ProfileFile, path: string): ProfileFile {
  const { layer: _, package: __, ...rest } = file;
  return { ...rest, path };
}

/** The file as the other platform has it. A symlink in place of a file stays a wanted file: the plan follows it. */
function asThere(file: ProfileFile, path: string, node: ViewNode): ProfileFile {
  const { layer: _, package: __, ...rest } = file;
  const base = { ...rest, path, ...(node.layer === undefined ? {} : { layer: node.layer }) };
  if (file.type !== 'reg' || node.type !== 'reg' || node.size === file.size) return base;
  const { size } = node;
  const read = file.bytesRead.max > 0 && size > 0;
  return {
    ...base,
    size,
    bytesRead: read ? { median: size, mad: 0, min: size, max: size } : { median: 0, mad: 0, min: 0, max: 0 },
    ranges: read ? [[0, size, file.openedIn]] : [],
  };
}
