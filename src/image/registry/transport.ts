// Requests to one registry: authorized, tried again, answered with a status that was expected or an error that says why.
import type { Readable } from 'node:stream';
import type { Authorizer } from './auth.js';
import { type Answer, discard, type Exchange, type Method } from './exchange.js';
import { failureOf } from './registry-error.js';
import { retrying } from './retry.js';
import type { RegistryOptions } from './settings.js';

export interface Call {
  readonly method: Method;
  /** A path below the registry's origin, or the URL that it gave. */
  readonly url: string | URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | (() => Readable);
  /** `repository:NAME:pull` and the like. */
  readonly scopes: readonly string[];
  /** Statuses that the caller can do something with. */
  readonly expect: readonly number[];
  /** For messages, after "cannot": `pull sha256:… from host/app`. */
  readonly doing: string;
  readonly signal?: AbortSignal;
  /** True: the caller tries again itself. */
  readonly once?: boolean;
}

export interface Transport {
  readonly base: URL;
  readonly options: RegistryOptions;
  readonly exchange: Exchange;
  /** @throws RegistryError, HL_ERR_INTERRUPTED */
  call(call: Call): Promise<Answer>;
}

/** A stale token is replaced once, and once more when the registry then asks for other scopes. */
const MAX_CHALLENGES = 3;

export function makeTransport(exchange: Exchange, base: URL, auth: Authorizer, options: RegistryOptions): Transport {
  async function attempt(call: Call): Promise<Answer> {
    const url = new URL(call.url, base);
    // Upload locations may be at a storage service, which is not to see our tokens.
    const ours = url.origin === base.origin;
    for (let challenges = 0; ; challenges++) {
      const authorization = ours ? await auth.header(call.scopes) : undefined;
      const answer = await exchange.send({
        method: call.method,
        url,
        headers: { ...call.headers, ...(authorization === undefined ? {} : { authorization }) },
        ...(call.body === undefined ? {} : { body: call.body }),
        ...(call.signal === undefined ? {} : { signal: call.signal }),
      });
      if (call.expect.includes(answer.status)) return answer;
      const again =
        answer.status === 401 && ours && challenges < MAX_CHALLENGES && answer.url.origin === base.origin
          ? await auth.refused(answer, call.scopes, authorization)
          : false;
      if (!again) throw await failureOf(answer, call.doing, exchange.secrets);
      await discard(answer);
    }
  }
  return {
    base,
    options,
    exchange,
    call: (call) => (call.once ? attempt(call) : retrying(options, () => attempt(call))),
  };
}
