// A proxy before a registry that breaks what it is told to break, and remembers every request.
import { readFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

export type Fault =
  /** Sends so many bytes of the answer's body, then closes the connection. */
  | { readonly kind: 'cut'; readonly after: number }
  /** The same, but ends the answer as if that was all. */
  | { readonly kind: 'truncate'; readonly after: number }
  /** Changes the byte at this offset of the answer's body, or of the request's. */
  | { readonly kind: 'flip'; readonly at: number; readonly request?: true }
  /** The registry does not get to see the Range header. */
  | { readonly kind: 'ignore-range' }
  /** Of several ranges it gets to see the first. */
  | { readonly kind: 'first-range' }
  /** Passes so many bytes of the request's body on, then resets both connections. */
  | { readonly kind: 'cut-request'; readonly after: number }
  /** Passes the request on and resets the connection instead of answering. */
  | { readonly kind: 'no-answer' }
  /** Changes the answer's headers; undefined removes one. */
  | { readonly kind: 'headers'; readonly headers: Record<string, string | undefined> }
  /** Answers itself. */
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly headers?: Record<string, string>;
      readonly body?: string;
    };

export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  /** Which connection it came on. */
  readonly connection: number;
  /** Milliseconds, monotonic. */
  readonly at: number;
}

/** @param earlier how many requests with the same method and path (without query) came before */
export type Rule = (request: Seen, earlier: number) => Fault | undefined | Promise<Fault | undefined>;

export interface FaultyProxy {
  readonly host: string;
  readonly seen: Seen[];
  rule: Rule;
}

/**
 * @param port the registry's, on 127.0.0.1; 0: there is none, and the rule answers everything
 * @param tls PEM files; absent: it speaks http
 */
export async function startProxy(
  t: Pick<TestContext, 'after'>,
  port: number,
  rule: Rule = () => undefined,
  tls?: { readonly certificate: string; readonly key: string },
): Promise<FaultyProxy> {
  const seen: Seen[] = [];
  const counts = new Map<string, number>();
  const serveOne = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    const { method = '', url = '', headers } = incoming;
    const connection = incoming.socket.remotePort ?? 0;
    const one: Seen = { method, url, headers, connection, at: performance.now() };
    seen.push(one);
    const key = `${method} ${url.split('?')[0]}`;
    const earlier = counts.get(key) ?? 0;
    counts.set(key, earlier + 1);
    outgoing.on('error', () => {});
    void Promise.resolve(proxy.rule(one, earlier)).then((fault) => serve(port, fault, incoming, outgoing));
  };
  const server = tls
    ? createSecureServer({ cert: readFileSync(tls.certificate), key: readFileSync(tls.key) }, serveOne)
    : createServer(serveOne);
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const proxy: FaultyProxy = { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, seen, rule };
  return proxy;
}

function serve(port: number, fault: Fault | undefined, incoming: IncomingMessage, outgoing: ServerResponse): void {
  if (fault?.kind === 'answer') {
    incoming.resume();
    outgoing.writeHead(fault.status, fault.headers).end(fault.body);
    return;
  }
  const headers = { ...incoming.headers };
  if (fault?.kind === 'ignore-range') delete headers.range;
  if (fault?.kind === 'first-range') headers.range = headers.range?.split(',')[0];
  const upstream = request({ port, host: '127.0.0.1', method: incoming.method, path: incoming.url, headers });
  const reset = () => {
    upstream.destroy();
    incoming.socket.resetAndDestroy();
  };
  upstream.on('error', reset);
  upstream.on('response', (answer) => {
    if (fault?.kind === 'no-answer') {
      answer.resume().on('end', reset);
      return;
    }
    const changed: Record<string, string | string[] | undefined> = { ...answer.headers };
    if (fault?.kind === 'truncate') delete changed['content-length'];
    if (fault?.kind === 'headers') Object.assign(changed, fault.headers);
    for (const name of Object.keys(changed)) if (changed[name] === undefined) delete changed[name];
    outgoing.writeHead(answer.statusCode!, changed as Record<string, string>);
    let at = 0;
    answer.on('data', (chunk: Buffer) => {
      const rest = fault?.kind === 'cut' || fault?.kind === 'truncate' ? fault.after - at : Number.POSITIVE_INFINITY;
      if (fault?.kind === 'flip' && !fault.request) flip(chunk, fault.at - at);
      at += chunk.length;
      if (chunk.length < rest) {
        outgoing.write(chunk);
        return;
      }
      answer.destroy();
      if (fault?.kind === 'truncate') outgoing.end(chunk.subarray(0, rest));
      // Closed, not reset: a reset throws away what has arrived and was not yet read.
      else outgoing.write(chunk.subarray(0, rest), () => incoming.socket.end());
    });
    answer.on('end', () => outgoing.end());
    answer.on('error', reset);
  });
  let at = 0;
  incoming.on('data', (chunk: Buffer) => {
    if (fault?.kind === 'flip' && fault.request) flip(chunk, fault.at - at);
    const rest = fault?.kind === 'cut-request' ? fault.after - at : Number.POSITIVE_INFINITY;
    at += chunk.length;
    if (chunk.length < rest) upstream.write(chunk);
    else {
      incoming.removeAllListeners('data');
      upstream.write(chunk.subarray(0, Math.max(0, rest)), () => setTimeout(reset, 20));
    }
  });
  incoming.on('end', () => upstream.end());
  incoming.on('error', () => upstream.destroy());
}

function flip(chunk: Buffer, at: number): void {
  if (at >= 0 && at < chunk.length) chunk[at]! ^= 0x40;
}
