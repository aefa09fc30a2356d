// Authorization for one registry: none until it asks, then Basic, or Bearer tokens by scope from the server it names
// (distribution: "Token Authentication Specification" and its OAuth2 variant), each kept until it expires or is refused.
import { type Challenge, parseChallenges } from './challenge.js';
import type { Credentials } from './credential-files.js';
import type { Answer, Exchange, HttpRequest } from './exchange.js';
import { failureOf, malformed, RegistryError, readCapped } from './registry-error.js';
import { retrying } from './retry.js';
import { showUrl } from './secrets.js';
import type { RegistryOptions } from './settings.js';

export interface Authorizer {
  /** The value of the Authorization header for a request that needs these scopes; undefined: send none. */
  header(scopes: readonly string[]): Promise<string | undefined>;
  /**
   * The registry answered 401 to a request that was sent with `sent`.
   * @returns whether the request should be sent once more
   */
  refused(answer: Answer, scopes: readonly string[], sent: string | undefined): Promise<boolean>;
}

interface Token {
  readonly header: string;
  /** Milliseconds since the epoch. */
  readonly expires: number;
}

type Mode =
  | { readonly kind: 'open' }
  | { readonly kind: 'fixed'; readonly header: string }
  | { readonly kind: 'bearer'; readonly realm: URL; readonly service: string | undefined };

/** distribution token spec: "if omitted, this defaults to 60 seconds". */
const DEFAULT_LIFETIME_S = 60;
/** A token that would expire on its way is not used. */
const MARGIN_MS = 5_000;
const MAX_TOKEN_BYTES = 1024 * 1024;

/**
 * @param base the registry's origin
 * @param lookUp where its credentials come from; called once, when the registry first asks for them
 */
export function makeAuthorizer(
  exchange: Exchange,
  base: URL,
  options: RegistryOptions,
  lookUp: () => Promise<Credentials | undefined>,
): Authorizer {
  let mode: Mode = { kind: 'open' };
  let found: Promise<Credentials | undefined> | undefined;
  const tokens = new Map<string, Promise<Token>>();
  /** Scopes that a registry asked for beyond those we named, by ours. */
  const widened = new Map<string, readonly string[]>();

  const credentials = (): Promise<Credentials | undefined> => {
    found ??= lookUp().then((result) => {
      if (result) exchange.secrets.add(result.kind === 'password' ? result.password : result.token);
      if (result?.kind === 'password') exchange.secrets.add(`${result.username}:${result.password}`);
      return result;
    });
    return found;
  };

  async function tokenFor(scopes: readonly string[], bearer: Mode & { kind: 'bearer' }): Promise<Token> {
    const key = scopes.join(' ');
    const known = tokens.get(key);
    if (known) {
      const token = await known;
      if (token.expires - MARGIN_MS > Date.now()) return token;
      if (tokens.get(key) !== known) return tokenFor(scopes, bearer);
    }
    // Many requests want it at the same time; one asks.
    const asked = credentials().then((own) => retrying(options, () => fetchToken(exchange, bearer, scopes, own)));
    tokens.set(key, asked);
    asked.catch(() => tokens.get(key) === asked && tokens.delete(key));
    return asked;
  }

  const scopesFor = (scopes: readonly string[]): readonly string[] => widened.get(scopes.join(' ')) ?? scopes;

  return {
    async header(scopes) {
      if (mode.kind === 'fixed') return mode.header;
      return mode.kind === 'bearer' ? (await tokenFor(scopesFor(scopes), mode)).header : undefined;
    },
    async refused(answer, scopes, sent) {
      const challenges = parseChallenges(answer.headers['www-authenticate']);
      const bearer = challenges.find((challenge) => challenge.scheme === 'bearer' && challenge.parameters.realm);
      const own = await credentials();
      if (own?.kind === 'bearer') {
        mode = { kind: 'fixed', header: `Bearer ${own.token}` };
        return sent !== mode.header;
      }
      if (bearer) {
        mode = { kind: 'bearer', realm: realmOf(bearer, base), service: bearer.parameters.service };
        const asked = bearer.parameters.scope?.split(' ').filter((scope) => scope !== '') ?? [];
        if (asked.some((scope) => !covers(scopes, scope)))
          widened.set(scopes.join(' '), [...new Set([...scopes, ...asked])].sort());
        const key = scopesFor(scopes).join(' ');
        const known = await tokens.get(key);
        // Expired early, revoked, or good for something else; unless another request has replaced it already.
        if (known && known.header === sent) tokens.delete(key);
        return true;
      }
      if (challenges.some((challenge) => challenge.scheme === 'basic') && own?.kind === 'password') {
        const header = `Basic ${Buffer.from(`${own.username}:${own.password}`).toString('base64')}`;
        mode = { kind: 'fixed', header };
        return sent !== header;
      }
      return false;
    },
  };
}

/** Whether `repository:a:pull,push` among the scopes says all that `repository:a:pull` does. */
function covers(scopes: readonly string[], wanted: string): boolean {
  const split = (scope: string): [string, string[]] => {
    const colon = scope.lastIndexOf(':');
    return [scope.slice(0, colon), scope.slice(colon + 1).split(',')];
  };
  const [resource, actions] = split(wanted);
  return scopes.some((scope) => {
    const [has, may] = split(scope);
    return has === resource && actions.every((action) => may.includes(action));
  });
}

/** Passwords are sent there: it must be no less protected than the registry. */
function realmOf(challenge: Challenge, base: URL): URL {
  const doing = `log in at ${base.host}`;
  let realm: URL;
  try {
    realm = new URL(challenge.parameters.realm!);
  } catch {
    throw malformed({ url: base }, doing, 'names a token server that is not a URL');
  }
  const plain = realm.protocol === 'http:' && base.protocol === 'http:';
  if (realm.protocol !== 'https:' && !plain)
    throw malformed({ url: base }, doing, `names the token server ${showUrl(realm)}, expected https`);
  return realm;
}

async function fetchToken(
  exchange: Exchange,
  { realm, service }: Mode & { kind: 'bearer' },
  scopes: readonly string[],
  own: Credentials | undefined,
): Promise<Token> {
  const doing = `get a token from ${showUrl(realm)}`;
  const answer = await exchange.send(tokenRequest(realm, service, scopes, own));
  if (answer.status !== 200) {
    const failure = await failureOf(answer, doing, exchange.secrets);
    if (failure.status !== 401 && failure.status !== 403 && failure.status !== 400) throw failure;
    const who = own ? 'the credentials found for it' : 'a client without credentials';
    throw new RegistryError(
      'HL_ERR_AUTH',
      `${failure.message} (to ${who})`,
      { ...failure, transient: false },
      {
        hint: 'log in again: docker login, podman login or skopeo login',
      },
    );
  }
  const bytes = await readCapped(answer.body, MAX_TOKEN_BYTES);
  let body: { token?: unknown; access_token?: unknown; expires_in?: unknown };
  try {
    body = (JSON.parse(bytes.toString('utf8')) ?? {}) as typeof body;
  } catch {
    throw malformed(answer, doing, 'did not answer with JSON');
  }
  const token = [body.token, body.access_token].find((text) => typeof text === 'string' && text !== '');
  if (typeof token !== 'string' || /[^\x21-\x7e]/.test(token))
    throw malformed(answer, doing, 'answered without a token');
  exchange.secrets.add(token);
  // Counted from now, not from the server's issued_at: our clocks need not agree.
  const seconds = typeof body.expires_in === 'number' && body.expires_in > 0 ? body.expires_in : DEFAULT_LIFETIME_S;
  return { header: `Bearer ${token}`, expires: Date.now() + seconds * 1000 };
}

function tokenRequest(
  realm: URL,
  service: string | undefined,
  scopes: readonly string[],
  own: Credentials | undefined,
): HttpRequest {
  if (own?.kind === 'identity') {
    const form = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: own.token, client_id: 'hotlayer' });
    if (service !== undefined) form.set('service', service);
    if (scopes.length > 0) form.set('scope', scopes.join(' '));
    return {
      method: 'POST',
      url: realm,
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: form.toString(),
    };
  }
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set('service', service);
  for (const scope of scopes) url.searchParams.append('scope', scope);
  if (own?.kind !== 'password') return { method: 'GET', url };
  url.searchParams.set('account', own.username);
  const authorization = `Basic ${Buffer.from(`${own.username}:${own.password}`).toString('base64')}`;
  return { method: 'GET', url, headers: { authorization } };
}
