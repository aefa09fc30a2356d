// A nameless file that holds a layer's uncompressed tar, hashed and scanned while it is written.
import { createHash } from 'node:crypto';
import { closeSync, ftruncateSync, writeSync } from 'node:fs';
import { type ErrorContext, HotlayerError } from '../errors.js';
import type { Digest } from '../image/digest.js';
import { openNameless } from '../temp.js';
import { type Bytes, formatBytes, GIB, KIB, MIB } from '../units.js';
import { type TarLimits, type TarScan, TarScanner } from './tar/scan.js';

/**
 * Uncompressed bytes of one layer. A ratio would be no better guard against gzip bombs: DEFLATE itself cannot exceed
 * 1032:1, and honest layers (zeros, sparse images) come close to that.
 */
export const MAX_LAYER_BYTES = 64 * GIB;

export interface SpoolLimits extends TarLimits {
  /** Default MAX_LAYER_BYTES. */
  readonly maxLayerBytes?: Bytes;
}

/** Hash and scan of a tar whose bytes come by in order. */
export class TarDigester {
  readonly #hash = createHash('sha256');
  readonly #scanner: TarScanner;
  readonly #where: ErrorContext;
  readonly #maxBytes: Bytes;
  #fault: HotlayerError | undefined;
  size: Bytes = 0;

  constructor(where: ErrorContext, limits: SpoolLimits) {
    this.#where = where;
    this.#maxBytes = limits.maxLayerBytes ?? MAX_LAYER_BYTES;
    this.#scanner = new TarScanner(where, limits);
  }

  /** @throws HL_ERR_LIMIT */
  push(bytes: Buffer): void {
    this.size += bytes.length;
    if (this.size > this.#maxBytes) {
      throw new HotlayerError(
        'HL_ERR_LIMIT',
        `layer ${this.#where.layer}: its uncompressed size exceeds ${formatBytes(this.#maxBytes)} (MAX_LAYER_BYTES)`,
        { context: { ...this.#where, offset: this.#maxBytes } },
      );
    }
    this.#hash.update(bytes);
    if (this.#fault) return;
    try {
      this.#scanner.push(bytes);
    } catch (error) {
      // A broken tar is often the consequence of broken compression or of wrong bytes: those are reported first.
      if (!(error instanceof HotlayerError) || error.code !== 'HL_ERR_LAYER') throw error;
      this.#fault = error;
    }
  }

  digest(): Digest {
    return `sha256:${this.#hash.digest('hex')}`;
  }

  /** @throws HL_ERR_LAYER what was wrong with the tar */
  scan(): TarScan {
    if (this.#fault) throw this.#fault;
    return this.#scanner.end();
  }
}

const BUFFER = MIB;
/** A stretch of this many zero bytes, aligned, is left out: the file system stores a hole. */
const HOLE = 64 * KIB;
const ZEROS = Buffer.alloc(HOLE);

export class SpoolFile {
  readonly fd: number;
  readonly digester: TarDigester;
  readonly #dir: string;
  readonly #buffer = Buffer.allocUnsafeSlow(BUFFER);
  #held = 0;
  #position = 0;
  #closed = false;

  /** @throws HL_ERR_IO when `dir` cannot be written to */
  constructor(dir: string, where: ErrorContext, limits: SpoolLimits) {
    this.#dir = dir;
    this.digester = new TarDigester(where, limits);
    this.fd = this.#guarded(() => openNameless(dir, 'layer'));
  }

  /** The chunk may be reused afterwards. @throws HL_ERR_LIMIT, HL_ERR_IO */
  write(chunk: Uint8Array): void {
    for (let i = 0; i < chunk.length; ) {
      const length = Math.min(BUFFER - this.#held, chunk.length - i);
      this.#buffer.set(chunk.subarray(i, i + length), this.#held);
      this.#held += length;
      i += length;
      if (this.#held === BUFFER) this.#flush();
    }
  }

  /** After the last chunk. The scan's errors wait for `digester.scan()`. */
  finish(): void {
    this.#flush();
    this.#guarded(() => ftruncateSync(this.fd, this.#position));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.fd);
  }

  #flush(): void {
    const bytes = this.#buffer.subarray(0, this.#held);
    this.digester.push(bytes);
    let from = 0;
    for (let at = 0; at < bytes.length; at += HOLE) {
      const stop = Math.min(at + HOLE, bytes.length);
      if (stop - at < HOLE || bytes.compare(ZEROS, 0, HOLE, at, stop) !== 0) continue;
      this.#store(bytes, from, at);
      from = stop;
    }
    this.#store(bytes, from, bytes.length);
    this.#position += bytes.length;
    this.#held = 0;
  }

  #store(bytes: Buffer, from: number, to: number): void {
    this.#guarded(() => {
      for (let at = from; at < to; ) at += writeSync(this.fd, bytes, at, to - at, this.#position + at);
    });
  }

  #guarded<T>(action: () => T): T {
    try {
      return action();
    } catch (cause) {
      throw new HotlayerError('HL_ERR_IO', `cannot write the spool file in ${this.#dir}: ${(cause as Error).message}`, {
        hint: 'choose a place with more room with --tmpdir',
        cause,
        context: { file: this.#dir },
      });
    }
  }
}
