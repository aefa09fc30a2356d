// Integers as bytes: LEB128, seven bits a byte, lowest first; signed ones as zigzag (0, -1, 1, -2 … as 0, 1, 2, 3 …).
// Numbers here are times and offsets up to 2^52, so beyond 31 bits the arithmetic is that of doubles.

/** Largest magnitude that a zigzag number keeps exactly: 2^52 ns are 52 days, 2^52 bytes four petabytes. */
export const MAX_VARINT = 2 ** 52 - 1;
/** Bytes of the longest one: 53 bits in sevens. */
export const MAX_VARINT_BYTES = 8;

export class VarintWriter {
  #bytes: Uint8Array<ArrayBuffer>;
  #length = 0;

  constructor(room = 1024) {
    this.#bytes = new Uint8Array(Math.max(16, room));
  }

  /** @param value integer, 0 … 2^53 - 1 */
  natural(value: number): void {
    if (this.#length + MAX_VARINT_BYTES > this.#bytes.length) this.#grow();
    const bytes = this.#bytes;
    let rest = value;
    while (rest > 0x7fffffff) {
      bytes[this.#length++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    while (rest > 0x7f) {
      bytes[this.#length++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    bytes[this.#length++] = rest;
  }

  /** @param value integer, magnitude at most MAX_VARINT */
  signed(value: number): void {
    this.natural(value < 0 ? -2 * value - 1 : 2 * value);
  }

  /** What was written; a view that the next write may leave behind. */
  bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length);
  }

  #grow(): void {
    const larger = new Uint8Array(2 * this.#bytes.length);
    larger.set(this.#bytes);
    this.#bytes = larger;
  }
}

export class VarintReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** @throws RangeError past the end, or for a number beyond 2^53 */
  natural(): number {
    const bytes = this.#bytes;
    let value = 0;
    let scale = 1;
    for (let i = 0; i < MAX_VARINT_BYTES; i++) {
      const byte = bytes[this.#at];
      if (byte === undefined) throw new RangeError('the data ends in the middle');
      this.#at += 1;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) break;
        return value;
      }
      scale *= 128;
    }
    throw new RangeError(`a number too large, at byte ${this.#at}`);
  }

  /** @throws RangeError */
  signed(): number {
    const value = this.natural();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }
}
