// Bytes as they come from a stream, taken out in the pieces one wants; copied only where a piece spans several.

export class ByteQueue {
  readonly #parts: Buffer[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#parts.push(bytes);
    this.#length += bytes.length;
  }

  /** The first `count` bytes, without taking them out; so many must be there. */
  peek(count: number): Buffer {
    const first = this.#parts[0];
    if (first && first.length >= count) return first.subarray(0, count);
    const out: Buffer[] = [];
    let left = count;
    for (const part of this.#parts) {
      if (left === 0) break;
      out.push(part.subarray(0, left));
      left -= Math.min(left, part.length);
    }
    return Buffer.concat(out);
  }

  /** Takes out the first `count` bytes; so many must be there. */
  drop(count: number): void {
    this.#length -= count;
    while (count > 0) {
      const first = this.#parts[0]!;
      if (first.length > count) {
        this.#parts[0] = first.subarray(count);
        return;
      }
      count -= first.length;
      this.#parts.shift();
    }
  }
}
