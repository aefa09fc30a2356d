// Trying again what failed for a reason that may pass.
import { backoffMs, DEFAULT_RETRY, pause, type RetryPolicy } from './backoff.js';
import { RegistryError } from './registry-error.js';
import type { RegistryOptions } from './settings.js';

export interface Patience {
  /**
   * Call it with each failure: it waits before the next attempt, or throws when there is to be none.
   * @param failure anything that is not a transient RegistryError is thrown at once
   */
  afterFailure(failure: unknown): Promise<void>;
  /** There was progress: count anew. */
  reset(): void;
}

export function patience(options: RegistryOptions): Patience {
  const policy: RetryPolicy = { ...DEFAULT_RETRY, ...options.retry };
  let failures = 0;
  return {
    async afterFailure(failure) {
      if (!(failure instanceof RegistryError) || !failure.transient) throw failure;
      failures += 1;
      if (failures >= policy.attempts) throw gaveUp(failure, failures);
      const asked = failure.retryAfterMs ?? 0;
      if (asked > policy.maxRetryAfterMs) throw tooLong(failure, asked);
      const wait = Math.max(asked, backoffMs(policy, failures, Math.random()));
      options.onRetry?.(failure.message, wait);
      await pause(wait, options.signal);
    },
    reset() {
      failures = 0;
    },
  };
}

export async function retrying<T>(options: RegistryOptions, attempt: () => Promise<T>): Promise<T> {
  const patient = patience(options);
  for (;;) {
    try {
      return await attempt();
    } catch (failure) {
      await patient.afterFailure(failure);
    }
  }
}

/** Final: whoever wraps this in attempts of its own must not start over. */
function gaveUp(failure: RegistryError, attempts: number): unknown {
  return attempts < 2 ? final(failure, '') : final(failure, ` (${attempts} attempts)`);
}

function tooLong(failure: RegistryError, ms: number): unknown {
  return final(failure, ` (it asks to wait ${Math.round(ms / 1000)} s)`);
}

function final(failure: RegistryError, more: string): unknown {
  const { hint, context, status, codes } = failure;
  return new RegistryError(
    failure.code,
    `${failure.message}${more}`,
    { transient: false, codes, ...(status === undefined ? {} : { status }) },
    { cause: failure.cause, context, ...(hint === undefined ? {} : { hint }) },
  );
}
