// Asks a credential helper program: the server's name on its standard input, a JSON object on its standard output.
import { spawn } from 'node:child_process';
import { HotlayerError } from '../../errors.js';
import { KIB } from '../../units.js';
import type { Credentials } from './credential-files.js';

const MAX_OUTPUT = 256 * KIB;
const TIMEOUT_MS = 60_000;

/** What helpers print, with a status that is not zero, when they just do not know the server. */
const UNKNOWN = /credentials not found|no credentials server|no usernames for|not found in native keychain/i;

interface Output {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * @param server as the configuration names it
 * @param file the configuration that names the helper, for messages
 * @returns undefined when the helper has nothing for that server
 * @throws HL_ERR_AUTH
 */
export async function runHelper(
  name: string,
  server: string,
  file: string,
  options: { readonly env: Readonly<Record<string, string | undefined>>; readonly signal?: AbortSignal },
): Promise<Credentials | undefined> {
  const program = `docker-credential-${name}`;
  const fail = (what: string, cause?: unknown) =>
    new HotlayerError('HL_ERR_AUTH', `${program}, named in ${file} for ${server}, ${what}`, {
      hint: `run it by hand: echo ${server} | ${program} get; or log in again`,
      context: { file },
      ...(cause === undefined ? {} : { cause }),
    });
  if (!/^[\w.-]+$/.test(name)) throw fail('is not a name of a helper program');
  const output = await run(program, server, options).catch((cause: unknown) => {
    throw fail(`cannot be run: ${(cause as Error).message}`, cause);
  });
  if (output.status !== 0) {
    const said = `${output.stdout}\n${output.stderr}`;
    if (UNKNOWN.test(said)) return undefined;
    // Helpers put their error on stdout, where the secret would be; JSON is never shown.
    const message = said.includes('{') ? '' : `: ${said.trim().split('\n')[0]!.slice(0, 200)}`;
    throw fail(`ended with status ${output.status ?? 'of a signal'}${message}`);
  }
  let answer: { Username?: unknown; Secret?: unknown };
  try {
    answer = JSON.parse(output.stdout) as typeof answer;
  } catch {
    throw fail('did not answer with JSON');
  }
  const { Username: username, Secret: secret } = answer ?? {};
  if (typeof username !== 'string' || typeof secret !== 'string') throw fail('answered without Username and Secret');
  if (secret === '') return undefined;
  return username === '<token>'
    ? { kind: 'identity', token: secret }
    : { kind: 'password', username, password: secret };
}

function run(
  program: string,
  input: string,
  options: { readonly env: Readonly<Record<string, string | undefined>>; readonly signal?: AbortSignal },
): Promise<Output> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, ['get'], {
      env: options.env as NodeJS.ProcessEnv,
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(options.signal ? { signal: options.signal } : {}),
    });
    // Not spawn's own time-out: its timer stays when the program is not found.
    const timer = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS);
    const said = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const) {
      child[stream].setEncoding('utf8');
      child[stream].on('data', (text: string) => {
        said[stream] += text;
        if (said[stream].length > MAX_OUTPUT) child.kill('SIGKILL');
      });
    }
    child.on('error', (cause) => {
      clearTimeout(timer);
      reject(cause);
    });
    child.on('close', (status) => {
      clearTimeout(timer);
      resolve({ status, ...said });
    });
    // A helper that does not read its input closes the pipe; its answer says the rest.
    child.stdin.on('error', () => {});
    child.stdin.end(`${input}\n`);
  });
}
