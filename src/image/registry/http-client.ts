// What is asked of a client for HTTP: undici's Dispatcher is one, light-client.ts another.
import type { Readable } from 'node:stream';

export interface HttpClientRequest {
  readonly origin: string;
  /** With the query. */
  readonly path: string;
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string | Readable;
  readonly signal?: AbortSignal;
}

export interface ClientAnswer {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** `dump` reads up to so many bytes and lets go of it. */
  readonly body: Readable & { dump(options: { limit: number }): Promise<void> };
}

export interface HttpClient {
  request(request: HttpClientRequest): Promise<ClientAnswer>;
  /** Breaks off all that is under way. */
  destroy(): Promise<void>;
}
