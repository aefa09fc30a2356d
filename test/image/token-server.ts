// A registry that wants tokens: the real one behind a proxy that asks for them, and the server that gives them out
// (distribution: Token Authentication Specification, and its OAuth2 form).
import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { type Seen, startProxy } from '../support/registry-proxy.js';
import { PASSWORD, startRegistry, USER } from './registry-server.js';

export interface Grant {
  readonly user: string | undefined;
  readonly scopes: string[];
  readonly via: 'GET' | 'POST';
}

interface Issued {
  readonly scopes: readonly string[];
  readonly expires: number;
}

export interface TokenRegistry {
  readonly host: string;
  readonly grants: Grant[];
  readonly identityToken: string;
  /** What the server of tokens answers instead, one a request. */
  readonly faults: { status: number; headers?: Record<string, string>; body?: string }[];
  /** Each breaks one download that is allowed, after so many bytes. */
  readonly breaks: number[];
  lifetimeSeconds: number;
  revokeAll(): void;
  issue(scopes: readonly string[]): string;
}

export async function startTokenRegistry(
  t: TestContext,
  spec: { anonymousPull?: boolean; lifetimeSeconds?: number } = {},
): Promise<TokenRegistry> {
  const registry = await startRegistry(t);
  const tokens = new Map<string, Issued>();
  const proxy = await startProxy(t, registry.port, (request) => {
    const needed = scopesOf(request);
    const sent = /^Bearer (.*)$/.exec(request.headers.authorization ?? '')?.[1];
    const token = sent === undefined ? undefined : tokens.get(sent);
    if (token && token.expires > Date.now() && needed.every((scope) => token.scopes.includes(scope))) {
      const after =
        request.method === 'GET' && request.url.includes('/blobs/sha256:') ? result.breaks.shift() : undefined;
      return after === undefined ? undefined : { kind: 'cut', after };
    }
    const challenge = `Bearer realm="http://127.0.0.1:${port}/token",service="test",scope="${needed.join(' ')}"`;
    return { kind: 'answer', status: 401, headers: { 'www-authenticate': challenge } };
  });

  const server = createServer((request, response) => void answer(request, response));
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const fault = result.faults.shift();
    if (fault) return void response.writeHead(fault.status, fault.headers).end(fault.body);
    const url = new URL(request.url!, 'http://tokens');
    const post = request.method === 'POST';
    const query = post ? new URLSearchParams(body) : url.searchParams;
    const scopes = query.getAll('scope').flatMap((scope) => scope.split(' '));
    const user = post ? userOfForm(query) : userOfHeader(request.headers.authorization);
    const pullOnly = scopes.every((scope) => scope.endsWith(':pull'));
    const allowed = user === USER || (user === undefined && spec.anonymousPull && pullOnly);
    if (query.get('service') !== 'test' || !allowed) return void response.writeHead(401).end('{"details":"no"}');
    result.grants.push({ user, scopes, via: post ? 'POST' : 'GET' });
    const token = result.issue(scopes);
    const document = { [post ? 'access_token' : 'token']: token, expires_in: result.lifetimeSeconds };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(document));
  }

  function userOfForm(form: URLSearchParams): string {
    const good = form.get('grant_type') === 'refresh_token' && form.get('refresh_token') === result.identityToken;
    return good ? USER : 'unknown';
  }

  const result: TokenRegistry = {
    host: proxy.host,
    grants: [],
    faults: [],
    breaks: [],
    identityToken: `identity-${randomBytes(8).toString('hex')}`,
    lifetimeSeconds: spec.lifetimeSeconds ?? 300,
    revokeAll: () => tokens.clear(),
    issue(scopes) {
      const token = randomBytes(16).toString('hex');
      const each = scopes.flatMap((scope) => {
        const [type, name, actions = ''] = scope.split(':');
        return actions.split(',').map((action) => `${type}:${name}:${action}`);
      });
      tokens.set(token, { scopes: each, expires: Date.now() + result.lifetimeSeconds * 1000 });
      return token;
    },
  };
  return result;
}

function userOfHeader(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  return header === `Basic ${Buffer.from(`${USER}:${PASSWORD}`).toString('base64')}` ? USER : 'unknown';
}

/** One scope for each action. */
function scopesOf({ method, url }: Seen): string[] {
  const { pathname, searchParams } = new URL(url, 'http://registry');
  const name = /^\/v2\/(.*)\/(?:blobs|manifests)\//.exec(pathname)?.[1];
  if (name === undefined) return [];
  const from = searchParams.get('from');
  const scopes = [`repository:${name}:pull`];
  if (method !== 'GET' && method !== 'HEAD') scopes.push(`repository:${name}:push`);
  if (from !== null) scopes.push(`repository:${from}:pull`);
  return scopes;
}
