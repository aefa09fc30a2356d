// What a user of registries may set.
import type { Digest } from '../digest.js';
import type { RetryPolicy } from './backoff.js';

export interface BlobProgress {
  readonly digest: Digest;
  readonly direction: 'download' | 'upload';
  /** Bytes transferred; goes back when a transfer starts over. */
  readonly bytes: number;
  /** Bytes of the blob. */
  readonly total: number;
  /** An upload that ended without bytes being sent: the registry has the blob already, or took it from another repository. */
  readonly skipped?: 'present' | 'mounted';
}

export interface RegistryOptions {
  /**
   * True: http, not https. False: https only. Absent: https, and for hosts on the loopback interface http when what
   * answers there is not TLS.
   */
  readonly plainHttp?: boolean;
  /** PEM file of certificate authorities trusted besides the usual ones; absent: HOTLAYER_CA_FILE, if set. */
  readonly caFile?: string;
  /** docker's or podman's file of credentials, used instead of the usual places. */
  readonly authFile?: string;
  /**
   * True: a client for HTTP that loads at once and knows less, where no proxy is set: no request body may be large, and
   * no answer may take longer than a minute to begin.
   */
  readonly light?: boolean;
  /** How many blobs are transferred at once; absent: 4. */
  readonly parallel?: number;
  readonly retry?: Partial<RetryPolicy>;
  /** Called often; must return quickly and must not throw. */
  readonly onProgress?: (progress: BlobProgress) => void;
  /** Before a wait that comes before another attempt: what went wrong, for people, and how long the wait is. */
  readonly onRetry?: (message: string, waitMs: number) => void;
  readonly signal?: AbortSignal;
  /** Largest piece of a chunked upload in bytes; absent: 64 MiB. What is no larger is sent in one PUT. */
  readonly chunkSize?: number;
  /** Environment for the places of credentials, helpers and proxies; absent: that of this process. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

export const DEFAULT_PARALLEL = 4;
