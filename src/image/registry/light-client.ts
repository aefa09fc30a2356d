// HTTP by what Node has built in, where that is all that is needed: undici takes a tenth of a second to load, which a
// container that is started cold waits for.
import type { ClientRequest, Agent as HttpAgent, IncomingMessage, RequestOptions } from 'node:http';
import type { Readable } from 'node:stream';
import type { ClientAnswer, HttpClient, HttpClientRequest } from './http-client.js';

export interface LightOptions {
  /** PEM; absent: Node's own list. */
  readonly ca?: readonly string[] | undefined;
  readonly connectTimeoutMs: number;
  /** Without a byte for so long, a request is taken to be dead. */
  readonly idleTimeoutMs: number;
  readonly keepAliveMs: number;
}

/** Nothing is sent through a proxy. */
export async function makeLightClient(options: LightOptions): Promise<HttpClient> {
  const { connectTimeoutMs, idleTimeoutMs } = options;
  const settings = { keepAlive: true, timeout: options.keepAliveMs, scheduling: 'lifo' as const };
  const http = await import('node:http');
  const plain = new http.Agent(settings);
  /** Loaded when it is first asked for. */
  let secure: { readonly agent: HttpAgent; readonly request: typeof http.request } | undefined;

  async function schemeOf(
    origin: string,
  ): Promise<{ readonly agent: HttpAgent; readonly request: typeof http.request }> {
    if (!origin.startsWith('https:')) return { agent: plain, request: http.request };
    if (!secure) {
      const https = await import('node:https');
      const agent = new https.Agent({ ...settings, ...(options.ca && { ca: [...options.ca] }) });
      secure ??= { agent, request: https.request as typeof http.request };
    }
    return secure;
  }

  async function send(wanted: HttpClientRequest, again: boolean): Promise<ClientAnswer> {
    const { agent, request } = await schemeOf(wanted.origin);
    const { hostname, port } = new URL(wanted.origin);
    const { signal, body, headers } = wanted;
    signal?.throwIfAborted();
    return new Promise((resolve, reject) => {
      const given: RequestOptions = {
        agent,
        hostname: hostname.replace(/^\[|\]$/g, ''),
        port,
        path: wanted.path,
        method: wanted.method,
        headers: { ...headers },
        ...(signal && { signal }),
      };
      const asked = request(given, (message) => {
        asked.setTimeout(idleTimeoutMs);
        resolve(answerOf(message));
      });
      asked.setTimeout(idleTimeoutMs, () => asked.destroy(timedOut(`no byte for ${idleTimeoutMs / 1000} s`)));
      limitConnecting(asked, connectTimeoutMs);
      asked.once('error', (error) => {
        // The server had closed a connection that we thought to use once more: it never saw the request.
        const unseen = asked.reusedSocket && codeOf(error) === 'ECONNRESET' && wanted.method === 'GET';
        if (again && unseen && !signal?.aborted) send(wanted, false).then(resolve, reject);
        else reject(error);
      });
      if (body === undefined || typeof body === 'string' || body instanceof Uint8Array) asked.end(body);
      else (body as Readable).on('error', (error) => asked.destroy(error)).pipe(asked);
    });
  }

  return {
    request: (wanted) => send(wanted, true),
    async destroy() {
      plain.destroy();
      secure?.agent.destroy();
    },
  };
}

function answerOf(message: IncomingMessage): ClientAnswer {
  const body = Object.assign(message, {
    async dump({ limit }: { limit: number }) {
      let read = 0;
      for await (const chunk of message as AsyncIterable<Buffer>) {
        read += chunk.length;
        if (read > limit) break;
      }
    },
  });
  return { statusCode: message.statusCode ?? 0, headers: message.headers, body };
}

function limitConnecting(asked: ClientRequest, ms: number): void {
  asked.once('socket', (socket) => {
    if (!socket.connecting) return;
    const timer = setTimeout(() => asked.destroy(timedOut(`no connection after ${ms / 1000} s`)), ms);
    const stop = () => clearTimeout(timer);
    socket.once('connect', stop).once('close', stop);
  });
}

function timedOut(message: string): Error {
  return Object.assign(new Error(message), { code: 'ETIMEDOUT' });
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown }).code;
}
