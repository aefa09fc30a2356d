// How long to wait before something is tried again.
import { setTimeout as sleep } from 'node:timers/promises';
import { HotlayerError } from '../../errors.js';

export interface RetryPolicy {
  /** How often one thing is tried altogether; 1: never again. */
  readonly attempts: number;
  /** Milliseconds before the second attempt; doubled for each further one. */
  readonly baseMs: number;
  /** The longest wait of our own choice. */
  readonly maxMs: number;
  /** The longest wait that a server may ask for with Retry-After; when it asks for more, that is the end. */
  readonly maxRetryAfterMs: number;
}

export const DEFAULT_RETRY: RetryPolicy = { attempts: 6, baseMs: 400, maxMs: 20_000, maxRetryAfterMs: 120_000 };

/** Statuses that may go away by themselves (RFC 9110 §15.5.9, §15.6; RFC 6585 §4). */
export function isTransient(status: number): boolean {
  return status === 408 || status === 429 || status === 500 || (status >= 502 && status <= 504);
}

/**
 * Exponential with jitter over its upper half, so that clients that failed together do not come back together.
 * @param failures how often it has failed, 1 or more
 * @param random in [0, 1)
 */
export function backoffMs(policy: RetryPolicy, failures: number, random: number): number {
  const full = Math.min(policy.maxMs, policy.baseMs * 2 ** (failures - 1));
  return full / 2 + (full / 2) * random;
}

/** Retry-After in milliseconds (RFC 9110 §10.2.3: seconds, or a date); undefined when absent or not understood. */
export function retryAfterMs(header: string | undefined, now: number): number | undefined {
  const text = header?.trim() ?? '';
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  if (!/[a-z]/i.test(text)) return undefined;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/** @throws HL_ERR_INTERRUPTED when the signal ends the wait */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(ms, undefined, signal ? { signal } : {});
  } catch (cause) {
    throw interrupted(cause);
  }
}

export function interrupted(cause: unknown): HotlayerError {
  return new HotlayerError('HL_ERR_INTERRUPTED', 'the transfer was interrupted', { cause });
}
