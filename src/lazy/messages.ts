// What the two sides of a lazily read image say to each other: the service, which fetches, verifies and keeps chunks
// (chunk-service.ts), and its readers, each beside a mount (answers.ts). Plain data: they may be in different processes.

/** Reader → service. */
export type ReaderMessage = {
  readonly type: 'want';
  readonly layer: number;
  readonly chunks: readonly number[];
  /** True: what is kept of them does not check. */
  readonly damaged?: boolean;
};

/** Service → reader. */
export type ServiceMessage =
  /** They are kept, and were verified just now. */
  | { readonly type: 'have'; readonly layer: number; readonly chunks: readonly number[] }
  /** It could not be kept (disk full), so here it is: verified, for those who wait for it now. */
  | { readonly type: 'bytes'; readonly layer: number; readonly chunk: number; readonly content: Uint8Array }
  /** No chance for now. Asking again is a new attempt. */
  | { readonly type: 'failed'; readonly layer: number; readonly chunks: readonly number[]; readonly why: string };

/** How a chunk stands, one byte each in memory that a mount's two threads share. */
export const CHUNK = {
  absent: 0,
  /** Kept by an earlier run: each block is checked when it is first read. */
  kept: 1,
  /** Verified in this run. */
  verified: 2,
} as const;

/** The file system to its answerer, before any read is put off. */
export interface TablesMessage {
  readonly type: 'tables';
  /** By layer; null for those that are whole. */
  readonly layers: readonly (LayerMemory | null)[];
}

export interface LayerMemory {
  /** CHUNK of each chunk. */
  readonly states: SharedArrayBuffer;
  /** The content, readable by this descriptor in every thread of the process. */
  readonly fd: number;
}

/** A read that waits for chunks. */
export interface ReadTicket {
  readonly layer: number;
  /** Where in the layer's content the bytes lie. */
  readonly at: number;
  readonly length: number;
  /** Those that are missing: number, where its content begins, its size. */
  readonly missing: readonly (readonly [chunk: number, at: number, size: number])[];
  /** Those among them whose kept content does not check. */
  readonly damaged?: readonly number[];
}
