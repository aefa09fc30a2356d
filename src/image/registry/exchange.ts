// One HTTP exchange with whatever redirects it takes. Authorization goes to the origin it is meant for and nowhere else.
import { readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { HotlayerError } from '../../errors.js';
import { interrupted } from './backoff.js';
import type { ClientAnswer, HttpClient } from './http-client.js';
import { connectionError, one, RegistryError } from './registry-error.js';
import { makeSecrets, type Secrets, showUrl } from './secrets.js';
import type { RegistryOptions } from './settings.js';

export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface HttpRequest {
  readonly method: Method;
  readonly url: URL;
  /** Lower-case names; `authorization` is dropped when a redirect leads to another origin. */
  readonly headers?: Readonly<Record<string, string>>;
  /** A function makes a new stream each time the body has to be sent; `content-length` must be among the headers. */
  readonly body?: Uint8Array | string | (() => Readable);
  /** Breaks this one off, besides the signal of the options. */
  readonly signal?: AbortSignal;
}

export interface Answer {
  readonly status: number;
  readonly headers: ClientAnswer['headers'];
  /** Where the answer came from in the end. */
  readonly url: URL;
  /** Must be read to its end, dumped or destroyed. */
  readonly body: ClientAnswer['body'];
}

export interface Exchange {
  readonly secrets: Secrets;
  /** Any status is an answer. @throws RegistryError when there is none, HL_ERR_INTERRUPTED, what the body's stream throws */
  send(request: HttpRequest): Promise<Answer>;
  /** Breaks off all that is under way. Idempotent. */
  close(): Promise<void>;
}

const MAX_REDIRECTS = 6;
const CONNECT_TIMEOUT_MS = 15_000;
/** Registries check a whole blob before they answer the last request of an upload. */
const HEADERS_TIMEOUT_MS = 300_000;
/** Without a byte for so long, a download is taken to be dead and resumed. */
const BODY_TIMEOUT_MS = 60_000;
const KEEP_ALIVE_MS = 10_000;

/** @throws HL_ERR_NOT_FOUND, HL_ERR_USAGE for a CA file that cannot be used */
export async function makeExchange(options: RegistryOptions): Promise<Exchange> {
  const env = options.env ?? process.env;
  const ca = await readCa(options.caFile ?? env.HOTLAYER_CA_FILE, env.NODE_EXTRA_CA_CERTS);
  const client = await makeClient(env, ca, options.light ?? false);
  const secrets = makeSecrets();
  const answered = new Set<string>();
  let closing: Promise<void> | undefined;

  const signalOf = (own: AbortSignal | undefined): { signal?: AbortSignal } => {
    if (own && options.signal) return { signal: AbortSignal.any([own, options.signal]) };
    const one = own ?? options.signal;
    return one ? { signal: one } : {};
  };

  async function sendOne(request: HttpRequest, url: URL): Promise<Answer> {
    const { method, headers, body } = request;
    const stream = typeof body === 'function' ? body() : undefined;
    try {
      const answer = await client.request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method,
        // Identity: the digest is of the bytes as stored, and ranges must be ranges of them.
        headers: { 'user-agent': 'hotlayer', 'accept-encoding': 'identity', ...headers },
        ...(body === undefined ? {} : { body: stream ?? (body as Uint8Array | string) }),
        ...signalOf(request.signal),
      });
      answered.add(url.host);
      // An error after the last byte that anybody waits for must not end the process.
      answer.body.on('error', () => {});
      return { status: answer.statusCode, headers: answer.headers, url, body: answer.body };
    } catch (cause) {
      if (options.signal?.aborted) throw interrupted(cause);
      throw connectionError(cause, url, answered.has(url.host), secrets);
    } finally {
      // undici leaves a stream open that it did not come to read.
      stream?.on('error', () => {});
      if (stream && !stream.readableEnded) stream.destroy();
    }
  }

  return {
    secrets,
    async send(request) {
      let url = request.url;
      let current = request;
      for (let hops = 0; ; hops++) {
        const answer = await sendOne(current, url);
        const location = one(answer.headers.location);
        if (!isRedirect(answer.status) || location === undefined || !mayFollow(answer.status, current.method))
          return answer;
        await discard(answer);
        const next = redirectTarget(location, url);
        if (hops >= MAX_REDIRECTS)
          throw new RegistryError('HL_ERR_NETWORK', `${request.url.host}: more than ${MAX_REDIRECTS} redirects`, {
            transient: false,
          });
        if (next.origin !== url.origin && current.headers) {
          const { authorization: _, ...kept } = current.headers;
          current = { ...current, headers: kept };
        }
        url = next;
      }
    },
    close() {
      closing ??= client.destroy();
      return closing;
    },
  };
}

/** Lets go of a body that nobody wants: a small one is read, so that the connection can be used again. */
export async function discard(answer: Answer): Promise<void> {
  await answer.body.dump({ limit: 64 * 1024 }).catch(() => {});
}

function isRedirect(status: number): boolean {
  return [301, 302, 303, 307, 308].includes(status);
}

/** Only 307 and 308 say that the method and body stay (RFC 9110 §15.4). An upload's 301 is not to become a GET. */
function mayFollow(status: number, method: Method): boolean {
  return method === 'GET' || method === 'HEAD' || status === 307 || status === 308;
}

function redirectTarget(location: string, from: URL): URL {
  const bad = (why: string) =>
    new RegistryError('HL_ERR_NETWORK', `${from.host}: redirects ${why}`, { transient: false });
  let url: URL;
  try {
    url = new URL(location, from);
  } catch {
    throw bad('to what is not a URL');
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw bad(`to ${url.protocol}, expected https`);
  if (from.protocol === 'https:' && url.protocol === 'http:') throw bad(`from https to ${showUrl(url)}`);
  return url;
}

async function makeClient(
  env: Readonly<Record<string, string | undefined>>,
  ca: string[] | undefined,
  light: boolean,
): Promise<HttpClient> {
  const [http, https] = [env.http_proxy ?? env.HTTP_PROXY, env.https_proxy ?? env.HTTPS_PROXY];
  if (light && !http && !https) {
    const { makeLightClient } = await import('./light-client.js');
    return makeLightClient({
      ca,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      idleTimeoutMs: BODY_TIMEOUT_MS,
      keepAliveMs: KEEP_ALIVE_MS,
    });
  }
  // Only now: it takes a tenth of a second to load, and most commands never need it.
  const { Agent, EnvHttpProxyAgent } = await import('undici');
  const connect = { timeout: CONNECT_TIMEOUT_MS, ...(ca ? { ca } : {}) };
  const common = {
    connect,
    headersTimeout: HEADERS_TIMEOUT_MS,
    bodyTimeout: BODY_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
  };
  if (!http && !https) return new Agent(common) as HttpClient;
  const noProxy = [env.no_proxy ?? env.NO_PROXY, 'localhost', '127.0.0.1', '[::1]'].filter(Boolean).join(',');
  return new EnvHttpProxyAgent({
    ...common,
    ...(ca ? { requestTls: { ca }, proxyTls: { ca } } : {}),
    httpProxy: http ?? '',
    httpsProxy: https ?? '',
    noProxy,
  }) as HttpClient;
}

/** Naming authorities replaces Node's own list, so that has to be named too. */
async function readCa(file: string | undefined, extra: string | undefined): Promise<string[] | undefined> {
  if (file === undefined || file === '') return undefined;
  const pem = readText(file);
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) {
    throw new HotlayerError('HL_ERR_USAGE', `${file} holds no certificate in PEM form`, { context: { file } });
  }
  const more: string[] = [];
  // Node only warns about an extra file that it cannot read; so it is left out here too.
  if (extra) {
    try {
      more.push(readFileSync(extra, 'utf8'));
    } catch {}
  }
  const { rootCertificates } = await import('node:tls');
  return [...rootCertificates, ...more, pem];
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new HotlayerError('HL_ERR_NOT_FOUND', `cannot read the CA file ${file}: ${(cause as Error).message}`, {
      hint: 'it is named by --ca-file or HOTLAYER_CA_FILE',
      cause,
      context: { file },
    });
  }
}
