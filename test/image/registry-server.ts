// Debian's docker-registry (distribution 2.8) on a free port of the loopback interface, for one test.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { namespaceCommand } from '../support/namespace.js';
import { testDir } from '../support/temp.js';

export interface TestRegistry {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  readonly port: number;
  /** Its storage: `docker/registry/v2/…`. */
  readonly root: string;
  /** What it has logged so far. */
  log(): string;
}

export interface RegistrySpec {
  /** Basic authentication with USER and PASSWORD, from an htpasswd file. */
  basic?: true;
  /** PEM files of its certificate and key: it speaks TLS. */
  tls?: { certificate: string; key: string };
  /** Its storage is a file system of so many bytes that only it can see: `root` is empty. */
  diskBytes?: number;
}

export const USER = 'hot';
export const PASSWORD = 'pass-word:1';
/** bcrypt of PASSWORD with cost 4, as htpasswd -nbB writes it. */
const HASH = '$2b$04$hRqEK.z2VlCQKDy4XgJLuOFkMUibLWVUbsFUvgWUrT1v6w2ou4xa2';

export async function startRegistry(t: TestContext, spec: RegistrySpec = {}): Promise<TestRegistry> {
  const dir = testDir(t);
  const root = join(dir, 'data');
  const lines = [
    'version: 0.1',
    'log: {level: info}',
    `storage: {filesystem: {rootdirectory: ${root}}, delete: {enabled: true}}`,
    `http: {addr: "127.0.0.1:0"${spec.tls ? `, tls: {certificate: ${spec.tls.certificate}, key: ${spec.tls.key}}` : ''}}`,
  ];
  if (spec.basic) {
    writeFileSync(join(dir, 'htpasswd'), `${USER}:${HASH}\n`);
    lines.push(`auth: {htpasswd: {realm: test, path: ${join(dir, 'htpasswd')}}}`);
  }
  writeFileSync(join(dir, 'config.yml'), `${lines.join('\n')}\n`);
  const log: string[] = [];
  const serve = ['docker-registry', 'serve', join(dir, 'config.yml')];
  const [program, ...args] = spec.diskBytes === undefined ? serve : withDisk(root, spec.diskBytes, serve);
  const child = spawn(program!, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => log.push(String(text)));
  t.after(() => stop(child));
  let port = 0;
  for (let tries = 0; port === 0; tries++) {
    if (child.exitCode !== null || tries > 3000) throw new Error(`docker-registry did not start:\n${log.join('')}`);
    await sleep(10);
    port = Number(/listening on 127\.0\.0\.1:(\d+)/.exec(log.join(''))?.[1] ?? 0);
  }
  return { host: `127.0.0.1:${port}`, port, root, log: () => log.join('') };
}

/** The command with a file system of its own at `path`, in a mount namespace that ends with it. */
export function withDisk(path: string, bytes: number, argv: readonly string[]): string[] {
  mkdirSync(path, { recursive: true });
  const script = 'mount -t tmpfs -o "size=$1" hotlayer-test "$0" && shift && exec "$@"';
  return namespaceCommand('mount', ['sh', '-c', script, path, String(bytes), ...argv]);
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

/** The digest that a tag leads to, from the registry's own files; undefined: no such tag. */
export function storedTag(registry: TestRegistry, repository: string, tag: string): string | undefined {
  try {
    const path = `docker/registry/v2/repositories/${repository}/_manifests/tags/${tag}/current/link`;
    return readFileSync(join(registry.root, path), 'utf8');
  } catch {
    return undefined;
  }
}
