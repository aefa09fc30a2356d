// Where a registry's API is, and how it is spoken to.
import { isIP } from 'node:net';
import { HotlayerError } from '../../errors.js';
import { discard, type Exchange } from './exchange.js';
import { HUB_API } from './hub.js';
import { RegistryError } from './registry-error.js';
import { retrying } from './retry.js';
import type { RegistryOptions } from './settings.js';

/**
 * The origin of the API. A host on the loopback interface is tried with TLS first, without credentials; plain http is
 * used when what answers does not speak TLS. Certificates that are not trusted never lead to plain http.
 * @throws HL_ERR_NETWORK when a loopback host cannot be reached
 */
export async function findEndpoint(host: string, exchange: Exchange, options: RegistryOptions): Promise<URL> {
  const api = host === 'docker.io' ? HUB_API : host;
  const secure = new URL(`https://${api}`);
  const plain = new URL(`http://${api}`);
  if (options.plainHttp !== undefined) return options.plainHttp ? plain : secure;
  if (!isLoopback(secure.hostname)) return secure;
  try {
    await discard(await exchange.send({ method: 'GET', url: new URL('/v2/', secure) }));
    return secure;
  } catch (error) {
    if (!(error instanceof RegistryError) || !mayBePlain(error)) throw error;
  }
  await retrying(options, async () => discard(await exchange.send({ method: 'GET', url: new URL('/v2/', plain) })));
  return plain;
}

/** `hostname` as URL has it. A name is believed only when it is one of the reserved ones (RFC 6761 §6.3). */
export function isLoopback(hostname: string): boolean {
  const address = hostname.replace(/^\[|\]$/g, '');
  if (isIP(address) === 4) return address.startsWith('127.');
  if (isIP(address) === 6) return address === '::1';
  return address === 'localhost' || address.endsWith('.localhost');
}

/** What a server without TLS does with a TLS greeting: answers in clear text, hangs up, or waits. */
function mayBePlain(error: RegistryError): boolean {
  const { cause } = error;
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  if (error instanceof HotlayerError && code === 'ECONNREFUSED') return false;
  return code === 'EPROTO' || code.startsWith('ERR_SSL') || error.transient;
}
