// Runs test/foreign/esgz-check.go, which reads our blobs with Debian's copy of containerd's estargz library. Tests are
// skipped where Go 1.19 or the library is missing (packages golang-1.19-go and
// golang-github-containerd-stargz-snapshotter-dev), or fail when HOTLAYER_REQUIRE_E2E=1.
import { execFileSync } from 'node:child_process';
import { goProgram, missingForGo } from '../support/go.js';
import { notHere } from '../support/tools.js';

/** For `{ skip: lackingChecker() }`. */
export function lackingChecker(): string | false {
  return notHere(missingForGo());
}

let checker: Promise<string> | undefined;

/** Path of the program. */
export function esgzCheck(): Promise<string> {
  checker ??= goProgram('esgz-check', 'esgz-check.go');
  return checker;
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
