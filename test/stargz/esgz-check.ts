// Builds test/foreign/esgz-check.go against Debian's copy of containerd's estargz library and runs it. Tests are
// skipped where Go 1.19 or the library is missing (packages golang-1.19-go and
// golang-github-containerd-stargz-snapshotter-dev), or fail when HOTLAYER_REQUIRE_E2E=1.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withDir } from './blob.js';

const GO = '/usr/lib/go-1.19/bin/go';
const GOPATH = '/usr/share/gocode';
const LIBRARY = `${GOPATH}/src/github.com/containerd/stargz-snapshotter/estargz`;
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** For `{ skip: lackingChecker() }`. */
export function lackingChecker(): string | false {
  const missing = [GO, LIBRARY].filter((path) => !existsSync(path));
  if (missing.length === 0) return false;
  const reason = `not installed: ${missing.join(', ')}`;
  if (process.env.HOTLAYER_REQUIRE_E2E === '1') throw new Error(`HOTLAYER_REQUIRE_E2E=1, but ${reason}`);
  return reason;
}

let checker: Promise<string> | undefined;

/** Path of the program; built once for each state of its source, kept beside the other caches of node_modules. */
export function esgzCheck(): Promise<string> {
  checker ??= make();
  return checker;
}

async function make(): Promise<string> {
  const source = join(ROOT, 'test/foreign/esgz-check.go');
  const version = execFileSync(GO, ['version']);
  const key = createHash('sha256').update(readFileSync(source)).update(version).digest('hex').slice(0, 16);
  const cache = join(ROOT, 'node_modules/.cache/hotlayer');
  const program = join(cache, `esgz-check-${key}`);
  if (existsSync(program)) return program;
  mkdirSync(cache, { recursive: true });
  await withDir((work) => {
    const built = `${program}.${process.pid}.tmp`;
    execFileSync(GO, ['build', '-o', built, source], {
      env: {
        ...process.env,
        GO111MODULE: 'off',
        GOPATH,
        GOFLAGS: '',
        GOCACHE: join(work, 'cache'),
        GOTOOLCHAIN: 'local',
      },
      cwd: work,
    });
    renameSync(built, program);
  });
  return program;
}

export interface ForeignNode {
  path: string;
  type: string;
  size: number;
  mode: number;
  uid: number;
  gid: number;
  uname: string;
  modtime: string;
  linkName: string;
  devMajor: number;
  devMinor: number;
  numLink: number;
  xattrs: Record<string, string> | null;
  digest: string;
  sha256: string;
  chunks:
    | {
        offset: number;
        nextOffset: number;
        chunkOffset: number;
        chunkSize: number;
        chunkDigest: string;
        verified: boolean;
      }[]
    | null;
}

/** @throws with what the library says when it refuses the blob */
export async function foreignOpen(blobPath: string, tocDigest: string): Promise<ForeignNode[]> {
  const out = execFileSync(await esgzCheck(), ['open', blobPath, tocDigest], {
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return JSON.parse(out.toString()) as ForeignNode[];
}

export async function foreignBuild(
  tarPath: string,
  outPath: string,
  prioritized: readonly string[],
): Promise<{ tocDigest: string; diffId: string; missed: string[] }> {
  const out = execFileSync(await esgzCheck(), ['build', tarPath, outPath, ...prioritized], {
    // One part, so that names of owners are carried through the whole TOC.
    env: { ...process.env, GOMAXPROCS: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return JSON.parse(out.toString());
}
