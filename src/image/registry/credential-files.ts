// Credentials as docker (config.json) and podman, skopeo and buildah (auth.json, containers-auth.json(5)) keep them,
// in the file itself or behind a helper program (docker-credential-helpers protocol: `docker-credential-NAME get`).
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { errnoOf, HotlayerError } from '../../errors.js';
import { MIB } from '../../units.js';
import { runHelper } from './credential-helper.js';
import { HUB_API } from './hub.js';

export type Credentials =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** An OAuth2 refresh token, exchanged for access tokens. */
  | { readonly kind: 'identity'; readonly token: string }
  /** A bearer token, sent to the registry as it is. */
  | { readonly kind: 'bearer'; readonly token: string };

type Env = Readonly<Record<string, string | undefined>>;
type Json = Record<string, unknown>;

const MAX_FILE_BYTES = 16 * MIB;

/** Docker Hub under all the names it has in these files. */
const HUB_KEYS = ['https://index.docker.io/v1/', 'index.docker.io', 'docker.io', HUB_API];

/** Where to look, first to last. */
export function credentialFiles(env: Env, authFile?: string): string[] {
  if (authFile !== undefined) return [authFile];
  const home = env.HOME || homedir();
  return [
    env.REGISTRY_AUTH_FILE,
    env.DOCKER_CONFIG ? join(env.DOCKER_CONFIG, 'config.json') : undefined,
    env.XDG_RUNTIME_DIR ? join(env.XDG_RUNTIME_DIR, 'containers', 'auth.json') : undefined,
    join(env.XDG_CONFIG_HOME || join(home, '.config'), 'containers', 'auth.json'),
    env.DOCKER_CONFIG ? undefined : join(home, '.docker', 'config.json'),
  ].filter((path): path is string => path !== undefined && path !== '');
}

/**
 * The credentials for a repository from the first file that has some; undefined: anonymous.
 * @param host as in references: `docker.io` for Docker Hub
 * @throws HL_ERR_DATA for a file that is not JSON, HL_ERR_AUTH when a helper program fails, HL_ERR_IO
 */
export async function findCredentials(
  host: string,
  repository: string,
  options: { readonly env: Env; readonly authFile?: string; readonly signal?: AbortSignal },
): Promise<Credentials | undefined> {
  for (const file of credentialFiles(options.env, options.authFile)) {
    const config = await readConfigFile(file);
    if (!config) {
      if (file === options.authFile)
        throw new HotlayerError('HL_ERR_NOT_FOUND', `${file}: no such file of credentials`, { context: { file } });
      continue;
    }
    const found = await findIn(config, file, host, repository, options);
    if (found) return found;
  }
  return undefined;
}

async function findIn(
  config: Json,
  file: string,
  host: string,
  repository: string,
  options: { readonly env: Env; readonly signal?: AbortSignal },
): Promise<Credentials | undefined> {
  const hosts = host === 'docker.io' ? HUB_KEYS : [host];
  const helpers = objectOf(config.credHelpers);
  for (const key of hosts) {
    const helper = own(helpers, key);
    if (typeof helper === 'string' && helper !== '') return runHelper(helper, key, file, options);
  }
  const written = inAuths(objectOf(config.auths), hosts, repository, file);
  if (written) return written;
  if (typeof config.credsStore === 'string' && config.credsStore !== '')
    return runHelper(config.credsStore, hosts[0]!, file, options);
  return undefined;
}

/** The most specific key wins: `host/team/app`, `host/team`, `host`; docker's own keys may be URLs. */
function inAuths(auths: Json, hosts: readonly string[], repository: string, file: string): Credentials | undefined {
  const parts = repository.split('/');
  const paths = parts.map((_, i) => `/${parts.slice(0, parts.length - i).join('/')}`);
  for (const path of [...paths, '']) {
    for (const host of hosts) {
      const exact = read(own(auths, `${host}${path}`), `${host}${path}`, file);
      if (exact) return exact;
    }
  }
  for (const [key, value] of Object.entries(auths)) {
    if (!hosts.some((host) => hostOfKey(host) === hostOfKey(key)) || !/^https?:\/\//.test(key)) continue;
    const found = read(value, key, file);
    if (found) return found;
  }
  return undefined;
}

/** `https://host/v1/` → `host`. */
function hostOfKey(key: string): string {
  return key.replace(/^https?:\/\//, '').replace(/\/.*$/s, '');
}

/** One entry of `auths`. Docker leaves empty ones behind for what is in its store. */
function read(value: unknown, key: string, file: string): Credentials | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const entry = value as Json;
  if (isText(entry.registrytoken)) return { kind: 'bearer', token: entry.registrytoken };
  if (isText(entry.identitytoken)) return { kind: 'identity', token: entry.identitytoken };
  if (isText(entry.auth)) {
    // Docker pads the decoded text with zero bytes in places.
    const text = Buffer.from(entry.auth, 'base64').toString('utf8').replace(/\0+$/, '');
    const colon = text.indexOf(':');
    if (colon <= 0) {
      throw new HotlayerError('HL_ERR_DATA', `${file}: auths["${key}"].auth is not base64 of "user:password"`, {
        hint: 'log in again with docker login or podman login',
        context: { file },
      });
    }
    return { kind: 'password', username: text.slice(0, colon), password: text.slice(colon + 1) };
  }
  if (isText(entry.username) && typeof entry.password === 'string')
    return { kind: 'password', username: entry.username, password: entry.password };
  return undefined;
}

async function readConfigFile(file: string): Promise<Json | undefined> {
  let bytes: Buffer;
  try {
    bytes = await readFile(file);
  } catch (cause) {
    // Another user's home (sudo) is as good as none.
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(errnoOf(cause) ?? '')) return undefined;
    throw new HotlayerError('HL_ERR_IO', `cannot read ${file}: ${(cause as Error).message}`, {
      cause,
      context: { file },
    });
  }
  const bad = (what: string) =>
    new HotlayerError('HL_ERR_DATA', `${file}: ${what}`, {
      hint: 'it should be a file of docker login or podman login',
      context: { file },
    });
  if (bytes.length > MAX_FILE_BYTES) throw bad(`more than ${MAX_FILE_BYTES} bytes`);
  if (bytes.toString('utf8').trim() === '') return undefined;
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch {
    // Not the parser's message: it may quote the text, which holds passwords.
    throw bad('is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad('is not a JSON object');
  return value as Json;
}

function objectOf(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {};
}

function own(object: Json, key: string): unknown {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}
