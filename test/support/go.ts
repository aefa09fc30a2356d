// Programs in Go under test/foreign, built against Debian's packaged libraries (no module downloads). Each is built once
// for each state of its source and kept in node_modules/.cache/hotlayer.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { withLock } from '../../src/image/lock.js';
import { makeTempDir } from '../../src/temp.js';

/** From package golang-1.19-go: the version that the packaged libraries are for. */
const GO = '/usr/lib/go-1.19/bin/go';
const GOPATH = '/usr/share/gocode';
/** From package golang-github-containerd-stargz-snapshotter-dev. */
const LIBRARY = `${GOPATH}/src/github.com/containerd/stargz-snapshotter`;
export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
export const CACHE = join(ROOT, 'node_modules/.cache/hotlayer');

/** No -trimpath: the standard library, which Debian ships compiled, would be compiled again. */
const BUILD = ['build', '-ldflags=-s -w'];
/** ms; somebody else may be building before us, on a machine that is busy. */
const BUILD_TIMEOUT = 10 * 60_000;

/** What is missing to build with the stargz library; empty: nothing. */
export function missingForGo(): string[] {
  return [GO, LIBRARY].filter((path) => !existsSync(path));
}

/**
 * Path of the program; some 20 s the first time. Safe to call from several processes.
 * @param source a file beneath test/foreign
 */
export async function goProgram(name: string, source: string): Promise<string> {
  const file = join(ROOT, 'test/foreign', source);
  const { stdout: version } = await promisify(execFile)(GO, ['version']);
  const key = createHash('sha256')
    .update(readFileSync(file))
    .update(JSON.stringify([version, BUILD]))
    .digest('hex')
    .slice(0, 16);
  const program = join(CACHE, `${name}-${key}`);
  if (existsSync(program)) return program;
  mkdirSync(CACHE, { recursive: true });
  await withLock(
    CACHE,
    async () => {
      if (!existsSync(program)) await build(file, program);
    },
    BUILD_TIMEOUT,
  );
  return program;
}

async function build(file: string, program: string): Promise<void> {
  using work = makeTempDir(undefined, 'hl-go');
  const built = `${program}.tmp`;
  await promisify(execFile)(GO, [...BUILD, '-o', built, file], {
    env: {
      ...process.env,
      GO111MODULE: 'off',
      GOPATH,
      GOFLAGS: '',
      GOCACHE: join(work.path, 'cache'),
      GOTOOLCHAIN: 'local',
    },
    cwd: work.path,
    timeout: BUILD_TIMEOUT,
  });
  renameSync(built, program);
}
