// zstd in, bytes out (RFC 8878). fzstd decodes the blocks; the frames are taken apart here, because a layer is often
// many of them (zstd:chunked: one a file, and its index in skippable ones at the end), because a broken one has to be
// named with its offset, and because the memory that a frame asks for has to be known before it is given. The frames'
// XXH64 checksums are not looked at: the uncompressed layer's SHA-256 is checked by whoever calls.
import { Decompress } from 'fzstd';
import { type ErrorContext, HotlayerError } from '../../errors.js';
import { sniffCompression } from '../../image/media.js';
import { formatBytes, MIB } from '../../units.js';
import type { Sink } from './gunzip.js';

/** The most memory that a frame may ask for; zstd(1) refuses more, too, unless told otherwise. */
export const MAX_ZSTD_WINDOW = 128 * MIB;

const MAGIC = 0xfd2fb528;
const SKIPPABLE = 0x184d2a50;

/** Also for what begins with a skippable frame. */
export function isZstd(head: Uint8Array): boolean {
  return sniffCompression(head) === 'zstd';
}

interface FrameHeader {
  /** Bytes of the header, magic number included. */
  readonly length: number;
  /** Bytes that the decoder must remember. */
  readonly window: number;
  readonly contentSize: number | undefined;
  readonly checksum: boolean;
  readonly dictionary: boolean;
}

/** What comes next, and how many bytes of it are needed before anything can be done. */
type State =
  | { readonly next: 'frame'; readonly need: number }
  | { readonly next: 'skip'; left: number }
  | { readonly next: 'block'; readonly need: 3 }
  | { readonly next: 'body'; left: number; readonly last: boolean }
  | { readonly next: 'checksum'; left: number };

/**
 * Decompresses every frame; skippable ones are passed over. Memory: the window of one frame, at most MAX_ZSTD_WINDOW,
 * and a block.
 * @throws HL_ERR_LAYER with the byte of the blob where it is cut off or corrupt, HL_ERR_LIMIT; what source or sink throw.
 *   The source is read to its end in any case but that: if its digest is wrong, that is the news.
 */
export async function unzstd(source: AsyncIterable<Uint8Array>, sink: Sink, where: ErrorContext): Promise<void> {
  const decoder = new FrameWalker(sink, where);
  let failure: unknown;
  for await (const chunk of source) {
    if (failure !== undefined) continue;
    try {
      decoder.push(chunk);
    } catch (error) {
      if (!(error instanceof HotlayerError) || error.code !== 'HL_ERR_LAYER') throw error;
      failure = error;
    }
  }
  if (failure !== undefined) throw failure;
  decoder.end();
}

class FrameWalker {
  private state: State = { next: 'frame', need: 4 };
  private pending: Uint8Array = new Uint8Array(0);
  /** Of the first byte not consumed, in the blob. */
  private position = 0;
  private frames = 0;
  private frameAt = 0;
  private header: FrameHeader | undefined;
  private decoder: Decompress | undefined;
  private produced = 0;
  private sinkFailure: { readonly error: unknown } | undefined;

  constructor(
    private readonly sink: Sink,
    private readonly where: ErrorContext,
  ) {}

  push(chunk: Uint8Array): void {
    this.pending = this.pending.length === 0 ? chunk : Buffer.concat([this.pending, chunk]);
    while (this.step());
    // The caller may use its buffer again.
    this.pending = Uint8Array.from(this.pending);
  }

  end(): void {
    if (this.state.next === 'frame' && this.pending.length === 0 && this.frames > 0) return;
    throw this.failure('the zstd stream is cut off', this.position + this.pending.length);
  }

  /** @returns false when more bytes are needed */
  private step(): boolean {
    const { state, pending } = this;
    if ('need' in state && pending.length < state.need) return false;
    switch (state.next) {
      case 'frame':
        return this.beginFrame();
      case 'block': {
        const header = pending[0]! | (pending[1]! << 8) | (pending[2]! << 16);
        // RFC 8878 §3.1.1.2: last block, type (raw, RLE, compressed, reserved), size; an RLE block is one byte.
        const type = (header >> 1) & 3;
        if (type === 3) throw this.failure('the zstd stream is corrupt (a block of the reserved type)', this.position);
        const left = type === 1 ? 1 : header >> 3;
        this.decode(3);
        this.state = { next: 'body', left, last: (header & 1) === 1 };
        return true;
      }
      case 'skip':
      case 'checksum':
      case 'body': {
        const length = Math.min(state.left, pending.length);
        if (length === 0 && state.left > 0) return false;
        if (state.next === 'skip') this.consume(length);
        else this.decode(length);
        state.left -= length;
        if (state.left > 0) return false;
        if (state.next === 'body' && !state.last) this.state = { next: 'block', need: 3 };
        else if (state.next === 'body' && this.header!.checksum) this.state = { next: 'checksum', left: 4 };
        else this.endFrame();
        return true;
      }
    }
  }

  private beginFrame(): boolean {
    const bytes = Buffer.from(this.pending.buffer, this.pending.byteOffset, this.pending.length);
    this.frameAt = this.position;
    const magic = bytes.readUInt32LE(0);
    if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE) {
      if (bytes.length < 8) return this.needMore(8);
      const left = bytes.readUInt32LE(4);
      this.consume(8);
      this.state = { next: 'skip', left };
      return true;
    }
    if (magic !== MAGIC) {
      const found = bytes.toString('hex', 0, 4);
      throw this.failure(`expected a zstd frame (28b52ffd), found ${found}`, this.position);
    }
    const header = parseHeader(bytes);
    if (typeof header === 'number') return this.needMore(header);
    if (header === undefined) throw this.failure('the zstd stream is corrupt (a reserved bit is set)', this.position);
    if (header.dictionary) throw this.failure('the zstd frame needs a dictionary, which no layer has', this.position);
    if (header.window > MAX_ZSTD_WINDOW) {
      throw new HotlayerError(
        'HL_ERR_LIMIT',
        `layer ${this.where.layer}: the zstd frame at byte ${this.position} of the blob needs a window of ${formatBytes(header.window)}, at most ${formatBytes(MAX_ZSTD_WINDOW)} are given (MAX_ZSTD_WINDOW)`,
        {
          hint: 'compress the layer anew, without --ultra --long',
          context: { ...this.where, offset: this.position },
        },
      );
    }
    this.header = header;
    this.produced = 0;
    this.decoder = new Decompress((part) => this.take(part));
    this.decode(header.length);
    this.state = { next: 'block', need: 3 };
    return true;
  }

  private needMore(need: number): false {
    this.state = { next: 'frame', need };
    return false;
  }

  private endFrame(): void {
    if (this.decoder) {
      this.guarded(() => this.decoder!.push(new Uint8Array(0), true));
      const expected = this.header!.contentSize;
      if (expected !== undefined && expected !== this.produced) {
        throw this.failure(`the zstd frame says that it has ${expected} bytes, found ${this.produced},`, this.position);
      }
    }
    this.decoder = undefined;
    this.header = undefined;
    this.frames += 1;
    this.state = { next: 'frame', need: 4 };
  }

  private decode(length: number): void {
    const part = this.pending.subarray(0, length);
    // fzstd keeps what it cannot use yet.
    this.guarded(() => this.decoder!.push(Uint8Array.from(part), false));
    this.consume(length);
  }

  private consume(length: number): void {
    this.pending = this.pending.subarray(length);
    this.position += length;
  }

  private take(part: Uint8Array): void {
    this.produced += part.length;
    try {
      this.sink(Buffer.from(part.buffer, part.byteOffset, part.byteLength));
    } catch (error) {
      this.sinkFailure = { error };
      throw error;
    }
  }

  /** Whatever the decoder throws (broken data makes it throw many things) means that the data is broken. */
  private guarded(action: () => void): void {
    try {
      action();
    } catch (cause) {
      if (this.sinkFailure) throw this.sinkFailure.error;
      throw this.failure(`the zstd stream is corrupt (${(cause as Error).message})`, this.position, cause);
    }
  }

  private failure(message: string, offset: number, cause?: unknown): HotlayerError {
    return new HotlayerError(
      'HL_ERR_LAYER',
      `layer ${this.where.layer}: ${message} at byte ${offset} of the blob, in zstd frame ${this.frames + 1} (from byte ${this.frameAt})`,
      { cause, context: { ...this.where, offset } },
    );
  }
}

/**
 * RFC 8878 §3.1.1.1.
 * @param bytes from the magic number on, at least 4
 * @returns how many bytes are needed when these are too few; undefined when the reserved bit is set
 */
function parseHeader(bytes: Buffer): FrameHeader | number | undefined {
  if (bytes.length < 5) return 5;
  const flags = bytes[4]!;
  if (flags & 0x08) return undefined;
  const single = (flags & 0x20) !== 0;
  const idBytes = [0, 1, 2, 4][flags & 3]!;
  const sizeBytes = [single ? 1 : 0, 2, 4, 8][flags >> 6]!;
  const sizeAt = 5 + (single ? 0 : 1) + idBytes;
  const length = sizeAt + sizeBytes;
  if (bytes.length < length) return length;
  const dictionary = bytes.subarray(sizeAt - idBytes, sizeAt).some((byte) => byte !== 0);
  const contentSize = sizeBytes === 0 ? undefined : readSize(bytes, sizeAt, sizeBytes);
  const exponent = 1024 * 2 ** (bytes[5]! >> 3);
  const window = single ? contentSize! : exponent + (exponent / 8) * (bytes[5]! & 7);
  return { length, window, contentSize, checksum: (flags & 4) !== 0, dictionary };
}

function readSize(bytes: Buffer, at: number, length: number): number {
  if (length === 8) return Number(bytes.readBigUInt64LE(at));
  return bytes.readUIntLE(at, length) + (length === 2 ? 256 : 0);
}
