// What goes over one connection with a registry, told request by request: what was asked for, when, and how many bytes
// came back. Read from the bytes as they pass; nothing is changed.
//
// Clients of a registry wait for the answer before they ask again on the same connection, so a request begins where a
// piece of what the client says begins with a request line, and all that is handed to the client from then on belongs
// to it.

export interface Exchange {
  /** Which connection of the proxy since its start, 1 … */
  readonly connection: number;
  readonly method: string;
  readonly path: string;
  /** Of the blob asked for; absent for manifests and all else. */
  readonly blob?: string;
  /**
   * Byte ranges asked for, [offset, length]: empty for the whole; length −1: to the end; offset −n: the last n bytes.
   */
  readonly ranges: readonly (readonly [offset: number, length: number])[];
  /** 0 while there is no answer. */
  readonly status: number;
  /** ms of performance.now(): the request reached the proxy. */
  readonly start: number;
  /** ms of performance.now(): the latest bytes of the answer were handed to the client; `start` while there are none. */
  readonly end: number;
  /** Handed to the client, the answer's head included. */
  readonly bytes: number;
}

export const REQUEST_LINE = /^(GET|HEAD|POST|PUT|PATCH|DELETE) (\/\S*)/;
const BLOB = /\/blobs\/(sha256:[0-9a-f]{64})(?:$|\?)/;
const STATUS_LINE = /^HTTP\/1\.[01] (\d{3})/;
/** Longer heads are not looked at any further. */
const MAX_HEAD = 16 * 1024;

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** One connection. */
export class ExchangeReader {
  private current: Writable<Exchange> | undefined;
  private head = '';

  constructor(
    private readonly connection: number,
    private readonly begun: (exchange: Exchange) => void,
  ) {}

  /** @returns whether a request began with these bytes */
  fromClient(bytes: Buffer, now: number): boolean {
    const line = REQUEST_LINE.exec(bytes.toString('latin1', 0, 1024));
    if (line) {
      const blob = BLOB.exec(line[2]!)?.[1];
      this.current = {
        connection: this.connection,
        method: line[1]!,
        path: line[2]!,
        ...(blob === undefined ? {} : { blob }),
        ranges: [],
        status: 0,
        start: now,
        end: now,
        bytes: 0,
      };
      this.head = '';
      this.begun(this.current);
    }
    if (this.current && this.head.length < MAX_HEAD && !this.head.includes('\r\n\r\n')) {
      this.head += bytes.toString('latin1');
      const range = /\r\nrange: *bytes=([\d,\s-]+)\r\n/i.exec(this.head)?.[1];
      if (range !== undefined) this.current.ranges = parseRanges(range);
    }
    return line !== null;
  }

  toClient(bytes: Buffer, now: number): void {
    if (!this.current) return;
    if (this.current.bytes === 0)
      this.current.status = Number(STATUS_LINE.exec(bytes.toString('latin1', 0, 16))?.[1] ?? 0);
    this.current.bytes += bytes.length;
    this.current.end = now;
  }
}

/** RFC 9110 §14.1.2: `0-99,200-,-51` → [[0, 100], [200, -1], [-51, -1]] */
function parseRanges(text: string): [number, number][] {
  return text.split(',').flatMap((part): [number, number][] => {
    const [, first = '', last = ''] = /^\s*(\d*)-(\d*)\s*$/.exec(part) ?? [];
    if (first !== '') return [[Number(first), last === '' ? -1 : Number(last) - Number(first) + 1]];
    return last === '' ? [] : [[-Number(last), -1]];
  });
}
